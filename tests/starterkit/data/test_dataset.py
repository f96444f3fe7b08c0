"""The side of a row follows from its id alone; the holdout has parts; a record tells nothing about a row."""

import io
import json
import random
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

from starterkit.data import DatasetReader
from starterkit.data import dataset as row_record
from starterkit.data.checking import check_frame, convert
from starterkit.data.dataset import Dataset, RowRecord, Rows, as_records, held_out, slices_of
from starterkit.errors import DataError, TrackingError
from starterkit.problem import Holdout, Problem, feature, group, identifier, target, time
from starterkit.settings import DataSettings, Stage


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


def test_the_sides_are_those_of_every_earlier_version_and_follow_from_fraction_and_salt():
    small, large = (sides(measures(IDS), problem_of(fraction=fraction)) for fraction in (0.2, 0.3))
    assert all(large[record] for record, held in small.items() if held)
    assert sides(measures(IDS), problem_of(salt="other")) != SIDES
    assert sides(measures(IDS), problem_of(salt="yields")) == SIDES  # the name, where none is given
    # Were the hash to change, every model would be judged on rows that it was trained on.
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


def test_a_category_is_a_part_and_a_number_has_three_by_cuts_of_the_training_side(visits):
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


@pytest.fixture
def dataset(diabetes: Any) -> Any:
    return diabetes.dataset(diabetes.problem(lambda: None))


def moved(side: Rows, order: Any) -> Rows:
    pick = [frame.iloc[order].reset_index(drop=True) for frame in (side.features, side.target)]
    return Rows(pick[0], pick[1], "other")


def content_of(dataset: Dataset) -> bytes:
    return RowRecord.of(dataset).to_bytes()


def opened(content: bytes | None) -> RowRecord:
    record = RowRecord.from_bytes(content, "run 7")
    assert record is not None
    return record


def test_rows_that_came_went_moved_and_changed_are_counted_and_those_trained_on_are_known(dataset, monkeypatch):
    record, training, holdout = opened(content_of(dataset)), dataset.training, dataset.holdout
    target, count = holdout.target.copy(), len(training)
    target.iloc[0] += 1
    for other, counted in (
        (dataset, (0, 0)),
        (replace(dataset, training=moved(training, np.arange(count)[::-1])), (0, 0)),
        (replace(dataset, training=moved(training, [0, 0, *range(3, count)])), (1, 2)),
        (replace(dataset, training=holdout, holdout=training), (442, 442)),
        (replace(dataset, holdout=Rows(holdout.features, target, "other")), (1, 1)),
    ):
        assert record.new_and_gone(other) == counted
    assert (record.trained_on(training), record.trained_on(holdout)) == (count, 0)
    assert record.trained_on(replace(holdout, keys={"other": np.array([1], np.uint64)})) is None
    monkeypatch.setattr(row_record, "MOST_FINGERPRINTS", len(dataset) - 1)
    record = opened(content_of(dataset))  # too many leave no fingerprints
    assert (record.new_and_gone(dataset), record.trained_on(training)) == (None, count)


def test_two_files_have_nothing_in_common_and_keep_neither_a_key_nor_a_place(dataset):
    one, other = (dict(np.load(io.BytesIO(content_of(dataset)), allow_pickle=False)) for _ in range(2))
    ((key, known),) = dataset.training.keys.items()
    assert sorted(one) == sorted(other) == ["fingerprints", f"keys.{key}", "salt"]
    assert one["salt"].tobytes() != other["salt"].tobytes()
    hashes, counts = [one["fingerprints"], one[f"keys.{key}"]], [len(dataset), len(dataset.training)]
    assert [len(each) for each in hashes] == counts
    assert not set(one[f"keys.{key}"].tolist()) & set(known.tolist())
    for mine, others in zip(hashes, (other["fingerprints"], other[f"keys.{key}"]), strict=True):
        assert not set(mine.tolist()) & set(others.tolist())
        assert (np.diff(mine.astype(object)) >= 0).all()  # in order of size, so that none is known by its place


def test_no_file_and_a_file_of_another_kit_say_nothing_and_one_that_is_none_is_named(dataset):
    assert RowRecord.from_bytes(None, "run 7") is None
    earlier, single = io.BytesIO(), io.BytesIO()
    np.savez(earlier, key=np.zeros(16, np.uint8), rows=np.zeros(3, np.uint64))
    assert RowRecord.from_bytes(earlier.getvalue(), "run 7") is None
    np.save(single, np.zeros(3))
    for content in (b"", b"no archive", single.getvalue(), content_of(dataset)[:-400]):
        with pytest.raises(TrackingError, match=r"'rows\.npz' of run 7 cannot be read\. Train again"):
            RowRecord.from_bytes(content, "run 7")


def test_a_flipped_byte_is_named_or_changes_nothing(dataset):
    content, chosen = content_of(dataset), random.Random(0)
    sound, named = opened(content), 0
    for place in [*range(60), *range(len(content) - 200, len(content)), *chosen.sample(range(len(content)), 100)]:
        spoilt = bytearray(content)
        spoilt[place] ^= chosen.randrange(1, 256)
        try:
            record = RowRecord.from_bytes(bytes(spoilt), "run 7")
        except TrackingError:
            named += 1
        else:
            assert record is None or (record.salt, record.new_and_gone(dataset) or (0, 0)) == (sound.salt, (0, 0))
    assert named > 200


def test_load_may_derive_columns_and_a_feature_without_any_value_is_refused(visits, tmp_path):
    def load(source):
        table = source.read()
        return table.assign(cost=table["cost"] * 2)

    plain = visits.dataset(visits.problem(lambda: None))
    doubled = visits.dataset(visits.problem(lambda: None, load=load))
    assert (doubled.training.target == 2 * plain.training.target).all()
    assert doubled.digest != plain.digest
    table = pd.read_csv(visits.root / "table.csv", dtype={"visit": "str"}, keep_default_na=False)
    table.assign(income="").to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(DataError, match="no value of 'income' on the training side"):
        DatasetReader(visits.problem(lambda: None), DataSettings(source="table.csv"), tmp_path, Stage.LOCAL).read()


def test_records_are_what_json_has():
    frame = pd.DataFrame({"age": [59, 48], "bmi": [32.1, None], "city": ["Graz", None], "windy": [True, False]})
    records = as_records(frame)
    assert records[0] == {"age": 59, "bmi": 32.1, "city": "Graz", "windy": True}
    assert json.dumps(records[1]) == '{"age": 48, "bmi": null, "city": null, "windy": false}'
