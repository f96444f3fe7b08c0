"""The limit stands between what real features know alone and what a copy of the target does."""

from collections.abc import Callable
from dataclasses import replace
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
from starterkit.training.leakage import formula_of, giveaways, single_feature_shares

LIMIT = GateSettings().leak_limit
SETS = ("iris", "wine", "digits", "breast_cancer", "diabetes")


def split(table: pd.DataFrame, answer: pd.Series, seed: int) -> tuple[Problem, Dataset]:
    """A problem over every column of a table, with a fifth of the rows held out."""
    task = "classification" if answer.nunique() < 20 else "regression"
    fields: dict[str, Any] = {str(name): feature(sensitivity="plain", nullable=table[name].hasnans) for name in table}
    fields |= {"row": identifier(), "answer": target()}
    types = {str(name): str if table[name].dtype == "str" else float for name in table}
    types |= {"row": str, "answer": int if task == "classification" else float}
    schema = type("Table", (pa.DataFrameModel,), {**fields, "__annotations__": types})
    metric = "log_loss" if task == "classification" else "rmse"
    problem = Problem(name="t", title="", task=task, schema=schema, estimator=lambda: Ridge(), metric=metric)
    side = np.random.default_rng(seed).random(len(table)) < 0.2
    both = [[one[rows].reset_index(drop=True) for one in (table, answer)] for rows in (~side, side)]
    training, holdout = (Rows(features, target, "") for features, target in both)
    return problem, Dataset(source="", digest="", training=training, holdout=holdout)


def load(name: str) -> tuple[pd.DataFrame, pd.Series]:
    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    return bunch.data.astype("float64").rename(columns=lambda column: column.replace(" ", "_")), bunch.target


QUICK = [name if name != "digits" else pytest.param(name, marks=pytest.mark.slow) for name in SETS]


def test_no_odd_number_gives_it_away():
    """Beyond a float32; and one that hardly repeats, beside a rare class."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"income": random.integers(0, 2000, 800), "b": random.normal(0, 1, 800)})
    assert giveaways(*split(table, pd.Series(random.random(800) < 0.9).astype(int), 0)) == {}
    large = pd.DataFrame({"large": random.normal(size=200) * 1e300})
    assert single_feature_shares(*split(large, pd.Series(random.normal(size=200)), 0))["large"] < LIMIT


@pytest.mark.parametrize("classifies", [False, True])
@pytest.mark.parametrize(
    ("planted", "said"),
    [("sum", "together are the target"), ("mean", "is a mean target"), ("smoothed", "is a mean target"), ("fair", ""),
     ("gaps", "by its gaps alone"), ("some gaps", "")],
)  # fmt: skip
def test_what_gives_the_target_away_is_named(planted, said, classifies):
    """``fair`` is a mean target of the training side alone, and ``some gaps`` have nothing to do with the target."""
    random = np.random.default_rng(4)
    table = pd.DataFrame({"a": random.normal(0, 1, 600), "b": random.normal(0, 1, 600)})
    answer = table["a"] + random.normal(0, 1, 600)
    answer = (answer > 0).astype(int) if classifies else answer
    shop, training = pd.Series(random.integers(0, 60, 600)), np.random.default_rng(0).random(600) >= 0.2
    match planted:
        case "sum":
            table["b"] = answer - 2 * table["a"]
        case "mean":
            table["b"] = answer.groupby(shop).transform("mean")
        case "smoothed":
            table["b"] = (answer.groupby(shop).transform("sum") + 5 * 0.3) / (shop.map(shop.value_counts()) + 5)
        case "fair":
            table["b"] = shop.map(answer[training].groupby(shop[training]).mean()).fillna(0)
        case _:
            high = answer > answer.median() if not classifies else answer == 1
            table["b"] = table["b"].where(random.random(600) > np.where(high, 0.9 if planted == "gaps" else 0.1, 0.1))
    problem, dataset = split(table, answer, 0)
    found = giveaways(problem, dataset)
    assert (said in str(found)) if said else found == {}
    names = {name for names in found for name in names.split(", ")}
    assert giveaways(replace(problem, strong=tuple(names)), dataset) == {}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
@pytest.mark.parametrize("name", QUICK)
def test_a_copy_of_the_target_with_small_noise_is_a_leak_and_no_feature_of_a_real_set_is(name, seed):
    table, answer = load(name)
    assert giveaways(*split(table, answer, seed)) == {}
    assert max(single_feature_shares(*split(table, answer, seed)).values()) < LIMIT
    noise = np.random.default_rng(seed).normal(0, 0.02 * answer.std(), len(answer))
    shares = single_feature_shares(*split(table.iloc[:, :2].assign(copy=answer + noise), answer, seed))
    assert shares.pop("copy") > LIMIT
    assert max(shares.values()) < LIMIT


def disguised() -> dict[str, tuple[dict[str, Any], Any]]:
    """By disguise the columns, and the target: what is called copy gives it away, noise and a hint do not."""
    random = np.random.default_rng(0)
    normal, noise, other = random.normal(size=(3, 2000))
    some, classes = random.random(2000) < 0.5, random.integers(0, 2, 2000)
    lopsided, wide = np.exp(random.normal(0, 1.5, 1000)), np.exp(np.random.default_rng(1).normal(0, 2, 300))
    rare = (np.arange(2000) % 500 == 0).astype(int)
    return {
        "exponential": ({"copy": np.exp(normal)}, normal),
        "negative": ({"copy": -normal}, normal),
        "root": ({"copy": np.cbrt(normal)}, normal),
        "beyond the rows that were seen": ({"copy": wide * 2}, wide),  # a tree gives up there, and a line goes on
        "logarithm": ({"copy": np.log(lopsided)}, lopsided),  # a few large values are most of the squared error
        "text": ({"copy": np.where(classes, "yes", "no"), "noise": noise}, classes),
        "gap": ({"copy": np.where(classes, other, np.nan), "noise": noise}, classes),
        "number in half of the rows": ({"copy": np.where(some, normal, np.nan), "noise": noise}, normal),
        "class in half of the rows": ({"copy": np.where(some, classes, np.nan), "noise": noise}, classes),
        "rare class": ({"copy": rare + 0.02 * noise, "hint": 2 * rare + other}, rare),
    }


@pytest.mark.parametrize("name", disguised())
def test_a_disguised_copy_is_found(name):
    columns, answer = disguised()[name]
    table = pd.DataFrame(columns).astype({"copy": "str"} if name == "text" else {})
    shares = single_feature_shares(*split(table, pd.Series(answer), 0))
    assert shares["copy"] > LIMIT > shares.get("hint", 0)
    assert shares.get("noise", 0) < 0.1


@pytest.mark.parametrize("rows", [60, 300, 2000])
def test_a_threshold_of_a_feature_is_found_in_every_draw(rows):
    random = np.random.default_rng(0)
    for seed in range(8):
        weight = random.normal(3200, 500, rows)
        cuts = np.quantile(weight, [0.2, 0.7] if seed % 2 else [0.4])
        answer = pd.Series(np.searchsorted(cuts, weight))
        table = pd.DataFrame({"weight": weight, "noise": random.normal(0, 1, rows), "near": weight})
        table["near"] += random.normal(0, 100, rows)
        shares = single_feature_shares(*split(table, answer, seed))
        assert shares["weight"] > LIMIT > max(shares["noise"], shares["near"] if rows > 60 else 0)


FORMULAS: dict[str, tuple[Callable[[pd.DataFrame], pd.Series], set[str]]] = {
    "a sum": (lambda x: x["a"] + x["b"] + x["c"], {"a", "b", "c"}),
    "a score of ten": (lambda x: x[[*"abcdefghij"]].sum(axis=1).round(2), {*"abcdefghij"}),
    "a difference in other units": (lambda x: 2.54 * x["a"] - x["d"] + 7, {"a", "d"}),
    "a product": (lambda x: x["a"] * x["b"], {"a", "b"}),
    "a product of some that were sent back": (lambda x: x["a"] * x["e"] * (x["b"] > 1), {"a", "e"}),
    "a ratio": (lambda x: x["c"] / x["d"] ** 2, {"c", "d"}),
    "the middle of two": (lambda x: (x["b"] + x["e"]) / 2, {"b", "e"}),
    "none": (lambda x: x["a"] + x["b"] + np.random.default_rng(1).normal(0, 1, len(x)), set()),
}


@pytest.mark.parametrize("made", FORMULAS)
def test_columns_that_make_the_target_together_are_named(made):
    function, expected = FORMULAS[made]
    table = pd.DataFrame(np.random.default_rng(0).lognormal(1, 0.5, (300, 12)), columns=[*"abcdefghijkl"])
    table.loc[::9, "e"] *= -1
    assert set(formula_of(*split(table, function(table), 0))) == expected
