"""Costs are measured, not made up: a really larger graph is found slower."""

from pathlib import Path
from typing import Any

from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from starterkit.release.evaluation import measure_costs
from starterkit.serving.predictor import GRAPH_FILE, Predictor


def test_a_larger_graph_costs_more(diabetes: Any, tmp_path: Path) -> None:
    small, dataset = diabetes.export(LinearRegression(), tmp_path / "small", rows=200)
    chain = make_pipeline(*(StandardScaler() for _ in range(60)), LinearRegression())
    large, _ = diabetes.export(chain, tmp_path / "large", rows=200)
    ours, theirs = measure_costs(Predictor(large.folder), Predictor(small.folder), dataset.holdout.columns)
    assert ours.one_row > 2 * theirs.one_row > 0
    assert ours.many_rows > 2 * theirs.many_rows > 0
    assert ours.rows == theirs.rows == len(dataset.holdout)
    assert ours.size == (large.folder / GRAPH_FILE).stat().st_size > theirs.size
