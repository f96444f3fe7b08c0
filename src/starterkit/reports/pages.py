"""Plain data in, one HTML file out: no script, nothing fetched, one look for all pages."""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure


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
