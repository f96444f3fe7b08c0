"""The figures of a decision, drawn from its record."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from starterkit.reports.figures import INK, QUIET, label, short

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
