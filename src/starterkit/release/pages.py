"""The figures of a run and the numbers behind them, and the page of one decision of the gate."""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from starterkit.contract import Parity
from starterkit.data.dataset import Rows
from starterkit.training import TrainedModel, permutation_importance

# --- How a classifier separates: the numbers behind the figures.


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


def figures_of(model: TrainedModel, rows: Rows) -> Iterator[tuple[str, Figure]]:
    """The figures of a run over held-out rows, by their names."""
    problem, answers = model.problem, model.evaluation.prediction
    yield "importance", importance_figure(permutation_importance(model, rows), problem.deciding_metric.name)
    if problem.task == "regression":
        shown = f"{problem.target.name} ({problem.target.unit})" if problem.target.unit else problem.target.name
        yield "residuals", residual_figure(rows.target.to_numpy(), answers.values, shown)
        return
    if answers.probabilities is not None:
        yield "roc", roc_figure(roc_curves(model, rows))
    yield "confusion", confusion_figure(confusion(model, rows), [str(name) for name in model.classes])


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


# --- Plain data in, one HTML file out: no script, nothing fetched, one look for all pages.


@dataclass(frozen=True)
class Picture:
    """A figure inside of a page, and what it shows in words."""

    svg: Markup
    words: str


def render(template: str, filters: Mapping[str, Callable[..., Any]], **values: object) -> str:
    """A page from its template. Every value is escaped but `Markup`."""
    environment = Environment(
        loader=PackageLoader("starterkit.release"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(template).render(values)


def picture(figure: Figure, words: str) -> Picture:
    """A figure as SVG, the same bytes for the same figure."""
    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": words, "font.family": "sans-serif"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return Picture(Markup(svg), words)  # noqa: S704  # drawn a moment ago, and matplotlib escapes its texts


# --- The figures of a decision, drawn from its record.

_FAULT = "#b3261e"
_SHOWN = 25


def comparison_figure(record: Mapping[str, Any]) -> Figure:
    """How much worse than the champion the version may be, as a whole and in each slice: intervals and margins."""
    parts = {"all rows": record["comparison"], **record["slices"]}
    shown = [(name, one) for name, one in parts.items() if one.get("low") is not None][:_SHOWN]
    figure = Figure(figsize=(8, 1.3 + 0.42 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for place, (_, one) in enumerate(reversed(shown)):
        worse = one["outcome"] == "worse"
        middle = (one["low"] + one["high"]) / 2
        axes.plot([one["low"], one["high"]], [place, place], color=_FAULT if worse else INK, linewidth=2.5)
        axes.plot([middle], [place], "o", color=_FAULT if worse else INK, markersize=5)
        axes.plot([one["margin"]] * 2, [place - 0.32, place + 0.32], color=QUIET, linewidth=2)
    axes.axvline(0, color=QUIET, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(shown)), [f"{short(name)} ({one['units']:,})" for name, one in reversed(shown)])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    ways = f"better    ←    {record['metric']['name']}    →    worse"
    label(axes, "Against the champion, on the same rows", ways, "")
    return figure


def fit_figure(record: Mapping[str, Any]) -> Figure:
    """A regression: the mean truth of rows with like answers, which lies on the line where answers are right."""
    bins, target = record["fit"]["bins"], record["target"]
    answered, actual = [one["answered"] for one in bins], [one["actual"] for one in bins]
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    axes = figure.subplots()
    ends = [min(*answered, *actual), max(*answered, *actual)]
    axes.plot(ends, ends, color=QUIET, linewidth=1)
    axes.plot(answered, actual, "o-", color=INK, markersize=5, linewidth=1.2)
    unit = f" ({short(target['unit'])})" if target["unit"] else ""
    label(axes, "Answers and truth", f"mean answer{unit}", f"mean {short(target['name'])}{unit}")
    return figure


def leak_figure(shares: Sequence[tuple[str, float]], limit: float) -> Figure:
    """How much of the naive guess's loss each feature removes alone, beside the share from which it is a leak."""
    shown = sorted(shares, key=lambda one: one[1])[-_SHOWN:]
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(shown)), layout="constrained")
    axes = figure.subplots()
    colours = [_FAULT if share > limit else INK for _, share in shown]
    axes.barh(range(len(shown)), [max(0.0, share) for _, share in shown], color=colours, height=0.6)
    axes.axvline(limit, color=QUIET, linewidth=2)
    axes.set_xlim(0, 1.02)
    axes.set_yticks(range(len(shown)), [short(name) for name, _ in shown])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    label(axes, "What each feature says alone", "share of the naive guess's loss that it removes", "")
    return figure


# --- The page of one decision of the gate, from its record.

_COMMIT_SHOWN = 12


def gate_page(record: Mapping[str, Any], digest: str) -> str:
    """The page as one HTML file. `record` is an evidence record's content, `digest` its SHA-256."""
    checks = record["checks"]
    return render(
        "gate.html",
        {"amount": _amount, "css": _css},
        record=record,
        digest=digest,
        outcome="passed" if record["passed"] else "refused",
        why=_why(checks),
        asked=sum(not check["off"] for check in checks),
        off=sum(check["off"] for check in checks),
        figures=list(_figures(record)),
        origin=list(_origin(record)),
    )


def _why(checks: list[Mapping[str, Any]]) -> str:
    refusals = [check for check in checks if not check["passed"]]
    if not refusals:
        unsure = [check["check"] for check in checks if check["outcome"] == "not enough rows"]
        few = f" There were too few rows to be sure of {', '.join(unsure)}." if unsure else ""
        return f"Every check that was asked passed.{few}"
    first = refusals[0]
    more = f" {len(refusals) - 1} more refuse it: {', '.join(one['check'] for one in refusals[1:])}." * bool(
        refusals[1:]
    )
    return f"{first['check']}: {first['reason'].rstrip('.')}.{more}"


def _figures(record: Mapping[str, Any]) -> Iterator[Picture]:
    comparison = record["comparison"]
    if comparison.get("low") is not None:
        words = (
            f"How much worse than the champion this version is by {record['metric']['name']}, with how sure that is. "
            f"A line that stays left of its grey mark is not worse. Over all rows it reaches from "
            f"{_amount(comparison['low'])} to {_amount(comparison['high'])}, with {_amount(comparison['margin'])} "
            "tolerated; a negative number is better."
        )
        yield picture(comparison_figure(record), words)
    fit = record["fit"]
    if fit.get("bins"):
        words = "Rows with like answers together: their mean answer, and their mean truth. On the line both agree."
        yield picture(fit_figure(record), words)
    elif "classes" in fit:
        classes = [str(one) for one in fit["classes"]]
        words = "How many held-out rows of each class got which answer."
        yield picture(confusion_figure(np.array(fit["confusion"]), classes), words)
    leaks = [(name, share) for name, share in record["leaks"].items() if share is not None]
    if leaks:
        limit = record["settings"]["leak_limit"]
        words = f"What each feature alone says about the target; beyond {limit:.1%} the gate takes it for a leak."
        yield picture(leak_figure(leaks, limit), words)


def _origin(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    lineage, parity = record["lineage"], record["parity"]
    yield "trained in stage", lineage["stage"]
    changes = ", with changes that are in no commit" if lineage["dirty"] else ""
    yield "commit", f"{lineage['commit'][:_COMMIT_SHOWN]}{changes}"
    yield "run", lineage["run"]
    yield "data", f"{lineage['data_source']}, {lineage['rows']:,} rows, SHA-256 {lineage['data_digest']}"
    masked = ", ".join(f"{name}: {treatment}" for name, treatment in record["policy"].items())
    yield "data policy", masked or "every column raw"
    yield "lock", f"SHA-256 {lineage['lock_digest']}"
    yield "parity", f"{parity['measure']} {parity['largest']:.2g} over {parity['rows']:,} rows{_unstable(parity)}"
    yield "kit", record["kit"]


def _unstable(parity: Mapping[str, Any]) -> str:
    proof = Parity(**parity)
    return f"; {proof.on_instability}" if proof.unstable else ""


def _amount(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _css(check: Mapping[str, Any]) -> str:
    return {"not enough rows": "unsure"}.get(check["outcome"], check["outcome"])
