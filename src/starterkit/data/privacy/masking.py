"""A policy carried out: rows as a stage may see them, under pseudonyms that come from the stage's secret key."""

import hmac
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from starterkit.contract import Column
from starterkit.data.privacy.policy import Policy, emptied, generalised
from starterkit.data.synthetic import mock_rows
from starterkit.errors import DataError
from starterkit.files import keep_secret
from starterkit.settings import Stage

if TYPE_CHECKING:
    import pandas as pd

# --- `StageKey`: the secret from which a stage's pseudonyms come, and the file in which it is kept.

KEY_NAME = "KIT_PRIVACY__KEY"
KEY_FILE = f"secrets/{KEY_NAME}"


class StageKey:
    """A stage's own key, derived from the secret: whoever has another stage's pseudonyms cannot link them."""

    def __init__(self, secret: str, stage: Stage) -> None:
        self._key = hmac.digest(secret.encode(), f"starterkit/{stage}".encode(), "sha256")
        self.fingerprint = self.digest("fingerprint", "").hex()[:16]
        """Names the key without giving it away."""

    def digest(self, purpose: str, text: str) -> bytes:
        """HMAC-SHA256 of a text; for each purpose another."""
        return hmac.digest(self._key, f"{purpose}\x00{text}".encode(), "sha256")

    def signature(self, content: bytes) -> str:
        """HMAC-SHA256 of a file's content, in hex."""
        return hmac.digest(self._key, b"signature\x00" + content, "sha256").hex()


def find_key(stage: Stage, given: SecretStr | None, root: Path) -> StageKey | None:
    """The stage's key from the settings or its file; None where there is none."""
    secret = given.get_secret_value() if given else _read(root / KEY_FILE)
    return StageKey(secret, stage) if secret else None


def make_key(stage: Stage, given: SecretStr | None, root: Path) -> StageKey:
    """The stage's key. Without one, a secret is made and kept, for its owner to read.

    Of two processes that make one at once both get the same.
    """
    found = find_key(stage, given, root)
    if found:
        return found
    secret = keep_secret(root / KEY_FILE, secrets.token_hex(32))
    if not secret:
        raise DataError(f"{KEY_FILE} is empty", "Remove it, and a new key is made; or put the earlier key there")
    return StageKey(secret, stage)


def throwaway_key(stage: Stage) -> StageKey:
    """A key that nobody keeps, for who only looks."""
    return StageKey(secrets.token_hex(32), stage)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError):
        raise DataError(f"{KEY_FILE} cannot be read", "Make it a UTF-8 file that you may read") from None


# --- Names for records that say nothing about them to who lacks the key.

_DIGITS = 32


def pseudonyms(values: "pd.Series", key: StageKey) -> "pd.Series":
    """HMAC-SHA256 of each of n values, cut to 128 bits: the same for the same value, in this stage only."""
    return values.map(lambda value: key.digest("pseudonym", str(value)).hex()[:_DIGITS]).astype("str")


def row_keys(values: "pd.Series", key: StageKey, purpose: str = "row") -> NDArray[np.uint64]:
    """64 bits of another HMAC for each of n values: enough to see that two rows share a record."""
    digests = (key.digest(purpose, str(value))[:8] for value in values)
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


# --- A policy carried out: rows as a stage may see them.


def treat(policy: Policy, frame: "pd.DataFrame", key: StageKey | None) -> "pd.DataFrame":
    """The rows with features and target as the stage may see them; identifiers are left to whoever drops them.

    A dropped feature stays as one value in all rows, so that the same estimator can be fitted. Types stay.

    Raises
    ------
    DataError
        What `Policy.require_possible` raises, or no made-up rows can be drawn.
    """
    policy.require_possible()
    model = [column for column in policy.columns if column.role in ("feature", "target")]
    if policy.mocks:
        model.sort(key=lambda column: column.role == "target")
        seed = int.from_bytes(key.digest("mock", "")[:8], "big") if key else 0
        made = mock_rows(model, frame, seed)
        frame = _with(frame, {column.name: made[column.name] for column in model})
    return _with(frame, {column.name: _treated(policy, column, frame[column.name]) for column in model})


def _with(frame: "pd.DataFrame", columns: "dict[str, pd.Series]") -> "pd.DataFrame":
    """Not `assign(**columns)`: a column may be called ``self``."""
    frame = frame.copy()
    for name, values in columns.items():
        frame[name] = values
    return frame


def _treated(policy: Policy, column: Column, values: "pd.Series") -> "pd.Series":
    treatment = policy.treatments[column.name]
    if treatment == "generalise":
        return generalised(column, values)
    return emptied(column, values) if treatment == "drop" else values
