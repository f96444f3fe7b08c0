"""What the registry holds: versions that were judged, and an alias that points at one that answers."""

from collections.abc import Iterator

from starterkit.doctor.finding import Finding, warning, well
from starterkit.doctor.store import is_there
from starterkit.errors import ContractError, TrackingError
from starterkit.problem import find_problem
from starterkit.promotion import champions, serving
from starterkit.registry import CHAMPION, Ledger, ModelRegistry
from starterkit.settings import Layers
from starterkit.tracking import connect

_NONE_YET = "none yet; `starterkit run` makes one"


def versions(layers: Layers) -> Iterator[Finding]:
    """Versions on which an interrupted command left its last step undone."""
    registry = registry_of(layers) if is_there(layers) else None
    found = registry.versions() if registry else []
    now = registry.aliases().get(CHAMPION, 0) if registry else 0
    former = champions(Ledger(registry).entries()) if registry else ()
    for version in found:
        if version.number in former:  # one that was rolled back from is newer than the champion
            continue
        mend = f"`starterkit promote --version {version.number}` asks the gate"
        if version.number > now and "gate" not in version.tags:
            yield warning("versions", f"{version} was registered and never judged", mend)
        elif version.number > now and version.tags["gate"] == "passed":
            yield warning("versions", f"{version} passed the gate and did not become champion", mend)
    yield well("versions", f"{len(found)} registered" if found else _NONE_YET)


def champion(layers: Layers) -> Iterator[Finding]:
    """The alias points at a version, and that version's files are there and answer."""
    registry = registry_of(layers) if is_there(layers) else None
    number = registry.aliases().get(CHAMPION) if registry else None
    told = serving(Ledger(registry).entries()) if registry else None
    if registry is not None and number is None and told is not None:
        what = f"version {told} was champion, and the alias '{CHAMPION}' or the version was deleted"
        raise TrackingError(what, "`starterkit rollback --reason …` lets an earlier champion serve")
    if registry is None or number is None:
        yield well("champion", _NONE_YET)
        return
    if number not in {version.number for version in registry.versions()}:
        mend = "`starterkit rollback --reason …` gives it to an earlier one, `promote --version …` to one that is there"
        raise TrackingError(f"the alias '{CHAMPION}' points at version {number}, which is gone", mend)
    version = registry.version(number)
    try:
        registry.open(version)
    except ContractError as error:
        raise TrackingError(f"{version} serves, but cannot be opened: {error.what}", error.mend) from error
    if told is not None and told != number:
        mend = "If that was meant, `starterkit promote --version …` writes it down"
        yield warning("champion", f"{version} serves, and the history says version {told}: the alias was moved", mend)
    yield well("champion", f"{version} opens and gives its sample's answers")


def registry_of(layers: Layers) -> ModelRegistry:
    settings = layers.settings
    return ModelRegistry(connect(settings.tracking, settings.root), settings.stage, find_problem().name)
