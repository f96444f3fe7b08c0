"""`SparkScorer`: the same files made of the same files, on the cores of a cluster. See docs/spark.md.

Spark hands out pieces of files, by their number alone: an executor reads, checks, answers and writes one as `predict`
does on one machine, with the same code. So nothing depends on how Spark would read a CSV file, and rows keep order.
"""

import json
import os
import secrets
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pyarrow as pa
from pyarrow import ipc, parquet

from starterkit.contract import Beyond
from starterkit.errors import DataError
from starterkit.progress import Progress, silent, step
from starterkit.serving.batch import Outcome, explained, identity_of, look, none_good, refusal, side_lines
from starterkit.serving.batch.chunks import Chunk, CsvSource, rows_a_chunk
from starterkit.serving.batch.cluster import Cluster, cluster
from starterkit.serving.batch.plan import AppendFile, BadRows, Checkpoint, PartialFolder, Plan, kind_of, plan_files
from starterkit.serving.batch.scoring import FileScoring, Scored, finish, open_scoring, write_parquet
from starterkit.serving.dialect import UTF8, is_compressed
from starterkit.serving.predictor import CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE, Predictor, sha256
from starterkit.serving.validation import Fault

# --- What of a file one task takes.

PIECE_BYTES = 16 << 20
"""Of a CSV file, or of a Parquet file's columns in memory: about a second's work. Row groups are not cut."""


class Piece(NamedTuple):
    """A part of a file: bytes of CSV, row groups of Parquet. Without an end it is all that follows."""

    file: int
    begin: int
    end: int | None


def cut(sources: Sequence[Path], scorings: Sequence[FileScoring]) -> list[Piece]:
    """Files in pieces, in the order of their rows; always the same for the same files."""
    pieces = []
    for number, (path, scoring) in enumerate(zip(sources, scorings, strict=True)):
        inner = _inner_ends(path, scoring)
        pieces += [Piece(number, *pair) for pair in zip([0, *inner], [*inner, None], strict=True)]
    return pieces


def _inner_ends(path: Path, scoring: FileScoring) -> list[int]:
    ends, size = [], 0
    if isinstance(scoring.source, CsvSource):
        is_plain = scoring.source.dialect.encoding == UTF8 and not is_compressed(path)
        if is_plain and path.stat().st_size > PIECE_BYTES:  # a line break in quotes ends no line: hence the reading
            for chunk in scoring.source.chunks(0):
                if chunk.end - size >= PIECE_BYTES:
                    ends.append(size := chunk.end)
            return [end for end in ends if end < path.stat().st_size]
    elif kind_of(path) == "parquet":
        stored = parquet.read_metadata(path)
        for group in range(stored.num_row_groups - 1):
            size += stored.row_group(group).total_byte_size
            if size >= PIECE_BYTES:
                ends.append(group + 1)
                size = 0
    return ends


def _chunks(path: Path, scoring: FileScoring, piece: Piece) -> Iterator[Chunk]:
    if isinstance(scoring.source, CsvSource):
        begin = max(piece.begin, len(scoring.source.header))
        for chunk in scoring.source.chunks(piece.begin):
            if piece.end is not None and chunk.end >= piece.end:
                yield replace(chunk, data=chunk.data[: piece.end - begin], end=piece.end)
                return
            yield chunk
            begin = chunk.end
    elif kind_of(path) == "parquet":
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            groups = range(piece.begin, piece.end or file.num_row_groups)
            size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
            rows = sum(file.metadata.row_group(group).num_rows for group in groups)
            for batch in file.iter_batches(rows_a_chunk(size, rows), list(groups)):
                yield Chunk(batch, 0, None)
    else:
        yield from scoring.source.chunks(0)


# --- What executors do. They get the model and the plan from the driver, and say what came of it by files beside the
# rows: each is whole once it has its name, and a second try at the same piece writes the same.


@dataclass
class Tally:
    """What was met in a piece so far; rows count from its first."""

    faults: list[Fault]
    rows: int = 0
    bad: int = 0

    def add(self, scored: Scored) -> bytes | pa.Buffer:
        self.faults += [replace(fault, row=fault.row + self.rows) for fault in scored.faults]
        self.rows, self.bad = self.rows + scored.rows, self.bad + scored.bad
        return scored.content


@dataclass(frozen=True)
class Job:
    """All that a task is told beside its number.

    `folder` holds what the pieces become and what is made of them; driver and executors see it.
    """

    plan: Plan
    pieces: Sequence[Piece]
    model: Mapping[str, bytes]
    beyond: Beyond
    folder: Path
    stops: bool

    def rows(self, number: int) -> Path:
        return self.folder / f"{number}.rows"

    def said(self, number: int) -> Path:
        return self.folder / f"{number}.json"

    def whole(self, number: int) -> Path:
        """A file that is made of its pieces."""
        return self.folder / f"{number}.whole"

    def refused(self, number: int) -> Path:
        """Is there where a run that stops at bad rows has met some."""
        return self.folder / f"{number}.refused"

    def score(self, number: int) -> None:
        """Score a piece, unless an earlier task did or an earlier piece has already ended the run."""
        if self.said(number).exists():
            return
        if self.stops and any(int(path.stem) < number for path in self.folder.glob("*.refused")):
            return
        piece = self.pieces[number]
        path = self.plan.sources[piece.file]
        if not (self.folder.is_dir() and path.exists()):
            hint = "Name a source and a destination that driver and executors see under the same path"
            raise DataError(f"an executor sees no {path if self.folder.is_dir() else self.folder}", hint)
        tally = Tally([])
        self._write(number, open_scoring(path, self.plan.names[piece.file], _opened(self)), tally)
        if tally.faults:
            self.refused(number).touch()
        with _renamed(self.said(number)) as new:
            new.write_text(json.dumps([tally.rows, tally.bad, list(map(astuple, tally.faults))]), "utf-8")

    def _write(self, number: int, scoring: FileScoring, tally: Tally) -> None:
        piece = self.pieces[number]
        chunks = _chunks(self.plan.sources[piece.file], scoring, piece)
        contents = filter(len, (tally.add(scoring.score(chunk)) for chunk in chunks))
        is_alone = [one.file for one in self.pieces].count(piece.file) == 1
        if is_alone and kind_of(Path(self.plan.names[piece.file])) == "parquet":  # no other is appended: written once
            schema = ipc.read_schema(scoring.beginning)
            with _renamed(self.whole(piece.file)) as new:
                write_parquet(schema, (ipc.read_record_batch(one, schema) for one in contents), new)
            return
        with _renamed(self.rows(number)) as new, closing(AppendFile(new, 0)) as file:
            if piece.begin == 0:
                file.write(scoring.beginning)
            for content in contents:
                file.write(content)
            file.flush()
        if is_alone:
            self.join(piece.file)

    def join(self, number: int) -> None:
        """Make a file of its pieces."""
        joined = _beside(self.folder / f"{number}.joined")
        with _renamed(self.whole(number)) as made:
            with joined.open("wb") as file:
                for place in (place for place, piece in enumerate(self.pieces) if piece.file == number):
                    with self.rows(place).open("rb") as part:
                        shutil.copyfileobj(part, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
            finish(joined, made, kind_of(Path(self.plan.names[number])))
            joined.unlink(missing_ok=True)


@contextmanager
def _renamed(path: Path) -> Generator[Path, None, None]:
    """A name for this try alone, which becomes `path` when all is written."""
    new = _beside(path)
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


_kept: dict[str, Predictor] = {}


def _opened(job: Job) -> Predictor:
    """The model, opened once in each of an executor's processes: they take many pieces."""
    name = f"{sha256(job.model[CONTRACT_FILE])} {job.beyond}"
    if name not in _kept:
        _kept.clear()
        with TemporaryDirectory(prefix="starterkit-") as folder:
            for file, content in job.model.items():
                (Path(folder) / file).write_bytes(content)
            _kept[name] = Predictor(Path(folder), beyond=job.beyond)
    return _kept[name]


# --- The driver's side.


class SparkScorer:
    """Scores files with one model, on a cluster; with the outcome of `BatchScorer`.

    Parameters
    ----------
    folder
        The exported folder. Its files travel to the executors, which need the kit and not the folder.
    beyond
        What becomes of rows with numbers beyond the proof.
    master
        Spark's: ``local[*]``, ``spark://host:7077``, …
    progress
        Is told how far it is.
    """

    def __init__(
        self, folder: Path, beyond: Beyond = "refuse", master: str = "local[*]", progress: Progress = silent
    ) -> None:
        self._predictor = Predictor(folder, beyond=beyond)
        self._model = {name: (folder / name).read_bytes() for name in (CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE)}
        self._master = master
        self._progress = progress

    def score(self, source: Path, destination: Path, *, bad_rows: BadRows = "stop", overwrite: bool = False) -> Outcome:
        """Write the rows of `source`, with the answers added, to `destination`, as `BatchScorer.score` does.

        Raises
        ------
        DataError
            A file cannot be read or written, is in the way, or has rows that cannot be scored.
        KitError
            Spark cannot be started, does not fit, or gave up.
        """
        plan = _absolute(plan_files(source, destination, overwrite=overwrite))
        with explained(plan.destination):
            scorings = [
                open_scoring(path, name, self._predictor) for path, name in zip(plan.sources, plan.names, strict=True)
            ]
            ignored = tuple(dict.fromkeys(name for one in scorings for name in one.ignored))
            pieces = cut(plan.sources, scorings)
            del scorings
            with cluster(self._master, self._progress) as spark, closing(PartialFolder(plan)) as work:
                outcome = self._work(spark, plan, pieces, work, bad_rows)
        return replace(outcome, destination=destination, ignored=ignored)

    def _work(
        self, spark: Cluster, plan: Plan, pieces: Sequence[Piece], work: PartialFolder, bad_rows: BadRows
    ) -> Outcome:
        identity = identity_of(plan, self._predictor)
        identity["the form of the output"] += ["in pieces", PIECE_BYTES]
        _, reason = work.resume(identity, none_bad=False)
        name = sha256(json.dumps(identity).encode())[:16]  # what a run that was killed still writes stays out of ours
        folder = work.folder / f"pieces-{name}"
        folder.mkdir(exist_ok=True)
        job = Job(plan, pieces, self._model, self._predictor.beyond, folder, bad_rows == "stop")
        with step(self._progress, f"score, anew: {reason}" if reason else "score") as note:
            try:
                spark.run(Job.score, [at for at in range(len(pieces)) if not job.said(at).exists()], note, job)
                rows, bad = self._reasons(job, work)
            except BaseException:
                if not any(folder.glob("*.json")):
                    work.remove()
                raise
            note.text = f"{rows:,} rows in {len(pieces):,} pieces"
        if rows == bad:
            raise none_good(plan, work, rows)
        with step(self._progress, "join the pieces") as note:
            spark.run(Job.join, [at for at in range(len(plan.names)) if not job.whole(at).exists()], note, job)
            changed = [
                path for path, seen in zip(plan.sources, identity["the source"], strict=True) if look(path) != seen
            ]
            if changed:
                work.remove()
                raise DataError(f"{changed[0]} changed while it was read", "Give the command again when it is done")
            for number, name in enumerate(plan.names):
                (work.output / name).parent.mkdir(parents=True, exist_ok=True)
                job.whole(number).replace(work.output / name)
            work.keep(Checkpoint(file=len(plan.names), all_rows=rows, all_bad=bad, is_whole=True))
            work.publish()
        return Outcome(rows, bad, plan.destination, plan.bad_rows if bad else None)

    def _reasons(self, job: Job, work: PartialFolder) -> tuple[int, int]:
        """Write down why rows were put aside, and count all rows and these."""
        all_rows = all_bad = before = 0
        with closing(AppendFile(work.reasons, 0)) as file:
            for number, piece in enumerate(job.pieces):
                before = 0 if not number or piece.file != job.pieces[number - 1].file else before
                rows, bad, told = json.loads(job.said(number).read_text("utf-8"))
                faults = [Fault(row + before, *rest) for row, *rest in told]
                if faults and job.stops:
                    raise refusal(str(job.plan.sources[piece.file]), faults[0])
                if faults:
                    name = job.plan.sources[piece.file].name
                    file.write(side_lines(name, faults, with_header=not file.size))
                all_rows, all_bad, before = all_rows + rows, all_bad + bad, before + rows
            file.flush()
        return all_rows, all_bad


def _absolute(plan: Plan) -> Plan:
    """Executors have a working folder of their own."""
    return replace(
        plan, sources=tuple(path.absolute() for path in plan.sources), destination=plan.destination.absolute()
    )
