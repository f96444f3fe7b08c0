"""Scored rows as bytes that are appended to what is there: lines of CSV, or messages of an Arrow stream.

A Parquet file or an Arrow file cannot be appended to, because its table of contents stands at its end. It is first
written as a stream and made from that at last.
"""

import mmap
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, ipc, parquet
from pyarrow.compute import MatchSubstringOptions, ReplaceSubstringOptions, call_function

from starterkit.batch.csv_source import CsvSource
from starterkit.batch.plan import Kind

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_ROW_GROUP = 131_072


def to_csv(batch: pa.RecordBatch, header: bool = False) -> pa.Buffer:
    """Lines of CSV.

    Raises
    ------
    pa.ArrowException
        A column holds what CSV cannot.
    """
    sink = pa.BufferOutputStream()
    csv.write_csv(batch, sink, csv.WriteOptions(include_header=header))
    return sink.getvalue()


def longer_lines(lines: pa.Array, answers: pa.RecordBatch, end: bytes) -> pa.Buffer:
    """Lines of CSV as they stand in their file, each with the answers behind it."""
    fields = [_fields(column) for column in answers.columns]
    fields[-1] = _concatenated([fields[-1], end], b"")
    joined = _concatenated([lines, *fields], b",")
    first, last = joined.offset, joined.offset + len(joined)
    offsets = memoryview(joined.buffers()[1]).cast("i")
    return joined.buffers()[2].slice(offsets[first], offsets[last] - offsets[first])


def longer_header(source: CsvSource, answers: pa.Schema) -> bytes:
    """The header line as it stands in its file, with the added columns' names."""
    names = [quoted(pa.array([name]))[0].as_py().encode() for name in answers.names]
    return b",".join([source.header.rstrip(b"\r\n"), *names]) + source.line_end


def quoted(texts: pa.Array) -> pa.Array:
    """Texts as CSV fields, in quotes where they need them."""
    doubled = call_function("replace_substring", [texts], ReplaceSubstringOptions('"', '""'))
    whole = _concatenated(['"', doubled, '"'], "")
    needed = call_function("match_substring_regex", [texts], MatchSubstringOptions('[",\r\n]'))
    return call_function("if_else", [needed, whole, texts])


def finish(stream: Path, destination: Path, kind: Kind) -> None:
    """Make a file of its kind from what was appended."""
    if kind == "csv":
        stream.rename(destination)
        return
    if kind == "arrow stream":
        with stream.open("ab") as file:
            file.write(_END_OF_STREAM)
        stream.rename(destination)
        return
    with stream.open("rb") as file:
        _convert(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), destination, kind)


def _convert(content: mmap.mmap, destination: Path, kind: Kind) -> None:
    """Write the stream's rows once more, a row group at a time."""
    reader = ipc.open_stream(pa.py_buffer(content))
    if kind == "arrow file":
        with ipc.new_file(destination, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
                _forget(content)
        return
    # A dictionary of numbers costs more time than the space that it saves.
    texts = [field.name for field in reader.schema if pa.types.is_string(field.type)]
    with parquet.ParquetWriter(destination, reader.schema, use_dictionary=texts) as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in reader:
            waiting.append(batch)
            if sum(map(len, waiting)) >= _ROW_GROUP:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting.clear()
                _forget(content)
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting))


def _concatenated(parts: Sequence[pa.Array | bytes | str], between: bytes | str) -> pa.Array:
    """Texts joined row by row. A part that is no array stands in every row."""
    kind = pa.binary() if isinstance(between, bytes) else pa.string()
    given = [part if isinstance(part, pa.Array) else pa.scalar(part, kind) for part in parts]
    return call_function("binary_join_element_wise", [*given, pa.scalar(between, kind)])


def _fields(column: pa.Array) -> pa.Array:
    texts = quoted(column) if pa.types.is_string(column.type) else column.cast(pa.string())
    return texts.cast(pa.binary())


def _forget(content: mmap.mmap) -> None:
    if hasattr(mmap, "MADV_DONTNEED"):
        content.madvise(mmap.MADV_DONTNEED)  # what was read would count as memory otherwise
