"""The page of one decision of the gate, from its record: one HTML file, no script, nothing fetched."""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from starterkit.contract import Parity
from starterkit.training.figures import INK, QUIET, confusion_figure, label, short

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
    import numpy as np

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
