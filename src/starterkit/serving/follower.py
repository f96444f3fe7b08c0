"""`Follower`: looks, outside the path of requests, which version is the champion, and lets it answer.

A version that cannot be opened, does not give its sample's answers or takes other columns than clients send is refused
and told; the one before it goes on. It is looked at once: the alias has to move before another try.
"""

import logging
import threading
from collections.abc import Callable
from typing import NamedTuple

from starterkit.errors import ContractError, KitError, TrackingError
from starterkit.serving.predictor import ServedModel
from starterkit.serving.validation import read_records


class Champion(NamedTuple):
    """How the registry is asked: for the champion's version, and for the champion, opened and proven."""

    version: Callable[[], str | None]
    open: Callable[[], ServedModel]


class Follower:
    """Follows the champion from a thread of its own.

    Parameters
    ----------
    served
        The model that answers now.
    champion
        How the registry is asked.
    swap
        Lets another model answer.
    tell
        Is given each outcome, `swapped`, `refused` or `unreachable`, and what there is to say of it.
    """

    def __init__(
        self,
        served: ServedModel,
        champion: Champion,
        swap: Callable[[ServedModel], None],
        tell: Callable[[str, str], None],
    ) -> None:
        self._served = served
        self._champion = champion
        self._swap = swap
        self._tell = tell
        self._seen: str | None = served.version

    def start(self, seconds: float) -> None:
        """Look every so many seconds, for as long as the process lives."""
        waiting = threading.Event()

        def follow() -> None:
            while not waiting.wait(seconds):
                self.look()

        threading.Thread(target=follow, name="follower", daemon=True).start()

    def look(self) -> None:
        """Once. Nothing that happens here reaches a request."""
        try:
            version = self._champion.version()
        except Exception as error:  # the registry may be down for hours: what answers does so without it
            self._tell("unreachable", _words(error))
            return
        if version is None or version == self._seen:
            return
        before, self._seen = self._seen, version
        try:
            opened = self._champion.open()
            require_alike(self._served, opened)
            opened.answer(read_records(opened.contract, [opened.contract.example], "mark"))  # the first one is slow
        except (TrackingError, OSError) as error:  # it may come with the next look
            self._seen = before
            self._tell("unreachable", _words(error))
            return
        except Exception as error:
            self._tell("refused", f"version {version}: {_words(error)}")
            logging.getLogger("uvicorn.error").warning("version %s does not answer: %s", version, _words(error))
            return
        self._seen = opened.version  # the alias may have moved on meanwhile
        self._swap(opened)
        self._served = opened
        self._tell("swapped", "")


def require_alike(before: ServedModel, after: ServedModel) -> None:
    """See that clients may send to one what they send to the other.

    Raises
    ------
    ContractError
        A column has another name, type or place, or another kind of answer comes.
    """
    for what, of in (
        ("columns", lambda one: [(column.name, column.type, column.unit) for column in one.contract.columns]),
        ("target", lambda one: (one.contract.target.name, one.contract.task, one.contract.target.unit)),
    ):
        if of(before) != of(after):
            raise ContractError(f"it has other {what} than the version that answers", "Start the API again to serve it")


def _words(error: Exception) -> str:
    return error.what if isinstance(error, KitError) else type(error).__name__
