"""Who was champion, as the history tells it."""

from datetime import UTC, datetime

import pytest

from starterkit.release.history import Act, Entry, Person, Result, champions, served_until, serving, way_here
from starterkit.tracking.registry import Version


def told(*moves: tuple[Act, int, int | None, Result]) -> list[Entry]:
    """Entries of successive days: act, version, earlier champion, what came of it."""
    return [
        Entry(number=day, at=f"2026-11-{day:02}T00:00:00Z", act=act, phase="outcome", result=result, version=version,
              earlier=earlier, who=Person("ada"))
        for day, (act, version, earlier, result) in enumerate(moves, 1)
    ]  # fmt: skip


def version(number: int, **tags: str) -> Version:
    return Version("local.trial", number, "run", tags, datetime(2026, 11, 1, tzinfo=UTC))


UP = told(("promote", 1, None, "done"), ("promote", 2, 1, "finished"), ("promote", 3, 2, "done"))


@pytest.mark.parametrize(
    ("moves", "was", "way", "now"),
    [
        ([], (), (), None),
        (UP, (1, 2, 3), (1, 2, 3), 3),
        ([*UP, *told(("rollback", 1, 3, "done"))], (1, 2, 3), (1,), 1),
        ([*UP, *told(("rollback", 2, 3, "done"), ("promote", 4, 2, "done"))], (1, 2, 3, 4), (1, 2, 4), 4),
        ([*UP, *told(("promote", 3, 3, "done"))], (1, 2, 3), (1, 2, 3), 3),
        ([*UP, *told(("promote", 4, 3, "refused"), ("promote", 5, 3, "undone"))], (1, 2, 3), (1, 2, 3), 3),
        ([*UP, *told(("prune", 1, 3, "done"))], (1, 2, 3), (1, 2, 3), 3),
        (told(("promote", 5, 4, "done")), (4, 5), (4, 5), 5),
    ],
)
def test_champions(moves: list[Entry], was: tuple[int, ...], way: tuple[int, ...], now: int | None) -> None:
    assert champions(moves) == was
    assert way_here(moves) == way
    assert serving(moves) == now


def test_versions_that_the_history_does_not_know_count_if_the_gate_passed_them() -> None:
    old = [version(1, gate="passed"), version(2, gate="refused"), version(3), version(4, gate="passed")]
    moves = told(("promote", 5, 4, "done"))
    assert champions(moves, [*old, version(5, gate="passed")]) == (1, 4, 5)
    assert way_here(moves, old) == (1, 4, 5)
    assert way_here([], old) == (1, 4)


def test_a_champion_served_until_the_next_move() -> None:
    moves = told(("promote", 2, 1, "done"), ("promote", 3, 2, "done"), ("rollback", 2, 3, "done"))
    assert {number: at.day for number, at in served_until(moves).items()} == {1: 1, 2: 2, 3: 3}
