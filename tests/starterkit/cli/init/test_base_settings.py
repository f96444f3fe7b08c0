"""config/base.yaml says what the new problem needs, and keeps everything else to the letter."""

from pathlib import Path

import pytest
import yaml

from starterkit.cli.init.rendering import with_problem
from starterkit.errors import SettingsError

BASE = (Path(__file__).parents[4] / "config" / "base.yaml").read_text("utf-8")
LIMITS = {"log_loss": ("max", 0.4), "roc_auc": ("min", 0.75)}


def test_the_three_places_change_and_the_rest_stays() -> None:
    text = with_problem(BASE, "data/churn.csv", {"regularization": 1.0}, LIMITS)
    before, after = yaml.safe_load(BASE), yaml.safe_load(text)
    assert after["data"].pop("source") == "data/churn.csv"
    assert after["training"].pop("params") == {"regularization": 1.0}
    assert after["gate"].pop("limits") == {"log_loss": {"max": 0.4}, "roc_auc": {"min": 0.75}}
    before["data"].pop("source"), before["training"].pop("params"), before["gate"].pop("limits")
    assert after == before
    kept = (
        "source:",
        "params:",
        "limits:",
        "n_estimators",
        "learning_rate",
        "max_depth",
        "subsample",
        "rmse",
        "max:",
        "r2",
        "min:",
    )
    lines = [[line for line in one.splitlines() if not line.strip().startswith(kept)] for one in (BASE, text)]
    assert [
        line for line in lines[1] if "log_loss" not in line and "roc_auc" not in line and "regular" not in line
    ] == lines[0]
    said = [line.partition("#")[2] for line in BASE.splitlines() if "#" in line]
    assert [line.partition("#")[2] for line in text.splitlines() if "#" in line] == said


@pytest.mark.parametrize(
    "text",
    [
        "",
        "data:\n  source: a.csv\n",
        "# mine\ngate:\n  tolerance: 0.1\n",
        "data: {source: a.csv}\ntraining:\n",
        "training:\n    seed: 3\n    params:\n        a: 1\n\n# next\ngate:\n    limits: {}\n",
        "gate:\n  limits:\n    rmse: {max: 3}\n    # why\n    r2:\n      min: 0\n  tolerance: 1\ndata:\n source: a.csv",
    ],
)
def test_whatever_the_file_said_before(text: str) -> None:
    written = yaml.safe_load(with_problem(text, "data/my data é.csv", {"max_iter": 5}, LIMITS))
    assert written["data"]["source"] == "data/my data é.csv"
    assert written["training"]["params"] == {"max_iter": 5}
    assert list(written["gate"]["limits"]) == ["log_loss", "roc_auc"]
    for section, values in (yaml.safe_load(text) or {}).items():
        kept = {key: value for key, value in (values or {}).items() if key not in ("source", "params", "limits")}
        assert kept.items() <= written[section].items()


def test_a_fit_whose_figures_are_not_finite_sets_no_limit() -> None:
    assert yaml.safe_load(with_problem(BASE, "data/churn.csv", {"max_iter": 5}, {}))["gate"]["limits"] == {}


@pytest.mark.parametrize("text", ["data:\n  source: sqlite:///a.db\n  query: SELECT\n", "[1", "data: 3\n", "- 1\n"])
def test_a_file_that_cannot_say_it_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="cannot say where the new data is"):
        with_problem(text, "data/churn.csv", {}, LIMITS)
