"""The proof goes as far as numbers may, the contract says how far, and the graph itself goes no further."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from onnxruntime import InferenceSession, SessionOptions
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from starterkit.contract import Column
from starterkit.data.synthetic import draw_rows
from starterkit.errors import ExportError
from starterkit.serving.predictor import Predictor
from starterkit.settings import ExportSettings
from starterkit.training.export.conversion import to_graph
from starterkit.training.export.exporter import ParityProof
from starterkit.training.export.probe import Reach

SEEN = pd.DataFrame({"x": [1.0, 3.0, 11.0], "t": [-5.0, 5.0, 15.0], "n": [7, 7, 7]})


def column(name: str, **said: Any) -> Column:
    kind = "integer" if name == "n" else "float"
    return Column(**{"name": name, "role": "feature", "type": kind, "unit": "", "sensitivity": "plain"} | said)


def anything(_: pd.DataFrame) -> bool:
    return True


@pytest.mark.parametrize(
    ("said", "answers", "proven"),
    [
        ({}, anything, {"x": (-99, 120), "t": (-210, 220), "n": (-63, 77)}),  # two digits: nobody's own value
        ({"x": {"minimum": 0}}, anything, {"x": (0, 120)}),
        ({"x": {"minimum": 0, "maximum": 50}}, anything, {"x": (0, 50)}),
        ({"x": {"categories": (1.0, 3.0, 11.0)}}, anything, {"x": None}),
        ({}, lambda rows: (rows["x"] > -1).all(), {"x": (1, 120), "t": (-210, 220)}),  # a logarithm of x + 1
        ({}, lambda rows: (rows["x"] < 100).all(), {"x": (1, 21), "t": (-210, 220)}),  # a power of x
        ({}, lambda rows: False, {"x": (1, 11), "t": (-5, 15), "n": (7, 7)}),
    ],
)
def test_the_range_is_a_multiple_of_what_was_seen_where_the_estimator_has_answers(said, answers, proven):
    columns = [column(name, **said.get(name, {})) for name in SEEN]
    found = {one.name: one.proven for one in Reach(columns, SEEN, 10).within(answers)}
    assert {name: found[name] for name in proven} == proven


def test_drawn_rows_go_to_the_ends_one_column_at_a_time_and_all_at_once():
    columns = Reach([column(name) for name in SEEN], SEEN, 10).within(anything)
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
    converted = to_graph(
        make_pipeline(MaxAbsScaler(), model.estimator[-1]).fit(features, target), model.problem.features, "y"
    )
    proof = ParityProof(ExportSettings(), model, converted, target)
    near = draw_rows(model.problem.features, features, 500, seed=1)
    far = draw_rows(Reach(model.problem.features, features, 10).within(anything), features, 500, seed=1)
    converted_alike = proof.over(features.head(9), near.clip(upper=features.max(), axis=1))
    assert converted_alike.proven
    with pytest.raises(ExportError, match="does not answer as the estimator does"):
        proof.over(features.head(9), far)


@pytest.mark.parametrize("sample", ["diabetes", "iris", "visits"])
def test_the_graph_itself_refuses_what_lies_beyond_unless_it_is_opened(sample, request, tmp_path):
    """Matrix and columns, numbers and labels: pyfunc gives a graph to onnxruntime as it is."""
    given = request.getfixturevalue(sample)
    estimator: Any = LogisticRegression() if sample == "iris" else Ridge()
    if sample == "visits":
        from sklearn.compose import make_column_transformer
        from sklearn.impute import SimpleImputer

        estimator = make_pipeline(make_column_transformer((SimpleImputer(), ["income", "children"])), Ridge())
    exported, dataset = given.export(estimator, tmp_path / "exported")
    predictor, options = Predictor(exported.folder), SessionOptions()
    options.log_severity_level = 4
    session = InferenceSession((exported.folder / "model.onnx").read_bytes(), options)
    rows = {name: values[:3].copy() for name, values in dataset.holdout.columns.items()}
    wide = next(one for one in exported.contract.columns if one.proven and one.type == "float")
    assert session.run(None, predictor._graph.feed(rows))
    rows[wide.name][1] = np.nextafter(wide.proven[1], np.inf) if wide.proven else 0
    with pytest.raises(Exception, match="A number lies beyond the range in which this model is proven"):
        session.run(None, predictor._graph.feed(rows))
    assert len(predictor.predict(rows).values) == 3
    assert "kit.guard" not in "".join(one.name for one in session.get_inputs())
