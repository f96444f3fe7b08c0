"""A run that was ended anywhere is gone on with, and the result is the same to the byte."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from starterkit.errors import DataError
from starterkit.progress import Event
from starterkit.serving.batch import BatchScorer
from starterkit.serving.batch.plan import PartialFolder, plan_files
from starterkit.serving.predictor import Predictor

pytestmark = pytest.mark.usefixtures("small_steps")


class Interrupted(BaseException):
    """Ctrl-C, in a test that must not be ended by it."""


def until(rows: int) -> Callable[[Event], None]:
    """Progress that ends the run once so many rows are done."""

    def end(event: Event) -> None:
        if event.state == "went on" and int(event.note.split()[0].replace(",", "")) >= rows:
            raise Interrupted

    return end


def interrupt(predictor: Predictor, rows: int, source: Path, destination: Path, **how: Any) -> None:
    with pytest.raises(Interrupted):
        BatchScorer(predictor, until(rows)).score(source, destination, **how)


class Seen(list[Event]):
    def __call__(self, event: Event) -> None:
        self.append(event)

    @property
    def text(self) -> str:
        return " | ".join(f"{event.step} {event.note}" for event in self if event.state != "went on")


ENDED_AT = {"csv": (10, 90, 399), "parquet": (90, 399), "arrow": (200,), "arrows": (90,), "folder": (90, 150, 230)}


@pytest.mark.parametrize(("kind", "rows"), [(kind, rows) for kind, all_rows in ENDED_AT.items() for rows in all_rows])
def test_what_is_gone_on_with_is_the_same_to_the_byte(visits_predictor, visits_rows, files, kind, rows):
    spoilt = visits_rows.set_column(5, "children", pa.array([99 if row % 50 == 9 else 1 for row in range(400)]))
    if kind == "folder":
        for part in range(4):
            files.write(spoilt.slice(part * 100, 100), f"in/part-{part}.parquet")
        (files.folder / "in" / "_SUCCESS").touch()  # which is no part
    source = files.folder / "in" if kind == "folder" else files.write(spoilt, f"in.{kind}")
    whole, ended = (files.folder / f"{name}{source.suffix}" for name in ("whole", "ended"))
    BatchScorer(visits_predictor).score(source, whole, bad_rows="aside")
    interrupt(visits_predictor, rows, source, ended, bad_rows="aside")
    assert not ended.exists()
    seen = Seen()
    outcome = BatchScorer(visits_predictor, seen, threads=1).score(source, ended, bad_rows="aside")
    assert (outcome.rows, outcome.bad) == (400, 8)
    assert ("of them by an earlier run" in seen.text) == (rows > 50), seen.text
    for made in (whole, files.folder / "whole.bad.csv", *(whole.iterdir() if kind == "folder" else ())):
        assert made.is_dir() or made.read_bytes() == Path(str(made).replace("whole", "ended")).read_bytes()
    assert files.names == sorted([source.name, whole.name, ended.name, "ended.bad.csv", "whole.bad.csv"])
    if kind == "folder":
        assert [len(files.read(f"ended/part-{part}.parquet")) for part in range(4)] == [98] * 4
        assert "part-1.parquet,9,children,is above 9," in (files.folder / "ended.bad.csv").read_text()


@pytest.mark.parametrize("moment", ["after a file was finished", "before it is published", "while it is published"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_last_moments_can_be_done_again(visits_predictor, visits_rows, files, monkeypatch, kind, moment):
    source, destination = files.write(visits_rows, f"in.{kind}"), files.folder / f"out.{kind}"
    BatchScorer(visits_predictor).score(source, files.folder / f"whole.{kind}")
    keep = PartialFolder.keep

    def interrupt(work: PartialFolder, kept: Any = None) -> None:
        if moment == "after a file was finished" and kept and kept.file == 1:
            raise Interrupted
        if moment == "while it is published" and kept is None:
            raise Interrupted
        keep(work, kept)
        if kept.is_whole:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(PartialFolder, "remove" if moment == "while it is published" else "keep", interrupt)
        with pytest.raises(Interrupted):
            BatchScorer(visits_predictor).score(source, destination)
    seen = Seen()
    outcome = BatchScorer(visits_predictor, seen).score(source, destination)
    assert "anew" not in seen.text
    assert outcome.rows == 400
    assert destination.read_bytes() == (files.folder / f"whole.{kind}").read_bytes()
    assert files.names == sorted([source.name, destination.name, f"whole.{kind}"])


@pytest.mark.parametrize("changed", ["source", "model"])
def test_other_work_is_begun_anew(visits_predictor, visits_rows, files, other_model, changed):
    source, destination = files.write(visits_rows, "in.csv"), files.folder / "out.csv"
    interrupt(visits_predictor, 200, source, destination)
    if changed == "source":
        files.write(visits_rows.slice(0, 399), "in.csv")
    predictor = Predictor(other_model) if changed == "model" else visits_predictor
    seen = Seen()
    BatchScorer(predictor, seen).score(source, destination)
    assert f"score, anew: the {changed} changed" in seen.text
    assert "earlier run" not in seen.text
    BatchScorer(predictor).score(source, files.folder / "expected.csv")
    assert destination.read_bytes() == (files.folder / "expected.csv").read_bytes()


def test_a_run_that_stopped_at_a_bad_row_goes_on_when_it_may_be_put_aside(visits_predictor, visits_rows, files):
    spoilt = visits_rows.set_column(5, "children", pa.array([99 if row == 300 else 1 for row in range(400)]))
    source, destination = files.write(spoilt, "in.csv"), files.folder / "out.csv"
    with pytest.raises(DataError, match="row 300"):
        BatchScorer(visits_predictor).score(source, destination)
    seen = Seen()
    assert BatchScorer(visits_predictor, seen).score(source, destination, bad_rows="aside").bad == 1
    assert "of them by an earlier run" in seen.text
    interrupt(visits_predictor, 390, source, destination, bad_rows="aside", overwrite=True)
    with pytest.raises(DataError, match="row 300"):  # it may not go on behind the row that was put aside
        BatchScorer(visits_predictor).score(source, destination, overwrite=True)


def test_two_at_once_are_told_apart(visits_predictor, visits_rows, files):
    source, destination = files.write(visits_rows, "in.csv"), files.folder / "out.csv"
    first = PartialFolder(plan_files(source, destination))
    with pytest.raises(DataError, match=r"another process is writing .*out\.csv\. Wait"):
        BatchScorer(visits_predictor).score(source, destination)
    first.close()
    destination.write_text("mine")  # a destination that appears meanwhile stays
    with pytest.raises(DataError, match="exists already"):
        BatchScorer(visits_predictor).score(source, destination)
    assert destination.read_text() == "mine"
    destination.unlink()
    assert BatchScorer(visits_predictor).score(source, destination).rows == 400
    assert files.names == ["in.csv", "out.csv"]


def test_rows_lost_with_the_machine_are_written_again_and_a_source_may_not_change(visits_predictor, visits_rows, files):
    source, destination = files.write(visits_rows, "in.csv"), files.folder / "out.csv"
    interrupt(visits_predictor, 200, source, destination)
    os.truncate(files.folder / ".out.csv.partial" / "rows", 100)
    seen = Seen()
    assert BatchScorer(visits_predictor, seen).score(source, destination).rows == 400
    assert "anew: what an earlier run left is incomplete" in seen.text
    assert len(files.read("out.csv")) == 400
    with pytest.raises(DataError, match=r"in\.csv changed while it was read"):
        BatchScorer(visits_predictor, lambda _: os.utime(source, ns=(1, 1))).score(source, files.folder / "no.csv")
    assert not (files.folder / "no.csv").exists()


CHILD = """
import os, resource, signal, sys
from pathlib import Path
from starterkit.serving import batch
from starterkit.serving.batch import BatchScorer, chunks
from starterkit.errors import KitError
from starterkit.serving.predictor import Predictor

chunks.CHUNK_BYTES, batch.PART_ROWS = 800, 40
how, folder, source, destination = sys.argv[1:]

def progress(event):
    if how == "killed" and event.state == "went on" and event.share > 0.5:
        os.kill(os.getpid(), signal.SIGKILL)

if how == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    BatchScorer(Predictor(Path(folder)), progress).score(Path(source), Path(destination))
except KitError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("how", "code"), [("killed", -signal.SIGKILL), ("full", 2)])
def test_kill_and_a_full_disk_cost_only_the_last_part(other_model, visits_rows, files, how, code):
    source, destination = files.write(visits_rows, "in.csv"), files.folder / "out.csv"
    command = [sys.executable, "-c", CHILD, how, str(other_model), str(source), str(destination)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert not destination.exists()
    if how == "full":
        assert "out.csv cannot be written: File too large. Free space" in done.stdout
        assert done.stdout.count("\n") == 1
    seen = Seen()
    BatchScorer(Predictor(other_model), seen).score(source, destination)
    assert "of them by an earlier run" in seen.text
    BatchScorer(Predictor(other_model)).score(source, files.folder / "whole.csv")
    assert destination.read_bytes() == (files.folder / "whole.csv").read_bytes()
    assert files.names == ["in.csv", "out.csv", "whole.csv"]
