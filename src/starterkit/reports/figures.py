"""The figures of a run. Drawn without pyplot, so that no display and no global state is needed."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

_INK = "#1f4e79"
_ACCENT = "#c55a11"
_QUIET = "#8c8c8c"


def residual_figure(actual: NDArray[np.float64], predicted: NDArray[np.float64], target: str) -> Figure:
    """Predicted against actual, and what is left over; n points each. `target` is the label with its unit."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    ends = [min(actual.min(), predicted.min()), max(actual.max(), predicted.max())]
    left.plot(ends, ends, color=_QUIET, linewidth=1)
    left.scatter(actual, predicted, s=18, alpha=0.7, color=_INK, edgecolors="none")
    _label(left, "Predicted against actual", f"actual {target}", f"predicted {target}")
    residuals = actual - predicted
    right.axhline(0, color=_QUIET, linewidth=1)
    right.scatter(predicted, residuals, s=18, alpha=0.7, color=_INK, edgecolors="none")
    _label(right, f"Residuals (mean {residuals.mean():.3g})", f"predicted {target}", "actual − predicted")
    return figure


def importance_figure(importances: Mapping[str, tuple[float, float]], metric: str) -> Figure:
    """Permutation importance: how much worse the metric gets when a feature is shuffled (mean, deviation)."""
    ordered = sorted(importances.items(), key=lambda item: item[1][0])
    figure = Figure(figsize=(8, 0.8 + 0.36 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    names, means, deviations = [n for n, _ in ordered], [m for _, (m, _) in ordered], [d for _, (_, d) in ordered]
    axes.barh(names, means, xerr=deviations, color=_INK, ecolor=_QUIET, height=0.65)
    axes.axvline(0, color=_QUIET, linewidth=1)
    _label(axes, "What the model looks at", f"{metric} lost when the feature is shuffled", "")
    return figure


def roc_figure(curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64], float]]) -> Figure:
    """One curve a class: false positive rates, true positive rates, area under the curve."""
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_QUIET, linewidth=1)
    for name, (false_positives, true_positives, area) in curves.items():
        axes.plot(false_positives, true_positives, label=f"{name} (area {area:.3f})", linewidth=2)
    axes.legend(loc="lower right", frameon=False)
    _label(axes, "Receiver operating characteristic", "false positive rate", "true positive rate")
    return figure


def confusion_figure(counts: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """A k × k table of counts: rows are actual classes, columns predicted ones."""
    figure = Figure(figsize=(1.8 + 0.8 * len(classes), 1.6 + 0.8 * len(classes)), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    _label(axes, "Confusion", "predicted", "actual")
    return figure


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
