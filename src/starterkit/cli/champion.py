"""The model that a command answers with: the stage's champion, or an exported folder."""

import hmac
import json
import logging
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from hmac import compare_digest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from starterkit.errors import ContractError, KitError, ProblemError, Refused, SettingsError, TrackingError, UserError
from starterkit.files import locked, scratch_folder, settle_folder, whole_folder, write_together
from starterkit.progress import INTERRUPTED

if TYPE_CHECKING:
    from starterkit.serving.follower import Named
    from starterkit.serving.predictor import ServedModel
    from starterkit.settings import Settings

VERSION_FILE = "version.json"
"""Beside the exported folder's own files, in one that was kept: which version of which model it is."""


class Fetched(NamedTuple):
    """A champion's exported folder, what the champion is called, and what tells it from another of that number."""

    folder: Path
    model: str
    version: str
    mark: str = ""

    @property
    def title(self) -> str:
        return f"{self.model} version {self.version}"


def open_folder(settings: "Settings", folder: Path) -> "ServedModel":
    """An exported folder's model, as the version that it was kept of, or by the folder's name.

    Raises
    ------
    ContractError
        The folder is incomplete or altered.
    """
    if note := _note(folder):
        return open_fetched(settings, Fetched(folder, note["model"], note["version"]))
    served = open_fetched(settings, Fetched(folder, "", f"folder {folder.name}"))
    return replace(served, name=served.contract.problem)


def open_fetched(settings: "Settings", found: Fetched) -> "ServedModel":
    from starterkit.serving.graph import Compute
    from starterkit.serving.predictor import Predictor, ServedModel

    serving = settings.serving
    compute = Compute(serving.threads, serving.providers, serving.provider_fallback)
    return ServedModel(found.model, found.version, Predictor(found.folder, compute, serving.beyond), found.mark)


def model_name(settings: "Settings") -> str:
    return f"{settings.stage}.{name_of_problem()}"


def version_named(settings: "Settings", alias: str) -> "Named | None":
    """Which version the alias points at now, asked without MLflow's library; None where there is none.

    Raises
    ------
    TrackingError
        The registry does not answer.
    """
    from starterkit.serving.follower import Named
    from starterkit.tracking.connection import ask_alias, local_store

    if store := local_store(settings.tracking, settings.root):
        at_hand = store.aliased(model_name(settings), alias)
        return Named(str(at_hand.number), at_hand.run) if at_hand else None
    found = ask_alias(settings.tracking, model_name(settings), alias)
    return Named(*found) if found else None


# --- A copy that the API keeps. See docs/decisions/0028-live.md.

_SECONDS_TO_FETCH = 600.0
_SECONDS_TO_FETCH_WITH_A_COPY = 20.0
_SECONDS_TO_SETTLE = 5.0
_LOG = logging.getLogger("uvicorn.error")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def place_of_copy(settings: "Settings") -> Path | None:
    """The folder for the copy of a server's champion; None where none is needed, or others could change it."""
    from starterkit.tracking.connection import local_store

    if local_store(settings.tracking, settings.root):
        return None
    place = settings.root / settings.serving.copy_folder / model_name(settings)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.stat()
    except OSError:
        return None
    is_ours = found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE
    return place if is_ours and os.access(place, os.W_OK) else None


class Kept:
    """The champion, asked of the registry and kept as a copy.

    All processes that answer share it, so that it is fetched once; a new one starts with it, and so does the API where
    the registry does not answer. It is replaced by what answered well, and by nothing else.

    Parameters
    ----------
    settings
        Of the stage. With `promotion.version_key`, only a copy that it signed is opened.
    folder
        For the copy and its lock.
    """

    def __init__(self, settings: "Settings", folder: Path) -> None:
        self._settings = settings
        self._copy, self._lock = folder / "model", folder / "lock"

    def named(self) -> "Named | None":
        from starterkit.tracking.registry import CHAMPION

        return version_named(self._settings, CHAMPION)

    @contextmanager
    def opened(
        self, wanted: "Named | None", seconds: float = _SECONDS_TO_FETCH
    ) -> Generator["ServedModel", None, None]:
        """The champion: the copy where it is the one that is wanted, or fetched, and kept where the block ends well.

        Raises
        ------
        ContractError, Refused, TrackingError
            What `open_folder` and `fetched_champion` raise.
        """
        with ExitStack() as alone:
            try:
                self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                alone.enter_context(locked(self._lock, seconds))
            except TimeoutError:
                what = f"another process has been fetching the champion for {seconds:.0f} seconds"
                raise TrackingError(what, "`starterkit doctor` looks closer") from None
            except OSError:  # nothing can be written here: this process fetches for itself
                pass
            copy = None
            with suppress(ContractError):  # it is damaged, and will be replaced
                copy = self._read(wanted) if wanted else None
            if copy:
                yield copy
                return
            with fetched_champion(seconds) as fetched:
                yield (served := open_fetched(self._settings, fetched))
                self._keep(fetched, served.predictor.digest)

    def first(self) -> "tuple[ServedModel, Exception | None]":
        """The model to begin with: the champion or, where it cannot be had, the copy and why.

        Raises
        ------
        ContractError, Refused, TrackingError
            There is no copy either. Or the registry answers, and has no champion.
        """
        wanted = None
        try:
            wanted = self.named()
        except TrackingError as error:
            if served := self.last():
                return served, error
        try:
            seconds = _SECONDS_TO_FETCH_WITH_A_COPY if self._copy.exists() else _SECONDS_TO_FETCH
            with self.opened(wanted, seconds) as served:
                return served, None
        except (ContractError, Refused, TrackingError, OSError) as error:
            if wanted is None or (kept := self.last()) is None:
                raise
            return kept, error

    def last(self) -> "ServedModel | None":
        """The copy, whatever the registry says; None where there is none that can be trusted."""
        with suppress(ContractError):
            if served := self._read():
                return served
        with suppress(OSError), locked(self._lock, _SECONDS_TO_SETTLE):  # it is being replaced, or that was cut off
            settle_folder(self._copy)
        try:
            return self._read()
        except ContractError as error:
            _LOG.warning("the copy of the champion is not used: %s", error.what)
            return None

    def _read(self, wanted: "Named | None" = None) -> "ServedModel | None":
        from starterkit.serving.predictor import CONTRACT_FILE, sha256

        note = _note(self._copy)
        if note is None or (wanted and wanted != (note["version"], note.get("mark"))):
            return None
        try:
            digest = sha256((self._copy / CONTRACT_FILE).read_bytes())
        except OSError as error:
            raise ContractError(f"{CONTRACT_FILE} cannot be read from the copy: {error.strerror}") from error
        expected = self._written(Fetched(self._copy, note["model"], note["version"], str(note.get("mark"))), digest)
        if any(not compare_digest(str(note.get(name)).encode(), text.encode()) for name, text in expected.items()):
            raise ContractError("its note is of other files, of another server or stage, or not signed by this key")
        found = open_fetched(self._settings, Fetched(self._copy, note["model"], note["version"], expected["mark"]))
        if found.predictor.digest != digest:
            raise ContractError("it was replaced while it was read")
        return found

    def _written(self, fetched: Fetched, digest: str) -> dict[str, str]:
        """What is noted of a copy: with a key, signed, for whoever may write to a disk may not say what serves."""
        from starterkit.settings import mask

        settings, key = self._settings, self._settings.promotion.version_key
        note = {"model": model_name(settings), "version": fetched.version, "mark": fetched.mark}
        note |= {"tracking": mask(settings.tracking.uri), "contract": digest}
        if key:
            signed = json.dumps(["copy", *note.values()]).encode()
            note["signature"] = hmac.digest(key.get_secret_value().encode(), signed, "sha256").hex()
        return note

    def _keep(self, fetched: Fetched, digest: str) -> None:
        try:
            _copy(fetched.folder, self._copy, self._written(fetched, digest))
        except OSError as error:  # a full disk stops no answer
            _LOG.warning("no copy of version %s is kept: %s", fetched.version, error.strerror)


# --- A copy for elsewhere.


def keep_champion(to: Path) -> Fetched:
    """Copy the champion's exported folder, with a note of which version it is. An earlier copy is replaced.

    Raises
    ------
    UserError
        There is something else in `to`.
    ContractError, TrackingError
        What `open_folder` and `fetched_champion` raise.
    """
    from starterkit.serving.predictor import Predictor

    if to.exists() and not (to.is_dir() and {file.name for file in to.iterdir()} <= {*_files(), VERSION_FILE}):
        raise UserError(f"{to} holds something else than a model's exported folder", "Name a new folder")
    with fetched_champion() as fetched:
        Predictor(fetched.folder)
        _copy(fetched.folder, to, {"model": fetched.model, "version": fetched.version})
    return fetched._replace(folder=to)


def _files() -> tuple[str, ...]:
    from starterkit.serving.predictor import CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE

    return CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE


def _copy(folder: Path, to: Path, note: Mapping[str, str]) -> None:
    """On the disk before it has its name: also a power cut leaves this copy or the one before it."""
    with whole_folder(to) as made:
        files: dict[Path, bytes | Path] = {made / name: folder / name for name in _files()}
        write_together(files | {made / VERSION_FILE: f"{json.dumps(note)}\n".encode()})


def copy_folder(folder: Path, to: Path) -> Path:
    """Copy what is there of an exported folder, kept or not. Whoever opens the copy says what is missing."""
    to.mkdir()
    for name in (*_files(), VERSION_FILE):
        with suppress(FileNotFoundError, NotADirectoryError):
            shutil.copyfile(folder / name, to / name)
    return to


def _note(folder: Path) -> dict[str, str] | None:
    """What was noted of a copy; None in a folder that holds no note."""
    try:
        noted = json.loads((folder / VERSION_FILE).read_text("utf-8"))
        return {"model": str(noted.pop("model")), "version": str(noted.pop("version")), **noted}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{VERSION_FILE} in the folder '{folder.name}' does not say which version it is"
        raise ContractError(what, "Fetch the model again, with `starterkit fetch`") from error


@contextmanager
def fetched_champion(seconds: float | None = None) -> Generator[Fetched, None, None]:
    """The champion's exported folder, for as long as it is needed; fetched within so many seconds, or not at all.

    A local store's is read where it lies. From a server a process of its own fetches it, for MLflow would stay in this
    one with hundreds of megabytes. See docs/decisions/0011-batch.md.

    Raises
    ------
    TrackingError
        The registry cannot be reached, or has no champion.
    ContractError, Refused
        Its files are not what its gate judged; staging and prod ask what that said.
    """
    from starterkit.machine import stated_name
    from starterkit.settings import load_settings
    from starterkit.tracking.connection import local_store
    from starterkit.tracking.registry import champion_at_hand

    settings = load_settings()
    store, name = local_store(settings.tracking, settings.root), stated_name()
    model = f"{settings.stage}.{name}"
    if store and name and (at_hand := champion_at_hand(store, model)):
        yield Fetched(at_hand.folder, model, str(at_hand.number), at_hand.run)
        return
    with scratch_folder() as scratch:
        yield fetched_by_another(scratch, seconds)


_RAISED = {kind.__name__: kind for kind in (ContractError, ProblemError, Refused, SettingsError, UserError)}


def fetched_by_another(scratch: Path, seconds: float | None, version: str = "champion") -> Fetched:
    """What another process fetches into a folder; what stops it is raised here."""
    command = [sys.executable, "-m", "starterkit.cli.champion", str(scratch), version]
    hint, what = "`starterkit doctor` looks closer", f"version {version}" if version.isdigit() else "the champion"
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=seconds)  # noqa: S603  # fixed words
        said = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise TrackingError(f"{what} could not be fetched within {seconds:.0f} seconds", hint) from None
    except json.JSONDecodeError:
        raise TrackingError(f"{what} could not be fetched", hint) from None
    if "what" in said:
        raise _RAISED.get(said["kind"], TrackingError)(said["what"], said["mend"])
    return Fetched(Path(said["folder"]), said["model"], said["version"], said["mark"])


def _fetch(into: Path, name: str) -> dict[str, str]:
    from starterkit.release.trust import require_trust
    from starterkit.settings import load_settings
    from starterkit.tracking.registry import ModelRegistry

    registry = ModelRegistry.of(load_settings(), name_of_problem())
    champion = registry.champion() if name == "champion" else registry.find(name)
    if champion is None:
        raise TrackingError(f"registered model '{registry.model}' has no champion", "Run `starterkit run` first")
    for note in require_trust(registry, champion, answers=name == "champion"):
        print(f"note: {note}", file=sys.stderr)
    folder = str(registry.fetch(champion, into))
    return {"folder": folder, "model": champion.model, "version": str(champion.number), "mark": champion.run}


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
        print(json.dumps(_fetch(Path(sys.argv[1]), sys.argv[2])))
    except KitError as error:
        print(json.dumps({"kind": type(error).__name__, "what": error.what, "mend": error.hint}))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
