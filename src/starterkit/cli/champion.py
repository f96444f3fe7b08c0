"""The model that a command answers with: the stage's champion, or an exported folder."""

import json
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from starterkit.errors import ContractError, KitError, ProblemError, TrackingError, UserError
from starterkit.files import scratch_folder, whole_folder
from starterkit.progress import INTERRUPTED

if TYPE_CHECKING:
    from starterkit.serving.predictor import ServedModel
    from starterkit.settings import Settings

VERSION_FILE = "version.json"
"""Beside the exported folder's own files, in one that was kept: which version of which model it is."""


class Fetched(NamedTuple):
    """A champion's exported folder, and what the champion is called."""

    folder: Path
    model: str
    version: str

    @property
    def title(self) -> str:
        return f"{self.model} version {self.version}"


def find_champion(settings: "Settings", folder: Path | None = None) -> "ServedModel":
    """Open the exported folder, or fetch and open what the alias points at.

    Raises
    ------
    ContractError
        The folder is incomplete or altered.
    TrackingError
        The registry cannot be reached, or has no champion.
    """
    from starterkit.serving.graph import Compute
    from starterkit.serving.predictor import Predictor, ServedModel

    serving = settings.serving
    compute = Compute(serving.threads, serving.providers, serving.provider_fallback)
    if folder is not None:
        predictor = Predictor(folder, compute, serving.beyond)
        kept = _kept(folder) or Fetched(folder, predictor.contract.problem, f"folder {folder.name}")
        return ServedModel(kept.model, kept.version, predictor)
    with fetched_champion() as fetched:  # a predictor keeps nothing open
        return ServedModel(fetched.model, fetched.version, Predictor(fetched.folder, compute, serving.beyond))


def champion_version(settings: "Settings") -> str | None:
    """Which version is the champion now, asked without MLflow's library; None where there is none.

    Raises
    ------
    TrackingError
        The registry does not answer.
    """
    from starterkit.tracking.connection import ask_alias, local_store
    from starterkit.tracking.registry import CHAMPION

    if local_store(settings.tracking, settings.root):
        at_hand = _at_hand()
        return at_hand.version if at_hand else None
    return ask_alias(settings.tracking, f"{settings.stage}.{name_of_problem()}", CHAMPION)


def keep_champion(to: Path) -> Fetched:
    """Copy the champion's exported folder, with a note of which version it is. An earlier copy is replaced.

    Raises
    ------
    UserError
        There is something else in `to`.
    ContractError, TrackingError
        What `find_champion` raises.
    """
    from starterkit.serving.predictor import CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE, Predictor

    files = CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE
    if to.exists() and not (to.is_dir() and {file.name for file in to.iterdir()} <= {*files, VERSION_FILE}):
        raise UserError(f"{to} holds something else than a model's exported folder", "Name a new folder")
    with fetched_champion() as fetched, whole_folder(to) as made:
        Predictor(fetched.folder)
        for name in files:
            shutil.copyfile(fetched.folder / name, made / name)
        note = {"model": fetched.model, "version": fetched.version}
        (made / VERSION_FILE).write_text(json.dumps(note) + "\n", "utf-8")
    return fetched._replace(folder=to)


def copy_folder(folder: Path, to: Path) -> Path:
    """Copy what is there of an exported folder, kept or not. Whoever opens the copy says what is missing."""
    from starterkit.serving.predictor import CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE

    to.mkdir()
    for name in (CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE, VERSION_FILE):
        with suppress(FileNotFoundError, NotADirectoryError):
            shutil.copyfile(folder / name, to / name)
    return to


def _kept(folder: Path) -> Fetched | None:
    """What `keep_champion` noted; None in a folder that it did not make."""
    try:
        noted = json.loads((folder / VERSION_FILE).read_text("utf-8"))
        return Fetched(folder, str(noted["model"]), str(noted["version"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"{VERSION_FILE} in the folder '{folder.name}' does not say which version it is"
        raise ContractError(what, "Fetch the model again, with `starterkit fetch`") from error


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
    from starterkit.machine import stated_name
    from starterkit.settings import load_settings
    from starterkit.tracking.connection import local_store
    from starterkit.tracking.registry import champion_at_hand

    settings = load_settings()
    store, name = local_store(settings.tracking, settings.root), stated_name()
    found = champion_at_hand(store, settings.stage, name) if store and name else None
    return Fetched(found[1], f"{settings.stage}.{name}", str(found[0])) if found else None


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
    return Fetched(Path(said["folder"]), said["model"], said["version"])


def _fetch(into: Path) -> dict[str, str]:
    from starterkit.release.trust import require_trust
    from starterkit.settings import load_settings
    from starterkit.tracking.registry import ModelRegistry

    registry = ModelRegistry.of(load_settings(), name_of_problem())
    champion = registry.champion()
    if champion is None:
        raise TrackingError(f"registered model '{registry.model}' has no champion", "Run `starterkit run` first")
    for note in require_trust(registry, champion):
        print(f"note: {note}", file=sys.stderr)
    return {"folder": str(registry.fetch(champion, into)), "model": champion.model, "version": str(champion.number)}


def name_of_problem() -> str:
    """As the project's entry point states it; by importing the project only where that is called ``default``."""
    from starterkit.machine import UNNAMED, stated_name

    if name := stated_name():
        return name
    try:
        from starterkit.problem import find_problem
    except ModuleNotFoundError as error:  # the serving image has no pandas
        what = f"the entry point '{UNNAMED}' does not say the problem's name, and importing it needs {error.name}"
        raise ProblemError(what, "Call the entry point in pyproject.toml as the problem") from None
    return find_problem().name


if __name__ == "__main__":  # the process that `fetched_champion` starts
    try:
        print(json.dumps(_fetch(Path(sys.argv[1]))))
    except KitError as error:
        print(json.dumps({"what": error.what, "mend": error.hint}))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
