"""`Labels`: what turned out to be true, by a prediction's id or its record's key. Late, once, and corrected if need be.

Nothing is overwritten: a correction is a row of its own, and the newest counts. The same label twice is one.
"""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, func, insert, select

from starterkit.contract import Scalar
from starterkit.errors import DataError
from starterkit.feedback.blocks import ERASED, Field, Schema
from starterkit.feedback.predictions import PredictionLog
from starterkit.feedback.tables import events, first_id, labels, newest_labels, now, predictions, record_keys
from starterkit.serving.validation import Fault, InvalidRecords, Kind

_ID = re.compile(r"([0-9a-f]{32})(?:-(\d{1,7}))?").fullmatch
_HINT = "Send X-Prediction-ID, a dash and the row"
_AT_ONCE = 500
_FAULTS_TOLD = 100


class Told(NamedTuple):
    """How many predictions have a label now that had none, another one, or the same one before."""

    added: int = 0
    corrected: int = 0
    unchanged: int = 0


class InvalidLabels(InvalidRecords):
    """Labels that are none, or of no prediction that is here; nothing was kept of what came with them."""


_Which = tuple[bytes, int]
"""A prediction: its request's id, and its row."""


class Labels:
    """Takes labels into a log, for predictions of one model; of any, if none is given."""

    def __init__(self, log: PredictionLog, model: str | None = None) -> None:
        self._log, self._model = log, model

    def add(self, items: Sequence[object], caller: str = "") -> Told:
        """All of these labels, or none.

        Each is an object of ``label``, and ``id`` (a prediction's) or ``key`` (a record's, for each of its
        predictions).

        Raises
        ------
        InvalidLabels
            One is not such an object, no value of the target, for another model's prediction, for one that is unknown
            or pruned, or two contradict each other.
        LogUnavailable
        """
        faults: list[Fault] = []
        given = [one for one in (_read(place, item, faults) for place, item in enumerate(items)) if one is not None]
        with self._log.connection() as connection:
            found: dict[_Which, float] = {}
            places: dict[_Which, int] = {}
            for some in _chunks(given):
                for place, which, value in self._find(connection, some, faults):
                    first = places.setdefault(which, place)
                    if found.setdefault(which, value) != value:
                        what = f"contradicts item {first}, which labels the same prediction"
                        faults.append(_fault(place, what, "Send one label for a prediction"))
                if len(faults) >= _FAULTS_TOLD:
                    break
            if faults:
                raise InvalidLabels(faults[:_FAULTS_TOLD])
            return self._keep(connection, found, caller)

    def _find(
        self, connection: Connection, given: "Sequence[_Given]", faults: list[Fault]
    ) -> Iterator[tuple[int, _Which, float]]:
        """The place of each label, the predictions that it is for, and its number."""
        by_key = self._of_keys(connection, [one.key for one in given if one.which is None])
        asked = [(one, by_key.get(one.key, []) if one.which is None else [one.which]) for one in given]
        wanted = {request for _, found in asked for request, _ in found}
        columns = predictions.c.id, predictions.c.schema, predictions.c.rows, predictions.c.block
        rows = connection.execute(select(*columns).where(predictions.c.id.in_(wanted)))
        known = {row.id: row for row in rows}
        for one, found in asked:
            if not found:
                what = "has a key of no prediction that is here"
                faults.append(_fault(one.place, what, self._about_keys(), "unknown"))
            for request, row in found:
                value = self._value(connection, one, known.get(request), request, row, faults)
                if value is not None:
                    yield one.place, (request, row), value

    def _of_keys(self, connection: Connection, keys: Sequence[str]) -> Mapping[str, list[_Which]]:
        if not keys or self._log.key is None:
            return {}
        shown = {self._log.key(one): one for one in keys}
        found: dict[str, list[_Which]] = {}
        for row in connection.execute(select(record_keys).where(record_keys.c.key.in_(shown))):
            found.setdefault(shown[row.key], []).append((row.id, row.row))
        return found

    def _about_keys(self) -> str:
        if self._log.key is None:
            return f"Label by id: stage {self._log.stage} keeps no keys"
        return "Send the key that came with the record to /predict"

    def _value(
        self, connection: Connection, one: "_Given", kept: Any, request: bytes, row: int, faults: list[Fault]
    ) -> float | None:
        """The label's number; None where something is wrong with it."""
        if kept is None:
            faults.append(self._missing(connection, one.place, request))
            return None
        schema = self._log.schema_of(connection, kept.schema)
        if self._model is not None and schema.model != self._model:
            what = f"is for a prediction of {schema.model}, and this is {self._model}"
            faults.append(_fault(one.place, what, "Send it to the API of that model"))
        elif row >= kept.rows:
            faults.append(_fault(one.place, f"names row {row} of {kept.rows}", "Rows of a request are counted from 0"))
        elif _is_erased(schema, kept.block, row):
            faults.append(_fault(one.place, "is for a prediction that was erased", "Leave it out"))
        else:
            value = number_of(schema, one.label)
            if value is None:
                faults.append(_fault(one.place, "has a label that is none", f"Give {_expected(schema)}"))
            return value
        return None

    def _missing(self, connection: Connection, place: int, request: bytes) -> Fault:
        until = connection.execute(select(func.max(events.c.until)).where(events.c.kind == "pruned")).scalar()
        if until is not None and request < first_id(until):
            hint = f"Leave it out: nothing is kept from before {datetime.fromtimestamp(until / 1e6, UTC):%Y-%m-%d}"
            return _fault(place, "is for a time whose predictions were pruned", hint, "pruned")
        return _fault(place, "has an id of no prediction that is here", _HINT, "unknown")

    def _keep(self, connection: Connection, found: Mapping[_Which, float], caller: str) -> Told:
        before: dict[_Which, float] = {}
        for some in _chunks([*found]):
            before |= newest_labels(connection, labels.c.id.in_({request for request, _ in some}))
        new = {which: value for which, value in found.items() if before.get(which) != value}
        if new:
            said = {"time": now(), "caller": caller}
            rows = [{"id": request, "row": row, "value": value, **said} for (request, row), value in new.items()]
            connection.execute(insert(labels), rows)
        added = len(new.keys() - before.keys())
        return Told(added, len(new) - added, len(found) - len(new))

    def import_csv(self, path: Path) -> Told:
        """Labels from a file with the columns ``label``, and ``id`` or ``key``; whole, or nothing of it.

        Raises
        ------
        DataError
            It cannot be read, or has other columns.
        InvalidLabels, LogUnavailable
        """
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                lines = csv.DictReader(file, strict=True)
                names = set(lines.fieldnames or ())
                if "label" not in names or not names & {"id", "key"}:
                    what = f"{path} has not the columns label and id, or key"
                    raise DataError(what, "Name them in its first line, parted by commas")
                rows = [{name: line[name] for name in ("id", "key", "label") if line.get(name)} for line in lines]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path} cannot be read as CSV: {type(error).__name__}", "Save it as UTF-8") from None
        return self.add(rows, "import")


class _Given(NamedTuple):
    """A label of a prediction, or of a record's key."""

    place: int
    label: Scalar
    which: _Which | None = None
    key: str = ""


def _read(place: int, item: object, faults: list[Fault]) -> _Given | None:
    shape = 'Send {"id": prediction, "label": value}, or "key" instead of "id"'
    if not isinstance(item, Mapping) or {*item} not in ({"id", "label"}, {"key", "label"}):
        faults.append(_fault(place, "is not an object of a label, and an id or a key", shape))
        return None
    label, key = item["label"], item.get("key")
    if isinstance(key, str) and key and key.isprintable():  # as `/predict` takes them
        return _Given(place, label, key=key)
    found = _ID(item["id"]) if isinstance(item.get("id"), str) else None
    if found is None:
        faults.append(_fault(place, "has an id that is none", _HINT))
        return None
    return _Given(place, label, (bytes.fromhex(found[1]), int(found[2] or 0)))


def number_of(schema: Schema, label: object) -> float | None:
    """A label as the log keeps it; None where it is no value of the target. Texts are read, as CSV has them."""
    codes = schema.labels
    if codes:
        return codes.get(label) if isinstance(label, str) else None
    field = schema.target
    if field.type == "boolean":
        label = {"true": True, "false": False}.get(label.strip().lower()) if isinstance(label, str) else label
        return float(label) if isinstance(label, bool) else None
    if isinstance(label, bool) or not isinstance(label, int | float | str):
        return None
    try:
        value = float(label)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) and _is_value(schema, field, value) else None


def _is_value(schema: Schema, field: Field, value: float) -> bool:
    if schema.classes:
        return value in {float(one) for one in schema.classes}
    whole = field.type != "integer" or value.is_integer()
    low, high = field.minimum, field.maximum
    return whole and (low is None or value >= low) and (high is None or value <= high)


def _expected(schema: Schema) -> str:
    if schema.classes:
        return "one of " + ", ".join(map(str, islice(schema.classes, 20)))
    kind = {"integer": "a whole number", "boolean": "true or false"}.get(schema.target.type, "a number")
    low, high = schema.target.minimum, schema.target.maximum
    bounds = [f"from {low:g}"] * (low is not None) + [f"to {high:g}"] * (high is not None)
    return " ".join([kind, *bounds])


def _is_erased(schema: Schema, block: bytes, row: int) -> bool:
    return np.frombuffer(block, np.float64).reshape(-1, schema.width)[row, len(schema.inputs)] == ERASED


def _fault(place: int, problem: str, mend: str, kind: Kind = "type") -> Fault:
    return Fault(place, None, problem, mend, kind)


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for at in range(0, len(items), _AT_ONCE):
        yield items[at : at + _AT_ONCE]
