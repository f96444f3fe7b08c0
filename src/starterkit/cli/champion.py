"""The model that a command answers with: the stage's champion, or an exported folder."""

import json
import subprocess
import sys
from collections.abc import Generator
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
    registry, champion = _champion(settings)
    return ServedModel(champion.model, str(champion.number), registry.open(champion, threads))


class Fetched(NamedTuple):
    """A champion's exported folder, and what the champion is called."""

    folder: Path
    title: str


@contextmanager
def fetched_champion() -> Generator[Fetched, None, None]:
    """The champion's exported folder, for as long as it is needed.

    A process of its own fetches it, for MLflow and the project's code would stay in this one with hundreds of
    megabytes.

    Raises
    ------
    TrackingError, UserError
        What `find_champion` and the settings raise.
    """
    with TemporaryDirectory(prefix="starterkit-") as scratch:
        command = [sys.executable, "-m", "starterkit.cli.champion", scratch]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603  # fixed words
        try:
            said = json.loads(done.stdout)
        except json.JSONDecodeError:
            raise TrackingError("the champion could not be fetched", "`starterkit doctor` looks closer") from None
        if "what" in said:
            kind = UserError if done.returncode == UserError.exit_code else TrackingError
            raise kind(said["what"], said["mend"])
        yield Fetched(Path(said["folder"]), said["title"])


def _champion(settings: "Settings") -> "tuple[ModelRegistry, Version]":
    from starterkit.problem import find_problem
    from starterkit.registry import ModelRegistry
    from starterkit.tracking import connect

    registry = ModelRegistry(connect(settings.tracking, settings.root), settings.stage, find_problem().name)
    champion = registry.champion()
    if champion is None:
        raise TrackingError(f"registered model '{registry.model}' has no champion", "Run `starterkit run` first")
    return registry, champion


def _fetch(into: Path) -> dict[str, str]:
    from starterkit.settings import load_settings

    registry, champion = _champion(load_settings())
    return {"folder": str(registry.fetch(champion, into)), "title": str(champion)}


if __name__ == "__main__":  # the process that `fetched_champion` starts
    try:
        print(json.dumps(_fetch(Path(sys.argv[1]))))
    except KitError as error:
        print(json.dumps({"what": error.what, "mend": error.mend}))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
