"""Each value of each parameter is right, or refused by name; and a thin slice of `make bench-parity`."""

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC

sys.path.append(str(Path(__file__).parents[4] / "bench"))
parity = pytest.importorskip("parity")  # a copy without the benchmarks has none
values = pytest.importorskip("parity_values")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind.__name__ in values.COMMON else pytest.mark.slow) for kind in values.kinds()],
    ids=lambda kind: kind.__name__,
)
def test_each_value_of_each_parameter_is_right_or_refused_by_name(kind):
    found = [*values.walk(kind)]
    others = [one for one in found if not one[2].startswith(("right", "refused: ", "unfit: "))]
    assert not others
    assert any(verdict.startswith(("right", "refused: ")) for _, value, verdict in found if not value), found[:1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["registry", "transformers", "compositions", "boosters"])
def test_some_cases_of_each_list(name):
    cases = list(parity.LISTS[name]())[1 :: {"registry": 67, "boosters": 45}.get(name, 40)]
    for case in cases:
        *_, ways = parity.measure_kit(300, (name, case.name))
        assert ways["kit"].verdict in ("right", "refused", "unfit"), (case.name, ways["kit"])


@pytest.mark.parametrize("estimator", [OneVsRestClassifier(LogisticRegression()), CalibratedClassifierCV(SVC())])
def test_far_out_the_class_is_still_the_estimators(estimator):
    made = parity.table(300, 7, False)
    seen = made[["height", "share"]]
    fitted = estimator.fit(seen, parity.answers(parity.Case("far", "3", lambda: estimator), made))
    far = seen.iloc[:50] * np.array([1e4, -1e5])
    answered = parity._by_the_kit(parity.Case("far", "3", lambda: estimator, ("height", "share")), fitted, seen, far)
    assert answered[0].tolist() == fitted.predict(far).tolist()
