"""Names for records that say nothing about them to who lacks the key."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from starterkit.privacy.keys import StageKey

if TYPE_CHECKING:
    import pandas as pd

_DIGITS = 32


def pseudonyms(values: "pd.Series", key: StageKey) -> "pd.Series":
    """HMAC-SHA256 of each of n values, cut to 128 bits: the same for the same value, in this stage only."""
    return values.map(lambda value: key.digest("pseudonym", str(value)).hex()[:_DIGITS]).astype("str")


def row_keys(values: "pd.Series", key: StageKey, purpose: str = "row") -> NDArray[np.uint64]:
    """64 bits of another HMAC for each of n values: enough to see that two rows share a record."""
    digests = (key.digest(purpose, str(value))[:8] for value in values)
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)
