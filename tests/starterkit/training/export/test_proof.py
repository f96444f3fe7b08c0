"""What the proof compares, with which bounds, and what it says of a graph that fails."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnxruntime import InferenceSession
from sklearn.ensemble import VotingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from starterkit.contract import Parity
from starterkit.data.synthetic import draw_rows
from starterkit.errors import ExportError
from starterkit.serving.graph import AT_ONCE
from starterkit.settings import ExportSettings
from starterkit.training.agreement import Asked
from starterkit.training.export import exporter as proof
from starterkit.training.export.conversion import to_graph
from starterkit.training.export.exporter import ParityProof, _difference
from starterkit.training.export.families.scikit import Forests
from starterkit.training.export.families.trees import Scoring
from starterkit.training.export.probe import plant

SETTINGS = ExportSettings(tolerance=3e-5, probability_tolerance=2e-6)


def prove(sample: Any, estimator: Any, settings: ExportSettings = SETTINGS, rows: int = 300) -> tuple[Parity, Any]:
    model, dataset = sample.fit(estimator)
    features = dataset.training.features
    converted = to_graph(model.estimator, model.problem.features, "y")
    drawn = draw_rows(model.problem.features, features, rows, seed=1)
    return ParityProof(settings, model, converted, dataset.training.target).over(features.head(20), drawn), dataset


def test_a_regression_is_measured_by_the_targets_deviation(diabetes: Any) -> None:
    parity, dataset = prove(diabetes, Ridge())
    assert (parity.rows, parity.allowed, parity.probed) == (320, 3e-5, 0)
    assert parity.scale == dataset.training.target.std()


def test_a_classification_is_measured_by_its_probabilities(iris: Any) -> None:
    parity, _ = prove(iris, LogisticRegression())
    assert (parity.rows, parity.allowed, parity.scale) == (320, 2e-6, 1.0)


@pytest.mark.parametrize("estimator", [DecisionTreeRegressor(), make_pipeline(make_pipeline(DecisionTreeRegressor()))])
def test_trees_are_probed_with_as_many_rows_again(diabetes: Any, estimator: Any) -> None:
    parity, _ = prove(diabetes, estimator)
    assert (parity.rows, parity.probed, parity.flipped_leaves) == (320, 300, 0)


def test_every_split_counts_also_those_of_the_first_column(diabetes: Any) -> None:
    parity, dataset = prove(diabetes, DecisionTreeRegressor(random_state=0))
    tree = DecisionTreeRegressor(random_state=0).fit(dataset.training.features, dataset.training.target).tree_
    assert (tree.feature == 0).any()
    assert parity.splits == (tree.feature >= 0).sum()


@pytest.mark.parametrize("said", ["onnxruntime cannot load the graph", "the graph does not take these columns"])
def test_a_graph_that_does_not_run_is_refused_by_the_estimators_name(diabetes: Any, said: str) -> None:
    model, dataset = diabetes.fit(make_pipeline(StandardScaler(), Ridge()))
    columns, features, target = model.problem.features, dataset.training.features, dataset.training.target
    narrow = Ridge().fit(features[[column.name for column in columns[:4]]].to_numpy(), target)
    converted = to_graph(narrow, columns[:4], "y")
    if "load" in said:
        converted = replace(converted, graph=converted.graph[:100])
    with pytest.raises(ExportError) as raised:
        ParityProof(SETTINGS, model, converted, target).over(features, features)
    assert raised.value.what.startswith("StandardScaler → Ridge cannot be exported to ONNX")
    assert "its graph cannot be run" in str(raised.value)


def test_each_ensemble_in_an_estimator_is_probed(diabetes: Any) -> None:
    trees = [(f"tree {number}", DecisionTreeRegressor(max_depth=number)) for number in (2, 3)]
    parity, _ = prove(diabetes, VotingRegressor(trees))
    assert (parity.rows, parity.probed) == (320, 600)


def test_planted_rows_are_also_compared_by_their_answers(diabetes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the trees are the last step, and only there: else the estimator's answer is not theirs."""
    seen: list[int] = []
    compare = Asked.of_drawn

    def counted(self: Asked, answered: Any, measure: Any) -> Parity:
        seen.append(len(answered.values))
        return compare(self, answered, measure)

    monkeypatch.setattr(Asked, "of_drawn", counted)
    prove(diabetes, make_pipeline(DecisionTreeRegressor()))
    assert seen == [300, 100]
    seen.clear()
    prove(diabetes, VotingRegressor([("tree", DecisionTreeRegressor()), ("ridge", Ridge())]))
    assert seen == [300]


def test_the_same_rows_are_planted_each_time(diabetes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    planted: list[Any] = []

    def kept(*given: Any) -> Any:
        planted.append(plant(*given))
        return planted[-1]

    monkeypatch.setattr(proof, "plant", kept)
    for _ in range(2):
        prove(diabetes, DecisionTreeRegressor(random_state=0))
    one, again = planted
    np.testing.assert_array_equal(one.rows, again.rows)


def test_a_wrong_sum_is_refused_with_its_size(breast_cancer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = Forests.describe

    def shifted(self: Forests, estimator: Any) -> Any:
        trees, scoring = exact(self, estimator)
        return trees, Scoring(base=scoring.base - 1e-3, divisor=scoring.divisor, link=scoring.link)

    monkeypatch.setattr(Forests, "describe", shifted)
    with pytest.raises(
        ExportError, match=r"probability 0\.001 over 320 rows \(allowed 2e-06\) and 300 at thresholds, 0 of"
    ):
        prove(breast_cancer, DecisionTreeClassifier(max_depth=3, random_state=0))


def test_trees_that_were_fitted_with_names_are_asked_with_names(diabetes: Any, recwarn: Any) -> None:
    """Else scikit-learn warns."""
    prove(diabetes, DecisionTreeRegressor())
    assert [str(one.message) for one in recwarn if "feature names" in str(one.message)] == []


@pytest.mark.parametrize(
    ("more", "said"),
    [({}, ""), ({"probed": 2000, "flipped_leaves": 3}, " and 2,000 at thresholds, 3 of these in another leaf")],
)
def test_the_difference_in_words(more: dict[str, int], said: str) -> None:
    parity = Parity(rows=1000, measure="gap", largest=0.25, allowed=1e-5, scale=1.0, flipped_labels=2, **more)
    expected = "the graph does not answer as the estimator does: gap 0.25 over 1,000 rows (allowed 1e-05)"
    assert _difference(parity) == f"{expected}{said}; 2 labels changed"


def test_neither_side_is_asked_more_rows_at_once_than_memory_holds(diabetes: Any, monkeypatch: Any) -> None:
    """A hundred thousand rows' distances to five thousand fitted ones are four gigabytes, on both sides."""
    asked: dict[type, list[int]] = {InferenceSession: [], KNeighborsRegressor: []}
    run, predict = InferenceSession.run, KNeighborsRegressor.predict

    def noted_run(session: Any, names: Any, feed: Any) -> Any:
        asked[InferenceSession].append(len(next(iter(feed.values()))))
        return run(session, names, feed)

    def noted_predict(estimator: Any, rows: Any) -> Any:
        asked[KNeighborsRegressor].append(len(rows))
        return predict(estimator, rows)

    monkeypatch.setattr(InferenceSession, "run", noted_run)
    monkeypatch.setattr(KNeighborsRegressor, "predict", noted_predict)
    parity, _ = prove(diabetes, KNeighborsRegressor(), rows=AT_ONCE + 7)
    assert parity.rows == AT_ONCE + 27
    for counts in asked.values():
        assert (max(counts), 7 in counts) == (AT_ONCE, True)
