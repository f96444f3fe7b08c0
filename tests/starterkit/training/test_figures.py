"""Every figure becomes a picture of a sensible size, with nothing cut off, whatever the project's names are."""

import io
import re
import warnings
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from starterkit.release.pages import confusion_figure, fit_figure, importance_figure, residual_figure, roc_figure

LONG = "worst_fractal_dimension_of_the_{}th_cell_nucleus_in_the_biopsy_image"
RANDOM = np.random.default_rng(0)
RATES = np.linspace(0, 1, 30)
ACTUAL = RANDOM.uniform(25, 346, 90)


def importances(names: list[str]) -> dict[str, tuple[float, float]]:
    return {name: (place + 1.0, 0.2) for place, name in enumerate(names)}


def curves(names: list[str]) -> dict[str, Any]:
    return {name: (RATES, RATES ** (1 / (place + 2)), 0.9) for place, name in enumerate(names)}


def counts(classes: int) -> Any:
    return RANDOM.integers(0, 9, (classes, classes)) + np.diag([140] * classes)


FIGURES = {
    "residuals, long": lambda: residual_figure(ACTUAL * 1e9, ACTUAL * 8e8, f"{LONG} (million euro)"),
    "residuals, constant": lambda: residual_figure(np.ones(1), np.ones(1), "y"),
    "importance": lambda: importance_figure(importances(["age", "sex", "bmi"]), "rmse"),
    "importance, 30 long": lambda: importance_figure(importances([LONG.format(i) for i in range(30)]), "log_loss"),
    "roc": lambda: roc_figure(curves(["malignant"])),
    "roc, 40 long": lambda: roc_figure(curves([LONG.format(i) for i in range(40)])),
    "confusion, long": lambda: confusion_figure(counts(2) * 1000, [LONG.format(0), "benign"]),
    "confusion, 40": lambda: confusion_figure(counts(40), [LONG.format(i) for i in range(40)]),
    "confusion, empty class": lambda: confusion_figure(np.zeros((2, 2), dtype=np.int64), ["a", "b"]),
}
LARGE = "confusion, 40", "importance, 30 long", "roc, 40 long"
PRICES = ["$0-$100", "$a_{$", "$^$ _"]


def texts(figure: Figure) -> str:
    picture = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(picture, format="svg")
    return "\n".join(re.findall(r">([^<]*)</text>", picture.getvalue()))


def test_dollars_are_no_formula():
    matrix, bars = confusion_figure(counts(3), PRICES), importance_figure(importances(PRICES), "rmse")
    for figure in (matrix, bars, roc_figure(curves(PRICES))):
        drawn = texts(figure)
        assert [name for name in PRICES if name not in drawn] == []
    assert "actual paid ($_ per $^)" in texts(residual_figure(ACTUAL, ACTUAL, "paid ($_ per $^)"))
    bins = [{"answered": 1.0, "actual": 2.0}, {"answered": 2.0, "actual": 3.0}]
    drawn = texts(fit_figure({"fit": {"bins": bins}, "target": {"name": "$_paid", "unit": "$_ per $^"}}))
    assert "mean $_paid ($_ per $^)" in drawn
    assert "_other" in texts(roc_figure(curves(["_other", "known"])))  # to matplotlib, a name that hides a curve


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.slow] * (one in LARGE)) for one in FIGURES])
def test_a_figure_is_drawn_whole(name):
    figure: Figure = FIGURES[name]()
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where the layout does not fit or a sign has no glyph
        figure.savefig(picture, format="png")
    assert picture.getvalue().startswith(b"\x89PNG")
    assert 3000 < len(picture.getvalue()) < 1_000_000
    assert all(1 < side <= 24 for side in figure.get_size_inches())
    edges = figure.bbox
    for axes in figure.axes:
        drawn = axes.get_tightbbox()
        assert edges.x0 - 2 <= drawn.x0 < drawn.x1 <= edges.x1 + 2
        assert edges.y0 - 2 <= drawn.y0 < drawn.y1 <= edges.y1 + 2
        assert axes.get_window_extent().width > 0.3 * edges.width


def test_the_most_important_features_and_the_worst_curves_are_shown():
    axes = importance_figure(importances([f"f{i}" for i in range(500)]), "rmse").axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[-3:] == ["f497", "f498", "f499"]
    assert len(names) == 30
    assert "the first 30 of 500 features" in axes.get_title(loc="left")
    many = {str(i): (RATES, RATES, i / 40) for i in range(40)}
    axes = roc_figure(many).axes[0]
    assert [line.get_label() for line in axes.lines[1:3]] == ["area 0.000: 0", "area 0.025: 1"]
    assert "the worst 10 of 40 classes" in axes.get_title(loc="left")


def test_a_confusion_has_actual_in_rows_and_predicted_in_columns_and_residuals_are_actual_less_predicted():
    axes = confusion_figure(np.array([[5, 1], [2, 7]]), ["a", "b"]).axes[0]
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "5", (1, 0): "1", (0, 1): "2", (1, 1): "7"}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "actual")
    right = residual_figure(np.array([10.0, 20.0]), np.array([7.0, 21.0]), "y").axes[1]
    assert right.collections[0].get_offsets().tolist() == [[7.0, 3.0], [21.0, -1.0]]
    assert "mean 1" in right.get_title(loc="left")
