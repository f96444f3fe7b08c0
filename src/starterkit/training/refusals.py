"""What scikit-learn says when it refuses rows, without the values that it likes to quote."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from starterkit.errors import DataError, KitError, ProblemError, first_line
from starterkit.problem.place import place_of

_QUOTED = re.compile(r"(np\.\w+\()?['\"\[{]")

_ANY_MEND = "Add an imputer or an encoder to the estimator, or change the schema"
_MENDS = {
    "Invalid classes inferred": "XGBoost wants classes that are numbered from 0 on: let load() number them",
    "early stopping": "Leave early stopping out: the kit keeps no further rows for it",
}


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Raise scikit-learn's refusal of some rows as a `DataError`, and of a parameter as a `ProblemError`.

    Other libraries raise classes of their own, and a project's own step may fail in any way.
    """
    from sklearn.utils._param_validation import InvalidParameterError  # it has no public name

    try:
        yield
    except InvalidParameterError as error:
        raise ProblemError(f"the estimator refuses a parameter: {error}", "Change training.params in config") from error
    except (ValueError, TypeError) as error:
        mend = next((mend for words, mend in _MENDS.items() if words in str(error)), _ANY_MEND)
        raise DataError(f"{what}: {unquoted(error)}", mend) from error
    except (KitError, OSError, MemoryError):
        raise
    except Exception as error:
        if type(error).__module__.startswith("lightgbm."):
            mend = "Change the target, the columns' names or the estimator's parameters"
            raise DataError(f"{what}: {unquoted(error)}", mend) from error
        what = f"the project's estimator fails with {type(error).__name__} ({place_of(error)})"
        raise ProblemError(what, "Mend the project's code") from error


def unquoted(error: BaseException) -> str:
    """The first line of the message, up to the first thing quoted: it could be a person's."""
    return _QUOTED.split(first_line(error))[0].rstrip(" :,=") or type(error).__name__
