"""What scikit-learn says when it refuses rows, without the values that it likes to quote."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from starterkit.errors import DataError, ProblemError, first_line

_QUOTED = re.compile(r"(np\.\w+\()?['\"\[{]")


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Raise scikit-learn's refusal of some rows as a `DataError`, and of a parameter as a `ProblemError`."""
    from sklearn.utils._param_validation import InvalidParameterError  # it has no public name

    try:
        yield
    except InvalidParameterError as error:
        raise ProblemError(f"the estimator refuses a parameter: {error}", "Change training.params in config") from error
    except (ValueError, TypeError) as error:
        mend = "Add an imputer or an encoder to the estimator, or change the schema"
        raise DataError(f"{what}: {unquoted(error)}", mend) from error


def unquoted(error: BaseException) -> str:
    """The first line of the message, up to the first thing quoted: it could be a person's."""
    return _QUOTED.split(first_line(error))[0].rstrip(" :,=") or type(error).__name__
