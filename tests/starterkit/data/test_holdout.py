"""The side of a row follows from its id alone, whatever else happens to the table."""

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from starterkit.data.checking import check_frame, convert
from starterkit.data.reader import DatasetReader
from starterkit.data.sources import open_source
from starterkit.data.split import held_out
from starterkit.errors import DataError
from starterkit.problem import Holdout, Problem, feature, group, identifier, target, time
from starterkit.settings import DataSettings, Stage


class Measures(pa.DataFrameModel):
    record: str = identifier()
    size: float = feature(sensitivity="plain")
    yield_: float = target()


class Numbered(Measures):
    record: int = identifier()  # type: ignore[assignment]


class Repeated(Measures):
    patient: str = group()


class Dated(Measures):
    day: pd.Timestamp = time()


class Written(Measures):
    day: str = time()


def problem_of(schema: type[pa.DataFrameModel] = Measures, **holdout: Any) -> Problem:
    return Problem(
        name="yields",
        title="",
        task="regression",
        schema=schema,
        estimator=lambda: None,  # type: ignore[arg-type,return-value]
        metric="rmse",
        holdout=Holdout(**holdout),
    )


def measures(ids: Any, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"record": list(ids), "size": 1.0, "yield_": 2.0, **columns})


def sides(frame: pd.DataFrame, problem: Problem) -> dict[str, bool]:
    checked = check_frame(problem, frame, "table")
    return dict(zip(checked["record"].astype(str), held_out(problem, checked).tolist(), strict=True))


IDS = [f"P{number:04}" for number in range(400)]
SIDES = sides(measures(IDS), problem_of())


@settings(max_examples=50, deadline=None)
@given(ids=st.lists(st.sampled_from(IDS), unique=True, min_size=60), size=st.floats(-1e9, 1e9))
def test_a_row_never_changes_sides(ids: list[str], size: float) -> None:
    some = sides(measures(ids, size=size), problem_of())
    assert some == {record: SIDES[record] for record in ids}


def test_a_row_stays_when_the_data_grows() -> None:
    grown = sides(measures([*IDS, *(f"Q{number}" for number in range(1000))]), problem_of())
    assert grown.items() >= SIDES.items()


@settings(max_examples=20, deadline=None)
@given(fraction=st.floats(0.05, 0.95), salt=st.text(max_size=5))
def test_the_share_is_about_the_fraction(fraction: float, salt: str) -> None:
    share = np.mean(list(sides(measures(range(4000)), problem_of(fraction=fraction, salt=salt)).values()))
    assert share == pytest.approx(fraction, abs=0.04)


def test_a_larger_fraction_only_adds_to_the_holdout() -> None:
    small, large = (sides(measures(IDS), problem_of(fraction=fraction)) for fraction in (0.2, 0.3))
    assert all(large[record] for record, held in small.items() if held)


def test_the_salt_matters_and_is_the_name_where_none_is_given() -> None:
    assert sides(measures(IDS), problem_of(salt="other")) != SIDES
    assert sides(measures(IDS), problem_of(salt="yields")) == SIDES


def test_the_sides_are_those_of_every_earlier_version() -> None:
    """Were the hash to change, every model would be judged on rows that it was trained on."""
    assert [record for record in IDS[:40] if SIDES[record]] == ["P0005", "P0018", "P0023", "P0035"]


@pytest.mark.parametrize("ids", [range(1, 200), [float(n) for n in range(1, 200)], [str(n) for n in range(1, 200)]])
def test_the_side_does_not_depend_on_the_type_of_the_id(ids: Any) -> None:
    expected = sides(measures([str(number) for number in range(1, 200)]), problem_of())
    assert sides(measures(ids), problem_of()) == expected
    assert sides(measures(ids), problem_of(Numbered)) == expected


def test_every_source_gives_the_same_sides(tmp_path: Path) -> None:
    table = measures([f"{number:03}" for number in range(300)])
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    with sqlite3.connect(tmp_path / "t.db") as database:
        table.to_sql("t", database, index=False)
    sources = (
        DataSettings(source="t.csv"),
        DataSettings(source="t.parquet"),
        DataSettings(source="sqlite:///t.db", query="SELECT * FROM t"),
    )
    digests = {DatasetReader(problem_of(), source, tmp_path, Stage.LOCAL).read().holdout.digest for source in sources}
    assert len(digests) == 1


# Whatever stands in a file as it stands in a frame: no line breaks, which are CSV's own, and no surrogates.
TEXTS = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters=["\ufeff"]), min_size=1, max_size=6)


@st.composite
def histories(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A table, and what became of it: rows gone and added, in another order, with other values and columns' order."""
    ids = draw(st.lists(TEXTS, unique=True, min_size=12, max_size=30))
    patients = draw(st.lists(TEXTS, unique=True, min_size=1, max_size=8))
    table = measures(ids, patient=[draw(st.sampled_from(patients)) for _ in ids])
    kept = draw(st.permutations(range(len(ids))))[: draw(st.integers(6, len(ids)))]
    added = [identifier for identifier in draw(st.lists(TEXTS, unique=True, max_size=8)) if identifier not in ids]
    later = pd.concat(
        [table.iloc[list(kept)], measures(added, patient=[draw(st.sampled_from(patients)) for _ in added])],
        ignore_index=True,
    )
    later["size"] = draw(st.floats(-1e9, 1e9))
    return table, later[draw(st.permutations(list(later)))]


def written(table: pd.DataFrame, folder: Path) -> dict[str, DataSettings]:
    """The table as each kind of source."""
    table.to_csv(folder / "t.csv", index=False)
    table.to_parquet(folder / "t.parquet")
    with sqlite3.connect(":memory:") as database:
        table.to_sql("t", database, index=False)
        (folder / "t.db").write_bytes(database.serialize())
    return {
        "csv": DataSettings(source="t.csv"),
        "parquet": DataSettings(source="t.parquet"),
        "database": DataSettings(source="sqlite:///t.db", query="SELECT * FROM t"),
    }


@pytest.mark.parametrize("schema", [Measures, Repeated])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories())
@pytest.mark.slow
def test_no_row_changes_sides_whatever_becomes_of_the_table(
    schema: type[pa.DataFrameModel], history: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    columns = list(schema.to_schema().columns)
    problem = problem_of(schema, fraction=0.5)
    found: list[dict[str, bool]] = []
    for table in history:
        for settings_of in written(table[[name for name in table if name in columns]], tmp_path).values():
            frame = check_frame(problem, problem.read(open_source(settings_of, tmp_path, problem)), "table")
            try:
                side = held_out(problem, frame)
            except DataError:  # a side without rows is refused, whatever the source
                continue
            found.append(dict(zip(frame["record"], side.tolist(), strict=True)))
            if schema is Repeated:
                assert frame.assign(side=side).groupby("patient")["side"].nunique().eq(1).all()
    for one in found:
        assert all(one[record] == found[0][record] for record in one.keys() & found[0].keys())


def test_the_rows_of_a_group_stay_together() -> None:
    patients = [f"patient {number % 50}" for number in range(400)]
    problem = problem_of(Repeated)
    frame = check_frame(problem, measures(IDS, patient=patients), "table")
    frame["held"] = held_out(problem, frame)
    assert frame.groupby("patient")["held"].nunique().eq(1).all()
    assert 0 < frame["held"].mean() < 1


DAYS = ["2025-12-31", "2026-01-30T23:59:59", "2026-01-31", "2026-01-31T00:00:01", "2026-02-01"]
LATE = [False, False, True, True, True]


@pytest.mark.parametrize(
    ("schema", "days"),
    [
        (Written, DAYS),
        (Dated, DAYS),
        (Dated, pd.to_datetime(DAYS, format="ISO8601")),
        (Dated, pd.to_datetime(DAYS, format="ISO8601").tz_localize("UTC")),
        (Dated, [*pd.to_datetime(DAYS, format="ISO8601").to_pydatetime()]),
        (Written, pd.to_datetime(DAYS, format="ISO8601")),
        (Dated, [day if "T" in day else f"{day}T01:00:00+01:00" for day in DAYS]),
    ],
)
def test_rows_from_the_cut_off_on_are_held_out(schema: type[pa.DataFrameModel], days: Any) -> None:
    problem = problem_of(schema, cutoff="2026-01-31")
    found = sides(measures("abcde", day=days), problem)
    assert list(found.values()) == LATE


def test_a_cut_off_with_a_zone_is_a_moment() -> None:
    days = ["2026-01-30T22:59:00Z", "2026-01-30T23:00:00Z"]
    found = sides(measures("ab", day=days), problem_of(Dated, cutoff="2026-01-31T00:00:00+01:00"))
    assert list(found.values()) == [False, True]


@pytest.mark.parametrize("schema", [Dated, Written])
@pytest.mark.parametrize("days", [["2026-01-01", "soon", "31.1.2026"], ["2026-01-01", "2026-13-01", "x"]])
def test_what_is_no_date_is_refused(schema: type[pa.DataFrameModel], days: list[str]) -> None:
    with pytest.raises(DataError) as refusal:
        sides(measures("abc", day=days), problem_of(schema, cutoff="2026-01-02"))
    assert [(f.column, f.rows) for f in refusal.value.failures] == [("day", (1, 2))]  # type: ignore[attr-defined]


def test_a_number_is_no_date() -> None:
    """pandas would count nanoseconds from 1970."""
    with pytest.raises(DataError) as refusal:
        sides(measures("ab", day=[20260101, 2026]), problem_of(Dated, cutoff="2026-01-02"))
    assert [(f.column, f.rows) for f in refusal.value.failures] == [("day", (0, 1))]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("cutoff", "empty"), [("1990-01-01", "training"), ("2190-01-01", "holdout")])
def test_an_empty_side_is_refused(cutoff: str, empty: str) -> None:
    with pytest.raises(DataError, match=f"the {empty} side has none of the 5 rows"):
        sides(measures("abcde", day=DAYS), problem_of(Dated, cutoff=cutoff))


def test_no_id_is_on_both_sides(visits: Any) -> None:
    dataset = visits.dataset(visits.problem(lambda: None))
    assert len(dataset.training) + len(dataset.holdout) == len(dataset) == 400
    assert dataset.training.digest != dataset.holdout.digest


GROWN = [
    (pd.Series([1.0, 2.0]), pd.Series([1.0, 2.0, 3.5])),
    (pd.Series([1.0, 2.0]), pd.Series([1.0, 2.0, 1e16])),
    (pd.Series([1.0, 2.0]), pd.Series([1.0, 2.0, "A3"], dtype=object)),
    (pd.Series([1, 2]), pd.Series([1.0, 2.0, 3.0]).astype("category")),
    (pd.Series([1, 2]), pd.Series([1.0, 2.0, 3.0]).astype("float64[pyarrow]")),
    (pd.Series([1, 2]), pd.Series([Decimal("1.00"), Decimal("2.00")], dtype=object)),
    (pd.Series(["2026-01-01"], dtype="datetime64[us]"), pd.Series(["2026-01-01", "2026-01-02T03:00"])),
]


@pytest.mark.parametrize(("before", "after"), GROWN)
def test_an_id_reads_the_same_whatever_other_ids_join_it(before: pd.Series, after: pd.Series) -> None:
    if before.dtype == "datetime64[us]":
        after = pd.to_datetime(after, format="ISO8601")
    read = [check_frame(problem_of(), measures(ids).assign(record=ids), "table")["record"] for ids in (before, after)]
    assert read[1].tolist()[: len(before)] == read[0].tolist()


def test_a_category_of_whole_numbers_may_have_gaps() -> None:
    values = pd.Series([1, None, 3], dtype="category")
    assert convert(problem_of().columns[0], values)[0].dropna().tolist() == ["1", "3"]


@pytest.mark.parametrize("cutoff", ["2026-01-05", "2026-W02-1", "2026-W02"])
def test_a_cut_off_may_be_a_week_s_day(cutoff: str) -> None:
    days = ["2026-01-04", "2026-01-05"]
    assert list(sides(measures("ab", day=days), problem_of(Dated, cutoff=cutoff)).values()) == [False, True]


def test_a_number_among_objects_is_no_date_and_a_period_is() -> None:
    numbers = measures("ab", day=pd.Series([20260101, 20260103], dtype=object))
    with pytest.raises(DataError, match="day is not a date"):
        sides(numbers, problem_of(Dated, cutoff="2026-01-02"))
    periods = measures("ab", day=pd.period_range("2026-01-01", periods=2, freq="D"))
    assert list(sides(periods, problem_of(Dated, cutoff="2026-01-02")).values()) == [False, True]
