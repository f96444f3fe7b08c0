"""The rules by which a stage's gate judges, which of two sets is the looser one, and what a stage refuses.

See docs/decisions/0025-trust.md.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from starterkit.errors import SettingsError
from starterkit.settings.layers import Key, Settings, leaves, merge, passwords_in, read_yaml
from starterkit.settings.privacy import MOST_DAYS, weaker
from starterkit.settings.sections import ExportSettings, GateSettings, Stage

Rules = Mapping[str, float | str | bool]
"""What a gate asks, by dotted key: ``{"gate.tolerance": 0.02, "gate.limits.rmse.max": 65}``."""

GATEKEEPERS = frozenset({Stage.STAGING, Stage.PROD})


class Bound(NamedTuple):
    """Which way a rule is looser, and the loosest that a gatekeeper takes; None where the task decides."""

    more_is_looser: bool
    loosest: float | None = None


_BOUNDS: Mapping[str, Bound] = {
    "gate.tolerance": Bound(True, 0.1),
    "gate.min_rows": Bound(False, 30),
    "gate.leak_limit": Bound(True, 0.99),
    "gate.heavier": Bound(True, 10),
    "gate.latency_floor_ms": Bound(True, 50),
    "gate.size_floor_mb": Bound(True, 100),
    "export.tolerance": Bound(True, 1e-3),
    "export.probability_tolerance": Bound(True, 1e-4),
}
_ANSWERS = ("gate.undecided", "gate.undecided_slices")
"""Rules that say ``pass`` or ``refuse``; the first of them refuses in a gatekeeper."""
_LIMITS, _CHECKS = "gate.limits.", "gate.checks."


def rules_of(gate: GateSettings, export: ExportSettings) -> Rules:
    """The rules of a stage's sections."""
    return _flat(gate.model_dump(mode="json"), export.model_dump(mode="json"))


def rules_in(evidence: Mapping[str, Any]) -> Rules:
    """The rules by which a version was judged, as its evidence has them; none where that does not say.

    How closely the graph had to answer is the parity's own word.
    """
    gate, parity = evidence.get("settings"), evidence.get("parity")
    if not isinstance(gate, Mapping):
        return {}
    classifies = "classification" in str(evidence.get("problem", ""))
    name = "probability_tolerance" if classifies else "tolerance"
    return _flat(gate, {name: parity["allowed"]} if isinstance(parity, Mapping) and "allowed" in parity else {})


def files_of(stage: Stage) -> tuple[str, str]:
    """The files that say a stage's rules, lowest first."""
    return "config/base.yaml", f"config/{stage}.yaml"


def rules_of_files(root: Path, stage: Stage, texts: Mapping[str, str] | None = None) -> Rules:
    """The rules that a stage's files say, whatever the environment does; or what `texts` say, in another commit.

    Raises
    ------
    SettingsError
        A file cannot be read, or says what it may not.
    """
    return rules_said(merge(read_yaml(root, name, (texts or {}).get(name)) for name in files_of(stage))[0], stage)


def rules_said(values: Mapping[str, Any], stage: Stage) -> Rules:
    """The rules in merged layers."""
    try:
        return rules_of(
            GateSettings.model_validate(values.get("gate") or {}),
            ExportSettings.model_validate(values.get("export") or {}),
        )
    except ValidationError as error:
        what = f"the rules of stage {stage}'s gate cannot be read from {' and '.join(files_of(stage))}"
        raise SettingsError(what, f"`KIT_STAGE={stage} starterkit config show` says what is wrong") from error


def looser(rules: Rules, than: Rules) -> Iterator[tuple[str, object, object]]:
    """The rules that are looser than others: the key, what it says, and what the others say. None stands for nothing.

    What only one side says, because another kit wrote it, is not compared; but a limit that is gone is looser.
    """
    for key in dict.fromkeys([*than, *rules]):
        ours, theirs = rules.get(key), than.get(key)
        if key.startswith(_LIMITS):
            is_looser = theirs is not None and (ours is None or _beyond(ours, theirs, key.endswith(".max")))
        elif key.startswith(_CHECKS):
            is_looser = ours is False and theirs is not False
        elif ours is None or theirs is None:
            is_looser = False
        elif key in _ANSWERS:
            is_looser = ours == "pass" and theirs != "pass"
        else:
            is_looser = key in _BOUNDS and _beyond(ours, theirs, _BOUNDS[key].more_is_looser)
        if is_looser:
            yield key, ours, theirs


def below_floor(rules: Rules) -> Iterator[tuple[str, object, str]]:
    """What no gatekeeper takes, whoever says so: the key, what it says, and what it takes in words."""
    for key, (more_is_looser, loosest) in _BOUNDS.items():
        if key in rules and loosest is not None and _beyond(rules[key], loosest, more_is_looser):
            yield key, rules[key], f"at {'most' if more_is_looser else 'least'} {loosest:g}"
    if rules.get(_ANSWERS[0]) == "pass":
        yield _ANSWERS[0], "pass", "refuse"


def in_words(value: object) -> str:
    """What a rule says, as people write it."""
    if isinstance(value, bool) or value is None:
        return "nothing" if value is None else str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _beyond(ours: Any, theirs: Any, more_is_looser: bool) -> bool:
    try:
        return not (ours <= theirs if more_is_looser else ours >= theirs)  # NaN is within nothing
    except TypeError:  # no number, in evidence that somebody wrote
        return True


def _flat(gate: Mapping[str, Any], export: Mapping[str, Any]) -> Rules:
    said = {f"gate.{name}": rule for name, rule in gate.items()} | {f"export.{n}": rule for n, rule in export.items()}
    rules = {key: said[key] for key in (*_BOUNDS, *_ANSWERS) if key in said}
    for metric, limit in (gate.get("limits") or {}).items():
        rules |= {f"{_LIMITS}{metric}.{end}": limit[end] for end in ("min", "max") if limit.get(end) is not None}
    return rules | {f"{_CHECKS}{name}": False for name, asked in (gate.get("checks") or {}).items() if not asked}


# --- Texts that stand for a value that nobody has given yet: ``<your key>``, ``changeme``, ``xxxxxxxx``, blanks.

_BRACKETED = re.compile(r"<[^<>]*>|\{\{.*\}\}|\$\{.*\}|\[[a-z _-]+\]", re.IGNORECASE)
_TOLD_TO_CHANGE = re.compile(
    r"change(it|me|this)|replace(it|me|this)|placeholder|dummy|yoursecret|your[a-z]*(key|password|token)"
)
_REPEATED = re.compile(r"(.{1,16}?)[\W_]*(?:\1[\W_]*)+")
_NO_SECRET = re.compile(
    r"a|an|the|my|your|our|this|is|it|here|put|insert|enter|some|any|test|example|sample|demo|default|secret|passw(or)?d|"
    r"pass|pwd|key|api|token|admin|root|user|name|value|string|none|null|please|foo|bar|baz|qwerty|letmein|welcome|hello|"
    r"world|todo|tbd|fixme"
)
_DOCUMENTATION = (".example", ".invalid", ".test", "example.com", "example.org", "example.net")
_OF_A_HOST = frozenset({"hostname", "server", "your-server", "yourserver", "mlflow-server", "address", "domain"})


def is_placeholder(text: str) -> bool:
    """Whether a text stands for a value that is still to be given. What machines make is none by any chance."""
    plain = text.strip().lower()
    letters = re.sub(r"[\W_]", "", plain)
    words = re.findall(r"[a-z]+", plain)
    return bool(
        not letters
        or _BRACKETED.search(plain)
        or _TOLD_TO_CHANGE.search(letters)
        or _REPEATED.fullmatch(plain)
        or (words and all(map(_NO_SECRET.fullmatch, words)) and len(re.sub(r"[^0-9]", "", plain)) <= _FEW_DIGITS)
        or letters in _RUNS
    )


_FEW_DIGITS = 4
_RUNS = frozenset(
    run[:length] for run in ("12345678901234567890", "abcdefghijklmnopqrstuvwxyz") for length in range(3, 27)
)


def is_placeholder_host(address: str) -> bool:
    """Whether an address names nobody's server: ``http://<host>``, ``https://mlflow.example.com``."""
    host = _host(address)
    return bool(_BRACKETED.search(address) or host in _OF_A_HOST or host.endswith(_DOCUMENTATION) or not host)


def is_this_machine(address: str) -> bool:
    """Whether an address names the machine that asks."""
    return _host(address) in ("localhost", "127.0.0.1", "::1")


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


# --- What a stage refuses, whatever YAML and environment say.

SWITCHABLE_CHECKS = ("estimator", "baseline", "latency", "size", "robustness")
"""All that staging and prod may leave out; the rest of the gate is what makes them gatekeepers."""
Finding = tuple[Key, str, str]
"""A key, what is wrong with its value, and what to do."""


def check_floors(
    settings: Settings, origins: Mapping[Key, str], committed: Rules
) -> tuple[list[SettingsError], tuple[str, ...]]:
    """Hold the settings against what their stage must not do.

    Debug, placeholder secrets and local stores are allowed in `local`, warned of in `dev`, and refused elsewhere.
    The API key cannot be turned off in `prod`, nor in `staging` without a word; nor can a core check of the gate in
    both, whose rules the environment can only make stricter than `committed`. What hides less of people's data than
    the stage has to is refused everywhere. What comes back stops the stage, and is what a developer should know.
    """
    stage = settings.stage

    def said(findings: Iterable[Finding]) -> list[SettingsError]:
        return [
            SettingsError(f"{origins.get(key, 'default')}: {'.'.join(key)} {what}, which {stage} does not allow", hint)
            for key, what, hint in findings
        ]

    seen, loose = said([*weaker(stage, settings.privacy), *_kept_too_long(settings)]), said(_loose_ends(settings))
    if stage is Stage.LOCAL:
        return seen, ()
    if stage is Stage.DEV:
        return seen, tuple(str(finding) for finding in loose)
    warned = said(_without_key(settings)) if stage is Stage.STAGING else []
    strict = _switched_off(settings), _loosened(settings, committed), _by_the_environment(settings, origins)
    refused = [*loose, *(finding for findings in strict for finding in said(findings)), *seen]
    return refused, tuple(str(finding) for finding in warned)


def _loose_ends(settings: Settings) -> Iterator[Finding]:
    if settings.debug:
        yield ("debug",), "is true", "Set it to false"
    if not settings.tracking.uri.startswith("http"):
        yield ("tracking", "uri"), "is a local store", "Set it to an MLflow server's http:// or https:// address"
    for key, value in leaves(settings.model_dump()):
        if _is_placeholder(value):
            yield key, "holds a placeholder secret", "Set a secret of your own"


def _kept_too_long(settings: Settings) -> Iterator[Finding]:
    """Predictions are people's data: in the log and its archive together, a stage keeps them so long and no longer."""
    most, kept = MOST_DAYS[settings.stage], settings.feedback
    if kept.keep_days + kept.archive_days > most:
        yield ("feedback", "keep_days"), "and archive_days are more days", f"Keep them for {most} days together at most"


def _without_key(settings: Settings) -> Iterator[Finding]:
    if not settings.serving.require_api_key:
        yield ("serving", "require_api_key"), "is false", f"Set it to true in config/{settings.stage}.yaml"


def _loosened(settings: Settings, committed: Rules) -> Iterator[Finding]:
    """A gatekeeper's rules that are beyond what it may take, or that the environment makes looser than the files."""
    if settings.stage not in GATEKEEPERS:
        return
    rules, files = rules_of(settings.gate, settings.export), " and ".join(files_of(settings.stage))
    beyond = {key: (said, takes) for key, said, takes in below_floor(rules)}
    for key, (said, takes) in beyond.items():
        yield tuple(key.split(".")), f"is {in_words(said)}", f"{settings.stage} takes {takes}"
    for key, said, theirs in looser(rules, committed):
        is_core = said is False and key.rpartition(".")[2] not in SWITCHABLE_CHECKS  # refused whoever says it
        if key not in beyond and not is_core:
            hint = f"{files} say {in_words(theirs)}, and a variable can only be stricter: change it there by a commit"
            yield tuple(key.split(".")), f"is {in_words(said)}", hint


def _switched_off(settings: Settings) -> Iterator[Finding]:
    """Core checks of a gatekeeper, and those of the project; in prod, the API key."""
    if settings.stage in GATEKEEPERS:
        for name, asked in settings.gate.checks.items():
            if not asked and name not in SWITCHABLE_CHECKS:
                hint = f"Remove it; {settings.stage} may leave out {', '.join(SWITCHABLE_CHECKS)}"
                yield ("gate", "checks", name), "is false", hint
    if settings.stage is Stage.PROD:
        yield from _without_key(settings)


def _by_the_environment(settings: Settings, origins: Mapping[Key, str]) -> Iterator[Finding]:
    """What prod takes from its files alone; and an address that stands for one that is still to be given.

    The address that the template's own file has is one, too.
    """
    for people in (("promotion", "approvers"), ("promotion", "trusted_keys")):
        if settings.stage is Stage.PROD and not origins.get(people, "config/").startswith("config/"):
            yield people, "is no committed list", "Write it into config/prod.yaml, by a commit that somebody reviews"
    key, uri = ("tracking", "uri"), settings.tracking.uri
    as_it_came = is_this_machine(uri) and origins.get(key, "").startswith("config/")
    if settings.stage is Stage.PROD and (as_it_came or is_placeholder_host(uri)) and uri.startswith("http"):
        yield key, "is a placeholder", "Set KIT_TRACKING__URI, or write prod's MLflow server into config/prod.yaml"


def _is_placeholder(value: object) -> bool:
    if isinstance(value, SecretStr):
        return is_placeholder(value.get_secret_value())
    return isinstance(value, str) and any(map(is_placeholder, passwords_in(value)))
