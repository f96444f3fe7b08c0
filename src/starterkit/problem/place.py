"""Where the project's own code failed: the one part of a traceback that its author wants to see."""

import sysconfig
import traceback

_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


def place_of(error: BaseException) -> str:
    """The file and the line that raised, or that called the library which did."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((*_LIBRARIES, "<"))]
    last = (own or frames)[-1]
    return f"{last.filename}, line {last.lineno}"
