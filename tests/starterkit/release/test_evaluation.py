"""What the gate is told: which rows a version knew, what it answers today, what that costs, and how it reacts."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from starterkit.data import DatasetReader
from starterkit.data.dataset import Dataset, RowRecord, Rows
from starterkit.errors import ContractError, ProblemError
from starterkit.problem import Direction, Holdout, Invariance, Jitter, Problem, feature, group, identifier, target, time
from starterkit.release import evaluation
from starterkit.release.evaluation import contamination_of, evaluate_version, measure_costs, measure_robustness
from starterkit.serving.predictor import GRAPH_FILE, Predictor
from starterkit.settings import DataSettings, Stage
from starterkit.verdict import Cost, RobustnessResult


class Measures(pa.DataFrameModel):
    record: str = identifier()
    size: float = feature(sensitivity="plain")
    answer: float = target()


class Repeated(Measures):
    patient: int = group()


class Dated(Measures):
    day: pd.Timestamp = time()


class DatedAndRepeated(Dated):
    patient: int = group()


@pytest.fixture
def read(tmp_path: Any) -> Any:
    """Reads 300 rows of 60 patients on 100 days, with some rows and a holdout of one's own."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"record": [f"R{row}" for row in range(300)], "size": random.normal(0, 1, 300), "answer": 1.0})
    table["patient"] = np.arange(300) % 60
    table["day"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(300) // 3, unit="D")

    def reading(schema: type[pa.DataFrameModel], rows: Any = slice(None), **holdout: Any) -> Dataset:
        given = {"name": "m", "title": "", "task": "regression", "metric": "rmse", "estimator": lambda: None}
        problem = Problem(**given, schema=schema, holdout=Holdout(**holdout))
        kept = [column.name for column in problem.columns]
        table.loc[rows, kept].to_parquet(tmp_path / "table.parquet")
        return DatasetReader(problem, DataSettings(source="table.parquet"), tmp_path, Stage.LOCAL).read()

    return reading


def seen(trained: Dataset, judged: Dataset) -> int | None:
    return contamination_of(RowRecord.of(trained), judged).trained_on


CUT, LATER, SALTED = {"cutoff": "2026-03-01"}, {"cutoff": "2026-03-20"}, {"salt": "another"}


@pytest.mark.parametrize(
    ("schema", "own", "others"),
    [(Measures, {}, SALTED), (Measures, {}, {"fraction": 0.01}), (Repeated, {}, SALTED), (Dated, CUT, LATER),
     (DatedAndRepeated, CUT, LATER)],
)  # fmt: skip
def test_the_same_split_shares_nothing_and_anothers_is_found_out(read, schema, own, others):
    judged, trained = read(schema, **own), read(schema, **others)
    shared = int(judged.holdout.features["size"].isin(trained.training.features["size"]).sum())
    found = seen(trained, judged)
    assert seen(judged, judged) == 0
    assert shared > 0
    assert found == shared or (found and "patient" in schema.to_schema().columns)


def test_another_row_of_a_patient_is_found_out_and_what_nobody_says_is_unknown(read):
    trained, others = read(Repeated, rows=slice(0, 200), **SALTED), read(Repeated, rows=slice(200, 300))
    assert seen(trained, others) > 0
    assert not set(trained.training.features["size"]) & set(others.holdout.features["size"])
    judged = read(Repeated)
    assert seen(trained, judged) > 0
    assert contamination_of(None, judged).trained_on is None
    assert seen(read(Measures), judged) is None


def test_rows_with_the_same_features_and_copies_under_another_id_are_counted(read):
    dataset = read(Measures)
    dataset.holdout.features.loc[:2, "size"] = dataset.training.features.loc[:2, "size"].to_numpy()
    assert contamination_of(RowRecord.of(dataset), dataset).alike == 3
    dataset = read(Measures)
    training, holdout = dataset.training, dataset.holdout
    copies = range(len(holdout))
    training.features.loc[copies, "size"] = holdout.features["size"].to_numpy()
    found = contamination_of(RowRecord.of(dataset), dataset)
    assert (found.trained_on, found.copied, found.usual) == (0, len(holdout), 0.0)
    training.target.iloc[:4] = 2.0
    assert contamination_of(RowRecord.of(dataset), dataset).copied == len(holdout) - 4
    training.features.loc[10:19, "size"] = 7.0
    found = contamination_of(RowRecord.of(dataset), dataset)
    assert found.usual == pytest.approx(10 / len(training))


def without(rows: Rows, label: str) -> Rows:
    kept = (rows.target != label).to_numpy()
    return replace(rows, features=rows.features[kept], target=rows.target[kept])


def test_a_class_that_todays_data_lacks_has_a_guess_of_zero(iris, tmp_path):
    exported, dataset = iris.export(LogisticRegression(), tmp_path / "exported")
    problem = iris.problem(LogisticRegression)
    sides = (without(rows, "setosa") for rows in (dataset.training, dataset.holdout))
    fewer = Dataset(dataset.source, dataset.digest, *sides)
    guess = evaluate_version(problem, fewer, ("new", Predictor(exported.folder)), None).baseline
    assert exported.contract.classes[0] == "setosa"
    assert guess.prediction.probabilities[:, 0].max() == 0
    assert guess.scores["log_loss"] == pytest.approx(np.log(2), abs=0.01)


def test_a_whole_number_is_never_made_of_a_missing_value_or_a_fraction(visits, tmp_path):
    columns = make_column_transformer((OneHotEncoder(), ["city"]), ("passthrough", ["insured"]))
    exported, dataset = visits.export(make_pipeline(columns, Ridge()), tmp_path / "exported")
    predictor, rows = Predictor(exported.folder), dataset.holdout.columns
    for value in (np.nan, 0.5):
        with pytest.raises(ContractError, match="as 'insured' in every row"):
            predictor.predict({**rows, "insured": np.full(len(dataset.holdout), value)})


def test_a_champion_without_an_answer_is_not_compared(diabetes, tmp_path):
    exported, dataset = diabetes.export(Ridge(), tmp_path / "exported")
    predictor, features = Predictor(exported.folder), dataset.holdout.features.copy()
    features.loc[:4, "bmi"] = np.nan
    gaps = replace(dataset, holdout=replace(dataset.holdout, features=features))
    evidence = evaluate_version(diabetes.problem(Ridge), gaps, ("new", predictor), ("old", predictor))
    assert evidence.champion is None
    assert "old serves, but cannot be compared: it has no answer for 5 of" in evidence.champion_fault.what


class OnClock(Predictor):
    """Answers truly, in a time that is set: seconds a row, and ten times that at every seventh call."""

    now, calls, seconds = 0.0, 0, 1.0

    def predict(self, columns):
        OnClock.calls += 1
        answer = super().predict(columns)
        OnClock.now += self.seconds * len(answer.values) * (1 if OnClock.calls % 7 else 10)
        return answer


def test_costs_are_the_medians_of_what_was_measured(diabetes, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "time", SimpleNamespace(perf_counter=lambda: OnClock.now))
    exported, dataset = diabetes.export(LinearRegression(), tmp_path / "exported", rows=200)
    ours, theirs = OnClock(exported.folder), OnClock(exported.folder)
    ours.seconds = 3.0
    rows, size = len(dataset.holdout), (exported.folder / GRAPH_FILE).stat().st_size
    assert measure_costs(ours, theirs, dataset.holdout.columns) == (
        Cost(one_row=3.0, many_rows=3.0 * rows, rows=rows, size=size),
        Cost(one_row=1.0, many_rows=1.0 * rows, rows=rows, size=size),
    )


@pytest.fixture
def react(tmp_path: Any) -> Any:
    """Fits, exports, and observes one expectation."""

    def observe(sample: Any, estimator: Any, expectation: Any) -> RobustnessResult:
        exported, dataset = sample.export(estimator, tmp_path / "exported", rows=200)
        problem = sample.problem(lambda: estimator, robustness=(expectation,))
        (reaction,) = measure_robustness(problem, dataset, Predictor(exported.folder))
        assert measure_robustness(problem, dataset, Predictor(exported.folder)) == (reaction,)
        return reaction

    return observe


def of(*columns: str) -> Any:
    return make_pipeline(make_column_transformer(("passthrough", list(columns))), LinearRegression())


STUMP, FOREST = DecisionTreeRegressor(max_depth=1), RandomForestRegressor(5, max_depth=6, random_state=0)
TINY = 1e-9


@pytest.mark.parametrize(
    ("estimator", "expectation", "least", "most", "words"),
    [
        # Noise hurts a model that learned every wiggle most.
        (STUMP, Jitter(share=0.0), 0, 0, ""),
        (of("bmi"), Jitter(share=0.2, worse=0.1), -0.05, 0.1, ""),
        (of("bmi"), Jitter(share=5.0, worse=0.1), 0.1, np.inf, "under noise of 500% of each deviation"),
        # More of a feature moves the answer one way.
        (of("bmi"), Direction(column="bmi", answer="up"), 0, 0, ""),
        (of("bmi"), Direction(column="bmi", answer="down", broken=0.2), 1, 1, ""),
        (of("age"), Direction(column="bmi", answer="up"), 0, 0, ""),
        (FOREST, Direction(column="age", answer="up"), TINY, 1 - TINY, ""),
        # A feature that the model does not use moves nothing.
        (of("bmi"), Invariance(column="sex"), 0, 0, ""),
        (of("bmi"), Invariance(column="bmi", change=0.3), 0.3, np.inf, "other values of 'bmi' move the answer by"),
    ],
)
def test_reaction(react, diabetes, estimator, expectation, least, most, words):
    found = react(diabetes, estimator, expectation)
    limits = [getattr(expectation, name) for name in ("worse", "broken", "change") if hasattr(expectation, name)]
    assert least <= found.figure <= most
    assert words in found.words
    assert [found.limit] == limits


def test_the_answer_of_a_classifier_is_a_probability(react, breast_cancer, iris):
    estimator, column = make_pipeline(StandardScaler(), LogisticRegression()), "worst_concave_points"
    assert react(breast_cancer, estimator, Direction(column=column, answer="up")).figure == 0
    assert react(breast_cancer, estimator, Direction(column=column, answer="up", label="benign")).figure > 0.5
    with pytest.raises(ProblemError, match=r"Direction\(label=…\) is none of the classes"):
        react(iris, estimator, Direction(column="petal_length", answer="up"))
    assert react(breast_cancer, estimator, Invariance(column=column)).figure > 0


def test_a_changed_row_is_one_that_a_client_could_send(react, diabetes, monkeypatch):
    asked: list[Any] = []
    answer = Predictor.predict

    def spied(self: Predictor, columns: Any) -> Any:
        asked.append(columns)
        return answer(self, columns)

    monkeypatch.setattr(Predictor, "predict", spied)
    react(diabetes, of("bmi"), Jitter(share=10.0))
    noisy = next(rows for rows in reversed(asked) if (rows["bmi"] == 10).any())
    assert (noisy["age"] % 1 == 0).all()
    assert (noisy["age"].min(), noisy["age"].max()) == (0, 120)
    assert set(noisy["sex"]) == {1, 2}
