"""Which of commit, lock, data and parameters a training again really had, held against what the version says."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from starterkit.contract import Lineage
from starterkit.lineage.provenance import LOCK

_NAMED = 3
_NONE = "no such parameter"


@dataclass(frozen=True)
class Cause:
    """One of the four: whether it was the same (None: nobody got that far), in words, and what would mend it."""

    name: str
    same: bool | None
    text: str
    mend: str = ""


def compare(lineage: Lineage, facts: Mapping[str, Any]) -> tuple[Cause, ...]:
    """The four, given what the training again found."""
    return _commit(lineage), _lock(lineage, facts), _data(lineage, facts), _parameters(lineage, facts)


def _commit(lineage: Lineage) -> Cause:
    # A changed lock or data file is the others' matter.
    others = f"/{LOCK}", f"/{lineage.data_source}"
    changed = [name for name in lineage.changed_files if not f"/{name}".endswith(others)]
    if not changed and (lineage.changed_files or not lineage.dirty):
        return Cause("commit", True, lineage.commit[:12])
    text = f"{lineage.commit[:12]}, but {in_words(changed) or 'files'} differed from it when it was trained"
    return Cause("commit", False, text, "Commit what belongs to it, and train a new version")


def _lock(lineage: Lineage, facts: Mapping[str, Any]) -> Cause:
    mend, then = "Run `make env`, commit the lock, and train a new version", lineage.beside_lock
    digest, now = facts.get("lock_digest", lineage.lock_digest), facts.get("beside_lock", then)
    if lineage.off_lock:
        packages = ", ".join(f"{name} {version}" for name, version in list(lineage.off_lock.items())[:_NAMED])
        return Cause("lock", False, f"the environment was not the lock's when it was trained: {packages}", mend)
    if digest != lineage.lock_digest:
        return Cause("lock", False, f"{LOCK} was {lineage.lock_digest[:12]}, the commit has {digest[:12]}", mend)
    if other := other_parameters(then, now):
        pairs = (f"{name} {then.get(name, 'not there')} then, {now.get(name, 'not there')} now" for name in other)
        mend = "Put it into the lock, and train a new version"
        return Cause("lock", False, f"{LOCK} does not name {', '.join(pairs)}", mend)
    if then and "lock_digest" in facts and "beside_lock" not in facts:
        return Cause("lock", None, f"{LOCK} does not name {', '.join(then)}, which it was trained with")
    return Cause("lock", True if "lock_digest" in facts else None, digest[:12])


def _data(lineage: Lineage, facts: Mapping[str, Any]) -> Cause:
    mend = f"Bring back the rows that {lineage.data_source} had, or train a new version"
    if "parameters" not in facts:
        return Cause("data", None, lineage.data_source)
    if "data_digest" not in facts:
        return Cause("data", False, f"{lineage.data_source} cannot be had as it was", mend)
    if facts["data_digest"] == lineage.data_digest:
        return Cause("data", True, f"{lineage.rows} rows of {lineage.data_source}, {lineage.data_digest[:12]}")
    text = f"{lineage.data_source}, {lineage.rows:,} rows then, {facts['rows']:,} now: {_moves(facts)}"
    if facts["holdout_digest"] == lineage.holdout_digest:
        text += "; those held out are the same"
    if any(f"/{name}".endswith(f"/{lineage.data_source}") for name in lineage.changed_files):
        text += "; the file was not committed as it was"
    return Cause("data", False, text, mend)


def _moves(facts: Mapping[str, Any]) -> str:
    if "rows_new" not in facts:
        return "how many are new is not known"
    new, gone = facts["rows_new"], facts["rows_gone"]
    return f"{new:,} new, {gone:,} gone" if new or gone else "the same in another order, or with other ids"


def _parameters(lineage: Lineage, facts: Mapping[str, Any]) -> Cause:
    then, now = lineage.parameters, facts.get("parameters")
    if now is None or not (other := other_parameters(then, now)):
        said = ", ".join(f"{name} {value}" for name, value in then.items()) or "none"
        return Cause("parameters", None if now is None else True, said)
    text = ", ".join(f"{name} {then.get(name, _NONE)} (the commit's code: {now.get(name, _NONE)})" for name in other)
    return Cause("parameters", False, text, "Commit the estimator that takes them, and train a new version")


def other_parameters(then: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """The names of those that are not the same, or only on one side."""
    pairs = {name: (then.get(name, _NONE), now.get(name, _NONE)) for name in {**then, **now}}
    # A parameter may be NaN, which is not equal to itself.
    return [name for name, (was, has) in pairs.items() if was != has and not (was != was and has != has)]


def in_words(changed: Collection[str]) -> str:
    """The first few files, and how many there are."""
    more = len(changed) - _NAMED
    return ", ".join(list(changed)[:_NAMED]) + (f" and {more} more" if more > 0 else "")
