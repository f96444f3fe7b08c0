"""`Holdout`: which rows no model is ever trained on."""

from dataclasses import dataclass
from datetime import datetime

from starterkit.errors import ProblemError


@dataclass(frozen=True, kw_only=True)
class Holdout:
    """Which rows no model is ever trained on. See docs/decisions/0004-frozen-holdout.md.

    A row's side follows from a hash of its id (or group) and the project's salt, so it stays on that side when the
    data grows, is reordered or masked. Change the salt and every earlier comparison is void.

    Attributes
    ----------
    fraction
        The expected share of ids on the holdout's side.
    salt
        Part of the hash. Empty means the problem's name.
    cutoff
        For problems in time: rows whose `time()` column is at or after this ISO date are the holdout instead.
    """

    fraction: float = 0.2
    salt: str = ""
    cutoff: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.fraction < 1:
            raise ProblemError(f"Holdout(fraction={self.fraction}) leaves one side empty", "Use a number such as 0.2")
        if self.cutoff:
            try:
                datetime.fromisoformat(self.cutoff)
            except ValueError:
                raise ProblemError(
                    f"Holdout(cutoff='{self.cutoff}') is no date", "Use ISO, such as 2026-01-31"
                ) from None
