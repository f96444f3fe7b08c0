"""How a pandera schema says what a column is for: its role, unit and sensitivity travel in the field's metadata."""

import math
from dataclasses import replace
from typing import Any, Literal

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaInitError

from starterkit.contract import AS_DECLARED, Column, ColumnType, Role, Scalar, Sensitivity, Written
from starterkit.errors import ProblemError, first_line

_KEY = "starterkit"
_KINDS = {"string": "text", "boolean": "true or false"}


def feature(
    *, sensitivity: Literal["plain", "sensitive"], unit: str = "", written: Written = AS_DECLARED, **field: Any
) -> Any:
    """A column that the model sees.

    Parameters
    ----------
    sensitivity
        ``"sensitive"`` for what helps to single a person out or is special by law (age, sex, postcode, diagnosis),
        ``"plain"`` otherwise. It has no default: somebody has to think about it.
    unit
        The unit of the values, as people write it: ``"kg/m²"``.
    written
        How a file writes the column, where that is not how the schema has it.
    **field
        What `pandera.Field` takes: ``ge``, ``le``, ``isin``, ``nullable``, ``description`` …
    """
    return _field("feature", _known(sensitivity), unit, written, field)


def target(
    *,
    sensitivity: Literal["plain", "sensitive"] = "sensitive",
    unit: str = "",
    written: Written = AS_DECLARED,
    **field: Any,
) -> Any:
    """The column that the model predicts. Takes what `feature` takes."""
    return _field("target", _known(sensitivity), unit, written, field)


def identifier(*, written: Written = AS_DECLARED, **field: Any) -> Any:
    """The record's stable, unique id. It decides the side of the holdout and is never a model input."""
    return _field("identifier", "identifier", "", written, {"unique": True, **field})


def group(*, written: Written = AS_DECLARED, **field: Any) -> Any:
    """What repeated measures share (a patient, a machine): all its rows fall on the same side of the holdout."""
    return _field("group", "identifier", "", written, field)


def time(*, written: Written = AS_DECLARED, **field: Any) -> Any:
    """When the row was recorded. With `Holdout(cutoff=…)` the rows from the cut-off on are the holdout."""
    return _field("time", "plain", "", written, field)


def _known(sensitivity: Literal["plain", "sensitive"]) -> Literal["plain", "sensitive"]:
    if sensitivity not in ("plain", "sensitive"):
        raise ProblemError(f"sensitivity='{sensitivity}' in the schema", "Say 'plain' or 'sensitive'")
    return sensitivity


def _field(role: Role, sensitivity: Sensitivity, unit: str, written: Written, field: dict[str, Any]) -> Any:
    said = {"role": role, "sensitivity": sensitivity, "unit": unit, "written": _sound(written)}
    return pa.Field(metadata={_KEY: said}, **field)


_DECIMALS = (".", ",")
_THOUSANDS = ("", ",", ".", " ", "'")


def _sound(written: Written) -> Written:
    if isinstance(written.missing, str) or isinstance(written.affixes, str):
        raise ProblemError("missing= or affixes= of a Written is one text", 'Give several: missing=("NA",)')
    if written.decimal not in _DECIMALS or written.thousands not in _THOUSANDS:
        raise ProblemError("decimal= or thousands= of a Written is a sign that no number has", "Say '.' or ','")
    if written.decimal == written.thousands:
        raise ProblemError(f"decimal= and thousands= of a Written are both '{written.decimal}'", "Change one of them")
    return replace(written, missing=tuple(written.missing), affixes=tuple(written.affixes))


def read_columns(schema: type[pa.DataFrameModel]) -> tuple[Column, ...]:
    """The schema's columns as plain data, in the order of their declaration.

    Raises
    ------
    ProblemError
        The schema is none, or a column has no role, or a type that the kit does not carry.
    """
    try:
        columns = schema.to_schema().columns
    except (SchemaInitError, TypeError, AttributeError) as error:
        raise ProblemError(
            f"the schema cannot be read: {first_line(error)}", "Give a pandera DataFrameModel"
        ) from error
    return tuple(_column(str(name), declared) for name, declared in columns.items())


def _column(name: str, declared: Any) -> Column:
    said = (declared.metadata or {}).get(_KEY)
    if said is None:
        hint = "Declare it with feature(), target(), identifier(), group() or time() from starterkit.problem"
        raise ProblemError(f"column '{name}' of the schema has no role", hint)
    kind = _type(name, declared.dtype.type if declared.dtype else None, said["role"])
    _refuse_open_bounds(name, declared.checks)
    if kind in ("string", "boolean") and _bounds(declared.checks) != (None, None):
        hint = "Declare it as float or int, or leave ge and le out"
        raise ProblemError(f"column '{name}' of the schema is {_KINDS[kind]} and has a bound", hint)
    minimum, maximum = _bounds(declared.checks) if kind in ("integer", "float") else (None, None)
    return Column(
        name=name,
        role=said["role"],
        type=kind,
        unit=said["unit"],
        sensitivity=said["sensitivity"],
        nullable=bool(declared.nullable),
        minimum=minimum,
        maximum=maximum,
        categories=_categories(declared.checks),
        description=declared.description or "",
        written=said["written"],
    )


def _bounds(checks: list[Any]) -> tuple[float | None, float | None]:
    """The narrowest bounds that pandera's checks give. An infinite one bounds nothing, and JSON has no word for it."""
    lowest = [_plain(c.statistics["min_value"]) for c in checks if c.name in ("greater_than_or_equal_to", "in_range")]
    highest = [_plain(c.statistics["max_value"]) for c in checks if c.name in ("less_than_or_equal_to", "in_range")]
    return max(filter(_is_bound, lowest), default=None), min(filter(_is_bound, highest), default=None)


def _is_bound(value: Any) -> bool:
    return not (isinstance(value, float) and math.isinf(value))


def _refuse_open_bounds(name: str, checks: list[Any]) -> None:
    """The contract has closed bounds only, and the API must not accept what training refuses."""
    for check in checks:
        closed = check.statistics.get("include_min", True) and check.statistics.get("include_max", True)
        if not closed or check.name in ("greater_than", "less_than"):
            raise ProblemError(f"column '{name}' of the schema has an open bound", "Use ge and le instead of gt and lt")


def _categories(checks: list[Any]) -> tuple[Scalar, ...]:
    allowed = [check.statistics["allowed_values"] for check in checks if check.name == "isin"]
    return tuple(map(_plain, allowed[0])) if allowed else ()


def _plain(value: Any) -> Any:
    """Python's own number for one of numpy's, which JSON does not know."""
    return value.item() if hasattr(value, "item") else value


def _type(name: str, dtype: Any, role: Role) -> ColumnType:
    if dtype is not None and role == "time":
        if pd.api.types.is_datetime64_any_dtype(dtype) or pd.api.types.is_string_dtype(dtype):
            return "string" if pd.api.types.is_string_dtype(dtype) else "datetime"
        raise ProblemError(
            f"time() column '{name}' of the schema has type {dtype}", "Use datetime64 or ISO dates as str"
        )
    if dtype is not None:
        if pd.api.types.is_bool_dtype(dtype):
            return "boolean"
        if pd.api.types.is_integer_dtype(dtype):
            return "integer"
        if pd.api.types.is_float_dtype(dtype):
            return "float"
        if pd.api.types.is_string_dtype(dtype) and not pd.api.types.is_object_dtype(dtype):
            return "string"
    raise ProblemError(f"column '{name}' of the schema has type {dtype}", "Use float, int, bool or str")
