"""`Platform`: what Amazon SageMaker, Azure ML and Vertex AI tell a container: its port, its model, its addresses."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from starterkit.errors import UserError
from starterkit.serving.predictor import CONTRACT_FILE

_SAGEMAKER = Path("/opt/ml")
_PORTS = ("SAGEMAKER_BIND_TO_PORT", "AIP_HTTP_PORT")
BAKED = "STARTERKIT_MODEL"
"""Where an image has a model of its own."""
_LEVELS = ("", "*/", "*/*/")
"""How deep in a model's folder the exported one may be: Azure ML keeps the name that it was registered with."""


class Platform(NamedTuple):
    """What is told here; nothing where nobody does."""

    port: int | None = None
    folder: Path | None = None
    predict: tuple[str, ...] = ()
    health: tuple[str, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str], sagemaker: Path = _SAGEMAKER) -> "Platform":
        """
        Raises
        ------
        UserError
            A port is none, or an address, or what a platform brought has no model in it.
        """
        port = next((_port(name, environ[name]) for name in _PORTS if environ.get(name)), None)
        if port is None and sagemaker.is_dir():
            port = 8080
        predict = ("/score",) if environ.get("AZUREML_MODEL_DIR") else ()
        predict += tuple(_addresses("AIP_PREDICT_ROUTE", environ))
        return cls(port, _folder(environ, sagemaker), predict, tuple(_addresses("AIP_HEALTH_ROUTE", environ)))


def _port(name: str, said: str) -> int:
    if said.isdecimal() and 0 < int(said[:6]) < 65536:
        return int(said)
    raise UserError(f"{name} is no port", "Give a number from 1 to 65535")


def _addresses(name: str, environ: Mapping[str, str]) -> Iterator[str]:
    if told := environ.get(name):
        if not told.startswith("/"):
            raise UserError(f"{name} is no address", "Give a path that begins with '/'")
        yield told


def _folder(environ: Mapping[str, str], sagemaker: Path) -> Path | None:
    """The exported folder that the platform brought, or the image's own. A bucket is not read."""
    told = [environ.get("AZUREML_MODEL_DIR"), environ.get("AIP_STORAGE_URI")]
    brought = [Path(one) for one in told if one and "://" not in one] + [sagemaker / "model"]
    for place in brought:
        found = chain.from_iterable(sorted(place.glob(f"{level}{CONTRACT_FILE}")) for level in _LEVELS)
        if (contract := next(found, None)) is not None:
            return contract.parent
        if place.is_dir() and any(place.iterdir()):
            raise UserError(
                f"{place} has no exported folder", "Bring what `starterkit fetch` wrote, with contract.json"
            )
    return Path(baked) if (baked := environ.get(BAKED)) else None
