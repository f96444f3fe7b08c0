"""What the kit raises: one line that names the thing and where it was found, and one that says what to do."""

import errno
import sysconfig
import traceback
from collections.abc import Iterable
from difflib import get_close_matches


class KitError(Exception):
    """A failure that the kit foresaw. The command line shows it as one line, without a traceback.

    Parameters
    ----------
    what
        The thing that is wrong and where it was found. Never a secret or a sensitive value.
    hint
        What to do about it, as an imperative sentence.
    """

    exit_code = 1

    def __init__(self, what: str, hint: str = "") -> None:
        self.what = what.rstrip(".")
        self.hint = hint.rstrip(".")
        end = "" if self.hint.endswith("?") else "."
        super().__init__(f"{self.what}. {self.hint}{end}" if hint else f"{self.what}.")


class UserError(KitError):
    """A mistake that the user can mend: a setting, a file, an argument."""

    exit_code = 2


class SettingsError(UserError):
    """A stage's settings say something that they may not."""


class ProblemError(UserError):
    """The user's `Problem` contradicts itself or its settings."""


class DataError(UserError):
    """The data cannot be read, or is not what the schema says."""


class ExportError(KitError):
    """An estimator cannot be exported, or its graph does not answer as it does."""


class ContractError(KitError):
    """An exported folder is incomplete, altered, or of a version this kit does not read."""


class TrackingError(KitError):
    """The MLflow server or store cannot be reached, or lacks what was asked for. `code` is MLflow's own word for it."""

    code = ""


class Refused(KitError):
    """The gate refused a version, or the stage refuses the work."""


_HINTS = {
    errno.ENOSPC: "Free space on the disk, then give the command again",
    errno.EDQUOT: "Free space within your quota, then give the command again",
    errno.EROFS: "The disk is read-only: work on another one",
    errno.EACCES: "Run this as its owner, or give yourself the right to use it",
    errno.EPERM: "Run this as its owner, or give yourself the right to use it",
    errno.EMFILE: "Raise the number of open files, as with `ulimit -n`",
    errno.ENFILE: "Close other programs: the machine has too many open files",
    errno.EISDIR: "Name a file: this is a folder",
    errno.ENOTDIR: "Name another place: a file is where a folder would have to be",
    errno.ENAMETOOLONG: "Choose a shorter name",
    errno.ENOMEM: "Close other programs: the machine has no memory left",
}


def of_machine(error: OSError) -> KitError | None:
    """What the machine refuses anywhere (a full disk, a missing right) in one line; None for anything else."""
    hint = _HINTS.get(error.errno or 0)
    if hint is None:
        return None
    return KitError(": ".join(map(str, filter(None, (error.strerror, error.filename)))), hint)


def first_line(error: BaseException | str) -> str:
    """The first line of a message, or the error's name where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def meant(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`` (did you mean …?)`` where a name is nearly one of those that are known."""
    near = get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f" (did you mean {near[0]}?)" if near else ""


# --- Where the project's own code failed: the one part of a traceback that its author wants to see.

_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


def place_of(error: BaseException) -> str:
    """The file and the line that raised, or that called the library which did."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((*_LIBRARIES, "<"))]
    last = (own or frames)[-1]
    return f"{last.filename}, line {last.lineno}"
