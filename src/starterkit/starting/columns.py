"""Each column's place: the id, the group, a feature, or left out with the reason."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from starterkit.starting.guessing import counts_rows, is_sensitive, names_somebody, says_id, unit_of
from starterkit.starting.looking import Sight
from starterkit.starting.planning import Field
from starterkit.starting.ranges import bounds, categories, same_values

_FEWEST_GROUPS = 20
_FEWEST_KNOWN = 10
_LONGEST_ID = 64
_LONGEST_HEADER = 80
_NUMBER = r"\s*[-+]?[\d.,]+([eE][-+]?\d+)?\s*"
_TYPES = {"integer": "int", "float": "float", "boolean": "bool", "text": "str"}

Placed = tuple[dict[str, Field], dict[str, str]]
"""Fields by header, and by header why a column is left out."""


def place_columns(sights: Sequence[Sight], target: Sight, names: Mapping[str, str]) -> Placed:
    """A field for each column that is of use, and a reason for each that is not. The target is not among them."""
    keys = _keys(sights, names)
    fields, left_out = dict(keys), {}
    kept: list[Sight] = []
    for sight in sights:
        if sight.header in keys:
            continue
        if reason := _unfit(sight) or _repeated(sight, [*kept, target], target):
            left_out[sight.header] = reason
            continue
        kept.append(sight)
        fields[sight.header] = _feature(_as_code(sight), names[sight.header])
    return fields, left_out


def _keys(sights: Sequence[Sight], names: Mapping[str, str]) -> dict[str, Field]:
    """The id of the rows and the group of repeated measures, where the table has them.

    The first of each kind; a column that is called an id goes before one that only looks like it.
    """
    found: dict[str, Field] = {}
    for sight in sorted(sights, key=lambda sight: not says_id(sight.header)):
        role = "identifier" if _is_id(sight) else "group" if _is_group(sight) else None
        if role and role not in [one.role for one in found.values()]:
            review = "rows with the same one are on the same side of the holdout" if role == "group" else ""
            name = names[sight.header]
            found[sight.header] = Field(name=name, header=sight.header, role=role, type="str", review=review)
    return found


def _is_id(sight: Sight) -> bool:
    """Complete, unique, and called an id or in the form of one."""
    if sight.missing or sight.distinct < len(sight.values) or sight.kind not in ("integer", "text"):
        return False
    if names_somebody(sight.header, sight.values) or counts_rows(sight.header, sight.values):
        return False
    if says_id(sight.header):
        return True
    if is_sensitive(sight.header) or _is_mixed(sight):  # a postcode, or measurements with an "inf" among them
        return False
    return sight.kind == "text" and bool(sight.known.str.fullmatch(rf"[\w.:/-]{{1,{_LONGEST_ID}}}").all())


def _is_group(sight: Sight) -> bool:
    repeated = _FEWEST_GROUPS <= sight.distinct <= len(sight.values) / 1.5
    return says_id(sight.header) and repeated and not sight.missing and sight.kind in ("integer", "text")


def _unfit(sight: Sight) -> str:
    return next(_reasons(sight), "")


def _reasons(sight: Sight) -> Iterator[str]:
    if sight.kind == "nothing":
        yield "no value in any row"
    if counts_rows(sight.header, sight.values):
        yield "the row's number, which says nothing of the record"
    if names_somebody(sight.header, sight.values):
        yield "says who somebody is"
    if sight.distinct <= 1:
        yield "the same value in every row"
    if len(sight.known) < _FEWEST_KNOWN:
        yield f"known in {len(sight.known)} rows only"
    if sight.kind == "date":
        yield "a date: derive what matters in load(), such as an age in days"
    if _is_id(sight) or (says_id(sight.header) and sight.distinct >= _FEWEST_GROUPS):
        yield "an id beside the one that is used, or with gaps"
    if len(sight.header) > _LONGEST_HEADER:
        yield "a header of more than 80 characters: shorten it"
    if sight.kind == "text" and not categories(sight, is_sensitive(sight.header)):
        yield _why_no_categories(sight)


def _is_mixed(sight: Sight) -> bool:
    """Whether it is a text because of a few of its values: most are numbers."""
    return sight.kind == "text" and 0.5 < sight.known.str.fullmatch(_NUMBER).mean() < 1


def _why_no_categories(sight: Sight) -> str:
    numeric = sight.known.str.fullmatch(_NUMBER)
    if numeric.all() and sight.known.str.contains(",").any():
        return "numbers with commas: convert them in load()"
    if _is_mixed(sight):
        return "numbers and texts mixed: convert it in load()"
    return f"a text with {sight.distinct} values, or rare or long ones: derive categories in load()"


def _repeated(sight: Sight, others: Sequence[Sight], target: Sight) -> str:
    known = target.values.notna()
    for other in others:
        if other is target:
            if same_values(sight.values[known], target.values[known]):
                return "the target by another name"
        elif same_values(sight.values, other.values):
            return f"says the same as '{other.header[:40]}'"
    return ""


def _as_code(sight: Sight) -> Sight:
    """A ward's number is the ward's name: more of it means nothing."""
    if sight.kind != "integer" or not says_id(sight.header):
        return sight
    texts = sight.values.map(lambda value: str(int(value)), na_action="ignore").astype("str")
    return replace(sight, kind="text", values=texts)


def _feature(sight: Sight, name: str) -> Field:
    sensitive = is_sensitive(sight.header)
    listed = categories(sight, sensitive)
    return Field(
        name=name,
        header=sight.header,
        role="feature",
        type=_TYPES[sight.kind],  # pyrefly: ignore[bad-argument-type]
        sensitive=sensitive,
        unit=unit_of(sight.header),
        bounds=bounds(sight) if sight.is_number and not listed else None,
        categories=listed,
        nullable=sight.missing > 0,
        review="taken for sensitive by its name" if sensitive else "",
    )
