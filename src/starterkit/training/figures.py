"""The figures of a run, and the numbers behind them: what a model looks at, and how a classifier separates."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from starterkit.data.dataset import Rows
from starterkit.training.trainer import TrainedModel, predict

# --- What a model looks at, and how a classifier separates: the numbers behind the figures.

_REPEATS = 5


def permutation_importance(model: TrainedModel, rows: Rows) -> Mapping[str, tuple[float, float]]:
    """Mean and standard deviation of the deciding metric's loss when one feature is shuffled.

    Source: Breiman, "Random Forests", Machine Learning 45 (2001), as scikit-learn computes it.
    """
    from sklearn.inspection import permutation_importance as compute

    metric, task = model.problem.deciding_metric, model.problem.task
    sign = 1 if metric.greater_is_better else -1

    def score(estimator: Any, features: Any, target: Any) -> float:
        return sign * metric.score(np.asarray(target), predict(estimator, task, features), model.classes)

    found: Any = compute(model.estimator, rows.features, rows.target, scoring=score, n_repeats=_REPEATS, random_state=0)
    return {
        str(feature): (float(mean), float(deviation))
        for feature, mean, deviation in zip(rows.features, found.importances_mean, found.importances_std, strict=True)
    }


def confusion(model: TrainedModel, rows: Rows) -> NDArray[np.int64]:
    """A k × k table of counts: rows are actual classes, columns predicted ones."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(rows.target.to_numpy(), model.evaluation.prediction.values, labels=list(model.classes))


def roc_curves(model: TrainedModel, rows: Rows) -> dict[str, tuple[NDArray[Any], NDArray[Any], float]]:
    """False positive rates, true positive rates and area, for the positive class or for each of several."""
    from sklearn.metrics import auc, roc_curve

    probabilities = model.evaluation.prediction.probabilities
    assert probabilities is not None
    actual = rows.target.to_numpy()
    curves = {}
    for index, label in list(enumerate(model.classes))[1 if len(model.classes) == 2 else 0 :]:
        false_positives, true_positives, _ = roc_curve(actual == label, probabilities[:, index])
        curves[str(label)] = (false_positives, true_positives, float(auc(false_positives, true_positives)))
    return curves


# --- The figures of a run. Drawn without pyplot, so that no display and no global state is needed.

INK = "#1f4e79"
QUIET = "#8c8c8c"

_LONGEST_NAME = 28
_LONGEST_LABEL = 40
_FEATURES_SHOWN = 30
_CURVES_SHOWN = 10
_CLASSES_COUNTED = 20


def residual_figure(actual: NDArray[np.float64], predicted: NDArray[np.float64], target: str) -> Figure:
    """Predicted against actual, and what is left over; n points each. `target` is the label with its unit."""
    target = short(target, _LONGEST_LABEL)
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    ends = [min(actual.min(), predicted.min()), max(actual.max(), predicted.max())]
    left.plot(ends, ends, color=QUIET, linewidth=1)
    left.scatter(actual, predicted, s=18, alpha=0.7, color=INK, edgecolors="none")
    label(left, "Predicted against actual", f"actual {target}", f"predicted {target}")
    residuals = actual - predicted
    right.axhline(0, color=QUIET, linewidth=1)
    right.scatter(predicted, residuals, s=18, alpha=0.7, color=INK, edgecolors="none")
    label(right, f"Residuals (mean {residuals.mean():.3g})", f"predicted {target}", "actual − predicted")
    return figure


def importance_figure(importances: Mapping[str, tuple[float, float]], metric: str) -> Figure:
    """Permutation importance: how much worse the metric gets when a feature is shuffled (mean, deviation)."""
    ordered = sorted(importances.items(), key=lambda item: item[1][0])[-_FEATURES_SHOWN:]
    figure = Figure(figsize=(8, 1.1 + 0.3 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    places = range(len(ordered))
    means, deviations = [mean for _, (mean, _) in ordered], [deviation for _, (_, deviation) in ordered]
    axes.barh(places, means, xerr=deviations, color=INK, ecolor=QUIET, height=0.65)
    axes.set_yticks(places, [short(name, _LONGEST_LABEL) for name, _ in ordered])
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.axvline(0, color=QUIET, linewidth=1)
    title = "What the model looks at"
    if len(importances) > len(ordered):
        title += f" (the first {len(ordered)} of {len(importances)} features)"
    label(axes, title, f"how much worse {metric} gets when the feature is shuffled", "")
    return figure


def roc_figure(curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64], float]]) -> Figure:
    """One curve a class: false positive rates, true positive rates, area under the curve."""
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1)
    shown = sorted(curves.items(), key=lambda item: item[1][2])[:_CURVES_SHOWN]
    for name, (false_positives, true_positives, area) in shown:
        # The name comes last: a legend leaves out what begins with an underscore.
        axes.plot(false_positives, true_positives, label=f"area {area:.3f}: {short(name)}", linewidth=1.5)
    axes.legend(loc="lower right", frameon=False, fontsize=8 if len(shown) > 4 else 10)
    title = "Receiver operating characteristic"
    if len(curves) > len(shown):
        title += f"\n(the worst {len(shown)} of {len(curves)} classes)"
    label(axes, title, "false positive rate", "true positive rate")
    return figure


def latency_figure(latencies: Sequence[float]) -> Figure:
    """How many requests took how many milliseconds; n values in order of size."""
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    axes = figure.subplots()
    p99 = latencies[min(len(latencies) - 1, int(0.99 * len(latencies)))]
    axes.hist(np.clip(latencies, None, p99), bins=60, color=INK)
    for share, style in ((0.5, "-"), (0.95, "--")):
        at = latencies[min(len(latencies) - 1, int(share * len(latencies)))]
        axes.axvline(at, color=QUIET, linestyle=style, label=f"p{100 * share:.0f} {at:.3g} ms")
    axes.legend(frameon=False)
    label(axes, f"Latency of {len(latencies):,} requests", "milliseconds, the slowest 1% at the right end", "requests")
    return figure


def confusion_figure(counts: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """A k × k table of counts: rows are actual classes, columns predicted ones."""
    names = [short(name) for name in classes]
    longest = max(map(len, names))
    counted = len(classes) <= _CLASSES_COUNTED
    side, margin = min(0.6 if counted else 0.2, 20 / len(names)) * max(len(names), 3), 0.9 + 0.09 * longest
    figure = Figure(figsize=(side + margin, side + margin), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape) if counted else ():
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=colour, fontsize=9)
    size, narrow = 10 if counted else 7, 0.09 * longest > side / len(names)
    axes.set_xticks(range(len(names)), names, rotation=90 if narrow else 0, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    label(axes, "Confusion", "predicted", "actual")
    return figure


def short(name: str, longest: int = _LONGEST_NAME) -> str:
    """A name that leaves room for the drawing; its end is kept, because that is where long names differ.

    Between two dollar signs matplotlib reads a formula, and stops at one that is none.
    """
    shown = name if len(name) <= longest else f"{name[: longest // 2]}…{name[-(longest // 2 - 1) :]}"
    return shown.replace("$", r"\$")


def label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
