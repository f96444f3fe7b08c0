"""The model that a command answers with: the stage's champion, or an exported folder."""

import json
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from starterkit.errors import KitError, TrackingError, UserError

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

    registry, champion = _champion(settings, lambda: find_problem().name)
    return ServedModel(champion.model, str(champion.number), registry.open(champion, threads))


class Fetched(NamedTuple):
    """A champion's exported folder, and what the champion is called."""

    folder: Path
    title: str


@contextmanager
def fetched_champion() -> Generator[Fetched, None, None]:
    """The champion's exported folder, for as long as it is needed.

    Processes of their own fetch it, for MLflow and the project's code would stay in this one with hundreds of
    megabytes.

    Raises
    ------
    TrackingError, UserError
        What `find_champion` and the settings raise.
    """
    with TemporaryDirectory(prefix="starterkit-") as scratch:
        said = _said_by(_start(scratch))
        yield Fetched(Path(said["folder"]), said["title"])


def _champion(settings: "Settings", name: Callable[[], str]) -> "tuple[ModelRegistry, Version]":
    from starterkit.registry import ModelRegistry
    from starterkit.tracking import connect

    connection = connect(settings.tracking, settings.root)
    registry = ModelRegistry(connection, settings.stage, name())
    champion = registry.champion()
    if champion is None:
        raise TrackingError(f"registered model '{registry.model}' has no champion", "Run `starterkit run` first")
    return registry, champion


def _start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "starterkit.cli.champion", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  # fixed words


def _said_by(process: subprocess.Popen[str]) -> dict[str, str]:
    """What a process found; what stopped it is raised here."""
    with process:
        text = process.communicate()[0]
    try:
        said = json.loads(text)
    except json.JSONDecodeError:
        raise TrackingError("the champion could not be fetched", "`starterkit doctor` looks closer") from None
    if "what" in said:
        kind = UserError if process.returncode == UserError.exit_code else TrackingError
        raise kind(said["what"], said["mend"])
    return said


def _fetch(into: Path) -> dict[str, str]:
    """Fetch, while a second process asks the project's code for the problem's name: each is slow to load."""
    from starterkit.settings import load_settings

    settings = load_settings()
    naming = _start()
    try:
        registry, champion = _champion(settings, lambda: _said_by(naming)["name"])
    finally:
        naming.terminate()
    return {"folder": str(registry.fetch(champion, into)), "title": str(champion)}


def _name() -> dict[str, str]:
    from starterkit.problem import find_problem

    return {"name": find_problem().name}


if __name__ == "__main__":  # a process that `fetched_champion` started
    try:
        print(json.dumps(_fetch(Path(sys.argv[1])) if sys.argv[1:] else _name()))
    except KitError as error:
        print(json.dumps({"what": error.what, "mend": error.mend}))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
