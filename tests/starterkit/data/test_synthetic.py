"""Made-up rows are of the data's kind, and nobody's."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from example_project import problem
from starterkit.contract import Column
from starterkit.data import DatasetReader
from starterkit.data.checking import typed
from starterkit.data.synthetic import draw_rows, mock_rows, typical_row
from starterkit.errors import DataError
from starterkit.serving.validation import fault_of_value
from starterkit.settings import DataSettings, PrivacySettings, Stage


def test_drawn_rows_fit_the_schema_and_keep_its_types(visits):
    problem = visits.problem(lambda: None)
    seen = visits.dataset(problem).training.features
    drawn = draw_rows(problem.features, seen, rows=2000, seed=1)
    assert drawn.dtypes.tolist() == seen.dtypes.tolist()
    for column in problem.features:
        assert typed(column, drawn[column.name]).dtype == drawn[column.name].dtype
        assert drawn[column.name].isna().any() == column.nullable
        for value in drawn[column.name].dropna().head(200):
            plain = bool(value) if column.type == "boolean" else value
            assert fault_of_value(column, plain) is None
    row = typical_row(problem.features, seen)
    assert list(row) == [column.name for column in problem.features]
    assert [fault_of_value(column, row[column.name]) for column in problem.features] == [None] * len(row)
    assert {type(value) for value in row.values()} == {str, bool, int, float}


def test_drawn_texts_are_what_people_write_and_what_nobody_wrote():
    seen = pd.DataFrame({"note": pd.Series(["late delivery", "good tea"] * 50, dtype="str")})
    column = Column(name="note", role="feature", type="string", unit="", sensitivity="plain")
    drawn = set(draw_rows((column,), seen, rows=4000, seed=1)["note"])
    wanted = [r"[áéïöû]", r"e\u0301|o\u0308", r"^[A-Z ]+$", r"\t", r"\b\w\b", r"\d", r"[,!(]", r"\b(\w+ )\w*.*\1"]
    assert [sign for sign in [*wanted, "never seen"] if not any(re.search(sign, text) for text in drawn)] == []
    assert {"late delivery", "Late Delivery"} <= drawn


def test_drawn_rows_are_the_same_for_a_seed_and_no_patient(diabetes):
    problem = diabetes.problem(lambda: None)
    dataset = diabetes.dataset(problem)
    one, again, other = (draw_rows(problem.features, dataset.training.features, 5000, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, again)
    assert not one.equals(other)
    patients = {tuple(row) for rows in (dataset.training, dataset.holdout) for row in rows.features.to_numpy()}
    assert not patients & {tuple(row) for row in one.to_numpy()}


TEXT = Column(name="x", role="feature", type="string", unit="", sensitivity="sensitive")
FLOAT, WHOLE = replace(TEXT, type="float"), replace(TEXT, type="integer")
LISTED = replace(TEXT, categories=("f", "m", "x"))
PEOPLE = [f"person {row} is ill" for row in range(50)]
ODD = np.random.default_rng(0).normal(50, 9, 101)  # the median of an odd count is one person's


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        (TEXT, ["often told"] * 4 + PEOPLE, "made up, and never seen"),
        (TEXT, ["often told"] * 5 + PEOPLE, "often told"),
        (LISTED, ["x"] * 4 + ["m"] * 2, "f"),
        (FLOAT, ODD, 50),
        (FLOAT, ODD * 1e-9, 5e-8),
        (FLOAT, np.r_[np.arange(50), [49.5] * 5, np.arange(50) + 50], 49.5),
        (WHOLE, np.arange(101) * 1000 + 7, 50_000),
        (replace(FLOAT, minimum=60), ODD, 60),
        (FLOAT, [7_654_321.25] * 4, 0),
    ],
)
def test_the_example_is_made_of_what_five_people_share(column, values, expected):
    seen = pd.DataFrame({"x": values})
    row = typical_row((column,), seen)["x"]
    assert row == (expected if isinstance(expected, str) else pytest.approx(expected, rel=0.1))
    if column is FLOAT:
        assert row not in seen.x.value_counts().loc[lambda count: count < 5].index
    # Five rows of one person are one person's.
    one = np.where(seen.x == seen.x.mode()[0], -1, np.arange(len(seen)))
    assert typical_row((column,), seen, one)["x"] not in ("often told", 49.5)


def test_drawn_rows_hold_no_text_and_no_number_of_a_person():
    """Nor a word: fifty people wrote one each of their own, and one person nine times the same."""
    columns = (replace(TEXT, name="note"), replace(FLOAT, name="income"))
    for same, people in ((4, None), (9, np.repeat([*range(50), -1], [1] * 50 + [9]))):
        notes = [f"late delivery for Q{row:03d}Z" for row in range(50)] + ["ZZPLANTED came"] * same
        income = np.arange(len(notes)) ** 2 + 7_000_000.125
        seen = pd.DataFrame({"note": pd.Series(notes, dtype="str"), "income": income})
        drawn = draw_rows(columns, seen, 4000, 1, people)
        told = " ".join(drawn.note).casefold()
        assert "delivery" in told
        assert not re.search(r"zzplanted|q\d\d\dz|came", told)
        assert not {*drawn.note, *drawn.income} & {*notes, *seen.income}


COLUMNS = [*problem.features, problem.target]


def rows_of(dataset: Any, target: str) -> pd.DataFrame:
    both = [rows.features.assign(**{target: rows.target}) for rows in (dataset.training, dataset.holdout)]
    return pd.concat(both, ignore_index=True)


@pytest.fixture
def patients(diabetes: Any) -> pd.DataFrame:
    return rows_of(diabetes.dataset(problem), "progression")


def test_distributions_and_rank_correlations_are_kept(patients):
    made = mock_rows(COLUMNS, patients, 7)
    assert made.shape == patients.shape
    assert made.dtypes.equals(patients.dtypes)
    for name in patients:
        spread = patients[name].std()
        assert made[name].mean() == pytest.approx(patients[name].mean(), abs=0.2 * spread), name
        assert made[name].std() == pytest.approx(spread, rel=0.2), name
    difference = (made.corr("spearman") - patients.corr("spearman")).abs()
    assert difference.to_numpy().max() < 0.16
    assert difference.to_numpy().mean() < 0.05


def test_no_real_row_is_copied_no_extreme_is_shown_and_real_rows_that_are_drawn_are_drawn_again(patients):
    patients.loc[3, ["progression", "age"]] = [487.130571, 113]
    made = mock_rows(COLUMNS, patients, 7)
    assert made.merge(patients, on=list(patients)).empty
    assert (made.age.max() < 113, made.progression.max() < 487) == (True, True)
    assert made.bmi.max() <= patients.bmi.nlargest(5).min()
    # Of eight combinations six are real: only two may be drawn, and most draws are one of the six.
    sex, bmi = (column for column in problem.columns if column.name in ("sex", "bmi"))
    kept = pd.DataFrame({"sex": [1, 1, 1, 2, 2, 2] * 20, "bmi": [20.0, 30.0, 40.0, 20.0, 30.0, 41.0] * 20})
    assert mock_rows([sex, bmi], kept, 0).merge(kept, on=["sex", "bmi"]).empty


def test_texts_booleans_and_missing_values_are_kept_in_share(visits):
    one = visits.problem(lambda: None)
    rows = rows_of(visits.dataset(one), "cost")
    made = mock_rows([*one.features, one.target], rows, 1)
    assert made.dtypes.equals(rows.dtypes)
    for name in rows:
        assert made[name].isna().mean() == pytest.approx(rows[name].isna().mean(), abs=0.02), name
    for name in ("city", "ward", "insured"):
        before, after = (table[name].value_counts(normalize=True) for table in (rows, made))
        assert (before - after).abs().max() < 0.1, name
    means = made.groupby("city").cost.mean() - made.cost.mean()
    assert means["Bonn"] == max(means)  # as in the real rows: Bonn costs more
    assert made.merge(rows, on=list(rows)).empty


def test_what_cannot_be_drawn_is_refused(visits, patients):
    city, cost = (c for c in visits.problem(lambda: None).columns if c.name in ("city", "cost"))
    rows = pd.DataFrame({"city": [f"street {n}" for n in range(100)], "cost": np.arange(100) / 7})
    with pytest.raises(DataError, match="'city' has hardly a value that 5 people share"):
        mock_rows([replace(city, categories=()), cost], rows, 0)
    with pytest.raises(DataError, match="too few values"):
        mock_rows([replace(WHOLE, categories=(1, 2))], pd.DataFrame({"x": [1, 2] * 100}), 0)
    for count in (1, 3, 49):
        with pytest.raises(DataError, match=f"cannot be drawn from {count} rows") as raised:
            mock_rows(COLUMNS, patients.head(count), 0)
        assert "generalise or drop" in raised.value.hint


REST = np.arange(96)


@pytest.mark.parametrize(
    ("column", "rare", "usual", "people"),
    [
        (LISTED, ["x"] * 4, np.where(REST % 2, "f", "m"), None),
        (LISTED, ["x"] * 20, np.where(REST % 2, "f", "m"), [-1] * 20),  # one person's rows
        (replace(TEXT, type="boolean"), [True] * 4, [False] * 96, None),
        (replace(WHOLE, categories=(1, 2, 9)), [9] * 4, REST % 2 + 1, None),
        (WHOLE, [2] * 4, REST % 2 * 2 + 1, None),  # no class is made up between two classes
        (TEXT, ["Ötztal", "Zell"], np.where(REST % 2, "Köln", "Bonn"), None),
        (WHOLE, [9] * 4, REST % 2 + 1, None),
        (FLOAT, [900.0] * 4, REST / 7, None),
        (FLOAT, [900.0, 901, 902, 903, 904, 905], REST / 7, [-1] * 6),
        (replace(FLOAT, nullable=True), [None] * 4, REST / 7, None),
    ],
)
def test_mock_rows_draw_nothing_that_fewer_than_five_people_have(column, rare, usual, people):
    random = np.random.default_rng(0)
    values = pd.Series([*rare, *usual])
    real = pd.DataFrame({"x": values, "cost": random.normal(size=len(values))})
    whose = None if people is None else np.array([*people, *range(len(usual))])
    made = mock_rows((column, replace(FLOAT, name="cost")), real, 3, whose)
    assert column.type == "float" or made.x.isin(pd.Series(usual)).all()
    assert not made.x.isin(rare).any()
    assert made.x.notna().all()
    assert column is not FLOAT or made.x.max() < 15


def test_dev_may_mock_as_it_reads(settings):
    privacy = PrivacySettings(sensitive="mock")
    place = (DataSettings(source=settings.data.source), settings.root)
    seen, again = (DatasetReader(problem, *place, Stage.DEV, privacy).read() for _ in range(2))
    raw = DatasetReader(problem, *place, Stage.LOCAL).read()
    assert seen.digest == again.digest  # drawn by the stage's key, so that a run can be done again
    assert (len(seen.training), len(seen.holdout)) == (len(raw.training), len(raw.holdout))
    assert seen.policy["bmi"] == "mock"
    assert raw.training.features.merge(seen.training.features).empty
