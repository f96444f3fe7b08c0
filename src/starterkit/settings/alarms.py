"""The section `monitoring`: which windows are looked at, what counts as broken, who is told, and what follows."""

from typing import Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from starterkit.settings.sections import Secret, Section


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
