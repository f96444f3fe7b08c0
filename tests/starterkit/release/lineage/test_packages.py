"""An environment held against a lock."""

from importlib.metadata import version
from pathlib import Path

import pytest
from sklearn.linear_model import LinearRegression

from starterkit.release.lineage.provenance import beside_lock, off_lock

NUMPY = version("numpy")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"numpy=={NUMPY} \\\n    --hash=sha256:00\n    # via pandas\n", {}),
        (f"NumPy=={NUMPY}\nnot_there==1\n", {"not-there": "not there"}),
        ("numpy==0.1\n", {"numpy": NUMPY}),
        (f"numpy==0.1 ; python_full_version < '3.2'\nnumpy=={NUMPY} ; python_full_version >= '3.2'\n", {}),
        ("numpy==0.1 ; sys_platform == 'win32'\n", {"numpy": NUMPY}),
        ("not-there==1 ; sys_platform == 'win32'\n", {}),
        ("# numpy==0.1\n", {}),
    ],
)
def test_what_is_installed_is_held_against_the_lock(tmp_path: Path, text: str, found: dict[str, str]) -> None:
    (tmp_path / "lock.txt").write_text(text)
    assert off_lock(tmp_path / "lock.txt") == found


def test_estimators_package_that_the_lock_does_not_name_is_found(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    estimator = xgboost.XGBRegressor(n_estimators=1).fit([[0.0], [1.0]], [0.0, 1.0])
    lock, found = tmp_path / "lock.txt", {"xgboost-cpu": version("xgboost-cpu")}
    assert beside_lock(lock, estimator) == found
    lock.write_text(f"numpy=={NUMPY}\n")
    assert beside_lock(lock, estimator) == found
    lock.write_text("xgboost_cpu==1\n")
    assert beside_lock(lock, estimator) == {}
    assert beside_lock(lock, LinearRegression().fit([[0.0]], [0.0])) == {}


def test_this_environment_holds_the_lock() -> None:
    assert off_lock(Path(__file__).parents[4] / "requirements.txt") == {}
