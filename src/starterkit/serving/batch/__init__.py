"""`BatchScorer`: scores files in flat memory, goes on where an earlier run ended, and shows nothing half done."""

import csv
import io
import sqlite3
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starterkit.errors import DataError
from starterkit.machine import this_machine
from starterkit.progress import Note, Progress, silent, step
from starterkit.serving.batch.plan import AppendFile, BadRows, Checkpoint, PartialFolder, Plan, kind_of, plan_files
from starterkit.serving.batch.scoring import FileScoring, Scored, finish, open_scoring
from starterkit.serving.predictor import Predictor, sha256
from starterkit.serving.validation import Fault

PART_ROWS = 262_144
PART_BYTES = 32_000_000
_MOST_THREADS = 8
"""Each holds a few megabytes, and one more thread writes what all of them made."""

_FORM = 1
"""Version of what is written. A run of another version is begun anew."""

_MARKED = "rows beyond the proof are marked"

_SIDE_HEADER = ("file", "row", "column", "problem", "mend")


@dataclass(frozen=True)
class Outcome:
    """What came of it. `rows` counts all rows, `bad` those among them that are named in `bad_rows` instead.

    `ignored` are columns that the model does not take: they are copied and not read.
    """

    rows: int
    bad: int
    destination: Path
    bad_rows: Path | None
    ignored: tuple[str, ...] = ()


class BatchScorer:
    """Scores files with one model.

    Parameters
    ----------
    predictor
        The model, opened with one thread a call: rows are scored by several threads at once.
    threads
        How many score at once; by default as many as there are cores for this process, at most 8.
    """

    def __init__(self, predictor: Predictor, progress: Progress = silent, threads: int | None = None) -> None:
        self._predictor = predictor
        self._progress = progress
        self._threads = threads or min(_MOST_THREADS, this_machine().whole_cores)

    def score(self, source: Path, destination: Path, *, bad_rows: BadRows = "stop", overwrite: bool = False) -> Outcome:
        """Write the rows of `source`, with the answers added, to `destination`.

        Both are files that end in .csv, .parquet, .arrow, .feather or .arrows, or both are folders of such. Rows keep
        their order, and columns that the model does not take are copied untouched. A run that was ended in the middle
        is gone on with by the same call.

        Parameters
        ----------
        bad_rows
            "stop" at the first row that cannot be scored, or put it "aside": leave it out, and say why in
            ``<destination>.bad.csv``.
        overwrite
            Replace a destination that exists, once the new one is whole.

        Raises
        ------
        DataError
            A file cannot be read or written, is in the way, or has rows that cannot be scored.
        ContractError
            The model's graph failed.
        """
        plan = plan_files(source, destination, overwrite=overwrite)
        with explained(plan.destination):
            opened = [  # to see what is wrong before any work
                open_scoring(path, name, self._predictor) for path, name in zip(plan.sources, plan.names, strict=True)
            ]
            ignored = tuple(dict.fromkeys(name for one in opened for name in one.ignored))
            del opened
            with closing(PartialFolder(plan)) as work:
                return replace(self._work(plan, work, bad_rows), ignored=ignored)

    def _work(self, plan: Plan, work: PartialFolder, bad_rows: BadRows) -> Outcome:
        kept, reason = work.resume(identity_of(plan, self._predictor), none_bad=bad_rows == "stop")
        run = _Run(plan, work, self._predictor, bad_rows)
        name = f"score, anew: {reason}" if reason else "score"
        with step(self._progress, name) as note, ThreadPoolExecutor(self._threads) as pool:
            come = kept.all_rows + kept.rows
            try:
                while kept.file < len(plan.sources):
                    kept = run.score_file(kept, note, pool, ahead=self._threads + 1)
            except BaseException:
                run.forget_if_nothing_is_kept()
                raise
            note.text = f"{kept.all_rows:,} rows" + (f", {come:,} of them by an earlier run" if come else "")
            if kept.all_rows == kept.all_bad:
                raise none_good(plan, work, kept.all_rows)
            work.keep(replace(kept, is_whole=True))
            work.publish()
        aside = plan.bad_rows if kept.all_bad else None
        return Outcome(kept.all_rows, kept.all_bad, plan.destination, aside)


def identity_of(plan: Plan, predictor: Predictor) -> dict[str, Any]:
    """All that decides what will be written. Whatever of it changes, the work is begun anew."""
    return {
        "the source": [look(path) for path in plan.sources],
        "the model": sha256(predictor.contract.to_json().encode()),
        "the form of the output": [_FORM, *plan.names, *([_MARKED] if predictor.beyond == "mark" else [])],
    }


class _Run:
    """One call: what it reads, and the folder it writes to."""

    def __init__(self, plan: Plan, work: PartialFolder, predictor: Predictor, bad_rows: BadRows) -> None:
        self._plan, self._work, self._predictor, self._bad_rows = plan, work, predictor, bad_rows
        self._looks = [look(path) for path in plan.sources]
        sizes = [one[1] for one in self._looks]
        self._shares = [sum(sizes[:place]) / sum(sizes) for place in range(len(sizes) + 1)]
        self._kept = Checkpoint()

    def score_file(self, kept: Checkpoint, note: Note, pool: ThreadPoolExecutor, ahead: int) -> Checkpoint:
        """Score the file that `kept` names, from where it says on."""
        path, name = self._plan.sources[kept.file], self._plan.names[kept.file]
        scoring = open_scoring(path, name, self._predictor)
        self._kept = kept
        with (
            closing(AppendFile(self._work.rows, kept.written)) as rows,
            closing(AppendFile(self._work.reasons, kept.reasons)) as reasons,
        ):
            if not kept.written:
                rows.write(scoring.beginning)
            chunks = scoring.source.chunks(kept.position)
            for scored in _in_order(pool, scoring.score, chunks, ahead):
                kept = self._append(kept, scored, scoring, rows, reasons)
                since = kept.rows - self._kept.rows
                if since >= PART_ROWS or kept.written - self._kept.written >= PART_BYTES:
                    self._keep(kept, rows, reasons)
                self._tell(kept, scored, note)
            self._keep(kept, rows, reasons)
        if look(path) != self._looks[kept.file]:
            raise DataError(f"{path} changed while it was read", "Give the command again when it is done")
        (self._work.output / name).parent.mkdir(parents=True, exist_ok=True)
        finish(self._work.rows, self._work.output / name, kind_of(Path(name)))
        all_rows, all_bad = kept.all_rows + kept.rows, kept.all_bad + kept.bad
        kept = Checkpoint(file=kept.file + 1, reasons=kept.reasons, all_rows=all_rows, all_bad=all_bad)
        self._work.keep(kept)
        self._kept = kept
        self._work.rows.unlink(missing_ok=True)
        return kept

    def forget_if_nothing_is_kept(self) -> None:
        """A run that failed before anything was whole leaves no folder."""
        if self._kept == Checkpoint():
            self._work.remove()

    def _append(
        self, kept: Checkpoint, scored: Scored, scoring: FileScoring, rows: AppendFile, reasons: AppendFile
    ) -> Checkpoint:
        faults = [replace(fault, row=fault.row + kept.rows) for fault in scored.faults]
        if faults and self._bad_rows == "stop":
            raise refusal(scoring.source.name, faults[0])
        if faults:
            name = self._plan.sources[kept.file].name
            reasons.write(side_lines(name, faults, with_header=not reasons.size))
        rows.write(scored.content)
        return replace(
            kept,
            position=scored.end,
            written=rows.size,
            rows=kept.rows + scored.rows,
            bad=kept.bad + scored.bad,
            reasons=reasons.size,
        )

    def _keep(self, kept: Checkpoint, rows: AppendFile, reasons: AppendFile) -> None:
        rows.flush()
        reasons.flush()
        kept = replace(kept, written=rows.size, reasons=reasons.size)
        self._work.keep(kept)
        self._kept = kept

    def _tell(self, kept: Checkpoint, scored: Scored, note: Note) -> None:
        first, last = self._shares[kept.file : kept.file + 2]
        share = None if scored.share is None else first + (last - first) * scored.share
        bad = f", {kept.all_bad + kept.bad:,} aside" if kept.all_bad + kept.bad else ""
        note.go_on(f"{kept.all_rows + kept.rows:,} rows{bad}", share)


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Any], Scored], items: Iterable[Any], ahead: int
) -> Iterator[Scored]:
    """Results in the order of the items, with at most `ahead` of them under way: memory stays flat."""
    waiting: deque[Future[Scored]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def refusal(name: str, fault: Fault) -> DataError:
    """Why a run stops at a row."""
    place = f"{name}, row {fault.row} (the first is 0)" + (f", column '{fault.column}'" if fault.column else "")
    return DataError(f"{place}: {fault.problem}", f"{fault.hint}, or leave bad rows out with --bad-rows aside")


def none_good(plan: Plan, work: PartialFolder, rows: int) -> DataError:
    """An output without a row helps nobody; the reasons do."""
    work.reasons.replace(plan.bad_rows)
    work.remove()
    return DataError(f"none of the {rows:,} rows can be scored", f"{plan.bad_rows} says why")


def side_lines(name: str, faults: Sequence[Fault], with_header: bool) -> bytes:
    """Why rows were put aside, as the side file has it."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    if with_header:
        lines.writerow(_SIDE_HEADER)
    lines.writerows((name, fault.row, fault.column or "", fault.problem, fault.hint) for fault in faults)
    return text.getvalue().encode()


def look(path: Path) -> list[Any]:
    """What tells a file from another one, or from itself after a change."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ctime_ns]


@contextmanager
def explained(destination: Path) -> Generator[None, None, None]:
    """Turn what the disk says into one line."""
    hint = "Free space or make it writable, and give the command again: it goes on where it ended"
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{destination} cannot be written: {reason}", hint) from error
