"""The rules by which a stage's gate judges, which of two sets is the looser one, and how loose a gatekeeper may be.

See docs/decisions/0025-trust.md.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import ValidationError

from starterkit.errors import SettingsError
from starterkit.settings.layers import merge, read_yaml
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
    """The rules that a stage's files say, whatever the environment does.

    Parameters
    ----------
    root
        The repository's root.
    texts
        What the files say in another commit, by their names.

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
    rules = {f"gate.{name}": gate[name] for name in (*_names("gate"), *_ANSWER_NAMES) if name in gate}
    rules |= {f"export.{name}": export[name] for name in _names("export") if name in export}
    for metric, limit in (gate.get("limits") or {}).items():
        rules |= {f"{_LIMITS}{metric}.{end}": limit[end] for end in ("min", "max") if limit.get(end) is not None}
    return rules | {f"{_CHECKS}{name}": False for name, asked in (gate.get("checks") or {}).items() if not asked}


_ANSWER_NAMES = tuple(key.partition(".")[2] for key in _ANSWERS)


def _names(section: str) -> list[str]:
    return [name for above, _, name in (key.partition(".") for key in _BOUNDS) if above == section]


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
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return True
    return bool(_BRACKETED.search(address) or host in _OF_A_HOST or host.endswith(_DOCUMENTATION) or not host)


def is_this_machine(address: str) -> bool:
    """Whether an address names the machine that asks."""
    try:
        return urlsplit(address).hostname in ("localhost", "127.0.0.1", "::1")
    except ValueError:
        return False
