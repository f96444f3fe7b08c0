"""The side of a row follows from its id alone, whatever else happens to the table; and the holdout has parts."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from starterkit.data.checking import check_frame, convert
from starterkit.data.dataset import held_out, slices_of
from starterkit.errors import DataError
from starterkit.problem import Holdout, Problem, feature, group, identifier, target, time


class Measures(pa.DataFrameModel):
    record: str = identifier()
    size: float = feature(sensitivity="plain")
    yield_: float = target()


def with_column(name: str, kind: Any, role: Any) -> Any:
    return type("More", (Measures,), {name: role, "__annotations__": {name: kind}})


Numbered, Repeated = with_column("record", int, identifier()), with_column("patient", str, group())
Dated, Written = with_column("day", pd.Timestamp, time()), with_column("day", str, time())


def problem_of(schema: type[pa.DataFrameModel] = Measures, **holdout: Any) -> Problem:
    given = {"name": "yields", "title": "", "task": "regression", "metric": "rmse", "estimator": lambda: None}
    return Problem(**given, schema=schema, holdout=Holdout(**holdout))


def measures(ids: Any, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"record": list(ids), "size": 1.0, "yield_": 2.0, **columns})


def sides(frame: pd.DataFrame, problem: Problem) -> dict[str, bool]:
    checked = check_frame(problem, frame, "table")
    return dict(zip(checked["record"].astype(str), held_out(problem, checked).tolist(), strict=True))


IDS = [f"P{number:04}" for number in range(400)]
SIDES = sides(measures(IDS), problem_of())


@settings(max_examples=20, deadline=None)
@given(ids=st.lists(st.sampled_from(IDS), unique=True, min_size=60), size=st.floats(-1e9, 1e9), more=st.integers(0, 99))
def test_a_row_never_changes_sides(ids, size, more):
    """Whatever its values and order are, and whichever rows went or came."""
    some = sides(measures([*ids, *(f"Q{number}" for number in range(more))], size=size), problem_of())
    assert {record: some[record] for record in ids} == {record: SIDES[record] for record in ids}


@settings(max_examples=5, deadline=None)
@given(fraction=st.floats(0.05, 0.95), salt=st.text(max_size=5))
def test_the_share_is_about_the_fraction(fraction, salt):
    share = np.mean(list(sides(measures(range(2000)), problem_of(fraction=fraction, salt=salt)).values()))
    assert share == pytest.approx(fraction, abs=0.05)


def test_a_larger_fraction_only_adds_to_the_holdout_and_another_salt_makes_another_one():
    small, large = (sides(measures(IDS), problem_of(fraction=fraction)) for fraction in (0.2, 0.3))
    assert all(large[record] for record, held in small.items() if held)
    assert sides(measures(IDS), problem_of(salt="other")) != SIDES
    assert sides(measures(IDS), problem_of(salt="yields")) == SIDES  # the name, where none is given


def test_the_sides_are_those_of_every_earlier_version_and_do_not_depend_on_the_type_of_the_id():
    """Were the hash to change, every model would be judged on rows that it was trained on."""
    assert [record for record in IDS[:40] if SIDES[record]] == ["P0005", "P0018", "P0023", "P0035"]
    expected = sides(measures(map(str, range(1, 200))), problem_of())
    for kind in (int, float, str):
        for problem in (problem_of(), problem_of(Numbered)):
            assert sides(measures(map(kind, range(1, 200))), problem) == expected


DAYS = ["2025-12-31", "2026-01-30T23:59:59", "2026-01-31", "2026-01-31T00:00:01", "2026-02-01"]
LATE = [False, False, True, True, True]


ISO = pd.to_datetime(DAYS, format="ISO8601")


@pytest.mark.parametrize(
    ("schema", "days"),
    [
        (Written, DAYS), (Dated, DAYS), (Dated, ISO), (Dated, ISO.tz_localize("UTC")), (Dated, [*ISO.to_pydatetime()]),
        (Written, ISO), (Dated, [day if "T" in day else f"{day}T01:00:00+01:00" for day in DAYS]),
    ],
)  # fmt: skip
def test_rows_from_the_cut_off_on_are_held_out(schema, days):
    found = sides(measures("abcde", day=days), problem_of(schema, cutoff="2026-01-31"))
    assert list(found.values()) == LATE


def test_a_cut_off_may_be_a_moment_or_a_week_s_day_and_leaves_no_side_empty():
    moment = ["2026-01-30T22:59:00Z", "2026-01-30T23:00:00Z"]
    for cutoff, days in (
        ("2026-01-31T00:00:00+01:00", moment),  # with a zone it is a moment
        ("2026-01-02", pd.period_range("2026-01-01", periods=2, freq="D")),
        *((cutoff, ["2026-01-04", "2026-01-05"]) for cutoff in ("2026-01-05", "2026-W02-1", "2026-W02")),
    ):
        assert list(sides(measures("ab", day=days), problem_of(Dated, cutoff=cutoff)).values()) == [False, True]
    for cutoff, empty in (("1990-01-01", "training"), ("2190-01-01", "holdout")):
        with pytest.raises(DataError, match=f"the {empty} side has none of the 5 rows"):
            sides(measures("abcde", day=DAYS), problem_of(Dated, cutoff=cutoff))


SOON = ["2026-01-01", "soon", "31.1.2026"], ["2026-01-01", "2026-13-01", "x"]
NUMBERS = [20260101, 2026], pd.Series([20260101, 20260103], dtype=object)  # pandas would count nanoseconds from 1970


@pytest.mark.parametrize(
    ("schema", "days", "rows"),
    [
        *((schema, days, (1, 2)) for schema in (Dated, Written) for days in SOON),
        *((Dated, days, (0, 1)) for days in NUMBERS),
    ],
)
def test_what_is_no_date_is_refused(schema, days, rows):
    with pytest.raises(DataError) as refusal:
        sides(measures("abc"[: len(days)], day=days), problem_of(schema, cutoff="2026-01-02"))
    assert [(f.column, f.rows) for f in refusal.value.failures] == [("day", rows)]


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ([1.0, 2.0], [1.0, 2.0, 3.5], None), ([1.0, 2.0], [1.0, 2.0, 1e16], None),
        ([1.0, 2.0], [1.0, 2.0, "A3"], object), ([1, 2], [1.0, 2.0, 3.0], "category"),
        ([1, 2], [1.0, 2.0, 3.0], "float64[pyarrow]"), ([1, 2], [Decimal("1.00"), Decimal("2.00")], object),
        (["2026-01-01"], ["2026-01-01T00:00", "2026-01-02T03:00"], "datetime64[us]"),
    ],
)  # fmt: skip
def test_an_id_reads_the_same_whatever_other_ids_join_it(before, after, kind):
    first = pd.Series(before, dtype=kind if kind == "datetime64[us]" else None)
    ids = (first, pd.Series(after).astype(kind) if kind == "category" else pd.Series(after, dtype=kind))
    read = [check_frame(problem_of(), measures(some).assign(record=some), "table")["record"] for some in ids]
    assert read[1].tolist()[: len(first)] == read[0].tolist()


def test_a_category_of_whole_numbers_may_have_gaps_and_the_rows_of_a_group_stay_together():
    values = pd.Series([1, None, 3], dtype="category")
    assert convert(problem_of().columns[0], values)[0].dropna().tolist() == ["1", "3"]
    patients = [f"patient {number % 50}" for number in range(400)]
    problem = problem_of(Repeated)
    frame = check_frame(problem, measures(IDS, patient=patients), "table")
    frame["held"] = held_out(problem, frame)
    assert frame.groupby("patient")["held"].nunique().eq(1).all()
    assert 0 < frame["held"].mean() < 1


# --- Parts of the holdout that are looked at by themselves.


def test_a_category_is_a_part_and_a_number_has_three(visits):
    names = {"ward": {"=a", "=b", "=c", " missing"}, "insured": {"=False", "=True"}}
    names |= {"income": {" low", " middle", " high", " missing"}, "smoker": {"=False", "=True", " missing"}}
    problem = visits.problem(lambda: Ridge(), slices=(*names,))
    dataset = visits.dataset(problem)
    features, parts = dataset.holdout.features, slices_of(problem, dataset)
    assert {*parts} == {f"{column}{part}" for column, those in names.items() for part in those}
    for column, those in names.items():
        assert (np.sum([parts[f"{column}{part}"] for part in those], axis=0) == 1).all(), column
    assert (parts["ward=b"] == (features.ward == "b")).all()
    assert (parts["smoker=True"] == (features.smoker == 1)).all()
    assert features.income[parts["income low"]].max() < features.income[parts["income middle"]].min()


def test_the_cuts_are_those_of_the_training_side_and_a_part_without_rows_is_left_out(visits):
    problem = visits.problem(lambda: Ridge(), slices=("income",))
    dataset = visits.dataset(problem)
    few = replace(dataset, holdout=replace(dataset.holdout, features=dataset.holdout.features.head(40)))
    whole = slices_of(problem, dataset)
    assert all((rows == whole[name][:40]).all() for name, rows in slices_of(problem, few).items())
    assert slices_of(visits.problem(lambda: Ridge()), dataset) == {}


@pytest.mark.parametrize(
    ("cities", "people", "expected"),
    [
        ("KKKKKKBBBBB", None, {"city=Köln": 6, "city=Bonn": 5}),
        ("KKKKKKBBBBBA", None, {"city=Köln": 6, "city rare": 6}),  # a figure of Bonn's would tell of the one row
        ("KKKKKKBBBBAAA", None, {"city=Köln": 6, "city rare": 7}),
        ("KKKKKKBBBB", None, {}),
        ("KKKKK", None, {"city=Köln": 5}),
        ("BA", None, {}),
        ("KKKKKKBBBBBB", [0, 1, 2, 3, 4, 5, 6, 6, 6, 7, 8, 9], {}),  # six rows of four people
        ("KKKKKKBBBBBBB", [0, 1, 2, 3, 4, 5, 6, 6, 6, 7, 8, 9, 10], {"city=Köln": 6, "city=Bonn": 7}),
    ],
)
def test_no_part_has_fewer_than_five_people(visits, cities, people, expected):
    problem = visits.problem(lambda: Ridge(), slices=("city",))
    dataset, names = visits.dataset(problem), {"K": "Köln", "B": "Bonn", "A": "NA"}
    table = dataset.holdout.features.head(len(cities)).assign(city=[names[one] for one in cities])
    groups = None if people is None else np.array(people, np.uint64)
    few = replace(dataset, holdout=replace(dataset.holdout, features=table, groups=groups))
    found = slices_of(problem, few)
    assert {name: int(rows.sum()) for name, rows in found.items()} == expected
