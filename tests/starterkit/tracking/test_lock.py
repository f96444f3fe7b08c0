"""One promoter at a time, on a real store: taken, given back, taken over, and by two at once."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Store

from starterkit.machine import PROCESS, this_process
from starterkit.tracking.connection import Connection
from starterkit.tracking.lock import Locked, PromotionLock

MODEL = "local.trial"
NAME = "local.trial.lock"
DEAD = " ".join([*this_process().split(" ")[:2], "4194304", "1"])
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="nothing is certain without /proc")


def lock(connection: Connection, who: str = "ada") -> PromotionLock:
    return PromotionLock(connection, MODEL, 10, who)


def models(connection: Connection) -> list[str]:
    return [model.name for model in connection.client.search_registered_models()]


def leave(connection: Connection, minutes: float, process: str = "elsewhere x 1 2", token: str = "t1") -> None:
    """A lock of somebody who is gone, which lasts for so many minutes more."""
    until = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()
    tags = {"token": token, "who": "eve", "until": until, PROCESS: process}
    connection.client.create_registered_model(NAME, tags)


def test_a_held_lock_names_its_holder(connection):
    with lock(connection).held():
        description = connection.client.get_registered_model(NAME).description
        assert description.startswith("**Not a model.**")
        with pytest.raises(Locked, match=rf"{MODEL} is being promoted by ada since .* until .* at the latest"), \
                lock(connection, "bob").held():  # fmt: skip
            pass
        assert models(connection) == [NAME]  # who was refused took nobody's lock away
    assert models(connection) == []


@pytest.mark.parametrize("ending", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_lock_is_given_back_when_the_work_fails(connection, ending):
    with pytest.raises(ending), lock(connection).held():
        raise ending
    assert models(connection) == []


@pytest.mark.parametrize(
    ("minutes", "process"),
    [(-1, "elsewhere x 1 2"), pytest.param(9, DEAD, marks=needs_proc)],
    ids=["its time is over", "its process is dead"],
)
def test_a_lock_that_nobody_holds_is_taken_at_once(connection, minutes, process):
    leave(connection, minutes, process)
    with lock(connection).held():
        assert lock(connection).look().who == "ada"
        assert models(connection) == [NAME, f"{NAME}.ended.t1"]
    assert models(connection) == []


def test_somebody_elsewheres_lock_is_waited_for(connection):
    leave(connection, minutes=0.01)
    with lock(connection).held(patience=10):
        pass
    leave(connection, minutes=9)
    with pytest.raises(Locked, match="eve"), lock(connection).held(patience=0.5):
        pass
    assert models(connection) == [NAME]


def test_a_lock_that_a_person_made_lasts_from_its_making_on(connection):
    for _ in range(2):  # and two of them are two
        connection.client.create_registered_model(NAME)
        with pytest.raises(Locked, match="somebody"), lock(connection).held():
            pass
        assert lock(connection).end(lock(connection).look())


@pytest.mark.parametrize("cleared", [False, True], ids=["renamed already", "as if it was very slow"])
def test_who_looked_too_early_cannot_take_the_next_lock_away(connection, cleared):
    leave(connection, minutes=-1)
    slow = lock(connection, "slow")
    before = slow.look()
    with lock(connection).held():
        if cleared:
            connection.client.delete_registered_model(f"{NAME}.ended.t1")
        assert not slow.end(before)
        assert slow.look().who == "ada"


def test_a_holder_notices_that_it_was_overtaken_or_is_too_late(connection):
    short = PromotionLock(connection, MODEL, 0, "ada")
    with short.held(), pytest.raises(Locked, match="took longer"):
        short.require()
    slow = lock(connection, "slow")
    with slow.held():
        slow.require()
        connection.client.set_registered_model_tag(NAME, "until", datetime.now(UTC).isoformat())
        with lock(connection).held():
            with pytest.raises(Locked, match="took longer than its lock's 10 minutes"):
                slow.require()
            slow.release()
            assert lock(connection).look() is not None
    assert models(connection) == []


def test_a_lock_that_goes_while_another_one_is_made_is_no_failure(connection, monkeypatch):
    """MLflow looks at the model whose name is taken, and does not find it."""
    leave(connection, minutes=9)
    look = Store.get_registered_model

    def gone(store: Store, name: str) -> object:
        monkeypatch.undo()
        store.delete_registered_model(name)
        return look(store, name)

    monkeypatch.setattr(Store, "get_registered_model", gone)
    with lock(connection).held(patience=10):
        assert models(connection) == [NAME]


def test_a_lock_that_is_away_for_a_moment_is_still_held_and_given_back(connection, monkeypatch):
    """Somebody who was slow renamed it, saw the mistake, and is about to put it back."""
    held, client = lock(connection), connection.client

    def put_back(seconds: float) -> None:
        assert seconds > 0
        client.rename_registered_model("away", NAME)

    monkeypatch.setattr(time, "sleep", put_back)
    with held.held():
        client.rename_registered_model(NAME, "away")
        held.require()
        client.rename_registered_model(NAME, "away")
    assert models(connection) == []


@pytest.fixture
def right_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[..., object]], None]:
    """What somebody else does in the store right after a call of this name."""

    def patch(name: str, then: Callable[..., object]) -> None:
        does = getattr(Store, name)

        def both(store, *given, **named):
            came = does(store, *given, **named)
            then(store, *given, **named)
            return came

        monkeypatch.setattr(Store, name, both)

    return patch


def test_what_is_renamed_may_be_cleared_away_at_once_and_cleared_away_twice(connection, right_after):
    leave(connection, minutes=-1)
    right_after("rename_registered_model", lambda store, name, new_name: store.delete_registered_model(new_name))
    slow = lock(connection)
    assert slow.end(slow.look())
    connection.client.create_registered_model(f"{NAME}.ended.t1")
    right_after("delete_registered_model", Store.delete_registered_model)
    lock(connection).clear()
    assert models(connection) == []


def test_a_mistake_is_not_put_back_over_another_lock(connection, right_after):
    leave(connection, minutes=-1)
    slow = lock(connection, "slow")
    before = slow.look()
    connection.client.delete_registered_model(NAME)
    leave(connection, minutes=9, token="t2")
    right_after("rename_registered_model", lambda store, name, new_name: store.create_registered_model(name))
    assert not slow.end(before)
    assert models(connection) == [NAME, f"{NAME}.ended.t1"]


def test_who_cannot_take_over_pauses_and_gives_up(connection, monkeypatch):
    leave(connection, minutes=-1)
    connection.client.create_registered_model(f"{NAME}.ended.t1")  # the name that the lock would get
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with pytest.raises(Locked, match=f"the lock {NAME} cannot be taken over"), lock(connection).held():
        pass
    assert len(pauses) >= 20
    assert len(set(pauses)) > 10  # two that contend do not go in step


@pytest.mark.parametrize("left", [None, -1])
def test_of_several_at_once_one_is_inside(connection, left):
    busy: list[str] = []

    def enter(name: str) -> list[str]:
        """Who was inside while this one was; nothing where it was refused."""
        with suppress(Locked), lock(connection, name).held():
            busy.append(name)
            time.sleep(0.2)
            together = list(busy)
            busy.remove(name)
            return together
        return []

    for turn in range(2):
        if left is not None:
            leave(connection, left, token=f"turn{turn}")
        with ThreadPoolExecutor(4) as pool:
            inside = [one for one in pool.map(enter, "abcd") if one]
        assert inside
        assert all(len(one) == 1 for one in inside)
    assert models(connection) == []
