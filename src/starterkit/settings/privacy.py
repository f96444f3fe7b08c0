"""What a stage's settings say about people's data: hidden, never below a floor; kept with their answers; watched."""

import hmac
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, Self

from pydantic import Field, FiniteFloat, model_validator

from starterkit.contract import Treatment
from starterkit.settings.sections import Secret, Section, Stage

LEAST_KEY = 32
"""Fewest characters of a masking key: a word could be guessed from the pseudonyms that it makes."""

STRENGTH: Mapping[Treatment, int] = {"raw": 0, "pseudonymise": 1, "generalise": 2, "mock": 3, "drop": 4}
"""How much a treatment hides; a higher one may stand wherever a lower one is asked for."""


class Floor(NamedTuple):
    """The least that a stage does to identifiers and to sensitive columns."""

    identifiers: Treatment
    sensitive: Treatment


FLOORS: Mapping[Stage, Floor] = {
    Stage.LOCAL: Floor("raw", "raw"),
    Stage.DEV: Floor("drop", "generalise"),
    Stage.TEST: Floor("pseudonymise", "generalise"),
    Stage.STAGING: Floor("raw", "raw"),
    Stage.PROD: Floor("raw", "raw"),
}


MOST_DAYS: Mapping[Stage, int] = {
    Stage.LOCAL: 3650,
    Stage.DEV: 365,
    Stage.TEST: 365,
    Stage.STAGING: 730,
    Stage.PROD: 730,
}
"""For how long a stage may keep predictions."""


class PrivacySettings(Section):
    """What becomes of identifiers and sensitive columns; never less than the stage's floor."""

    identifiers: Literal["drop", "pseudonymise"] | None = Field(
        None, description="drop or pseudonymise, for identifiers; left out, what the stage does anyway"
    )
    sensitive: Literal["raw", "generalise", "drop", "mock"] | None = Field(
        None, description="raw, generalise, drop or mock, for sensitive columns; left out, what the stage does anyway"
    )
    columns: dict[str, Literal["raw", "generalise", "drop", "pseudonymise"]] = Field(
        default_factory=dict, description="raw, generalise, drop or pseudonymise, for a column by its name"
    )
    key: Secret = Field(None, min_length=LEAST_KEY, description="The secret from which the stages' keys are derived")


class FeedbackSettings(Section):
    """How predictions and their labels are kept. See docs/feedback.md."""

    log: bool = Field(True, description="Whether each prediction is recorded before it is answered")
    database: str | None = Field(
        None,
        pattern=r"^sqlite:///.+$|^postgresql(\+psycopg)?://.+$",
        description="Where: sqlite:///file, or postgresql://user@host/name; left out, state/<stage>/predictions.db",
    )
    password: Secret = Field(None, min_length=1, description="The password for the user in the database address")
    durability: Literal["process", "machine"] = Field(
        "process",
        description="What an answered prediction survives in SQLite: the process's death, or the machine's, at a write "
        "to the disk for each group; PostgreSQL always keeps to its own synchronous_commit",
    )
    when_lost: Literal["refuse", "answer"] = Field(
        "refuse",
        description="What becomes of a request that cannot be recorded: 503, or an answer, counted as lost and logged",
    )
    keep_days: int = Field(90, ge=1, description="Days after which `starterkit feedback prune` moves rows to Parquet")
    archive_days: int = Field(275, ge=0, description="Days for which these Parquet files are kept then; 0 writes none")


class RuleSettings(Section):
    """A figure of the monitor that may not go beyond a bound."""

    figure: str = Field(min_length=1, description="As `starterkit monitor --json` names it: drifted_columns, rmse")
    above: FiniteFloat | None = Field(None, description="Broken where the figure is above this")
    below: FiniteFloat | None = Field(None, description="Broken where the figure is below this")
    windows: int = Field(1, ge=1, le=1000, description="In so many windows one after the other")
    then: Literal["alert", "retrain"] = Field(
        "alert", description="What follows: an alert, or an alert and a retraining that still meets the gate"
    )

    @model_validator(mode="after")
    def _has_one_bound(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("needs above or below, and not both")
        return self

    @property
    def words(self) -> str:
        """As people write it: ``rmse above 65``."""
        bound, word = (self.above, "above") if self.above is not None else (self.below, "below")
        return f"{self.figure} {word} {bound:g}"


_RULES = (RuleSettings(figure="drifted_columns", above=0), RuleSettings(figure="quality_loss", above=0.1))


class MonitoringSettings(Section):
    """How `starterkit monitor` looks at the predictions, and what follows. See docs/monitoring.md."""

    window_minutes: FiniteFloat = Field(1440, gt=0, le=525_600, description="How long a window is: 1440 is a day")
    rules: tuple[RuleSettings, ...] = Field(
        _RULES, description="What may not be; a metric counts by its interval's end"
    )
    webhook: Secret = Field(None, min_length=1, description="The address to which an alert is sent as JSON")
    email_to: tuple[str, ...] = Field((), description="Who gets an alert by e-mail")
    email_from: str = Field("starterkit@localhost", min_length=3, description="As whom")
    smtp: str = Field("localhost:25", pattern=r"^[^:\s]+:\d+$", description="The mail server, as host:port")
    smtp_user: str | None = Field(None, min_length=1, description="The user name there; TLS is asked for then")
    smtp_password: Secret = Field(None, min_length=1, description="The password there")
    least_labelled: int = Field(200, ge=20, description="Fewest new labelled rows from which anything is trained")
    cooldown_hours: FiniteFloat = Field(24, ge=0, le=8760, description="Hours between two retrainings, at least")
    guard: FiniteFloat = Field(
        0.5,
        ge=0,
        le=10,
        description="How much worse than the champion a retrained version may be on the frozen holdout, as a share of "
        "the champion's loss; beside that it has to beat a naive guess there",
    )


def identifiers_in(stage: Stage, privacy: PrivacySettings) -> Treatment:
    """What a stage does to identifiers, unless its settings say otherwise of a column."""
    if privacy.sensitive == "mock" or (stage is Stage.TEST and privacy.identifiers is None):
        return "drop"  # made-up rows are nobody's; and in test, pseudonyms are only for who asks for them
    return privacy.identifiers or FLOORS[stage].identifiers


class StageKey:
    """A stage's own key, derived from the secret: whoever has another stage's pseudonyms cannot link them."""

    def __init__(self, secret: str, stage: Stage) -> None:
        self._key = hmac.digest(secret.encode(), f"starterkit/{stage}".encode(), "sha256")
        self.fingerprint = self.digest("fingerprint", "").hex()[:16]
        """Names the key without giving it away."""

    def digest(self, purpose: str, text: str) -> bytes:
        """HMAC-SHA256 of a text; for each purpose another."""
        return hmac.digest(self._key, f"{purpose}\x00{text}".encode(), "sha256")

    def pseudonym(self, text: str) -> str:
        """128 bits, in hex: the same for the same text, in this stage only."""
        return self.digest("pseudonym", text).hex()[:_DIGITS]

    def signature(self, content: bytes) -> str:
        """HMAC-SHA256 of a file's content, in hex."""
        return hmac.digest(self._key, b"signature\x00" + content, "sha256").hex()


_DIGITS = 32


def weaker(stage: Stage, privacy: PrivacySettings) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """What hides less than the stage has to: its key, what is wrong, and what to do."""
    floor = FLOORS[stage]
    # Whether a column is sensitive the schema knows, and `data.policy` asks it. That none is raw is known here.
    least: Treatment = "raw" if floor.sensitive == "raw" else "pseudonymise"
    asked: list[tuple[tuple[str, ...], Treatment | None, Treatment]] = [
        (("identifiers",), privacy.identifiers, floor.identifiers),
        (("sensitive",), privacy.sensitive, floor.sensitive),
        *((("columns", name), treatment, least) for name, treatment in privacy.columns.items()),
    ]
    for key, treatment, minimum in asked:
        if treatment is not None and STRENGTH[treatment] < STRENGTH[minimum]:
            allowed = [one for one in _CHOICES[key[0]] if STRENGTH[one] >= STRENGTH[minimum]]
            yield ("privacy", *key), f"is {treatment}", f"Set it to {_one_of(allowed)}, or leave it out"


_CHOICES: Mapping[str, tuple[Treatment, ...]] = {
    "identifiers": ("pseudonymise", "drop"),
    "sensitive": ("generalise", "mock", "drop"),
    "columns": ("generalise", "drop"),
}


def _one_of(words: list[Treatment]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
