"""What MLflow says of a version and its run, as far as it goes to another server: ``record.json``. Pure data."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from starterkit.contract import Lineage
from starterkit.errors import Refused

_OF_A_RUN = ("task", "metric", "holdout_rows")
EVIDENCE = "evidence"
"""The tag of a version that holds the SHA-256 of its gate's evidence."""

EVIDENCE_PLACE = "evidence_place"
"""The tag that names the folder of its run in which the evidence is."""

_OF_A_VERSION = ("gate", EVIDENCE, EVIDENCE_PLACE)
from starterkit.promotion.bundle.manifest import _AGAIN


@dataclass(frozen=True)
class Record:
    """The tags of the version and of its run, and the run's metrics.

    Only tags that the kit itself writes: MLflow's own name the user, the repository's address and the ids of the
    server that they come from.
    """

    run: Mapping[str, str]
    version: Mapping[str, str]
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, run: Mapping[str, str], version: Mapping[str, str], metrics: Mapping[str, float]) -> "Record":
        """What goes along of all that MLflow says.

        Raises
        ------
        KeyError, ValueError
            Version or run were not made by this kit.
        """
        return cls(
            run=Lineage.from_tags(run).to_tags() | _picked(run, _OF_A_RUN),
            version=Lineage.from_tags(version).to_tags() | _picked(version, _OF_A_VERSION),
            metrics=dict(metrics),
        )

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> "Record":
        """Read a record; tags that this kit would not send stay behind.

        Raises
        ------
        Refused
            It is no record.
        """
        try:
            raw = json.loads(text)
            run, version = ({str(key): str(value) for key, value in raw[name].items()} for name in ("run", "version"))
            metrics = {str(key): float(value) for key, value in raw["metrics"].items()}
            return cls.of(run, version, metrics)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Refused("the bundle's record.json is no record", _AGAIN) from None


def _picked(tags: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: tags[name] for name in names if name in tags}
