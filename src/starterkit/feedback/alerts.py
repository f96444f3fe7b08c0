"""Rules over a window's figures, and who hears of one that is broken: a webhook, or people by e-mail."""

import json
import smtplib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import localtime
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from starterkit.errors import KitError, SettingsError, meant
from starterkit.settings import MonitoringSettings, RuleSettings

_SECONDS = 15
_ALWAYS = frozenset(
    {"rows", "requests", "refused", "refused_share", "labelled", "labelled_share", "drifted_columns", "quality_loss"}
    | {f"latency_{one}_ms" for one in ("p50", "p95", "p99")}
)
_BY_COLUMN = ("drift", "missing", "out_of_range", "unseen")


class RuleBroken(KitError):
    """What is watched is not as it should be. A scheduler tells it from a failure by the exit code."""

    exit_code = 3


@dataclass(frozen=True)
class RuleResult:
    """What a rule came to.

    `streak` counts the windows beyond its bound, this one last: it is broken where they are as many as it asks for.
    `figure` is None where the window does not say.
    """

    rule: RuleSettings
    figure: float | None
    streak: int

    @property
    def is_broken(self) -> bool:
        return self.streak >= self.rule.windows

    @property
    def state(self) -> str:
        return "broken" if self.is_broken else "unknown" if self.figure is None else "kept"

    @property
    def text(self) -> str:
        """In words: ``rmse above 65: 71.2, in 2 of 3 windows one after the other``."""
        told = "not known" if self.figure is None else f"{self.figure:.4g}"
        asked = f" of {self.rule.windows}" if self.streak < self.rule.windows else ""
        windows = f", in {self.streak}{asked} windows one after the other" if self.streak > 1 else ""
        return f"{self.rule.words}: {told}{windows}"

    @property
    def content(self) -> dict[str, Any]:
        return {
            "rule": self.rule.words,
            "figure": self.figure,
            "windows": self.rule.windows,
            "streak": self.streak,
            "then": self.rule.then,
            "broken": self.is_broken,
            "state": self.state,
            "text": self.text,
        }


def require_known(rules: Sequence[RuleSettings], metrics: Sequence[str], columns: Sequence[str]) -> None:
    """See that rules name figures that there are.

    Raises
    ------
    SettingsError
    """
    known = [*sorted(_ALWAYS), *metrics, *(f"{kind}.{name}" for kind in _BY_COLUMN for name in columns)]
    for place, rule in enumerate(rules):
        if rule.figure not in known:
            what = f"monitoring.rules.{place}.figure is '{rule.figure}', no figure of the monitor"
            raise SettingsError(f"{what}{meant(rule.figure, known)}", f"Name one of {', '.join(known[:20])}")


def judge_rules(
    rules: Sequence[RuleSettings], figures: Mapping[str, float], earlier: Sequence[Mapping[str, float]]
) -> list[RuleResult]:
    """Every rule over this window's figures and those of the windows before it, the newest first."""
    return [_judge(rule, [figures, *earlier]) for rule in rules]


def _judge(rule: RuleSettings, windows: Sequence[Mapping[str, float]]) -> RuleResult:
    streak = 0
    while streak < len(windows) and _beyond(rule, windows[streak]):
        streak += 1
    return RuleResult(rule, windows[0].get(rule.figure), streak)


def _beyond(rule: RuleSettings, figures: Mapping[str, float]) -> bool:
    """A figure with an interval is beyond a bound where its whole interval is: what is not sure wakes nobody."""
    ends = (f"{rule.figure}_low", f"{rule.figure}_high")
    if rule.above is not None:
        figure = figures.get(ends[0], figures.get(rule.figure))
        return figure is not None and figure > rule.above
    figure = figures.get(ends[1], figures.get(rule.figure))
    return figure is not None and rule.below is not None and figure < rule.below


# --- Who is told.


@dataclass(frozen=True)
class Alert:
    """What is told, in a line, in more of them, and for programs."""

    subject: str
    text: str
    content: Mapping[str, Any]


def send(alert: Alert, settings: MonitoringSettings) -> list[str]:
    """Tell everybody whom the settings name; in words, whom it did not reach. Nobody's address or key is in that."""
    failed: list[str] = []
    ways = (("the webhook", _post, settings.webhook), ("the mail server", _mail, settings.email_to))
    for name, way, address in ways:
        try:
            if address:
                way(alert, settings)
        except (URLError, OSError, smtplib.SMTPException, ValueError) as error:
            status = getattr(error, "code", None) or getattr(error, "smtp_code", None)
            failed.append(f"{name} did not take the alert: {status or type(error).__name__}")
    return failed


def _post(alert: Alert, settings: MonitoringSettings) -> None:
    assert settings.webhook is not None
    address = settings.webhook.get_secret_value()
    if not address.startswith(("https://", "http://")):
        raise ValueError("no web address")
    body = json.dumps({"text": f"{alert.subject}\n{alert.text}", **alert.content}).encode()
    request = Request(address, body, {"Content-Type": "application/json"})  # noqa: S310  # asked above
    with urlopen(request, timeout=_SECONDS):  # noqa: S310
        pass


def _mail(alert: Alert, settings: MonitoringSettings) -> None:
    message = EmailMessage()
    message["Subject"], message["Date"] = alert.subject, localtime()
    message["From"], message["To"] = settings.email_from, ", ".join(settings.email_to)
    message.set_content(f"{alert.subject}\n{alert.text}")
    host, _, port = settings.smtp.partition(":")
    with smtplib.SMTP(host, int(port), timeout=_SECONDS) as server:
        if settings.smtp_user is not None:
            server.starttls()
            password = settings.smtp_password
            server.login(settings.smtp_user, password.get_secret_value() if password else "")
        server.send_message(message)
