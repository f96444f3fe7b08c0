"""The limit stands between what real features know alone and what a copy of the target does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn import datasets
from sklearn.linear_model import Ridge

from starterkit.data.dataset import Dataset, Rows
from starterkit.problem import Problem, feature, identifier, target
from starterkit.settings import GateSettings
from starterkit.training.leakage import formula_of, single_feature_shares

LIMIT = GateSettings().leak_limit
SETS = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "digits": datasets.load_digits,
    "breast_cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
}


def split(table: pd.DataFrame, answer: pd.Series, seed: int) -> tuple[Problem, Dataset]:
    """A problem over every column of a table, with a fifth of the rows held out."""
    task = "classification" if answer.nunique() < 20 else "regression"
    fields: dict[str, Any] = {str(name): feature(sensitivity="plain") for name in table}
    fields |= {"row": identifier(), "answer": target()}
    types = {str(name): str if table[name].dtype == "str" else float for name in table}
    types |= {"row": str, "answer": int if task == "classification" else float}
    schema = type("Table", (pa.DataFrameModel,), {**fields, "__annotations__": types})
    metric = "log_loss" if task == "classification" else "rmse"
    problem = Problem(name="t", title="", task=task, schema=schema, estimator=lambda: Ridge(), metric=metric)
    side = np.random.default_rng(seed).random(len(table)) < 0.2
    training, holdout = (
        Rows(features=table[rows].reset_index(drop=True), target=answer[rows].reset_index(drop=True), digest="")
        for rows in (~side, side)
    )
    return problem, Dataset(source="", digest="", training=training, holdout=holdout)


def load(name: str) -> tuple[pd.DataFrame, pd.Series]:
    bunch = SETS[name](as_frame=True)
    return bunch.data.astype("float64").rename(columns=lambda column: column.replace(" ", "_")), bunch.target


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SETS)
def test_no_feature_of_a_real_set_is_taken_for_a_leak(name: str, seed: int) -> None:
    assert max(single_feature_shares(*split(*load(name), seed)).values()) < LIMIT


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SETS)
def test_a_copy_of_the_target_with_small_noise_is_taken_for_one(name: str, seed: int) -> None:
    table, answer = load(name)
    noise = np.random.default_rng(seed).normal(0, 0.02 * answer.std(), len(answer))
    shares = single_feature_shares(*split(table.iloc[:, :2].assign(copy=answer + noise), answer, seed))
    assert shares.pop("copy") > LIMIT
    assert max(shares.values()) < LIMIT


@pytest.mark.parametrize("disguise", [np.exp, np.negative, np.cbrt])
def test_a_disguised_copy_is_found(disguise: Any) -> None:
    random = np.random.default_rng(0)
    answer = pd.Series(random.normal(0, 1, 2000))
    shares = single_feature_shares(*split(pd.DataFrame({"copy": disguise(answer)}), answer, 0))
    assert shares["copy"] > LIMIT


def test_a_copy_beyond_the_rows_that_were_seen_is_found() -> None:
    """A tree gives up at the largest value that it saw. A line goes on."""
    answer = pd.Series(np.exp(np.random.default_rng(1).normal(0, 2, 300)))
    assert single_feature_shares(*split(pd.DataFrame({"copy": answer * 2}), answer, 0))["copy"] > LIMIT


def test_a_text_and_a_gap_can_give_the_target_away() -> None:
    random = np.random.default_rng(0)
    answer = pd.Series(random.integers(0, 2, 1000))
    table = pd.DataFrame(
        {
            "word": answer.map({0: "no", 1: "yes"}).astype("str"),
            "gap": random.normal(0, 1, 1000),
            "noise": random.normal(0, 1, 1000),
        }
    )
    table["gap"] = table["gap"].where(answer == 1)
    shares = single_feature_shares(*split(table, answer, 0))
    assert shares["word"] > LIMIT
    assert shares["gap"] > LIMIT
    assert shares["noise"] < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_a_logarithm_of_a_lopsided_target_is_found(seed: int) -> None:
    """A few large values make up most of the squared error; ranks see all rows alike."""
    answer = pd.Series(np.exp(np.random.default_rng(seed).normal(0, 1.5, 1000)))
    assert single_feature_shares(*split(pd.DataFrame({"copy": np.log(answer)}), answer, seed))["copy"] > LIMIT


@pytest.mark.parametrize("classes", [0, 2])
def test_a_copy_that_half_of_the_rows_have_is_found(classes: int) -> None:
    random = np.random.default_rng(0)
    answer = pd.Series(random.integers(0, classes, 1000) if classes else random.normal(0, 1, 1000))
    gaps = pd.DataFrame({"copy": answer.astype(float), "noise": random.normal(0, 1, 1000)}).where(
        random.random((1000, 2)) < 0.5
    )
    shares = single_feature_shares(*split(gaps, answer, 0))
    assert shares["copy"] > LIMIT
    assert shares["noise"] < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_a_copy_of_a_rare_class_is_found(seed: int) -> None:
    """Four rows of 2,000."""
    answer = pd.Series((np.arange(2000) % 500 == 0).astype(int))
    noise = np.random.default_rng(seed).normal(0, 1, (2, 2000))
    table = pd.DataFrame({"copy": answer + 0.02 * noise[0], "hint": 2 * answer + noise[1]})
    shares = single_feature_shares(*split(table, answer, seed))
    assert shares["copy"] > LIMIT > shares["hint"]


def test_numbers_beyond_a_float32_are_asked_about_too() -> None:
    random = np.random.default_rng(0)
    large = random.normal(size=200) * 1e300
    shares = single_feature_shares(*split(pd.DataFrame({"large": large}), pd.Series(random.normal(size=200)), 0))
    assert shares["large"] < LIMIT


@pytest.mark.parametrize("rows", [60, 300, 2000])
def test_a_threshold_of_a_feature_is_found_in_every_draw(rows: int) -> None:
    random = np.random.default_rng(0)
    for seed in range(20):
        weight = random.normal(3200, 500, rows)
        cuts = np.quantile(weight, [0.2, 0.7] if seed % 2 else [0.4])
        answer = pd.Series(np.searchsorted(cuts, weight))
        table = pd.DataFrame({"weight": weight, "noise": random.normal(0, 1, rows), "near": weight})
        table["near"] += random.normal(0, 100, rows)
        shares = single_feature_shares(*split(table, answer, seed))
        assert shares["weight"] > LIMIT > max(shares["noise"], shares["near"] if rows > 60 else 0)


FORMULAS: dict[str, tuple[Callable[[pd.DataFrame], pd.Series], set[str]]] = {
    "a sum": (lambda x: x["a"] + x["b"] + x["c"], {"a", "b", "c"}),
    "a difference in other units": (lambda x: 2.54 * x["a"] - x["d"] + 7, {"a", "d"}),
    "a product": (lambda x: x["a"] * x["b"], {"a", "b"}),
    "a ratio": (lambda x: x["c"] / x["d"] ** 2, {"c", "d"}),
    "the middle of two": (lambda x: (x["b"] + x["e"]) / 2, {"b", "e"}),
    "none": (lambda x: x["a"] + x["b"] + np.random.default_rng(1).normal(0, 1, len(x)), set()),
}


@pytest.mark.parametrize("made", FORMULAS)
def test_columns_that_make_the_target_together_are_named(made: str) -> None:
    function, expected = FORMULAS[made]
    table = pd.DataFrame(np.random.default_rng(0).lognormal(1, 0.5, (300, 5)), columns=[*"abcde"])
    assert set(formula_of(*split(table, function(table), 0))) == expected
