"""Parquet and Arrow IPC files: typed columns, read a few rows at a time."""

import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc, parquet

from starterkit.contract import Column
from starterkit.errors import DataError
from starterkit.serving.batch.csv_source import CHUNK_BYTES, CHUNK_ROWS, Chunk, Rows
from starterkit.serving.batch.plan import Kind
from starterkit.serving.parsing import (
    as_found,
    filled,
    missing_in,
    plain_texts,
    texts_of,
    values_of,
    without_marked,
    without_nan,
)
from starterkit.serving.validation import Values

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
            if kind == "parquet":
                self._open_parquet()
            else:
                self._open_arrow()
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
        columns = [batch.column(name) for name in names]
        plain = [_decoded(column) for column in columns]
        schema = pa.schema([self._written.field(name) for name in names], self._written.metadata)
        return Rows(pa.RecordBatch.from_arrays(plain, schema=schema), len(batch), np.arange(len(batch)))

    def values(self, column: Column, array: pa.Array, header: str) -> Values:
        """The column that was found under a header, ready to be checked. What is no text is never parsed."""
        if pa.types.is_null(array.type):
            array = pa.nulls(len(array), pa.string())
        if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
            array = _texts_in(array)
        kind, written = array.type, as_found(column, header)
        is_number = any(check(kind) for check in _NUMBERS)
        is_flag = pa.types.is_boolean(kind)
        as_words = column.type == "string" or (column.type == "boolean" and (written.flags or is_number))
        if as_words and not any(check(kind) for check in _TEXTS):
            array = texts_of(array)
        if any(check(array.type) for check in _TEXTS):
            return values_of(column, plain_texts(column, array.cast(pa.string()), written))
        array = without_marked(without_nan(array), written) if is_number else without_nan(array)
        missing = missing_in(array)
        right = np.zeros_like(missing)
        if is_flag:
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
        size = _rows_a_chunk(sum(group.total_byte_size for group in groups), self.rows)
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
        size = _rows_a_chunk(batch.nbytes, len(batch))
        for first in range(0, len(batch), size):
            yield batch.slice(first, size)
            if hasattr(mmap, "MADV_DONTNEED"):
                content.madvise(mmap.MADV_DONTNEED)  # what was read would count as memory otherwise


def _rows_a_chunk(size: int, rows: int) -> int:
    """The same for the same file, however far an earlier run came."""
    return max(FEWEST_ROWS, min(CHUNK_ROWS, CHUNK_BYTES * rows // max(size, 1)))


def _texts_in(array: pa.Array) -> pa.Array:
    """Bytes as the texts that they are, or as they were."""
    try:
        return pc.cast(array, pa.string())
    except pa.ArrowInvalid:
        return array


def _plain(field: pa.Field) -> pa.Field:
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


def _decoded(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
