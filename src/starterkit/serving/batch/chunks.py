"""Files in chunks: CSV of any dialect that can be found out, Parquet and Arrow."""

import csv
import io
import mmap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv
from pyarrow import ipc, parquet

from starterkit.contract import Column, Contract, Dialect
from starterkit.errors import DataError
from starterkit.serving.batch.plan import Kind
from starterkit.serving.dialect import MARK, Utf8File, find_dialect
from starterkit.serving.parsing import (
    as_found,
    filled,
    find_columns,
    missing_in,
    plain_texts,
    texts_of,
    values_of,
    without_marked,
    without_nan,
)
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


def require_columns(
    name: str, present: Sequence[str], columns: Sequence[Column], added: Sequence[str]
) -> dict[str, str]:
    """See that a file has what the model takes, and not yet what it answers.

    Returns
    -------
    By the contract's name of each column, the file's.

    Raises
    ------
    DataError
        A column is missing, stands there twice, or bears the name of one that will be added.
    """
    if repeated := [column for column, count in Counter(present).items() if count > 1]:
        raise DataError(f"{name} has two columns '{repeated[0]}'", "Rename one of them")
    for column in added:
        if column in present:
            raise DataError(f"{name} has a column '{column}' already", "Rename it, or leave it out")
    found = find_columns(columns, present)
    missing = [column.written.header or column.name for column in columns if column.name not in found]
    if missing:
        others = {column.lower(): column for column in set(present) - set(found.values())}
        near = get_close_matches(missing[0].lower(), others, n=1)
        takes = ", ".join(column.written.header or column.name for column in columns)
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        hint = f"Did you mean '{others[near[0]]}'?" if near else f"The model takes {takes}"
        raise DataError(f"{name} lacks the column '{missing[0]}'{more}", hint)
    return found


# --- A CSV file.
#
# It is cut into chunks of whole lines without being parsed, so that threads can parse them beside each other, and so
# that a line can be copied as it stands. What is not UTF-8 becomes it on the way in, and what it was on the way out.

_LONGEST = 64_000_000


class CsvSource:
    """One CSV file.

    Parameters
    ----------
    contract
        Of the model that answers: the columns that it takes, and the dialect that is likely.
    """

    rows: int | None = None

    def __init__(self, path: Path, contract: Contract) -> None:
        self._path = path
        self.name = str(path)
        needed = [name for column in contract.columns for name in (column.written.header, column.name) if name]
        self.dialect = find_dialect(path, contract.dialect, needed)
        self._quote = self.dialect.quote.encode()
        with Utf8File(path, self.dialect) as file:
            first = file.read(CHUNK_BYTES)
        end = _end_of_lines(first, self._quote, only_first=True) or len(first)
        self.header = first[:end]
        """The first line as it stands in the file, with UTF-8's mark and its end."""
        line = self.header.removeprefix(MARK).decode("utf-8", "replace").rstrip("\r\n")
        self.names = [name or f"Unnamed: {place}" for place, name in enumerate(_fields_of(line, self.dialect))]
        if not first[end:].strip(b"\r\n"):
            raise DataError(f"{path} has no rows", "Name another file, or take it out of the folder")

    @property
    def line_end(self) -> bytes:
        return b"\r\n" if self.header.endswith(b"\r\n") else b"\n"

    def chunks(self, position: int) -> Iterator[Chunk]:
        """The rows from a position on; 0 is the first. Called by one thread."""
        begin = max(position, len(self.header))
        with Utf8File(self._path, self.dialect) as file:
            file.skip(begin)
            rest = b""
            while block := file.read(max(CHUNK_BYTES - len(rest), CHUNK_BYTES // 4)):
                rest += block
                if not (end := _end_of_lines(rest, self._quote)):
                    if len(rest) > _LONGEST:
                        raise self._unclosed()
                    continue
                begin += end
                yield Chunk(rest[:end], begin, file.share)
                rest = rest[end:]
        if rest.strip(b"\r\n"):
            if rest.count(self._quote) % 2:
                raise self._unclosed()
            yield Chunk(rest, begin + len(rest), 1.0)

    def read(self, chunk: Chunk, names: Sequence[str]) -> Rows:
        """A chunk's columns of these names. Called by many threads."""
        data: bytes = chunk.data
        self._require_utf8(data)
        table, torn = self._parse(data, names)
        lines = _lines(data, self._quote)
        if len(lines) != len(table) + len(torn):
            raise self._unsound()
        kept = np.delete(np.arange(len(lines)), [fault.row for fault in torn])
        batch = table.combine_chunks().to_batches()[0] if len(table) else pa.RecordBatch.from_pylist([], table.schema)
        return Rows(batch, len(lines), kept, torn, lines.take(pa.array(kept)) if torn else lines)

    def values(self, column: Column, array: pa.Array, header: str) -> Values:
        """The column that was found under a header, ready to be checked."""
        return values_of(column, plain_texts(column, array, as_found(column, header)))

    def schema(self, columns: Mapping[str, Column]) -> pa.Schema:
        """The model's columns, which are given by header, get its types. The others stay texts: 007 is not 7."""
        kinds = {header: ARROW_TYPES[column.type] for header, column in columns.items()}
        return pa.schema([(name, kinds.get(name, pa.string())) for name in self.names])

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
                arrow_csv.ParseOptions(
                    delimiter=self.dialect.delimiter,
                    quote_char=self.dialect.quote,
                    newlines_in_values=True,
                    invalid_row_handler=put_aside,
                ),
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

    def _require_utf8(self, data: bytes) -> None:
        try:
            data.isascii() or data.decode()
        except UnicodeDecodeError:
            hint = "Repair it, or save it as UTF-8 throughout"
            raise DataError(f"{self.name} is not encoded in UTF-8 throughout", hint) from None


def _fields_of(line: str, dialect: Dialect) -> list[str]:
    """A header's fields; none where it is no such header. A line break in quotes belongs to its field."""
    try:
        given = io.StringIO(line, newline="")
        return next(csv.reader(given, delimiter=dialect.delimiter, quotechar=dialect.quote), [])
    except csv.Error:
        return []


def _end_of_lines(data: bytes, quote: bytes, only_first: bool = False) -> int:
    """Where the last whole line ends, or the first one; 0 where none does. A line break in quotes ends none."""
    find = data.find if only_first else data.rfind
    if quote not in data:
        return find(b"\n") + 1
    quotes = np.flatnonzero(np.frombuffer(data, np.uint8) == ord(quote))
    breaks = _breaks(data, quotes)
    return int(breaks[0 if only_first else -1]) + 1 if len(breaks) else 0


def _breaks(data: bytes, quotes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of the line breaks that stand outside of quotes."""
    breaks = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    return breaks[np.searchsorted(quotes, breaks) % 2 == 0] if len(quotes) else breaks


def _lines(data: bytes, quote: bytes) -> pa.Array:
    """The lines without their ends, and without empty ones, which are no rows."""
    content = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(content == ord(quote)) if quote in data else np.empty(0, np.int64)
    ends = _breaks(data, quotes)
    if not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    begins = np.append(0, ends[:-1] + 1)
    ends = ends - ((ends > begins) & (content[np.maximum(ends - 1, 0)] == ord("\r")))
    # Lines and what stands between them, in turn; every second piece that is not empty is a row.
    offsets = np.append(np.column_stack([begins, ends]).ravel(), len(data)).astype(np.int32)
    pieces = pa.Array.from_buffers(pa.binary(), 2 * len(begins), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    return pieces.take(pa.array(2 * np.flatnonzero(ends > begins)))


# --- Parquet and Arrow IPC files: typed columns, read a few rows at a time.

FEWEST_ROWS = 256
_READ_BYTES = 1 << 20
_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


class ArrowSource:
    """One Parquet file, Arrow file or Arrow stream."""

    def __init__(self, path: Path, kind: Kind) -> None:
        self._path = path
        self.name = str(path)
        self._pieces: Callable[[], Iterator[pa.RecordBatch]]
        self.rows: int | None
        try:
            self._open_parquet() if kind == "parquet" else self._open_arrow()
        except (pa.ArrowException, ValueError, OSError) as error:
            raise self._unsound(error) from None
        if self.rows == 0:
            raise DataError(f"{path} has no rows", "Name another file, or take it out of the folder")
        self.names = self._stored.names
        self._written = pa.schema([_plain(field) for field in self._stored], self._stored.metadata)
        for field in self._written:  # whose values do not travel with the rows
            if pa.types.is_nested(field.type) and "dictionary<" in str(field.type):
                raise DataError(f"{path} has a column '{field.name}' of nested dictionaries", "Leave it out")

    def chunks(self, position: int) -> Iterator[Chunk]:
        end = 0
        try:
            for piece in self._pieces():
                begin, end = end, end + piece.num_rows
                if end > position:
                    yield Chunk(piece.slice(max(position - begin, 0)), end, end / self.rows if self.rows else None)
        except (pa.ArrowException, OSError) as error:
            raise self._unsound(error) from None

    def read(self, chunk: Chunk, names: Sequence[str]) -> Rows:
        batch: pa.RecordBatch = chunk.data
        plain = [_decoded(batch.column(name)) for name in names]
        schema = pa.schema([self._written.field(name) for name in names], self._written.metadata)
        return Rows(pa.RecordBatch.from_arrays(plain, schema=schema), len(batch), np.arange(len(batch)))

    def values(self, column: Column, array: pa.Array, header: str) -> Values:
        """The column that was found under a header, ready to be checked. What is no text is never parsed."""
        if pa.types.is_null(array.type):
            array = pa.nulls(len(array), pa.string())
        if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
            with suppress(pa.ArrowInvalid):  # bytes that are no texts stay what they are
                array = pc.cast(array, pa.string())
        kind, written = array.type, as_found(column, header)
        is_number = any(check(kind) for check in _NUMBERS)
        as_words = column.type == "string" or (column.type == "boolean" and (written.flags or is_number))
        if as_words and not any(check(kind) for check in _TEXTS):
            array = texts_of(array)
        if any(check(array.type) for check in _TEXTS):
            return values_of(column, plain_texts(column, array.cast(pa.string()), written))
        array = without_marked(without_nan(array), written) if is_number else without_nan(array)
        missing = missing_in(array)
        right = np.zeros_like(missing)
        if pa.types.is_boolean(kind):
            return Values(filled(array, False), missing, right)
        if is_number:
            numbers = array if pa.types.is_integer(kind) else pc.cast(array, pa.float64())
            return Values(filled(numbers, 0), missing, right)
        return Values(np.zeros(len(array)), missing, ~missing)

    def schema(self, columns: Mapping[str, Column]) -> pa.Schema:
        """As stored, but for dictionaries, which are a way of storing: their values are written plainly."""
        return self._written

    def _open_parquet(self) -> None:
        # Read through small buffers: a memory map would count as memory, and a row group can be the whole file.
        file = parquet.ParquetFile(self._path, buffer_size=_READ_BYTES, pre_buffer=False)
        self._stored, self.rows = file.schema_arrow, file.metadata.num_rows
        groups = [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]
        size = rows_a_chunk(sum(group.total_byte_size for group in groups), self.rows)
        self._pieces = lambda: file.iter_batches(size)

    def _open_arrow(self) -> None:
        with self._path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        buffer = pa.py_buffer(content)
        if content[:6] == b"ARROW1":  # suffixes say little: both forms go by all of them
            reader = ipc.open_file(buffer)
            self._stored = reader.schema
            stored = lambda: map(reader.get_batch, range(reader.num_record_batches))  # noqa: E731
        else:
            self._stored = ipc.open_stream(buffer).schema
            stored = lambda: iter(ipc.open_stream(buffer))  # noqa: E731
        self.rows = None if any(batch.num_rows for batch in stored()) else 0
        self._pieces = lambda: _pieces(stored(), content)

    def _unsound(self, error: Exception) -> DataError:
        reason = getattr(error, "strerror", None) or "it is not what its name says, or incomplete"
        return DataError(f"{self._path} cannot be read: {reason}", "Repair or replace it")


def _pieces(batches: Iterator[pa.RecordBatch], content: mmap.mmap) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        batch.validate()
        size = rows_a_chunk(batch.nbytes, len(batch))
        for first in range(0, len(batch), size):
            yield batch.slice(first, size)
            if hasattr(mmap, "MADV_DONTNEED"):
                content.madvise(mmap.MADV_DONTNEED)  # what was read would count as memory otherwise


def rows_a_chunk(size: int, rows: int) -> int:
    """The same for the same file, however far an earlier run came."""
    return max(FEWEST_ROWS, min(CHUNK_ROWS, CHUNK_BYTES * rows // max(size, 1)))


def _plain(field: pa.Field) -> pa.Field:
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


def _decoded(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
