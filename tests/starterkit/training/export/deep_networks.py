"""PyTorch's and Keras' networks, from fit to serving, in an environment that has one of the two libraries."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from example_project import problem as example
from starterkit.contract import Column
from starterkit.data.dataset import as_columns
from starterkit.errors import ExportError, ProblemError
from starterkit.pipeline import Pipeline
from starterkit.problem import networks
from starterkit.tracking.registry import ModelRegistry
from starterkit.training.export.conversion import to_graph

LIBRARY = "Torch" if find_spec("torch") else "Keras"
PAGE = (Path(__file__).parents[4] / "docs" / "networks.md").read_text("utf-8")
(TEN_LINES,) = (one for one in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if f"{LIBRARY}Regressor" in one)
NEEDED = ("torch", "onnxscript") if LIBRARY == "Torch" else ("keras", "tensorflow", "tf2onnx")
pytestmark = [
    pytest.mark.skipif(not all(map(find_spec, NEEDED)), reason=f"not run: {', '.join(NEEDED)} are not installed"),
    pytest.mark.filterwarnings("ignore"),  # what the libraries say to each other
]
Regressor: Any = getattr(networks, f"{LIBRARY}Regressor")
Classifier: Any = getattr(networks, f"{LIBRARY}Classifier")

SAME = """
import sys, hashlib, numpy as np
from starterkit.problem import networks
X = np.random.default_rng(0).normal(size=(300, 5))
fitted = getattr(networks, sys.argv[1])(epochs=3, random_state=int(sys.argv[2])).fit(X, X[:, 0] * X[:, 1])
print(hashlib.sha256(b"".join(one.tobytes() for one in fitted.weights_)).hexdigest())
"""


def of_four_rows(inputs: int, outputs: int) -> Any:
    if LIBRARY == "Keras":
        import keras

        four = keras.layers.Lambda(lambda rows: keras.ops.reshape(rows, (4, inputs)))
        return keras.Sequential([keras.Input((inputs,)), four, keras.layers.Dense(outputs)])
    import torch

    class Fixed(torch.nn.Linear):
        def forward(self, rows: Any) -> Any:
            return super().forward(rows.reshape(4, -1))

    return Fixed(inputs, outputs)


@pytest.mark.parametrize("kind", ["Regressor", "Classifier"])
def test_scikit_learn_asks_nothing_in_vain(kind):
    of_rows = ("check_methods_subset_invariance", "check_methods_sample_order_invariance")
    rounding = dict.fromkeys(of_rows, "float32 rounds by the number and the place of rows, in the eighth digit")
    quick = globals()[kind](epochs=10, learning_rate=0.05)
    told = check_estimator(quick, on_fail=None, expected_failed_checks=rounding)
    assert [(one["check_name"], one["exception"]) for one in told if one["status"] == "failed"] == []


def test_a_seed_makes_the_same_weights_in_another_process_and_with_other_threads():
    def digest(seed: int, threads: int) -> str:
        call = [sys.executable, "-W", "ignore", "-c", SAME, f"{LIBRARY}Regressor", str(seed)]
        quiet = {**os.environ, "OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
        return subprocess.run(call, env=quiet, capture_output=True, text=True, check=True).stdout

    assert digest(0, 1) == digest(0, 2) != digest(1, 1)


def test_the_example_goes_all_the_way(settings):
    names: dict[str, Any] = {}
    exec(TEN_LINES, names)
    problem = replace(example, estimator=names["estimator"])
    training = settings.training.model_copy(update={"params": {"epochs": 60}})
    pipeline = Pipeline(problem, settings.model_copy(update={"training": training}))
    summary = pipeline.run()
    assert [verdict.check for verdict in summary.promotion.decision.refusals] == []
    parity = summary.exported.contract.parity
    assert 0 < parity.largest < parity.allowed
    assert parity.near_tie == 2 * parity.allowed
    assert {"torch", "keras"} & set(summary.trained.lineage.beside_lock)
    features = pipeline.read().holdout.features
    expected = summary.trained.model.estimator.predict(features)
    registry = ModelRegistry.of(settings, problem.name)
    champion = registry.open(registry.champion())
    np.testing.assert_allclose(champion.predict(as_columns(features)).values, expected, rtol=1e-4)


def test_text_labels_keep_their_answers(breast_cancer, tmp_path):
    estimator = make_pipeline(StandardScaler(), Classifier(epochs=20))
    exported, _ = breast_cancer.export(estimator, tmp_path / "exported")
    parity = exported.contract.parity
    assert exported.contract.classes == ("benign", "malignant")
    assert (parity.flipped_labels, parity.near_tie) == (0, 2e-6)
    assert parity.largest < parity.allowed


def test_a_network_of_so_many_rows_is_refused():
    rows = np.random.default_rng(0).normal(size=(40, 3))
    fitted = Regressor(of_four_rows, epochs=1, patience=0, batch_size=4).fit(rows, rows[:, 0])
    columns = [Column(name=name, role="feature", type="float", unit="", sensitivity="plain") for name in "abc"]
    with pytest.raises(ExportError, match="4 rows at a time and no other number"):
        to_graph(fitted, columns, "y")


def test_without_its_library_a_line_says_what_to_install(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(40, 3))
    monkeypatch.setitem(sys.modules, NEEDED[0], None)
    with pytest.raises(ProblemError, match=rf"Install {NEEDED[0]}\b.* and .+, as docs/networks\.md says"):
        Regressor(epochs=1).fit(rows, rows[:, 0])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"device": "cuda"}, "device is cuda, and the library finds no GPU here. Set training.params.device to cpu"),
        ({"device": "tpu"}, "device is 'tpu'. Use cpu or cuda"),
        ({"learning_rate": 1e30}, "weights became infinite while it was trained. Lower learning_rate"),
    ],
)
def test_what_cannot_be_trained_is_one_line(given, told):
    rows = np.random.default_rng(0).normal(size=(40, 3))
    with pytest.raises(ProblemError, match=told):
        clone(Regressor(epochs=9)).set_params(**given).fit(rows, rows[:, 0])
