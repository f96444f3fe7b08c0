"""`PromotionLock`: one promoter at a time, although MLflow knows no lock.

Making a registered model of a given name, and renaming one, succeeds for one of several that try at once. So the lock
is a registered model, and it ends by being renamed. See docs/decisions/0018-promotion.md.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from starterkit.errors import TrackingError
from starterkit.machine import PROCESS, state_of, this_process
from starterkit.tracking.connection import Connection

if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel

_TEXT = (
    "**Not a model.** Somebody promotes a version or rolls one back; this keeps others out until it is done. It goes "
    "by itself. If it stays, `starterkit doctor --mend` takes it away."
)
_OTHERS = frozenset({"RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "BAD_REQUEST"})
"""What those hear who make, rename or delete a lock a moment after somebody else did."""
_TRIES = 20
_PAUSE_SECONDS = 0.3


class Locked(TrackingError):
    """Somebody else promotes right now."""


@dataclass(frozen=True)
class Lock:
    """Who has the lock, since when and until when. `state` says what is known of the process."""

    token: str
    who: str
    since: datetime
    until: datetime
    state: str

    @property
    def over(self) -> bool:
        """Whether the next one may take it: its time is over, or its process was killed."""
        return self.state == "dead" or datetime.now(UTC) >= self.until

    def __str__(self) -> str:
        return f"{self.who} since {self.since:%Y-%m-%d %H:%M:%S} UTC, until {self.until:%H:%M:%S} UTC at the latest"


class PromotionLock:
    """The lock of one registered model. `minutes` later the next one may take it; others are told of `who`."""

    def __init__(self, connection: Connection, model: str, minutes: float, who: str) -> None:
        self._client = connection.client
        self._model = model
        self._name = f"{model}.lock"
        self._minutes = timedelta(minutes=minutes)
        self._who = who
        self._token = uuid4().hex
        self._until = datetime.now(UTC)

    @contextmanager
    def held(self, patience: float = 0) -> Iterator[None]:
        """Keep others out during the block; wait for at most `patience` seconds until they are done.

        Raises
        ------
        Locked
            Somebody else has the lock.
        """
        try:
            self._take(patience)
            yield
        finally:
            with suppress(TrackingError):  # it goes by itself when its time is over
                self.release()

    def require(self) -> None:
        """See that the lock is still ours, before something is written.

        Raises
        ------
        Locked
            It took so long that somebody else may have taken it.
        """
        if not self._mine() or datetime.now(UTC) >= self._until:
            what = f"the promotion of {self._model} took longer than its lock's {self._minutes.seconds // 60} minutes"
            raise Locked(what, "Raise promotion.lock_minutes, then give the command again")

    def look(self) -> Lock | None:
        """Who has the lock; None where nobody has it."""
        found = self._client.search_registered_models(f"name = '{self._name}'")
        return self._read(found[0]) if found else None

    def release(self) -> None:
        """Give the lock back if it is ours, and clear away what killed ones left."""
        found = self._mine()
        if found and self.end(found):
            self._clear()

    def end(self, lock: Lock) -> bool:
        """Take away this very lock, whoever has it; False where somebody else was quicker.

        Its new name is made of its token, and nobody takes that name away before the next lock is given back. So who
        looked at this lock, and was slow, cannot rename the next one in its place.
        """
        ended = f"{self._name}.ended.{lock.token}"
        if not self._first(self._client.rename_registered_model, self._name, ended):
            return False
        renamed = self._client.search_registered_models(f"name = '{ended}'")
        if renamed and self._read(renamed[0]).token != lock.token:
            self._first(self._client.rename_registered_model, ended, self._name)
            return False
        return True

    def clear(self) -> None:
        """Take away a lock whose time is over, and what killed ones left."""
        found = self.look()
        if found is None or (found.over and self.end(found)):
            self._clear()

    def _clear(self) -> None:
        left = [model.name for model in self._client.search_registered_models(f"name LIKE '{self._name}.ended.%'")]
        for name in left:
            self._first(self._client.delete_registered_model, name)

    def _take(self, patience: float) -> None:
        deadline, tries = time.monotonic() + patience, 0
        while not self._make():
            found = self.look()
            if found is not None and found.token == self._token:  # the answer was lost, and MLflow's client asked again
                return
            if found is None or found.over:
                tries += 1
                if tries > _TRIES:
                    raise Locked(f"the lock {self._name} cannot be taken over", "Delete it in `starterkit ui`")
                if found is not None and self.end(found):
                    continue
            elif time.monotonic() >= deadline:
                what = f"{self._model} is being promoted by {found}"
                raise Locked(what, "Give the command again then; `starterkit doctor` says if it was left behind")
            time.sleep(_PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311  # so that two do not go in step

    def _mine(self) -> Lock | None:
        """Our lock, if it is still ours. Somebody who was slow may hold it for a moment: see `end`."""
        found = self.look()
        if found is None:
            time.sleep(_PAUSE_SECONDS)
            found = self.look()
        return found if found is not None and found.token == self._token else None

    def _make(self) -> bool:
        since = datetime.now(UTC)
        self._until = since + self._minutes
        tags = {
            "token": self._token,
            "who": self._who,
            "since": since.isoformat(),
            "until": self._until.isoformat(),
            PROCESS: this_process(),
        }
        return self._first(self._client.create_registered_model, self._name, tags, _TEXT)

    def _first(self, call: Callable[..., object], *given: object) -> bool:
        """Ask MLflow for something that one of several gets; False where somebody else was quicker."""
        try:
            call(*given)
        except TrackingError as error:
            if error.code not in _OTHERS:
                raise
            return False
        return True

    def _read(self, model: "RegisteredModel") -> Lock:
        """A lock that a person made, or whose tags were edited, lasts from its making on."""
        made = datetime.fromtimestamp((model.creation_timestamp or 0) / 1000, UTC)
        tags = model.tags
        since, until = _time(tags.get("since", "")) or made, _time(tags.get("until", "")) or made + self._minutes
        token = tags.get("token", str(model.creation_timestamp))
        return Lock(token, tags.get("who", "somebody"), since, until, state_of(tags))


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None
