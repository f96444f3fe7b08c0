"""An interruption leaves the earlier files, or the new ones; never half of them."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from starterkit.data.prepare import write_together

NAMES = ("a.parquet", "a.proof.json", "a.report.md")


def write(folder: Path, content: bytes) -> None:
    write_together({folder / name: content for name in NAMES})


def contents(folder: Path) -> set[bytes]:
    return {(folder / name).read_bytes() for name in NAMES}


def test_files_are_there_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "new", b"one")
    write(tmp_path / "new", b"two")
    assert contents(tmp_path / "new") == {b"two"}
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("stopped_at", range(3))
def test_ctrl_c_while_writing_leaves_the_earlier_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: int
) -> None:
    write(tmp_path, b"earlier")
    calls = iter(range(10))

    def fsync(_: int) -> None:
        if next(calls) == stopped_at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, b"later")
    assert contents(tmp_path) == {b"earlier"}
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("stopped_at", range(3))
def test_ctrl_c_amid_the_renaming_waits_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: int, after: bool
) -> None:
    write(tmp_path, b"earlier")
    calls, rename = iter(range(10)), Path.replace

    def replace(self: Path, target: Path) -> Path:
        stop = next(calls) == stopped_at
        if after:
            rename(self, target)
        if stop:
            raise KeyboardInterrupt
        return target if after else rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, b"later")
    assert contents(tmp_path) == {b"later"}
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        (signal.SIGKILL, -9),
    ],
)
def test_kill_while_preparing_leaves_the_earlier_files(prepared: Any, number: int, code: int) -> None:
    house = prepared
    before = {file.name: file.read_bytes() for file in house.file.parent.iterdir()}
    script = (
        "import os, sys, time; from pathlib import Path\n"
        "def stop(_): print('there', flush=True); time.sleep(60)\n"
        "os.fsync = stop\n"
        "sys.argv = ['starterkit', 'data', 'prepare', '--for', 'test']\n"
        "from starterkit.cli import main; main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=house.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        process.send_signal(number)
        assert process.wait(30) == code
    assert {
        file.name: file.read_bytes() for file in house.file.parent.iterdir() if not file.name.startswith(".")
    } == before
    assert len(house.read()) == 442
