"""What the proof compares, with which bounds, what it says of a graph that fails, and where it plants rows."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from numpy.typing import NDArray
from onnx.helper import make_node
from onnxruntime import InferenceSession, SessionOptions
from sklearn.compose import make_column_transformer
from sklearn.ensemble import VotingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBRegressor

from starterkit.contract import Column, Parity
from starterkit.data.synthetic import draw_rows
from starterkit.errors import ExportError
from starterkit.serving.graph import AT_ONCE, Session
from starterkit.serving.predictor import Predictor
from starterkit.settings import ExportSettings
from starterkit.training.agreement import Asked
from starterkit.training.export import ParityProof, _difference, probe
from starterkit.training.export.conversion import Placed, to_graph
from starterkit.training.export.families.scikit import Forests
from starterkit.training.export.families.trees import Scoring, TreeFamily, Trees
from starterkit.training.export.probe import Reach, flipped_leaves, plant

SETTINGS = ExportSettings(tolerance=3e-5, probability_tolerance=2e-6)


def prove(sample: Any, estimator: Any, settings: ExportSettings = SETTINGS, rows: int = 300) -> tuple[Parity, Any]:
    model, dataset = sample.fit(estimator)
    features = dataset.training.features
    converted = to_graph(model.estimator, model.problem.features, "y")
    drawn = draw_rows(model.problem.features, features, rows, seed=1)
    return ParityProof(settings, model, converted, dataset.training.target).over(features.head(20), drawn), dataset


def test_a_regression_is_measured_by_the_targets_deviation_and_a_classification_by_probabilities(diabetes, iris):
    parity, dataset = prove(diabetes, Ridge())
    assert (parity.rows, parity.allowed, parity.probed) == (320, 3e-5, 0)
    assert parity.scale == dataset.training.target.std()
    parity, _ = prove(iris, LogisticRegression())
    assert (parity.rows, parity.allowed, parity.scale) == (320, 2e-6, 1.0)


NAMED = XGBRegressor(n_estimators=3, max_depth=2, n_jobs=1)
"""It refuses rows without the names that it was fitted with."""


def test_trees_are_probed_with_as_many_rows_again(diabetes, monkeypatch, recwarn):
    """Each ensemble with rows of its own, which are the same each time; every split counts, the first column's too."""
    planted: list[Any] = []

    def kept(*given: Any) -> Any:
        planted.append(plant(*given))
        return planted[-1]

    monkeypatch.setattr("starterkit.training.export.plant", kept)
    tree = DecisionTreeRegressor(random_state=0)
    both = VotingRegressor([(f"tree {depth}", DecisionTreeRegressor(max_depth=depth)) for depth in (2, 3)])
    for estimator, probed in ((tree, 300), (make_pipeline(make_pipeline(tree)), 300), (both, 600), (NAMED, 300)):
        parity, dataset = prove(diabetes, estimator)
        assert (parity.rows, parity.probed, parity.flipped_leaves) == (320, probed, 0)
    np.testing.assert_array_equal(planted[0].rows, planted[1].rows)
    fitted = tree.fit(dataset.training.features, dataset.training.target).tree_
    assert (fitted.feature == 0).any()
    assert prove(diabetes, tree)[0].splits == (fitted.feature >= 0).sum()
    assert [str(one.message) for one in recwarn if "feature names" in str(one.message)] == []


@pytest.mark.parametrize("said", ["onnxruntime cannot load the graph", "the graph does not take these columns"])
def test_a_graph_that_does_not_run_is_refused_by_the_estimators_name(diabetes, said):
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


def test_planted_rows_are_also_compared_by_their_answers(diabetes, breast_cancer, monkeypatch):
    """Where the trees are the last step, and only there: else the estimator's answer is not theirs."""
    seen: list[int] = []
    kinds: set[tuple[bool, bool]] = set()
    compare = Asked.of_drawn

    def counted(self: Asked, answered: Any, measure: Any) -> Parity:
        seen.append(len(answered.values))
        kinds.add((self.answers.probabilities is None, answered.probabilities is None))
        return compare(self, answered, measure)

    monkeypatch.setattr(Asked, "of_drawn", counted)
    prove(diabetes, make_pipeline(DecisionTreeRegressor()))
    assert seen == [300, 100]
    seen.clear()
    prove(diabetes, VotingRegressor([("tree", DecisionTreeRegressor()), ("ridge", Ridge())]))
    assert seen == [300]
    assert kinds == {(True, True)}
    kinds.clear()
    prove(breast_cancer, DecisionTreeClassifier())
    assert kinds == {(False, False)}  # as shares of the classes, at thresholds too


def test_a_wrong_sum_is_refused_with_its_size(breast_cancer, monkeypatch):
    exact = Forests.describe

    def shifted(self: Forests, estimator: Any) -> Any:
        trees, scoring = exact(self, estimator)
        return trees, Scoring(base=scoring.base - 1e-3, divisor=scoring.divisor, link=scoring.link)

    monkeypatch.setattr(Forests, "describe", shifted)
    said = r"probability 0\.001 over 320 rows \(allowed 2e-06\) and 300 at thresholds, 0 of"
    with pytest.raises(ExportError, match=said):
        prove(breast_cancer, DecisionTreeClassifier(max_depth=3, random_state=0))
    parity = Parity(rows=1000, measure="gap", largest=0.25, allowed=1e-5, scale=1.0, flipped_labels=2)
    told = "the graph does not answer as the estimator does: gap 0.25 over 1,000 rows (allowed 1e-05)"
    assert _difference(parity) == f"{told}; 2 labels changed"
    moved = f"{told} and 2,000 at thresholds, 3 of these in another leaf; 2 labels changed"
    assert _difference(replace(parity, probed=2000, flipped_leaves=3)) == moved


@pytest.mark.parametrize("single", [True, False])
def test_what_answers_in_float32_may_differ_at_near_ties_and_a_refusal_names_the_rounding(iris, single):
    model, dataset = iris.fit(make_pipeline(StandardScaler(), LogisticRegression()))
    columns, features, target = model.problem.features, dataset.training.features, dataset.training.target
    other = make_pipeline(StandardScaler(), LogisticRegression(C=0.001)).fit(features, target)
    right, wrong = (replace(to_graph(one, columns, "y"), single=single) for one in (model.estimator, other))
    parity = ParityProof(SETTINGS, model, right, target).over(features, features)
    assert parity.near_tie == (4e-6 if single else 0.0)
    told = r", \d+ labels changed\. A network answers in float32" if single else r"; \d+ labels changed\. Use another"
    with pytest.raises(ExportError, match=rf"^StandardScaler → LogisticRegression cannot .*{told}"):
        ParityProof(SETTINGS, model, wrong, target).over(features, features)


def test_neither_side_is_asked_more_rows_at_once_than_memory_holds(diabetes, monkeypatch):
    """A hundred thousand rows' distances to five thousand fitted ones are four gigabytes, on both sides."""
    asked: dict[type, list[int]] = {}

    def note(kind: type, name: str, count: Callable[..., int]) -> None:
        called = getattr(kind, name)

        def noted(self: Any, *given: Any) -> Any:
            asked.setdefault(kind, []).append(count(*given))
            return called(self, *given)

        monkeypatch.setattr(kind, name, noted)

    note(InferenceSession, "run", lambda names, feed: len(next(iter(feed.values()))))
    note(KNeighborsRegressor, "predict", len)
    parity, _ = prove(diabetes, KNeighborsRegressor(), rows=AT_ONCE + 7)
    assert parity.rows == AT_ONCE + 27
    assert {(max(counts), 7 in counts) for counts in asked.values()} == {(AT_ONCE, True)}
    assert len(asked) == 2


def stumps(thresholds: list[float], columns: list[int], single: bool = False) -> Trees:
    """One tree a threshold: left where the column is at most that."""
    zeros, made = np.zeros(3, dtype=np.int64), []
    for threshold, column in zip(thresholds, columns, strict=True):
        split = {"feature": np.array([column, -1, -1]), "threshold": np.array([threshold, 0.0, 0.0])}
        ways = {"left": np.array([1, 0, 0]), "right": np.array([2, 0, 0]), "missing_left": zeros.astype(bool)}
        leaves = {"target": zeros, "weight": np.array([0.0, 1.0, 2.0])}
        made.append(Trees(roots=np.array([0]), single=single, **split, **ways, **leaves))
    return Trees.join(made)


class Library(TreeFamily):
    """Stumps at which the library itself sends rows left up to other thresholds than the graph."""

    def __init__(self, thresholds: list[float], columns: list[int]) -> None:
        self._thresholds, self._columns = thresholds, columns
        self.heights: list[int] = []

    def takes(self, kind: type) -> bool:
        return False

    def describe(self, estimator: Any) -> Any:
        raise NotImplementedError

    def leaves(self, estimator: Any, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        self.heights.append(len(rows))
        left = rows[:, self._columns] <= self._thresholds
        return np.where(left, 1, 2) + 3 * np.arange(len(self._columns))


def test_a_threshold_is_met_in_its_column_beside_its_rounding_and_only_where_it_is_a_number():
    rows = np.full((3000, 3), 0.5)
    planted = plant(rows, stumps([0.1, 0.2, 0.3], [0, 2, 2]), np.random.default_rng(0)).rows
    assert (rows == 0.5).all()  # the given rows stay as they were
    changed = planted != 0.5
    assert np.flatnonzero(changed.any(axis=1)).tolist() == list(range(0, 3000, 3))
    assert (changed.sum(axis=1) <= 1).all()
    ways = [(value, np.nextafter(value, np.inf), np.nextafter(value, -np.inf)) for value in (0.1, 0.2, 0.3)]
    assert set(planted[changed[:, 0], 0]) == set(ways[0])
    assert not changed[:, 1].any()
    assert set(planted[changed[:, 2], 2]) == {*ways[1], *ways[2]}
    planted = plant(np.full((3000, 1), 0.5), stumps([0.1], [0], single=True), np.random.default_rng(0)).rows
    single = np.float32(0.1)
    beside = {float(np.nextafter(single, np.float32(way))) for way in (np.inf, -np.inf)}
    assert set(planted[::3, 0]) == {0.1, np.nextafter(0.1, 1), np.nextafter(0.1, 0), *beside}
    planted = plant(np.zeros((300, 2)), stumps([np.inf, 0.25], [0, 1]), np.random.default_rng(0)).rows
    assert (planted[:, 0] == 0).all()
    assert 30 < (planted[::3, 1] != 0).sum() < 70  # those for which the second tree was drawn
    rows = np.zeros((9, 1))
    planted = plant(rows, stumps([np.inf], [0]), np.random.default_rng(0))
    assert (planted.rows.tolist(), planted.splits) == (rows.tolist(), 0)


def test_where_categories_are_sorted_any_that_a_split_knows_is_met():
    trees = stumps([-np.inf, 0.25, -np.inf], [0, 1, 0])
    trees = replace(trees, members={0: np.array([3, 5]), 6: np.array([5, 8])})
    planted = plant(np.zeros((3000, 2)), trees, np.random.default_rng(0))
    assert set(planted.rows[:, 0]) == {0, 3, 5, 8}
    assert set(planted.rows[:, 1]) == {0, 0.25, np.nextafter(0.25, 1), np.nextafter(0.25, 0)}
    assert planted.splits == 3


@pytest.mark.parametrize(("single", "met"), [(True, 2), (False, 1)])
def test_a_row_comes_to_a_split_as_the_library_rounds_it(single, met):
    """Rounded to float32, 0.3 is a little more, and goes right to the second split."""
    trees = replace(stumps([0.3, 5.0], [0, 1], single), roots=np.array([0]))
    trees.right[0] = 3
    assert plant(np.full((300, 2), 0.3), trees, np.random.default_rng(0)).splits == met


@pytest.mark.parametrize(
    ("at_once", "heights"),
    [(4_000_000, [10]), (12, [4, 4, 2]), (15, [5, 5]), (2, [1] * 10)],  # leaves of three trees a row
)
def test_a_row_counts_once_however_many_leaves_and_parts(monkeypatch, at_once, heights):
    monkeypatch.setattr(probe, "_LEAVES_AT_ONCE", at_once)
    rows = np.column_stack([np.arange(10.0), np.arange(10.0)])
    library = Library([3.0, 6.0, 6.0], [0, 1, 1])
    placed = Placed(None, library, "rows")
    assert flipped_leaves(placed, stumps([3.0, 6.0, 6.0], [0, 1, 1]), rows) == 0
    assert library.heights == heights
    assert flipped_leaves(placed, stumps([2.0, 6.0, 6.0], [0, 1, 1]), rows) == 1
    assert flipped_leaves(placed, stumps([2.0, 4.0, 4.0], [0, 1, 1]), rows) == 3


@pytest.mark.parametrize(("single", "flipped"), [(False, 0), (True, 1)])
def test_rounding_is_part_of_the_graph_that_is_asked(single, flipped):
    """Rounded to float32, a number that is a little larger than a half is a half."""
    rows = np.array([[0.5], [0.5 + 1e-12], [0.6]])
    assert flipped_leaves(Placed(None, Library([0.5], [0]), "rows"), stumps([0.5], [0], single), rows) == flipped


SEEN = pd.DataFrame({"x": [1.0, 3.0, 11.0], "t": [-5.0, 5.0, 15.0], "n": [7, 7, 7]})
MORE = SEEN.assign(z=[0.0, 4.0, 10.0], u=0.5)


def column(name: str, **said: Any) -> Column:
    kind = "integer" if name == "n" else "float"
    return Column(**{"name": name, "role": "feature", "type": kind, "unit": "", "sensitivity": "plain"} | said)


@pytest.mark.parametrize(
    ("said", "answers", "proven"),
    [
        ({}, lambda rows: True, {"x": (-99, 120), "t": (-210, 220), "n": (-63, 77)}),  # two digits: nobody's own value
        ({"x": {"minimum": 0}}, lambda rows: True, {"x": (0, 120)}),
        ({"x": {"minimum": 0, "maximum": 50}}, lambda rows: True, {"x": (0, 50)}),
        ({"x": {"categories": (1.0, 3.0, 11.0)}}, lambda rows: True, {"x": None}),
        ({}, lambda rows: (rows["x"] > -1).all(), {"x": (1, 120), "t": (-210, 220)}),  # a logarithm of x + 1
        ({}, lambda rows: (rows["x"] < 100).all(), {"x": (1, 21), "t": (-210, 220)}),  # a power of x
        ({}, lambda rows: (rows["z"] >= 0).all(), {"x": (-99, 120), "z": (0, 110), "u": (-9.5, 11)}),  # its root
        ({}, lambda rows: (rows["t"] > -50).all(), {"t": (-25, 35), "z": (-100, 110)}),
        ({"x": {"minimum": 0}}, lambda rows: (rows["x"] < 100).all(), {"x": (0, 21), "t": (-210, 220)}),
        ({}, lambda rows: False, {"x": (1, 11), "t": (-5, 15), "n": (7, 7)}),
    ],
)
def test_the_range_is_a_multiple_of_what_was_seen_where_the_estimator_has_answers(said, answers, proven):
    columns = [column(name, **said.get(name, {})) for name in MORE]
    found = {one.name: one.proven for one in Reach(columns, MORE, 10).within(answers)}
    assert {name: found[name] for name in proven} == proven


def test_a_range_ends_where_whole_numbers_are_no_longer_apart_and_before_infinity():
    columns = Reach([column("x"), column("n")], SEEN, 1e308).within(lambda rows: True)
    assert [one.proven for one in columns] == [(-1e300, 1e300), (-(2**53), 2**53)]


def test_drawn_rows_go_to_the_ends_one_column_at_a_time_and_all_at_once():
    columns = Reach([column(name) for name in SEEN], SEEN, 10).within(lambda rows: True)
    rows = draw_rows(columns, SEEN, 4000, seed=1)
    far = pd.DataFrame({name: ~rows[name].between(SEEN[name].min(), SEEN[name].max()) for name in SEEN})
    assert set(far.sum(axis=1)) == {0, 1, 2, 3}
    for one in columns:
        values, (low, high) = rows[one.name], one.proven or (0, 0)
        assert (values.min(), values.max()) == (low, high)
        assert (values == 0).any()
    assert ((rows["x"].abs() < 1e-6) & (rows["x"] != 0)).any()
    assert (rows["x"][far["x"]] % 1 == 0).mean() > 0.1


def test_a_clip_that_a_graph_leaves_out_shows_beyond_what_was_seen(iris):
    model, dataset = iris.fit(make_pipeline(MaxAbsScaler(clip=True), LogisticRegression()))
    features, target = dataset.training.features, dataset.training.target
    without = make_pipeline(MaxAbsScaler(), model.estimator[-1]).fit(features, target)
    converted = to_graph(without, model.problem.features, "y")
    proof = ParityProof(ExportSettings(), model, converted, target)
    near = draw_rows(model.problem.features, features, 500, seed=1)
    far = draw_rows(Reach(model.problem.features, features, 10).within(lambda rows: True), features, 500, seed=1)
    converted_alike = proof.over(features.head(9), near.clip(upper=features.max(), axis=1))
    assert converted_alike.proven
    with pytest.raises(ExportError, match="does not answer as the estimator does"):
        proof.over(features.head(9), far)


@pytest.mark.parametrize("sample", ["diabetes", "iris", "visits"])
def test_the_graph_itself_refuses_what_lies_beyond_unless_it_is_opened(sample, request, tmp_path):
    """Matrix and columns, numbers and labels: pyfunc gives a graph to onnxruntime as it is."""
    given = request.getfixturevalue(sample)
    numbers = make_column_transformer((SimpleImputer(), ["income", "children"]))
    estimators = {"diabetes": Ridge(), "iris": LogisticRegression(), "visits": make_pipeline(numbers, Ridge())}
    estimator = estimators[sample]
    exported, dataset = given.export(estimator, tmp_path / "exported")
    predictor, options = Predictor(exported.folder), SessionOptions()
    options.log_severity_level = 4
    session = InferenceSession((exported.folder / "model.onnx").read_bytes(), options)
    rows = {name: values[:3].copy() for name, values in dataset.holdout.columns.items()}
    wide = next(one for one in exported.contract.columns if one.proven and one.type == "float")
    answered = session.run(None, predictor._graph.feed(rows))
    assert {one.shape for one in answered} == {(3,) if given.task == "classification" else (3, 1)}
    rows[wide.name][0] = np.nextafter(wide.proven[1], np.inf) if wide.proven else 0
    with pytest.raises(Exception, match="A number lies beyond the range in which this model is proven"):
        session.run(None, predictor._graph.feed(rows))
    assert len(predictor.predict(rows).values) == 3
    assert "kit.guard" not in "".join(one.name for one in session.get_inputs())


def test_the_guard_of_a_graph_of_before_is_opened_too(diabetes, tmp_path):
    """It looked at all rows, and what it found was multiplied with a constant."""
    exported, dataset = diabetes.export(Ridge(), tmp_path / "exported")
    model = onnx.load(exported.folder / "model.onnx")
    nodes = {node.output[0]: node for node in model.graph.node}
    model.graph.node.remove(nodes["kit.guard.looked"])
    for output in ("kit.guard.below", "kit.guard.above"):
        nodes[output].input[0] = model.graph.input[0].name
    nodes["kit.guard.count"].output[0] = "kit.guard.all"
    place = list(model.graph.node).index(nodes["kit.guard.count"]) + 1
    model.graph.node.insert(place, make_node("Mul", ["kit.guard.all", "kit.guard.strict"], ["kit.guard.count"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(2), "kit.guard.strict"))
    graph, (name,) = model.SerializeToString(), Session(model.SerializeToString()).inputs
    far = {name: np.full((1, len(dataset.holdout.columns)), 1e9)}
    with pytest.raises(Exception, match="A number lies beyond"):
        InferenceSession(graph).run(None, far)
    assert len(Session(graph).run(far)[0]) == 1
