"""How often Python looks for garbage while a command loads its libraries.

They make some hundred thousand objects, nearly all of which stay. Looking through them again and again was a seventh
of the time that `run` and `doctor` took.
"""

import gc

_SELDOM = (20_000, 50, 100)
_USUALLY = gc.get_threshold()


def collect_seldom() -> None:
    gc.set_threshold(*_SELDOM)


def collect_usually() -> None:
    """For what goes on for days."""
    gc.set_threshold(*_USUALLY)
