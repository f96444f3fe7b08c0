"""What all pages look like: readable on a light screen, on a dark one, and on paper."""

import re
from itertools import product
from pathlib import Path

import pytest

from starterkit.release import pages as reports

STYLE = Path(reports.__file__).with_name("templates") / "style.css"
DARK = "@media screen and (prefers-color-scheme: dark)"  # paper is white, whatever the screen is


def colours(text: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", text))


def luminance(colour: str) -> float:
    """Of WCAG 2.2, from 0 for black to 1 for white."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(scheme: str) -> None:
    light, dark = STYLE.read_text("utf-8").split(DARK)
    named = colours(light) if scheme == "light" else colours(dark)
    assert len(named) == 8
    for text, ground in product(("ink", "quiet", "good", "bad", "unsure"), ("paper", "shade")):
        assert contrast(named[text], named[ground]) >= 4.5, (text, ground)
