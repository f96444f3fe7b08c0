"""How much of the target each feature gives away alone: one that predicts it nearly perfectly is the target itself."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.contract import Task
from starterkit.data import Dataset, Rows
from starterkit.problem import Problem

_MOST_ROWS = 20_000
_LEAF = 5
_PRIOR_ROWS = 0.3
"""A leaf's shares of classes lean on the training side's as if it held so many rows more; no class gets a zero."""


def single_feature_shares(problem: Problem, dataset: Dataset) -> dict[str, float]:
    """By feature, the share of the naive guess's loss over the holdout that a small model of it alone removes.

    The loss is squared error, or log loss. The model is a tree, which finds any shape, or for a regression a line
    where that is better, which follows the target beyond the rows that it saw. 1 is a perfect model, 0 a guess.
    """
    training, holdout = _at_most(dataset.training), _at_most(dataset.holdout)
    return {
        column.name: _share(problem.task, *_as_numbers(training, holdout, column.name), training, holdout)
        for column in problem.features
    }


def _share(
    task: Task, fitted_on: NDArray[np.float64], asked: NDArray[np.float64], training: Rows, holdout: Rows
) -> float:
    known, actual = training.target.to_numpy(), holdout.target.to_numpy()
    if task == "regression":
        naive = np.mean((actual - known.mean()) ** 2)
        loss = min(np.mean((actual - answers) ** 2) for answers in _regressions(fitted_on, known, asked))
    else:
        classes, codes = np.unique(known, return_inverse=True)
        prior = np.bincount(codes) / len(codes)
        place = np.searchsorted(classes, actual)
        naive = -np.mean(np.log(prior[place]))
        own = _probabilities(fitted_on, codes, asked, prior)[np.arange(len(actual)), place]
        loss = -np.mean(np.log(own))
    return float(1 - loss / naive) if naive > 0 else 0.0


def _regressions(
    fitted_on: NDArray[np.float64], known: NDArray[Any], asked: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    from sklearn.linear_model import LinearRegression
    from sklearn.tree import DecisionTreeRegressor

    tree = DecisionTreeRegressor(min_samples_leaf=_LEAF, random_state=0).fit(fitted_on, known)
    middle = np.nanmedian(fitted_on)
    line = LinearRegression().fit(np.nan_to_num(fitted_on, nan=middle), known)
    return [tree.predict(asked), line.predict(np.nan_to_num(asked, nan=middle))]


def _probabilities(
    fitted_on: NDArray[np.float64], codes: NDArray[np.integer], asked: NDArray[np.float64], prior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """n × k: the shares of each class in the leaf that a row falls into."""
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(min_samples_leaf=_LEAF, random_state=0).fit(fitted_on, codes)
    rows = np.bincount(tree.apply(fitted_on), minlength=tree.tree_.node_count)[tree.apply(asked)][:, None]
    return (tree.predict_proba(asked) * rows + prior * _PRIOR_ROWS) / (rows + _PRIOR_ROWS)


def _as_numbers(training: Rows, holdout: Rows, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One column of both sides, n × 1. A text is its rank by the mean target of its rows, so that a tree can cut."""
    seen, asked = training.features[name], holdout.features[name]
    if seen.dtype == "str":
        target = training.target
        numeric = target.astype("float64") if pd.api.types.is_numeric_dtype(target) else pd.factorize(target)[0]
        means = pd.Series(np.asarray(numeric), index=seen.index).groupby(seen).mean()
        seen, asked = seen.map(means), asked.map(means)
    return tuple(values.to_numpy(dtype=np.float64)[:, None] for values in (seen, asked))  # pyrefly: ignore[bad-return]


def _at_most(rows: Rows) -> Rows:
    """Some of the rows where there are many: a leak shows in twenty thousand."""
    if len(rows) <= _MOST_ROWS:
        return rows
    chosen = np.sort(np.random.default_rng(0).choice(len(rows), _MOST_ROWS, replace=False))
    return Rows(features=rows.features.iloc[chosen], target=rows.target.iloc[chosen], digest="")
