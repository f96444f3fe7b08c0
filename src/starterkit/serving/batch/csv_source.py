"""CSV files in chunks: commas, a header line, UTF-8 with or without a byte order mark."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from starterkit.contract import Column
from starterkit.errors import DataError
from starterkit.serving.parsing import plain_texts, values_of
from starterkit.serving.validation import Fault, Values

# --- What the kinds of sources share: a source gives chunks from any position on, and a chunk gives a table.

CHUNK_ROWS = 8_192
"""Rows that one thread scores at once: few enough for flat memory, and trees answer no faster with more."""

CHUNK_BYTES = 1_000_000
"""Wide rows come in smaller chunks."""

ARROW_TYPES = {"integer": pa.int64(), "float": pa.float64(), "boolean": pa.bool_(), "string": pa.string()}
"""By the contract's types, Arrow's."""


@dataclass(frozen=True)
class Chunk:
    """A few rows in the source's own form.

    `end` is the position behind them, where a later run can go on: a byte of a CSV file, a row of another one.
    `share` is the part of the source that is read then, from 0 to 1, where it is known.
    """

    data: Any
    end: int
    share: float | None


@dataclass(frozen=True)
class Rows:
    """A chunk, read. `table` lacks the rows that are `torn`: those that have too many fields or too few.

    `count` counts all rows, `kept` gives each row of the table its number among them, and `lines` are the rows of a
    CSV file as they stand there.
    """

    table: pa.RecordBatch
    count: int
    kept: NDArray[np.int64]
    torn: Sequence[Fault] = ()
    lines: pa.Array | None = None


def require_columns(name: str, present: Sequence[str], needed: Sequence[str], added: Sequence[str]) -> None:
    """See that a file has what the model takes, and not yet what it answers.

    Raises
    ------
    DataError
        A column is missing, stands there twice, or bears the name of one that will be added.
    """
    for column in present:
        if present.count(column) > 1:
            raise DataError(f"{name} has two columns '{column}'", "Rename one of them")
    for column in added:
        if column in present:
            raise DataError(f"{name} has a column '{column}' already", "Rename it, or leave it out")
    missing = [column for column in needed if column not in present]
    if missing:
        others = [column for column in present if column not in needed]
        near = get_close_matches(missing[0].lower(), [other.lower() for other in others], n=1)
        close = [other for other in others if near and other.lower() == near[0]]
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        hint = f"Did you mean '{close[0]}'?" if close else f"The model takes {', '.join(needed)}"
        raise DataError(f"{name} lacks the column '{missing[0]}'{more}", hint)


# --- A CSV file.
#
# It is cut into chunks of whole lines without being parsed, so that threads can parse them beside each other, and so
# that a line can be copied as it stands.

_MARK = b"\xef\xbb\xbf"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LONGEST = 64_000_000
_UTF8 = "Save it as UTF-8"


class CsvSource:
    """One CSV file.

    Parameters
    ----------
    needed
        The columns that the model takes.
    """

    rows: int | None = None

    def __init__(self, path: Path, needed: Sequence[str]) -> None:
        self._path = path
        self._size = path.stat().st_size
        self.name = str(path)
        with path.open("rb") as file:
            first = file.read(CHUNK_BYTES)
        _refuse_encoding(self.name, first, whole=len(first) == self._size)
        end = _end_of_lines(first, only_first=True) or len(first)
        self.header = first[:end]
        """The first line as it stands in the file, with its byte order mark and its end."""
        line = self.header.removeprefix(_MARK).decode().rstrip("\r\n")
        self.names = _fields_of(line, ",")
        _refuse_delimiter(self.name, line, self.names, needed)
        if not first[end:].strip(b"\r\n"):
            raise DataError(f"{path} has no rows", "Name another file, or take it out of the folder")

    @property
    def line_end(self) -> bytes:
        return b"\r\n" if self.header.endswith(b"\r\n") else b"\n"

    def chunks(self, position: int) -> Iterator[Chunk]:
        """The rows from a position on; 0 is the first. Called by one thread."""
        begin = max(position, len(self.header))
        with self._path.open("rb") as file:
            file.seek(begin)
            rest = b""
            while block := file.read(max(CHUNK_BYTES - len(rest), CHUNK_BYTES // 4)):
                rest += block
                if not (end := _end_of_lines(rest)):
                    if len(rest) > _LONGEST:
                        raise self._unclosed()
                    continue
                begin += end
                yield Chunk(rest[:end], begin, begin / self._size)
                rest = rest[end:]
        if rest.strip(b"\r\n"):
            if rest.count(b'"') % 2:
                raise self._unclosed()
            yield Chunk(rest, begin + len(rest), 1.0)

    def read(self, chunk: Chunk, names: Sequence[str]) -> Rows:
        """A chunk's columns of these names. Called by many threads."""
        data: bytes = chunk.data
        _refuse_encoding(self.name, data, whole=True)
        table, torn = self._parse(data, names)
        lines = _lines(data)
        if len(lines) != len(table) + len(torn):
            raise self._unsound()
        kept = np.delete(np.arange(len(lines)), [fault.row for fault in torn])
        batch = table.combine_chunks().to_batches()[0] if len(table) else pa.RecordBatch.from_pylist([], table.schema)
        return Rows(batch, len(lines), kept, torn, lines.take(pa.array(kept)) if torn else lines)

    def values(self, column: Column, array: pa.Array) -> Values:
        """One of the columns, ready to be checked."""
        return values_of(column, plain_texts(column, array))

    def schema(self, columns: Sequence[Column]) -> pa.Schema:
        """The model's columns get the contract's types. The others stay texts: 007 is not 7."""
        types = {column.name: ARROW_TYPES[column.type] for column in columns}
        return pa.schema([(name, types.get(name, pa.string())) for name in self.names])

    def _parse(self, data: bytes, names: Sequence[str]) -> tuple[pa.Table, list[Fault]]:
        """These columns as texts, and the lines that do not fit."""
        torn: list[Fault] = []

        def put_aside(row: arrow_csv.InvalidRow) -> str:
            problem = f"has {row.actual_columns} fields, the header has {row.expected_columns}"
            torn.append(Fault(row.number - 1, None, problem, "See that each line has as many fields as the header"))
            return "skip"

        try:
            table = arrow_csv.read_csv(
                pa.py_buffer(data),
                arrow_csv.ReadOptions(use_threads=False, column_names=self.names, block_size=len(data) + 1),
                arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=put_aside),
                arrow_csv.ConvertOptions(
                    include_columns=names,
                    column_types=dict.fromkeys(names, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowException:  # its message repeats the row
            raise self._unsound() from None
        return table, torn

    def _unclosed(self) -> DataError:
        return DataError(f"{self.name} has a quote that is never closed", "Put quotes around whole fields only")

    def _unsound(self) -> DataError:
        return DataError(f"{self.name} is no sound CSV file", "See that quotes stand around whole fields only")


def _refuse_encoding(name: str, data: bytes, whole: bool) -> None:
    """See that a piece of a file is UTF-8. The end of one that is not whole may be half a character."""
    if data.startswith(_WIDE_MARKS) or b"\0" in data[:1000]:
        raise DataError(f"{name} is no text in UTF-8", _UTF8)
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if whole or error.start < len(data) - 3:
            raise DataError(f"{name} is not encoded in UTF-8 throughout", _UTF8) from None


def _refuse_delimiter(name: str, line: str, names: Sequence[str], needed: Sequence[str]) -> None:
    for delimiter, words in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        others = _fields_of(line, delimiter)
        if len({*others} & {*needed}) > len({*names} & {*needed}):
            raise DataError(f"{name} has {words} between its fields", "Save it with commas")


def _fields_of(line: str, delimiter: str) -> list[str]:
    """A header's fields; none where it is no such header. A line break in quotes belongs to its field."""
    try:
        return next(csv.reader(io.StringIO(line, newline=""), delimiter=delimiter), [])
    except csv.Error:
        return []


def _end_of_lines(data: bytes, only_first: bool = False) -> int:
    """Where the last whole line ends, or the first one; 0 where none does. A line break in quotes ends none."""
    find = data.find if only_first else data.rfind
    if b'"' not in data:
        return find(b"\n") + 1
    quotes = np.flatnonzero(np.frombuffer(data, np.uint8) == ord('"'))
    breaks = _breaks(data, quotes)
    return int(breaks[0 if only_first else -1]) + 1 if len(breaks) else 0


def _breaks(data: bytes, quotes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of the line breaks that stand outside of quotes."""
    breaks = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    return breaks[np.searchsorted(quotes, breaks) % 2 == 0] if len(quotes) else breaks


def _lines(data: bytes) -> pa.Array:
    """The lines without their ends, and without empty ones, which are no rows."""
    content = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(content == ord('"')) if b'"' in data else np.empty(0, np.int64)
    ends = _breaks(data, quotes)
    if not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    begins = np.append(0, ends[:-1] + 1)
    ends = ends - ((ends > begins) & (content[np.maximum(ends - 1, 0)] == ord("\r")))
    # Lines and what stands between them, in turn; every second piece that is not empty is a row.
    offsets = np.append(np.column_stack([begins, ends]).ravel(), len(data)).astype(np.int32)
    pieces = pa.Array.from_buffers(pa.binary(), 2 * len(begins), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    return pieces.take(pa.array(2 * np.flatnonzero(ends > begins)))
