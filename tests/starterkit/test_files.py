"""What is written is whole or not there, and what nobody keeps leaves nothing behind, whenever it is interrupted."""

import fcntl
import os
import stat
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from starterkit.files import keep_secret, locked, put_folder, scratch_folder, whole_file, whole_folder, write_together


def contents(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


def stop_at(patch: Any, name: str, number: int, error: Any, after: bool = False, owner: Any = Path) -> None:
    """Let the call of that number of a method of `Path` fail: before it has done its work, or right after."""
    calls, call = iter(range(99)), getattr(owner, name)

    def stopped(*arguments: Any, **said: Any) -> Any:
        stop = next(calls) == number
        if stop and not after:
            raise error
        done = call(*arguments, **said)
        if stop:
            raise error
        return done

    patch.setattr(owner, name, stopped)


def test_a_file_takes_its_place_when_it_is_whole_and_else_is_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "a"
    file.write_text("old")
    with whole_file(file) as new:
        new.write_text("new")
        assert file.read_text() == "old"
    assert contents(tmp_path) == {"a": "new"}
    for stop in (KeyboardInterrupt, OSError):
        with monkeypatch.context() as patch:
            stop_at(patch, "fsync", 0, stop(), owner=os)
            with pytest.raises(stop), whole_file(file) as newer:
                newer.write_text("newer")
        assert contents(tmp_path) == {"a": "new"}


@pytest.fixture(params=[True, False], ids=["links", "no links"])
def links(request, monkeypatch) -> None:
    """Hard links, and a disk that has none."""

    def refuse(*_: object) -> None:
        raise PermissionError

    if not request.param:
        monkeypatch.setattr(os, "link", refuse)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    for name in ("a", "b", "gone"):
        (tmp_path / name).write_text(f"old {name}")
    return tmp_path


def change(root: Path) -> None:
    written = {root / "a": b"new a", root / "b": root / "a", root / "deep" / "c": b"new c"}
    write_together(written, [root / "gone"])


RENAMING = [(Path, "replace", number) for number in range(3)] + [(Path, "unlink", 0)]


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, OSError])
@pytest.mark.parametrize(("owner", "name", "number"), [*((os, "fsync", number) for number in range(3)), *RENAMING])
def test_files_change_together_and_a_stop_gives_back_all(three, monkeypatch, owner, name, number, stop, after):
    before = contents(three)
    with monkeypatch.context() as patch:
        stop_at(patch, name, number, stop(), after=after, owner=owner)
        with pytest.raises(stop):
            change(three)
    assert contents(three) == before
    with pytest.raises(FileNotFoundError):
        write_together({three / "a": b"new a", three / "b": three / "nowhere"}, [three / "gone"])
    assert contents(three) == before
    change(three)
    assert contents(three) == {"a": "new a", "b": "old a", "deep/c": "new c"}


def test_a_second_ctrl_c_while_giving_back_waits(three, monkeypatch):
    before = contents(three)
    for number, after in product((3, 4), (False, True)):
        with monkeypatch.context() as patch:
            stop_at(patch, "replace", number, KeyboardInterrupt(), after=after)  # the first comes after three
            stop_at(patch, "unlink", 0, KeyboardInterrupt(), after=True)
            with pytest.raises(KeyboardInterrupt):
                change(three)
        assert contents(three) == before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").write_text("old")
    return folder


def fill(folder: Path, stop: BaseException | None = None) -> None:
    with whole_folder(folder) as new:
        (new / "new").write_text("new")
        if stop:
            raise stop


def test_a_folder_takes_its_place_when_it_is_whole_and_a_link_to_one_stays(folder):
    fill(folder)
    fill(folder.parent / "deep" / "other")
    assert contents(folder.parent) == {"model/new": "new", "deep/other/new": "new"}
    assert len(list(folder.parent.iterdir())) == 2
    link = folder.parent / "links" / "current"
    link.parent.mkdir()
    link.symlink_to(folder, target_is_directory=True)
    with whole_folder(link) as new:
        (new / "new").write_text("new")
        assert new.parent == folder.parent  # the link may be on another disk
    assert link.is_symlink()
    assert contents(folder) == {"new": "new"}


def test_a_folder_whose_filling_or_placing_stops_is_as_it_was(folder, monkeypatch):
    for stop in (KeyboardInterrupt(), OSError()):
        for place in (folder, folder.parent / "other"):
            with pytest.raises(type(stop)):
                fill(place, stop)
    for number, after in ((0, False), (0, True), (1, False)):
        with monkeypatch.context() as patch:
            stop_at(patch, "rename", number, KeyboardInterrupt(), after=after)
            with pytest.raises(KeyboardInterrupt):
                fill(folder)
    assert contents(folder.parent) == {"model/old": "old"}
    assert list(folder.parent.iterdir()) == [folder]


KILLED = """
import sys
from pathlib import Path
from starterkit.files import whole_folder
with whole_folder(Path(sys.argv[1])) as new:
    (new / "half").touch()
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_a_killed_one_leaves_what_was_there_and_the_next_one_cleans_up(folder):
    command = [sys.executable, "-c", KILLED, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"writing\n"
        process.kill()
    assert contents(folder) == {"old": "old"}
    fill(folder)
    assert contents(folder.parent) == {"model/new": "new"}
    assert list(folder.parent.iterdir()) == [folder]


def test_what_was_killed_between_its_two_renamings_is_taken_back_or_goes_on(folder):
    folder.rename(folder.parent / ".model.earlier")
    with pytest.raises(KeyboardInterrupt):
        fill(folder, KeyboardInterrupt())
    assert contents(folder.parent) == {"model/old": "old"}
    folder.rename(folder.parent / ".model.earlier")
    ready = folder.with_name("ready")
    ready.mkdir()
    (ready / "new").write_text("new")
    put_folder(ready, folder)
    assert contents(folder.parent) == {"model/new": "new"}
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.usefixtures("links")
def test_a_secret_is_its_owners_alone_and_stays(tmp_path):
    file = tmp_path / "secrets" / "KEY"
    assert [keep_secret(file, "one"), keep_secret(file, "two")] == ["one", "one"]
    assert keep_secret(file, "three", renew=True) == "three"
    assert file.read_text() == "three\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]


RACE = """
import sys
from pathlib import Path
from starterkit.files import keep_secret, locked
root, name = Path(sys.argv[1]), sys.argv[2]
(root / f"ready-{name}").touch()
while not (root / "go").exists():
    pass
print(keep_secret(root / "secrets" / "KEY", name))
for _ in range(20):
    with locked(root / "lock", 60):
        (root / "count").write_text(str(int((root / "count").read_text()) + 1))
"""


def test_of_several_processes_all_get_one_secret_and_one_at_a_time_is_in_a_locked_block(tmp_path):
    (tmp_path / "count").write_text("0")
    command = [sys.executable, "-c", RACE, str(tmp_path)]
    racers = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in range(4)]
    while len(list(tmp_path.glob("ready-*"))) < len(racers):
        assert all(racer.poll() is None for racer in racers)
    (tmp_path / "go").touch()
    assert {racer.communicate(timeout=60)[0] for racer in racers} == {(tmp_path / "secrets" / "KEY").read_text()}
    assert [file.name for file in (tmp_path / "secrets").iterdir()] == ["KEY"]
    assert (tmp_path / "count").read_text() == "80"
    assert not (tmp_path / "lock").exists()


def test_a_lock_is_not_waited_for_forever_and_one_on_a_file_that_is_gone_is_none(tmp_path, monkeypatch):
    path, flock, calls = tmp_path / "lock", fcntl.flock, iter(range(9))

    def another_file(file: Any, how: int) -> None:
        if next(calls) == 0:  # its holder gave it back and a third took it, after this one opened it
            path.unlink()
            path.touch()
        flock(file, how)

    with pytest.raises(TimeoutError), locked(path, 1), locked(path, 0.1):
        pytest.fail("two are in")
    monkeypatch.setattr(fcntl, "flock", another_file)
    with locked(path, 1), pytest.raises(TimeoutError), locked(path, 0):
        pytest.fail("two are in")


def test_a_folder_is_the_users_own_and_goes_away_unless_it_is_to_be_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("starterkit.files.gettempdir", lambda: str(tmp_path))
    with scratch_folder("reproduce") as folder:
        assert folder.parent == tmp_path.resolve()
        assert folder.name.startswith("starterkit-reproduce-")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "deep" / "down").mkdir(parents=True)
    assert not list(tmp_path.iterdir())
    with scratch_folder(keep=True) as folder:
        pass
    assert list(tmp_path.iterdir()) == [folder]
    folder.rmdir()
    stop_at(monkeypatch, "mkdir", 0, KeyboardInterrupt(), after=True)  # in the moment in which it is made
    with pytest.raises(KeyboardInterrupt), scratch_folder():
        pass
    assert not list(tmp_path.iterdir())
