"""What a stage's settings say about people's data, and the floor below which none of them may go."""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from pydantic import Field

from starterkit.contract import Treatment
from starterkit.errors import SettingsError
from starterkit.settings.sections import Secret, Section
from starterkit.settings.stage import Stage

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


def weaker(stage: Stage, privacy: PrivacySettings, origins: Mapping[tuple[str, ...], str]) -> Iterator[SettingsError]:
    """What the settings say that hides less than the stage has to."""
    floor = FLOORS[stage]
    asked: list[tuple[tuple[str, ...], Treatment | None, Treatment]] = [
        (("identifiers",), privacy.identifiers, floor.identifiers),
        (("sensitive",), privacy.sensitive, floor.sensitive),
    ]
    # Whether a column is sensitive the schema knows, and `privacy.policy` asks it. That none is raw is known here.
    least: Treatment = "raw" if floor.sensitive == "raw" else "pseudonymise"
    asked += [(("columns", name), treatment, least) for name, treatment in privacy.columns.items()]
    for key, treatment, minimum in asked:
        if treatment is not None and STRENGTH[treatment] < STRENGTH[minimum]:
            full = ("privacy", *key)
            what = f"{origins.get(full, 'the settings')}: {'.'.join(full)} is {treatment}, which {stage} does not allow"
            yield SettingsError(what, f"Set it to {_in_words(minimum, key[0])}, or leave it out")


def _in_words(minimum: Treatment, key: str) -> str:
    known: Mapping[str, tuple[Treatment, ...]] = {
        "identifiers": ("pseudonymise", "drop"),
        "columns": ("generalise", "drop"),
    }
    allowed = known.get(key, ("generalise", "mock", "drop"))
    *most, last = (one for one in allowed if STRENGTH[one] >= STRENGTH[minimum])
    return f"{', '.join(most)} or {last}" if most else last
