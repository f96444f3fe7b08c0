"""`Finding`: what is known of one thing. An examination gives one or several."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from starterkit.settings import Layers


@dataclass(frozen=True)
class Finding:
    """What is known of one thing."""

    item: str
    state: Literal["well", "warning", "failing"]
    text: str
    mend: str = ""


@dataclass(frozen=True)
class Examination:
    """A look at one thing, which fails with a `KitError`.

    Attributes
    ----------
    item
        What is looked at.
    look
        Gives the findings; the last one may be an error.
    needs
        The items that must not fail for this to say anything of its own.
    """

    item: str
    look: Callable[[Layers], Iterator[Finding]]
    needs: tuple[str, ...] = ()


def well(item: str, text: str) -> Finding:
    return Finding(item, "well", text)


def warning(item: str, text: str, mend: str) -> Finding:
    return Finding(item, "warning", text, mend)
