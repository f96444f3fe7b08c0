"""Made-up rows look like the real ones, and are nobody's."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from example_project import problem
from starterkit.contract import Column
from starterkit.data.reader import DatasetReader
from starterkit.data.synthetic import mock_rows
from starterkit.errors import DataError
from starterkit.settings import DataSettings, PrivacySettings, Settings, Stage


def model_columns(one: Any) -> list[Any]:
    return [*one.features, one.target]


@pytest.fixture
def patients(settings: Settings) -> pd.DataFrame:
    dataset = DatasetReader(problem, settings.data, settings.root, Stage.LOCAL).read()
    both = [rows.features.assign(progression=rows.target) for rows in (dataset.training, dataset.holdout)]
    return pd.concat(both, ignore_index=True)


def test_distributions_and_rank_correlations_are_kept(patients: pd.DataFrame) -> None:
    made = mock_rows(model_columns(problem), patients, 7)
    assert made.shape == patients.shape
    assert made.dtypes.equals(patients.dtypes)
    for name in patients:
        spread = patients[name].std()
        assert made[name].mean() == pytest.approx(patients[name].mean(), abs=0.2 * spread), name
        assert made[name].std() == pytest.approx(spread, rel=0.2), name
    difference = (made.corr("spearman") - patients.corr("spearman")).abs()
    assert difference.to_numpy().max() < 0.16
    assert difference.to_numpy().mean() < 0.05


def test_no_real_row_is_copied_and_no_extreme_is_shown(patients: pd.DataFrame) -> None:
    patients.loc[3, ["progression", "age"]] = [487.130571, 113]
    made = mock_rows(model_columns(problem), patients, 7)
    assert made.merge(patients, on=list(patients)).empty
    assert made.age.max() < 113
    assert made.progression.max() < 487
    assert made.bmi.max() <= patients.bmi.nlargest(5).min()


def test_real_rows_that_are_drawn_are_drawn_again(patients: pd.DataFrame) -> None:
    # Of six combinations five are real: only the sixth may be drawn, and most draws are one of the five.
    few = pd.DataFrame({"sex": [1, 2, 1, 2, 1] * 40, "bmi": [20.0, 20.0, 30.0, 30.0, 40.0] * 40})
    columns = [column for column in problem.columns if column.name == "sex"]
    with pytest.raises(DataError, match="too few values"):
        mock_rows(columns, few[["sex"]], 0)
    kept = {"sex": [1, 1, 1, 2, 2, 2] * 20, "bmi": [20.0, 30.0, 40.0, 20.0, 30.0, 41.0] * 20}
    made = mock_rows([*columns, next(c for c in problem.columns if c.name == "bmi")], pd.DataFrame(kept), 0)
    assert made.merge(pd.DataFrame(kept), on=["sex", "bmi"]).empty


def test_texts_booleans_and_missing_values_are_kept_in_share(visits: Any) -> None:
    one = visits.problem(lambda: None)
    dataset = visits.dataset(one)
    rows = pd.concat([part.features.assign(cost=part.target) for part in (dataset.training, dataset.holdout)])
    rows = rows.reset_index(drop=True)
    made = mock_rows(model_columns(one), rows, 1)
    assert made.dtypes.equals(rows.dtypes)
    for name in rows:
        assert made[name].isna().mean() == pytest.approx(rows[name].isna().mean(), abs=0.02), name
    for name in ("city", "ward", "insured"):
        before, after = (table[name].value_counts(normalize=True) for table in (rows, made))
        assert (before - after).abs().max() < 0.1, name
    means = made.groupby("city").cost.mean() - made.cost.mean()
    assert means["Bonn"] == max(means)  # as in the real rows: Bonn costs more
    assert made.merge(rows, on=list(rows)).empty


def test_rare_texts_are_not_drawn_and_free_text_is_refused(visits: Any) -> None:
    columns = [c for c in visits.problem(lambda: None).columns if c.name in ("city", "cost")]
    open_text = [columns[0].__class__(**{**vars(columns[0]), "categories": ()}), columns[1]]
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"city": ["Köln"] * 60 + ["Bonn"] * 38 + ["Ötztal", "Zell"], "cost": random.normal(0, 1, 100)})
    assert set(mock_rows(open_text, rows, 0).city) == {"Köln", "Bonn"}
    with pytest.raises(DataError, match="'city' has hardly a value that 5 rows share"):
        mock_rows(open_text, rows.assign(city=[f"street {n}" for n in range(100)]), 0)


@pytest.mark.parametrize("count", [1, 3, 49])
def test_too_few_rows_are_refused(patients: pd.DataFrame, count: int) -> None:
    with pytest.raises(DataError, match=f"cannot be drawn from {count} rows") as raised:
        mock_rows(model_columns(problem), patients.head(count), 0)
    assert "generalise or drop" in raised.value.hint


def test_dev_may_mock_as_it_reads(settings: Settings) -> None:
    privacy = PrivacySettings(sensitive="mock")
    place = (DataSettings(source=settings.data.source), settings.root)
    seen, again = (DatasetReader(problem, *place, Stage.DEV, privacy).read() for _ in range(2))
    raw = DatasetReader(problem, *place, Stage.LOCAL).read()
    assert seen.digest == again.digest  # drawn by the stage's key, so that a run can be done again
    assert (len(seen.training), len(seen.holdout)) == (len(raw.training), len(raw.holdout))
    assert seen.policy["bmi"] == "mock"
    assert raw.training.features.merge(seen.training.features).empty


def test_no_class_is_made_up_between_two_classes() -> None:
    random = np.random.default_rng(0)
    real = pd.DataFrame({"size": random.normal(size=200), "kind": random.choice([1, 3], 200)})
    size = Column(name="size", role="feature", type="float", unit="", sensitivity="sensitive")
    kind = Column(name="kind", role="target", type="integer", unit="", sensitivity="sensitive")
    drawn = [mock_rows((size, kind), real, seed)["kind"] for seed in range(20)]
    assert set(pd.concat(drawn)) == {1, 3}
