"""What gives the target away: one feature nearly alone, a few as a sum, a column's gaps, a mean over all rows."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.data.dataset import Dataset, Rows
from starterkit.problem import Problem
from starterkit.progress import Note

_MOST_ROWS = 20_000
_FEWEST_KNOWN = 20
_LEAF = 5
_MOST_TERMS = 12
_NEARLY_ALL = 0.9995
"""Of the target's variance: more than measurements leave to each other."""
_LEAST_BY_GAPS = 0.2
"""Of the naive guess's loss: values are missing for a reason, but seldom for the target's."""
_FEWEST_GAPS = 10
_FEWEST_LEVELS = 8
_MOST_LEVELS = 0.8
_PAIRS = 50
_SHARING = np.arange(1, 6)
_EXACT = 1e-6
_LARGEST = 1e30
"""scikit-learn's trees refuse what is no float32, or sums up to none."""
_PRIOR_ROWS = 0.3
"""A leaf's shares of classes lean on the training side's as if it held so many rows more; no class gets a zero.
Smaller leaves, for a rare class, lean less."""


def single_feature_shares(problem: Problem, dataset: Dataset, note: Note | None = None) -> dict[str, float]:
    """By feature, the share of the naive guess's loss over the holdout that a small model of it alone removes.

    The loss is squared error, of the target or of its ranks, or log loss, or where a few cuts part the classes without
    a mistake, their mistakes. The model is a tree, which finds any shape, or for a regression a line where that is
    better, which follows the target beyond the rows that it saw. A feature with gaps is also asked about the rows where
    it is known. 1 is a perfect model, 0 a guess.
    """
    training, holdout = _at_most(dataset.training), _at_most(dataset.holdout)
    known, actual = training.target.to_numpy(), holdout.target.to_numpy()
    share = _share_of_classes if problem.task == "classification" else _share_of_numbers
    from sklearn import config_context

    shares = {}
    # What is asked of each column's arrays is known to hold, and would cost more than the trees.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        for column in (note or Note()).along(problem.features, "columns"):
            fitted_on, asked = _as_numbers(training, holdout, column.name)
            shares[column.name] = share(fitted_on, known, asked, actual)
            here, there = (~np.isnan(values).ravel() for values in (fitted_on, asked))
            if min(here.sum(), there.sum()) >= _FEWEST_KNOWN and not here.all():
                alone = share(fitted_on[here], known[here], asked[there], actual[there])
                shares[column.name] = max(shares[column.name], alone)
    return shares


def giveaways(problem: Problem, dataset: Dataset) -> dict[str, str]:
    """How columns give the target away in another manner than by predicting it alone, by their names.

    What the problem calls strong is left out.
    """
    found = {}
    for column in problem.features:
        if column.name in problem.strong:
            continue
        if column.nullable and (share := _share_of_gaps(problem, dataset, column.name)) > _LEAST_BY_GAPS:
            found[column.name] = f"by its gaps alone removes {share:.0%} of the naive guess's loss"
        elif _is_mean_of_target(problem, dataset, column.name):
            found[column.name] = "is a mean target, made of the holdout's rows, too: encode it within the estimator"
    made_of = formula_of(problem, dataset)
    if made_of and not set(made_of) <= set(problem.strong):
        found[", ".join(made_of)] = "together are the target, by a formula"
    return found


def _share_of_gaps(problem: Problem, dataset: Dataset, name: str) -> float:
    """The share of the naive guess's loss that is removed by whether a value is missing."""
    sides = dataset.training, dataset.holdout
    gaps = [rows.features[name].isna().to_numpy() for rows in sides]
    if any(min(one.sum(), (~one).sum()) < _FEWEST_GAPS for one in gaps):
        return 0.0
    share = _share_of_classes if problem.task == "classification" else _share_of_numbers
    fitted_on, asked = (one.astype(np.float64)[:, None] for one in gaps)
    return share(fitted_on, dataset.training.target.to_numpy(), asked, dataset.holdout.target.to_numpy())


def _is_mean_of_target(problem: Problem, dataset: Dataset, name: str) -> bool:
    """Whether a number is the mean target of the rows that share it, over both sides, smoothed or not.

    Then ``(rows + m) · number = sum + m · prior`` holds for nearly each value in every digit, whatever m and the prior
    are, and no measurement does that. Two of the values tell both. Where a few categories have one value, as those of
    few rows do, both sides count as often. With ``m`` at -1 it would hold for any number that one row has.
    """
    sides = dataset.training, dataset.holdout
    if sides[0].features[name].dtype in ("str", "bool"):
        return False
    values = np.concatenate([rows.features[name].to_numpy(dtype=np.float64) for rows in sides])
    known = np.isfinite(values)
    level, place, rows = np.unique(values[known], return_inverse=True, return_counts=True)
    if (rows > 1).sum() < _FEWEST_LEVELS or len(np.unique(rows)) < 2:
        return False
    target = np.concatenate([rows.target.to_numpy() for rows in sides])[known]
    classes = problem.target.categories or tuple(np.unique(target))
    asked = [target == label for label in classes] if problem.task == "classification" else [target]
    for numbers in asked:
        sums = np.bincount(place, weights=numbers.astype(np.float64))
        left = sums - rows * level
        allowed = _EXACT * max(1e-12, float(np.abs(sums).max()))
        for one, other in np.random.default_rng(0).integers(0, len(level), (_PAIRS, 2)):
            if one != other:
                slope = (left[other] - left[one]) / (level[other] - level[one])  # this is m
                if slope < -_EXACT:
                    continue
                line = left[one] + slope * (level - level[one])
                exact = (np.abs(left - _SHARING[:, None] * line) <= allowed).any(axis=0)
                if exact.sum() - 2 >= max(_FEWEST_LEVELS, _MOST_LEVELS * len(level)):
                    return True
    return False


def formula_of(problem: Problem, dataset: Dataset) -> tuple[str, ...]:
    """The few features whose weighted sum or product is the target, or one of two classes, in nearly every digit.

    Such as ``price = units × unit_price``. No pair of real measurements does that by chance.
    """
    training, holdout = _at_most(dataset.training), _at_most(dataset.holdout)
    classes = np.unique(training.target.to_numpy())
    if problem.task == "classification" and len(classes) != 2:
        return ()
    names = [column.name for column in problem.features if training.features[column.name].dtype != "str"]
    sides = [rows.features[names].to_numpy(dtype=np.float64).clip(-_LARGEST, _LARGEST) for rows in (training, holdout)]
    both = [rows.target.to_numpy() for rows in (training, holdout)]
    targets = [(one == classes[1] if problem.task == "classification" else one).astype(np.float64) for one in both]
    for transform in (np.asarray, _log_sizes) if problem.task == "regression" else (np.asarray,):
        kept = [one != 0 if transform is _log_sizes else np.ones(len(one), np.bool_) for one in targets]
        seen, asked = (side[there] for side, there in zip(sides, kept, strict=True))
        columns = np.flatnonzero(np.isfinite(transform(np.concatenate([seen, asked]))).all(axis=0))
        known, actual = (transform(one[there]) for one, there in zip(targets, kept, strict=True))
        enough = len(known) > _MOST_TERMS and len(actual) > 1
        if enough and (found := _terms(transform(seen[:, columns]), known, transform(asked[:, columns]), actual)):
            return tuple(names[columns[place]] for place in sorted(found))
    return ()


def _log_sizes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """So a product is a sum, whatever its sign: what is sent back is counted below zero."""
    with np.errstate(divide="ignore"):
        return np.log(np.abs(values))


def _terms(
    fitted_on: NDArray[np.float64], known: NDArray[np.float64], asked: NDArray[np.float64], actual: NDArray[np.float64]
) -> list[int]:
    """The places of as few columns as a line needs for the target; orthogonal matching pursuit, then what can go."""
    from sklearn.linear_model import LinearRegression

    def explains(places: list[int]) -> bool:
        line = LinearRegression().fit(fitted_on[:, places], known)
        return bool(np.var(actual) > 0 and line.score(asked[:, places], actual) > _NEARLY_ALL)

    chosen: list[int] = []
    scale = fitted_on.std(axis=0) if fitted_on.size else np.zeros(fitted_on.shape[1])
    scaled = (fitted_on - fitted_on.mean(axis=0)) / np.where(scale > 0, scale, 1)
    rest = known - known.mean()
    while len(chosen) < min(_MOST_TERMS, int((scale > 0).sum())):
        pull = np.abs(scaled.T @ rest)
        pull[chosen] = -1
        chosen.append(int(np.argmax(pull)))
        if explains(chosen):
            return [one for one in chosen if len(chosen) == 1 or not explains([x for x in chosen if x != one])]
        rest = known - LinearRegression().fit(fitted_on[:, chosen], known).predict(fitted_on[:, chosen])
    return []


def _share_of_numbers(
    fitted_on: NDArray[np.float64], known: NDArray[Any], asked: NDArray[np.float64], actual: NDArray[Any]
) -> float:
    """By the target itself and by its ranks, which a few large values do not rule; the larger share."""
    ordered = np.sort(known)
    ranks = [np.searchsorted(ordered, one, "left") + np.searchsorted(ordered, one, "right") for one in (known, actual)]
    shares = [0.0]
    for seen, truth in ((known, actual), ranks):
        naive = np.mean((truth - seen.mean()) ** 2)
        loss = min(np.mean((truth - answers) ** 2) for answers in _regressions(fitted_on, seen, asked))
        shares += [float(1 - loss / naive)] if naive > 0 else []
    return max(shares)


def _share_of_classes(
    fitted_on: NDArray[np.float64], known: NDArray[Any], asked: NDArray[np.float64], actual: NDArray[Any]
) -> float:
    classes, codes = np.unique(known, return_inverse=True)
    met = np.isin(actual, classes)
    prior = np.bincount(codes) / len(codes)
    place = np.searchsorted(classes, actual[met])
    naive = -np.mean(np.log(prior[place])) if met.any() else 0.0
    if not naive > 0:
        return 0.0
    own = _probabilities(fitted_on, codes, asked[met], prior)[np.arange(len(place)), place]
    return max(float(1 + np.mean(np.log(own)) / naive), _share_of_cuts(fitted_on, codes, asked[met], place))


def _share_of_cuts(
    fitted_on: NDArray[np.float64], codes: NDArray[np.integer], asked: NDArray[np.float64], place: NDArray[np.integer]
) -> float:
    """The share of the naive guess's mistakes that as few cuts as there are classes do not make; 0 unless they part
    the training side without one.

    Such as ``weight < 2500``: where exactly between two rows the cut is, no row has shown. So those of the holdout that
    lie between the two say nothing.
    """
    from sklearn.tree import DecisionTreeClassifier

    known = ~np.isnan(fitted_on).ravel()
    if not known.all():  # the rows where it is known are asked about by themselves
        return 0.0
    cuts: Any = DecisionTreeClassifier(max_leaf_nodes=len(np.unique(codes)) + 1, random_state=0).fit(fitted_on, codes)
    if (cuts.predict(fitted_on) != codes).any():
        return 0.0
    seen = np.unique(fitted_on)
    above = np.searchsorted(seen, cuts.tree_.threshold[cuts.tree_.feature >= 0])
    values = asked.ravel()
    told = ~((values[:, None] > seen[above - 1]) & (values[:, None] < seen[above])).any(axis=1) & ~np.isnan(values)
    naive = float(np.mean(place[told] != np.bincount(codes).argmax())) if told.any() else 0.0
    return 1 - float(np.mean(cuts.predict(asked[told]) != place[told])) / naive if naive else 0.0


def _regressions(
    fitted_on: NDArray[np.float64], known: NDArray[Any], asked: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    from sklearn.tree import DecisionTreeRegressor

    tree = DecisionTreeRegressor(min_samples_leaf=_LEAF, random_state=0)
    # As the trees have them. With gaps they have to look for them first.
    seen, new = (values.astype(np.float32) for values in (fitted_on, asked))
    tree.fit(seen, known, check_input=bool(np.isnan(seen).any()))
    return [tree.predict(new, check_input=False), _line(fitted_on.ravel(), known, asked.ravel())]


def _line(fitted_on: NDArray[np.float64], known: NDArray[Any], asked: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least squares through one feature, with its median where it is missing."""
    middle = np.nanmedian(fitted_on)
    seen = np.nan_to_num(fitted_on, nan=middle)
    centre = seen.mean()
    away = seen - centre
    spread = away @ away
    slope = away @ (known - known.mean()) / spread if spread > 0 else 0.0
    return known.mean() + slope * (np.nan_to_num(asked, nan=middle) - centre)


def _probabilities(
    fitted_on: NDArray[np.float64], codes: NDArray[np.integer], asked: NDArray[np.float64], prior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """n × k: the shares of each class in the leaf that a row falls into."""
    from sklearn.tree import DecisionTreeClassifier

    leaf = min(_LEAF, int(np.bincount(codes).min()))  # a rarer class would never have a leaf of its own
    tree = DecisionTreeClassifier(min_samples_leaf=leaf, random_state=0).fit(fitted_on, codes)
    rows = np.bincount(tree.apply(fitted_on), minlength=tree.tree_.node_count)[tree.apply(asked)][:, None]
    leaning = _PRIOR_ROWS * leaf / _LEAF
    return (tree.predict_proba(asked) * rows + prior * leaning) / (rows + leaning)


def _as_numbers(training: Rows, holdout: Rows, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One column of both sides, n × 1. A text is its rank by the mean target of its rows, so that a tree can cut."""
    seen, asked = training.features[name], holdout.features[name]
    if seen.dtype == "str":
        target = training.target
        numeric = target.astype("float64") if pd.api.types.is_numeric_dtype(target) else pd.factorize(target)[0]
        means = pd.Series(np.asarray(numeric), index=seen.index).groupby(seen).mean()
        seen, asked = seen.map(means), asked.map(means)
    arrays = (values.to_numpy(dtype=np.float64).clip(-_LARGEST, _LARGEST) for values in (seen, asked))
    return tuple(values[:, None] for values in arrays)  # pyrefly: ignore[bad-return]


def _at_most(rows: Rows) -> Rows:
    """Some of the rows where there are many: a leak shows in twenty thousand."""
    if len(rows) <= _MOST_ROWS:
        return rows
    chosen = np.sort(np.random.default_rng(0).choice(len(rows), _MOST_ROWS, replace=False))
    return Rows(features=rows.features.iloc[chosen], target=rows.target.iloc[chosen], digest="")
