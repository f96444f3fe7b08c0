"""What the registry holds: versions that were judged, and an alias that points at one that answers."""

from collections.abc import Iterator

from starterkit.doctor.finding import Finding, warning, well
from starterkit.doctor.store import is_there
from starterkit.errors import ContractError, TrackingError
from starterkit.problem import find_problem
from starterkit.registry import CHAMPION, ModelRegistry
from starterkit.settings import Layers
from starterkit.tracking import connect

_NONE_YET = "none yet; `starterkit run` makes one"


def versions(layers: Layers) -> Iterator[Finding]:
    """Versions on which an interrupted command left its last step undone."""
    found = _registry(layers).versions() if is_there(layers) else []
    serving = _registry(layers).aliases().get(CHAMPION, 0) if found else 0
    for version in found:
        mend = f"`starterkit promote --version {version.number}` asks the gate"
        if version.number > serving and "gate" not in version.tags:
            yield warning("versions", f"{version} was registered and never judged", mend)
        elif version.number > serving and version.tags["gate"] == "passed":
            yield warning("versions", f"{version} passed the gate and did not become champion", mend)
    yield well("versions", f"{len(found)} registered" if found else _NONE_YET)


def champion(layers: Layers) -> Iterator[Finding]:
    """The alias points at a version, and that version's files are there and answer."""
    registry = _registry(layers) if is_there(layers) else None
    number = registry.aliases().get(CHAMPION) if registry else None
    if registry is None or number is None:
        yield well("champion", _NONE_YET)
        return
    if number not in {version.number for version in registry.versions()}:
        mend = "`starterkit promote --version …` gives it to one that is there"
        raise TrackingError(f"the alias '{CHAMPION}' points at version {number}, which is gone", mend)
    serving = registry.version(number)
    try:
        registry.open(serving)
    except ContractError as error:
        raise TrackingError(f"{serving} serves, but cannot be opened: {error.what}", error.mend) from error
    yield well("champion", f"{serving} opens and gives its sample's answers")


def _registry(layers: Layers) -> ModelRegistry:
    settings = layers.settings
    return ModelRegistry(connect(settings.tracking, settings.root), settings.stage, find_problem().name)
