"""A package of somebody else's brings a family for its own estimator, and the export proves it like any other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from starterkit.errors import ExportError, ProblemError
from starterkit.training.export.families import families

PACKAGE = '''
"""A small neural network, and how it becomes nodes."""

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from starterkit.training.export.families.family import Family


class Network(RegressorMixin, BaseEstimator):
    def __init__(self, hidden=4):
        self.hidden = hidden

    def fit(self, X, y):
        self.first_ = np.random.default_rng(0).normal(size=(X.shape[1], self.hidden))
        self.second_ = np.linalg.lstsq(np.tanh(X @ self.first_), y, rcond=None)[0]
        return self

    def predict(self, X):
        return np.tanh(X @ self.first_) @ self.second_


class Networks(Family):
    def takes(self, kind):
        return kind is Network

    def convert(self, estimator, nodes, gives):
        hidden = nodes.add("Tanh", nodes.add("MatMul", nodes.matrix(), nodes.constant(estimator.first_)))
        nodes.add("MatMul", hidden, nodes.constant(estimator.second_[:, None] * FACTOR), gives=gives[0])
'''


@pytest.fixture(params=["1.0", "1.1"])
def network(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The package as installed; with the second factor its nodes are wrong."""
    name = f"ours_{request.param[-1]}"
    (tmp_path / "site" / f"{name}-1.dist-info").mkdir(parents=True)
    (tmp_path / "site" / f"{name}.py").write_text(f"FACTOR = {request.param}\n{PACKAGE}")
    entry = f"[starterkit.families]\nnetworks = {name}:Networks\n"
    (tmp_path / "site" / f"{name}-1.dist-info" / "entry_points.txt").write_text(entry)
    (tmp_path / "site" / f"{name}-1.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    families.cache_clear()
    yield __import__(name)
    families.cache_clear()


def test_a_family_of_another_package(diabetes: Any, network: Any, tmp_path: Path) -> None:
    estimator = make_pipeline(StandardScaler(), network.Network())
    if network.FACTOR == 1.0:
        assert diabetes.export(estimator, tmp_path / "exported")[0].contract.parity.largest < 1e-12
    else:
        with pytest.raises(ExportError, match="does not answer as the estimator does"):
            diabetes.export(estimator, tmp_path / "exported")


def test_a_misspelt_family_is_named(network: Any, tmp_path: Path) -> None:
    name = network.__name__
    (tmp_path / "site" / f"{name}-1.dist-info" / "entry_points.txt").write_text(
        f"[starterkit.families]\nnetworks = {name}:Networkz\n"
    )
    families.cache_clear()
    with pytest.raises(ProblemError, match=rf"family 'networks' \({name}:Networkz\) cannot be loaded: .*Networkz"):
        families()
