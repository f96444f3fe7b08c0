"""The model that a command answers with: the stage's champion, or an exported folder."""

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from starterkit.errors import KitError, TrackingError, UserError
from starterkit.scratch import scratch_folder

if TYPE_CHECKING:
    from starterkit.registry import ModelRegistry, Version
    from starterkit.serving import ServedModel
    from starterkit.settings import Settings

_INTERRUPTED = 130


def find_champion(settings: "Settings", folder: Path | None = None) -> "ServedModel":
    """Open the exported folder, or fetch and open what the alias points at.

    Raises
    ------
    ContractError
        The folder is incomplete or altered.
    TrackingError
        The registry cannot be reached, or has no champion.
    """
    from starterkit.inference import Predictor
    from starterkit.serving import ServedModel

    threads = settings.serving.threads
    if folder is not None:
        predictor = Predictor(folder, threads)
        return ServedModel(predictor.contract.problem, f"folder {folder.name}", predictor)
    from starterkit.problem import find_problem

    registry, champion = _champion(settings, find_problem().name)
    return ServedModel(champion.model, str(champion.number), registry.open(champion, threads))


class Fetched(NamedTuple):
    """A champion's exported folder, and what the champion is called."""

    folder: Path
    title: str


@contextmanager
def fetched_champion() -> Generator[Fetched, None, None]:
    """The champion's exported folder, for as long as it is needed.

    A local store's is read where it lies. From a server a process of its own fetches it, for MLflow would stay in this
    one with hundreds of megabytes. See docs/decisions/0011-batch.md.

    Raises
    ------
    TrackingError, UserError
        What `find_champion` and the settings raise.
    """
    if at_hand := _at_hand():
        yield at_hand
        return
    with scratch_folder() as scratch:
        yield _fetched_by_another(scratch)


def _at_hand() -> Fetched | None:
    from starterkit.entry import stated_name
    from starterkit.registry import champion_at_hand
    from starterkit.settings import load_settings
    from starterkit.tracking import local_store

    settings = load_settings()
    store, name = local_store(settings.tracking, settings.root), stated_name()
    found = champion_at_hand(store, settings.stage, name) if store and name else None
    return Fetched(folder=found[1], title=found[0]) if found else None


def _champion(settings: "Settings", name: str) -> "tuple[ModelRegistry, Version]":
    from starterkit.registry import ModelRegistry
    from starterkit.tracking import connect

    registry = ModelRegistry(connect(settings.tracking, settings.root), settings.stage, name)
    champion = registry.champion()
    if champion is None:
        raise TrackingError(f"registered model '{registry.model}' has no champion", "Run `starterkit run` first")
    return registry, champion


def _fetched_by_another(scratch: Path) -> Fetched:
    """What another process fetches into a folder; what stops it is raised here."""
    command = [sys.executable, "-m", "starterkit.cli.champion", str(scratch)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603  # fixed words
    try:
        said = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise TrackingError("the champion could not be fetched", "`starterkit doctor` looks closer") from None
    if "what" in said:
        kind = UserError if done.returncode == UserError.exit_code else TrackingError
        raise kind(said["what"], said["mend"])
    return Fetched(Path(said["folder"]), said["title"])


def _fetch(into: Path) -> dict[str, str]:
    from starterkit.entry import stated_name
    from starterkit.settings import load_settings

    settings = load_settings()
    name = stated_name()
    if name is None:
        from starterkit.problem import find_problem

        name = find_problem().name
    registry, champion = _champion(settings, name)
    return {"folder": str(registry.fetch(champion, into)), "title": str(champion)}


if __name__ == "__main__":  # the process that `fetched_champion` starts
    try:
        print(json.dumps(_fetch(Path(sys.argv[1]))))
    except KitError as error:
        print(json.dumps({"what": error.what, "mend": error.mend}))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
