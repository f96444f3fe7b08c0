"""What is set before a command begins: Ctrl-C and `kill` end it, and garbage is looked for seldom."""

import gc
import signal
from types import FrameType

# --- Ctrl-C and `kill` end a command, and are remembered.
#
# Python prints and forgets an interruption that comes inside a callback of its own, such as those of an import. So the
# next step asks again.

INTERRUPTED = 130
ENDED = 143

_asked: list[int] = []


def listen() -> None:
    """Let `kill` be Ctrl-C by another name: a run is marked, and nothing stays half-made."""
    _asked.clear()
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell may have said to ignore it
        signal.signal(signal.SIGINT, _stop)


def stop_if_asked() -> None:
    """Stop now, if a signal asked for it and was lost.

    Raises
    ------
    KeyboardInterrupt, SystemExit
        Ctrl-C, or `kill`.
    """
    if _asked:
        _raise(_asked[0])


def _stop(number: int, frame: FrameType | None) -> None:
    _asked.append(number)
    _raise(number)


def _raise(number: int) -> None:
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(ENDED)


# --- How often Python looks for garbage while a command loads its libraries.
#
# They make some hundred thousand objects, nearly all of which stay. Looking through them again and again was 8% of the
# processor time of `doctor` (2.83 s against 2.60).

_SELDOM = (20_000, 50, 100)
_USUALLY = gc.get_threshold()


def collect_seldom() -> None:
    gc.set_threshold(*_SELDOM)


def collect_usually() -> None:
    """For what goes on for days."""
    gc.set_threshold(*_USUALLY)
