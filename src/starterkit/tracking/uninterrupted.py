"""A signal waits until a call to the local store is over.

SQLAlchemy leaves a session that is interrupted half-way in a state of its own, sometimes with the database locked, and
then not even the run can be marked as failed.
"""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_inside: list[bool] = []


@contextmanager
def uninterrupted() -> Generator[None, None, None]:
    """Hold the first Ctrl-C or `kill` back until the block is over; a second one comes through at once."""
    if _inside or threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {int(number): handler for number in _SIGNALS if callable(handler := signal.getsignal(number))}
    waiting: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        waiting.append(number)
        if len(waiting) > 1:
            handlers[number](number, frame)

    _inside.append(True)
    try:
        for number in handlers:
            signal.signal(number, hold)
        yield
    finally:
        _inside.clear()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if len(waiting) == 1:
            handlers[waiting[0]](waiting[0], None)
