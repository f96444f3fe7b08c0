"""The page of a window: one HTML file without a script, which fetches nothing and is light or dark as its reader is."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from numpy.typing import NDArray

from starterkit.feedback.drift import ERROR_RATE, LEAST_ROWS, SMALLEST

_SHOWN = 40
_BARS = 12
_WIDTH, _HEIGHT, _LOW = 320, 90, 64
_EDGE = 3
_HOUR = 3600


class Tile(NamedTuple):
    """One figure at the top: what, how much, and a word beside it."""

    name: str
    figure: str
    note: str
    state: str = ""


class Chart(NamedTuple):
    """A drawing, its words, and what its left and right ends are."""

    title: str
    svg: Markup
    words: str
    ends: tuple[str, str] = ("", "")


class Column(NamedTuple):
    """A column's card: how it lies beside the reference."""

    name: str
    unit: str
    measure: str
    state: str
    word: str
    svg: Markup
    told: str
    gaps: str
    ends: tuple[str, str]


def monitoring_page(
    content: Mapping[str, Any],
    rules: Sequence[Mapping[str, Any]],
    earlier: Sequence[Mapping[str, Any]] = (),
    acted: Mapping[str, Any] | None = None,
) -> str:
    """The page of an `Observation`, given as JSON has it, with what each rule came to.

    `earlier` are the windows before, the newest first: ``end`` and ``figures`` of each. `acted` is what a retraining
    came to, where one was opened: ``title``, ``state`` and ``lines``.
    """
    drifts = sorted(content["drifts"], key=lambda one: (not one["drifted"], one["chance"], -one["distance"]))
    broken = [one for one in rules if one["broken"]]
    return render(
        "monitoring.html",
        content=content,
        span=span_of(content),
        broken=broken,
        rules=rules,
        tiles=list(_tiles(content)),
        charts=[*_within(content), *_over(content, earlier)],
        columns=[_column(one, content["columns"][one["column"]]) for one in drifts[:_SHOWN]],
        left_out=max(0, len(drifts) - _SHOWN),
        parts=list(_parts(content)),
        faults=list(_faults(content)),
        refused=sorted(content["refused"].items(), key=lambda one: -one[1]),
        others=sorted(content["others"].items()),
        acted=acted,
        limits={"chance": ERROR_RATE, "distance": SMALLEST, "rows": LEAST_ROWS},
    )


def render(template: str, **given: Any) -> str:
    """A page of one of the folder's templates."""
    loader, dense = PackageLoader("starterkit.feedback"), {"trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, **dense)
    return environment.get_template(template).render(**given)


def amount(value: float | None) -> str:
    """A number as people read it: 1,234, 0.0123, 12.3."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def share(value: float | None) -> str:
    """A share in percent."""
    if value is None:
        return "–"
    return f"{value:.0%}" if value in (0, 1) or value >= 0.1 else f"{value:.1%}" if value >= 0.001 else "< 0.1%"


def span_of(content: Mapping[str, Any]) -> str:
    start, end = (datetime.fromisoformat(content[name]) for name in ("start", "end"))
    if start.date() == end.date():
        form = "%H:%M" if end - start >= timedelta(minutes=30) else "%H:%M:%S"
        return f"{start:%-d %B %Y}, {start:{form}} to {end:{form}} UTC"
    return f"{start:%-d %B, %H:%M} to {end:%-d %B %Y, %H:%M} UTC"


def deciding_of(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The deciding metric over all labelled rows; None without labels."""
    return next((one for one in content["qualities"] if one["decides"] and not one["part"]), None)


def parts_of_time(content: Mapping[str, Any], count: int) -> list[str]:
    """When each of so many equal parts of the window begins, and when it ends."""
    start, end = (datetime.fromisoformat(content[name]) for name in ("start", "end"))
    return moments([start + (end - start) * place / count for place in range(count + 1)], end - start)


# --- The figures at the top.


def _tiles(content: Mapping[str, Any]) -> Iterator[Tile]:
    figures = content["figures"]
    requests = figures["requests"]
    one = "one row each" if requests == content["rows"] else f"in {amount(requests)} requests"
    yield Tile("predictions", amount(content["rows"]), one if content["rows"] else "none")
    if deciding := deciding_of(content):
        interval = f"{amount(deciding['low'])} to {amount(deciding['high'])}"
        before = "" if deciding["before"] is None else f"; {amount(deciding['before'])} when trained"
        surely = deciding["worse_low"] is not None and deciding["worse_low"] > 0
        known = math.isfinite(deciding["low"])
        note = f"{interval}{before}" if known else f"too few labels for an interval{before}"
        yield Tile(deciding["metric"], amount(deciding["figure"]), note, "bad" if known and surely else "good")
    else:
        yield Tile("quality", "?", "no label yet", "quiet")
    labelled = figures.get("labelled_share")
    missing = content["rows"] - content["labelled"]
    come = f"{amount(missing)} still to come" if missing else "all have come" if content["rows"] else "none to come"
    yield Tile("labels", share(labelled), come)
    if compared := [one for one in content["drifts"] if one["is_enough"]]:
        count = sum(one["drifted"] for one in compared)
        yield Tile("drifted", f"{count} of {len(compared)}", "columns", "bad" if count else "good")
    else:
        yield Tile("drifted", "?", f"fewer than {LEAST_ROWS} rows", "quiet")
    if "latency_p95_ms" in figures:
        note = f"half within {amount(figures['latency_p50_ms'])} ms, 99% within {amount(figures['latency_p99_ms'])} ms"
        yield Tile("95% answered in", f"{amount(figures['latency_p95_ms'])} ms", note)
    refused = figures["refused"]
    note = f"{share(figures['refused_share'])} of requests" if refused else "none"
    yield Tile("refused", amount(refused), note, "unsure" if figures["refused_share"] > 0.01 else "")


# --- Drawings: bars, lines, intervals. Colours are the page's, so that they turn with it.


def _svg(inside: Sequence[str], height: int = _HEIGHT) -> Markup:
    content = Markup("").join(map(Markup, inside))  # made below, of numbers and escaped texts
    return Markup('<svg viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>').format(
        _WIDTH, height, content
    )


def bars(values: Sequence[float], titles: Sequence[str], css: str = "now") -> Markup:
    """A bar a value."""
    most, step = max((*values, 1e-12)), _WIDTH / max(1, len(values))
    made, wide = [], min(step - 2, _WIDTH / 12)  # a few bars are no blocks
    for place, (value, title) in enumerate(zip(values, titles, strict=True)):
        tall = (_HEIGHT - _EDGE) * value / most
        left = (place + 0.5) * step - wide / 2
        made.append(
            f'<rect class="{css}" x="{left:.1f}" y="{_HEIGHT - tall:.1f}" width="{wide:.1f}" '
            f'height="{tall:.1f}" rx="1.5"><title>{escape(title)}</title></rect>'
        )
    return _svg(made)


def line(
    values: Sequence[float | None],
    titles: Sequence[str],
    bounds: Sequence[tuple[float, float] | None] = (),
    mark: float | None = None,
) -> Markup:
    """A line with a dot a value, a band where values have an interval, and a dashed line at `mark`."""
    inner = [end for one in bounds if one for end in one]
    known = [*(one for one in values if one is not None), *inner, *([] if mark is None else [mark])]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = (high - low) * 0.12 or abs(high) * 0.1 or 1
    low, high = low - room, high + room
    step = _WIDTH / max(1, len(values))

    def point(place: int, value: float) -> tuple[float, float]:
        return (place + 0.5) * step, _HEIGHT - (value - low) / (high - low) * _HEIGHT

    made: list[str] = []
    band = [(place, one) for place, one in enumerate(bounds) if one]
    if len(band) > 1:
        ends = [point(place, one[1]) for place, one in band] + [point(place, one[0]) for place, one in reversed(band)]
        made.append(f'<polygon class="band" points="{_points(ends)}"/>')
    elif band:
        (x, top), (_, bottom) = point(band[0][0], band[0][1][1]), point(band[0][0], band[0][1][0])
        made.append(f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>')
    if mark is not None:
        y = point(0, mark)[1]
        made.append(f'<line class="mark" x1="0" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
    dots = [(place, point(place, value)) for place, value in enumerate(values) if value is not None]
    made.append(f'<polyline class="line" points="{_points([one for _, one in dots])}"/>')
    for place, (x, y) in dots:
        title = escape(titles[place])
        made.append(f'<path class="dot" d="M{x:.1f} {y:.1f}h0"><title>{title}</title></path>')
    return _svg(made)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _within(content: Mapping[str, Any]) -> Iterator[Chart]:
    """What changes within the window."""
    if not content["rows"]:
        return
    series = content["series"]
    start, end = (datetime.fromisoformat(content[name]) for name in ("start", "end"))
    parts = len(series["rows"])
    *words, last = parts_of_time(content, parts)
    ends = words[0], last
    yield Chart(
        "Predictions",
        bars(series["rows"], [f"{when}: {amount(one)}" for when, one in zip(words, series["rows"], strict=True)]),
        f"at most {amount(max(series['rows']))} in {_lasting((end - start) / parts)}",
        ends,
    )
    deciding = deciding_of(content)
    if deciding and sum(one is not None for one in series["quality"]) > 1:
        titles = [f"{when}: {amount(one)}" for when, one in zip(words, series["quality"], strict=True)]
        before = deciding["before"]
        told = "where labels have come" + ("" if before is None else f"; dashed: {amount(before)}, when trained")
        yield Chart(f"Quality: {deciding['metric']}", line(series["quality"], titles, mark=before), told, ends)
    waited = series["latency_p95_ms"]
    if any(one is not None for one in waited):
        titles = [f"{when}: {amount(one)} ms" for when, one in zip(words, waited, strict=True)]
        least, most = (pick(one for one in waited if one is not None) for pick in (min, max))
        told = f"95% were answered within {amount(least)}{'' if least == most else f' to {amount(most)}'} ms"
        yield Chart("Latency", line(waited, titles), told, ends)


def _over(content: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> Iterator[Chart]:
    """What changes from window to window."""
    windows = [*reversed(earlier), {"end": content["end"], "figures": content["figures"]}][-30:]
    if len(windows) < 2:
        return
    times = [datetime.fromisoformat(one["end"]) for one in windows]
    words = moments(times, times[-1] - times[0])
    ends = words[0], words[-1]
    deciding = deciding_of(content)
    figures = [one["figures"] for one in windows]
    names = [*([deciding["metric"]] if deciding else []), "drifted_columns"]
    for name in names:
        values = [one.get(name) for one in figures]
        if sum(one is not None for one in values) < 2:
            continue
        titles = [f"{when}: {amount(value)}" for when, value in zip(words, values, strict=True)]
        if name == "drifted_columns":
            title, told = "Drifted columns", f"in each of the last {len(windows)} windows"
            yield Chart(title, bars([one or 0 for one in values], titles, "bad"), told, ends)
        else:
            bounds = [
                (one[f"{name}_low"], one[f"{name}_high"]) if f"{name}_low" in one and f"{name}_high" in one else None
                for one in figures
            ]
            mark = deciding["before"] if deciding else None
            told = f"over the last {len(windows)} windows, with 95% intervals"
            yield Chart(f"Quality: {name}", line(values, titles, bounds, mark), told, ends)


def moments(times: Sequence[datetime], span: timedelta) -> list[str]:
    form = "%H:%M:%S" if span < timedelta(minutes=30) else "%H:%M" if span < timedelta(hours=36) else "%-d %b"
    return [f"{one:{form}}" for one in times]


def _lasting(span: timedelta) -> str:
    seconds = span.total_seconds()
    if seconds < 2:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.0f} hours"


# --- A column beside the reference.


def _column(drift: Mapping[str, Any], beside: Mapping[str, Any]) -> Column:
    if not drift["is_enough"]:
        state, word = "quiet", "too few rows"
    else:
        state, word = ("bad", "drifted") if drift["drifted"] else ("good", "as before")
    away = f"{amount(drift['distance'])} σ" if drift["measure"] == "Wasserstein" else amount(drift["distance"])
    chance = "< 0.0001" if drift["chance"] < 1e-4 else amount(drift["chance"])
    told = f"{away} away · p {chance} · PSI {drift['psi']:+.2f}".replace("-0.00", "+0.00")
    gaps = ""
    if drift["missing"] or drift["missing_before"]:
        gaps = f"missing {share(drift['missing'])}, {share(drift['missing_before'])} when trained"
    svg, ends = histogram(beside)
    return Column(
        drift["column"], beside["unit"], f"{drift['measure']}, {drift['test']}", state, word, svg, told, gaps, ends
    )


def histogram(beside: Mapping[str, Any]) -> tuple[Markup, tuple[str, str]]:
    """Now as bars, then as a line of steps above them."""
    then, now = (np.array(beside[name], np.float64) for name in ("then", "now"))
    if beside["categories"]:
        names = [*map(str, beside["categories"]), "any other"]
        if not (then[-1] or now[-1]):
            then, now, names = then[:-1], now[:-1], names[:-1]
        lefts, widths = np.arange(len(then), dtype=np.float64), np.ones(len(then))
        tall_then, tall_now = then, now
        ends = (names[0], names[-1]) if len(names) > 1 else (names[0], "")
    elif not beside["edges"]:
        return _svg([], _LOW), ("", "")
    else:
        lefts, widths, tall_then, tall_now = _densities(np.array(beside["edges"]), then, now)
        names = [f"{amount(left)} to {amount(left + wide)}" for left, wide in zip(lefts, widths, strict=True)]
        names[0], names[-1] = f"up to {amount(lefts[0] + widths[0])}", f"above {amount(lefts[-1])}"
        ends = amount(float(lefts[0])), amount(float(lefts[-1] + widths[-1]))
    begin, span = float(lefts[0]), float(lefts[-1] + widths[-1] - lefts[0]) or 1.0
    most = max(float(tall_then.max()), float(tall_now.max()), 1e-12)
    made, steps = [], []
    for place, name in enumerate(names):
        x, wide = (lefts[place] - begin) / span * _WIDTH, widths[place] / span * _WIDTH
        tall = (_LOW - _EDGE) * tall_now[place] / most
        before = _LOW - (_LOW - _EDGE) * tall_then[place] / most
        made.append(
            f'<rect class="now" x="{x + 0.5:.1f}" y="{_LOW - tall:.1f}" width="{max(0.5, wide - 1):.1f}" '
            f'height="{tall:.1f}"><title>{escape(name)}</title></rect>'
        )
        steps += [(x, before), (x + wide, before)]
    made.append(f'<polyline class="then" points="{_points(steps)}"/>')
    return _svg(made, _LOW), ends


Numbers = NDArray[np.float64]


def _densities(edges: Numbers, then: Numbers, now: Numbers) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Bins of like size put together; the open ones are as wide as they would be if they were as dense as the next."""
    group = max(1, math.ceil(len(then) / _BARS))
    starts = np.unique(np.r_[0, np.arange(1, len(then) - 1, group), len(then) - 1])
    then, now = np.add.reduceat(then, starts), np.add.reduceat(now, starts)
    ends = edges[starts[1:] - 1]
    inner = np.diff(ends)
    usual = float(np.median(inner)) if len(inner) else 1.0
    first = float(inner[0]) if len(inner) else usual
    last = float(inner[-1]) if len(inner) else usual
    widths = np.r_[max(first, usual), inner, max(last, usual)]
    lefts = np.r_[ends[0] - widths[0], ends]
    return lefts, widths, then / widths, now / widths


# --- Parts, and what should not be.


def _parts(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The deciding metric over all and in each part, as intervals on one scale."""
    shown = [one for one in content["qualities"] if one["decides"]]
    known = [one for one in shown if math.isfinite(one["low"])]
    low, high = min((one["low"] for one in known), default=0), max((one["high"] for one in known), default=1)
    for one in shown:
        interval = None
        if math.isfinite(one["low"]) and high > low:
            left, right, at = ((value - low) / (high - low) * 100 for value in (one["low"], one["high"], one["figure"]))
            interval = {"left": f"{left:.1f}", "width": f"{max(1.0, right - left):.1f}", "at": f"{at:.1f}"}
        told = f"{amount(one['low'])} to {amount(one['high'])}" if interval else "too few to say"
        yield {
            "name": one["part"] or "all",
            "rows": f"{one['rows']:,}",
            "figure": amount(one["figure"]),
            "told": told,
            "interval": interval,
        }


def _faults(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, column in content["columns"].items():
        if column["out_of_range"]:
            yield name, f"{share(column['out_of_range'])} of the values are beyond where the model is proven"
        if column["unseen"] > 0.001:
            yield name, f"{share(column['unseen'])} more than in training are values that it hardly knew"
    for one in content["drifts"]:
        if abs(one["missing"] - one["missing_before"]) >= 0.01:
            yield one["column"], f"{share(one['missing'])} are missing, {share(one['missing_before'])} when trained"
