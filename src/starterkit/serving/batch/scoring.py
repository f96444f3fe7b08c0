"""One file's rows to bytes of another: read, check, answer, encode. Any number of threads do this beside each other."""

import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv, ipc, parquet
from pyarrow.compute import MatchSubstringOptions, ReplaceSubstringOptions, call_function

from starterkit.contract import Beyond, Column, Contract, Dialect, Prediction, Scalar
from starterkit.errors import ContractError, DataError
from starterkit.serving.batch.chunks import ARROW_TYPES, ArrowSource, Chunk, CsvSource, Rows, require_columns
from starterkit.serving.batch.plan import Kind, is_packed, kind_of, partitions_of
from starterkit.serving.dialect import UTF8, encoded, mark_of
from starterkit.serving.graph import Columns
from starterkit.serving.parsing import as_found, plain_texts, values_of
from starterkit.serving.predictor import Predictor
from starterkit.serving.validation import Fault, Values, check_columns, faults_beyond, faults_of_answers

# --- A model's answers as columns of a file: the prediction and, from a classifier, each class's probability.

PREDICTION = "prediction"
BEYOND = "beyond"
"""Where such rows are marked: the columns whose numbers lie beyond what the model is proven for, by comma."""
_PROBABILITY = "probability_of_"
_DECISION = "decision_value_of_"


def answer_schema(contract: Contract, beyond: Beyond = "refuse") -> pa.Schema:
    """The columns that are added: ``prediction``, ``probability_of_benign``, … or ``decision_value_of_benign``, …"""
    kind = pa.float64() if contract.task == "regression" else ARROW_TYPES[contract.target.type]
    begin, told = _told(contract)
    words = [str(label).lower() if isinstance(label, bool) else str(label) for label in told]
    numbers = [(f"{begin}{word}", pa.float64()) for word in words]
    marks = [(BEYOND, pa.string())] if beyond == "mark" else []
    return pa.schema([(PREDICTION, kind), *numbers, *marks])


def _told(contract: Contract) -> tuple[str, tuple[Scalar, ...]]:
    """The classes for which a number is answered, and how their columns begin. Of two the second decides."""
    if contract.decision_values:
        return _DECISION, contract.classes[1:] if len(contract.classes) == 2 else contract.classes
    return _PROBABILITY, contract.classes if contract.probabilities else ()


def answer_columns(contract: Contract, prediction: Prediction, marks: pa.Array | None = None) -> pa.RecordBatch:
    """n answers in these columns."""
    schema = answer_schema(contract, "refuse" if marks is None else "mark")
    numbers = prediction.numbers
    if numbers is prediction.values:
        numbers = np.empty((len(numbers), 0))
    columns = [pa.array(prediction.values).cast(schema.field(0).type), *map(pa.array, np.ascontiguousarray(numbers.T))]
    columns += [] if marks is None else [marks]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def marks_of(contract: Contract, columns: Columns, rows: int) -> pa.Array:
    """For each of n rows the columns whose numbers lie beyond the proof; empty where none does."""
    names: list[list[str]] = [[] for _ in range(rows)]
    for fault in faults_beyond(contract, columns):
        names[fault.row].append(str(fault.column))
    return pa.array([", ".join(some) for some in names])


# --- Scored rows as bytes that are appended to what is there: lines of CSV, or messages of an Arrow stream.
#
# A Parquet file or an Arrow file cannot be appended to, because its table of contents stands at its end. It is first
# written as a stream and made from that at last.

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_ROW_GROUP = 131_072


def to_csv(batch: pa.RecordBatch, delimiter: str, header: bool = False) -> pa.Buffer:
    """Lines of CSV.

    Raises
    ------
    pa.ArrowException
        A column holds what CSV cannot.
    """
    sink = pa.BufferOutputStream()
    csv.write_csv(batch, sink, csv.WriteOptions(include_header=header, delimiter=delimiter))
    return sink.getvalue()


def longer_lines(lines: pa.Array, answers: pa.RecordBatch, end: bytes, dialect: Dialect) -> pa.Buffer:
    """Lines of CSV as they stand in their file, each with the answers behind it."""
    fields = [_fields(column, dialect) for column in answers.columns]
    fields[-1] = _concatenated([fields[-1], end], b"")
    joined = _concatenated([lines, *fields], dialect.delimiter.encode())
    first, last = joined.offset, joined.offset + len(joined)
    offsets = memoryview(joined.buffers()[1]).cast("i")
    return joined.buffers()[2].slice(offsets[first], offsets[last] - offsets[first])


def longer_header(source: CsvSource, answers: pa.Schema) -> bytes:
    """The header line as it stands in its file, with the added columns' names."""
    names = [quoted(pa.array([name]), source.dialect)[0].as_py().encode() for name in answers.names]
    return source.dialect.delimiter.encode().join([source.header.rstrip(b"\r\n"), *names]) + source.line_end


def quoted(texts: pa.Array, dialect: Dialect) -> pa.Array:
    """Texts as CSV fields, in quotes where they need them."""
    quote = dialect.quote
    doubled = call_function("replace_substring", [texts], ReplaceSubstringOptions(quote, quote * 2))
    whole = _concatenated([quote, doubled, quote], "")
    signs = MatchSubstringOptions(f"[{quote}{dialect.delimiter}\r\n]")
    needed = call_function("match_substring_regex", [texts], signs)
    return call_function("if_else", [needed, whole, texts])


def finish(stream: Path, destination: Path, kind: Kind) -> None:
    """Make a file of its kind from what was appended: Parquet and Arrow files by writing the rows once more."""
    if kind in ("csv", "arrow stream"):
        if kind == "arrow stream":
            with stream.open("ab") as file:
                file.write(_END_OF_STREAM)
        stream.rename(destination)
        return
    with pa.OSFile(str(stream)) as file:
        reader = ipc.open_stream(file)
        if kind == "parquet":
            write_parquet(reader.schema, reader, destination)
            return
        with ipc.new_file(destination, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)


def write_parquet(schema: pa.Schema, batches: Iterable[pa.RecordBatch], destination: Path) -> None:
    # A dictionary of numbers costs more time than the space that it saves.
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    with parquet.ParquetWriter(destination, schema, use_dictionary=texts) as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in batches:
            waiting.append(batch)
            if sum(map(len, waiting)) >= _ROW_GROUP:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting.clear()
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting))


def _concatenated(parts: Sequence[pa.Array | bytes | str], between: bytes | str) -> pa.Array:
    """Texts joined row by row. A part that is no array stands in every row."""
    kind = pa.binary() if isinstance(between, bytes) else pa.string()
    given = [part if isinstance(part, pa.Array) else pa.scalar(part, kind) for part in parts]
    return call_function("binary_join_element_wise", [*given, pa.scalar(between, kind)])


def _fields(column: pa.Array, dialect: Dialect) -> pa.Array:
    texts = quoted(column, dialect) if pa.types.is_string(column.type) else column.cast(pa.string())
    return texts.cast(pa.binary())


@dataclass(frozen=True)
class Scored:
    """A chunk after all of it: its good rows as bytes, and the faults of the others. Rows count from the chunk's."""

    content: bytes | pa.Buffer
    rows: int
    faults: Sequence[Fault]
    end: int
    share: float | None

    @property
    def bad(self) -> int:
        return len({fault.row for fault in self.faults})


class FileScoring:
    """How the chunks of one file become another file of some kind.

    Raises
    ------
    DataError
        The file cannot be read, has no rows, or lacks a column that the model takes.
    """

    def __init__(
        self,
        source: CsvSource | ArrowSource,
        destination: Path,
        predictor: Predictor,
        partitions: Mapping[str, str | None],
    ) -> None:
        contract = predictor.contract
        self.source = source
        self._predictor = predictor
        self._kind = kind = kind_of(destination)
        self._dialect = source.dialect if isinstance(source, CsvSource) else Dialect()
        if destination.name.lower().removesuffix(".gz").endswith(".tsv") and not isinstance(source, CsvSource):
            self._dialect = Dialect(delimiter="\t")
        self._is_packed = is_packed(destination)
        added = answer_schema(contract, predictor.beyond)
        self._partitions = {name: value for name, value in partitions.items() if name not in source.names}
        present = [*source.names, *self._partitions]
        self._found = require_columns(source.name, present, contract.columns, added.names)
        taken = set(self._found.values())
        self.ignored = tuple(name for name in source.names if name not in taken)
        # Between two CSV files the lines are copied, and nothing but the model's columns is parsed.
        self._copies_lines = isinstance(source, CsvSource) and kind == "csv"
        own = [header for header in self._found.values() if header not in self._partitions]
        self._names = own if self._copies_lines else source.names
        stored = source.schema({self._found[column.name]: column for column in contract.columns})
        self._schema = pa.schema([*stored, *added], stored.metadata)
        self.beginning = self._stored(self._begin(added), mark_of(self._dialect.encoding))

    def score(self, chunk: Chunk) -> Scored:
        """Read, check, answer and encode.

        Raises
        ------
        DataError
            The file is not what its beginning promised.
        ContractError
            The graph failed.
        """
        contract = self._predictor.contract
        rows = self.source.read(chunk, self._names)
        given = {one.name: self._values(rows, one) for one in contract.columns}
        checked = check_columns(contract, given, self._predictor.beyond)
        columns, good = checked.columns, np.flatnonzero(~checked.bad)
        if len(good) < len(checked.bad):
            columns = _taken(columns, good)
        prediction = self._answer(columns) if len(good) else None
        unanswered = faults_of_answers(prediction) if prediction else []
        faults = [replace(fault, row=int(rows.kept[fault.row])) for fault in checked.faults]
        faults += [replace(fault, row=int(rows.kept[good[fault.row]])) for fault in unanswered]
        if prediction and unanswered:
            some = np.delete(np.arange(len(good)), [fault.row for fault in unanswered])
            good, columns, prediction = good[some], _taken(columns, some), prediction.of_rows(some)
        content = b""
        if prediction and len(good):
            content = self._stored(self._encode(rows, good, columns, prediction))
        together = sorted([*rows.torn, *faults], key=lambda fault: fault.row)
        return Scored(content, rows.count, together, chunk.end, chunk.share)

    def _values(self, rows: Rows, column: Column) -> Values:
        header = self._found[column.name]
        if header not in self._partitions:
            return self.source.values(column, rows.table.column(header), header)
        texts = pa.repeat(pa.scalar(self._partitions[header], pa.string()), len(rows.table))
        return values_of(column, plain_texts(column, texts, as_found(column, header)))

    def _stored(self, content: bytes | pa.Buffer, mark: bytes = b"") -> bytes | pa.Buffer:
        """Text in the source's own encoding, compressed if the destination is."""
        if self._kind != "csv":
            return content
        if self._dialect.encoding != UTF8:
            try:
                content = mark + encoded(bytes(content), self._dialect.encoding)
            except UnicodeEncodeError:
                what = f"{self.source.name} is in {self._dialect.encoding}, which cannot hold the answers"
                raise DataError(what, "Write Parquet, or save it as UTF-8") from None
        return gzip.compress(content) if self._is_packed else content

    def _answer(self, columns: Columns) -> Prediction:
        try:
            return self._predictor.predict(columns)
        except ContractError:  # its message may repeat a value
            what = f"the model's graph failed on rows of {self.source.name}"
            raise ContractError(what, "Export the model again") from None

    def _encode(
        self, rows: Rows, good: NDArray[np.int64], columns: Columns, prediction: Prediction
    ) -> bytes | pa.Buffer:
        contract = self._predictor.contract
        marked = self._predictor.beyond == "mark"
        marks = marks_of(contract, columns, len(prediction.values)) if marked else None
        answers = answer_columns(contract, prediction, marks)
        whole = len(good) == len(rows.table)
        if self._copies_lines and isinstance(self.source, CsvSource) and rows.lines is not None:
            lines = rows.lines if whole else rows.lines.take(pa.array(good))
            return longer_lines(lines, answers, self.source.line_end, self._dialect)
        table = rows.table if whole else rows.table.take(pa.array(good))
        if isinstance(self.source, CsvSource):
            by_header = {header: columns[name] for name, header in self._found.items()}
            table = _typed(table, self._schema, by_header, self.source.name)
        batch = pa.RecordBatch.from_arrays([*table.columns, *answers.columns], schema=self._schema)
        if self._kind != "csv":
            return batch.serialize()
        try:
            return to_csv(batch, self._dialect.delimiter)
        except pa.ArrowException:  # its message may repeat a value
            what = f"{self.source.name} has values that CSV cannot hold, such as bytes that are no text"
            raise DataError(what, "Write Parquet, or leave the column out") from None

    def _begin(self, added: pa.Schema) -> bytes | pa.Buffer:
        """What stands before the rows: the header line, or the stream's schema."""
        if self._copies_lines and isinstance(self.source, CsvSource):
            return longer_header(self.source, added)
        if self._kind == "parquet":
            self._refuse_what_parquet_lacks()
        if self._kind != "csv":
            return self._schema.serialize()
        try:
            return to_csv(pa.RecordBatch.from_pylist([], self._schema), self._dialect.delimiter, header=True)
        except pa.ArrowException:
            what = f"{self.source.name} has columns that CSV cannot hold, such as lists"
            raise DataError(what, "Write Parquet, or leave them out") from None

    def _refuse_what_parquet_lacks(self) -> None:
        try:
            parquet.ParquetWriter(pa.BufferOutputStream(), self._schema).close()
        except pa.ArrowException:
            what = f"{self.source.name} has columns that Parquet cannot hold, such as intervals"
            raise DataError(what, "Write an Arrow file, or leave them out") from None


def open_scoring(path: Path, name: str, predictor: Predictor) -> FileScoring:
    """The way from one file to another of this name, by their suffixes."""
    kind = kind_of(path)
    source = CsvSource(path, predictor.contract) if kind == "csv" else ArrowSource(path, kind)
    return FileScoring(source, Path(name), predictor, partitions_of(name))


def _taken(columns: Columns, rows: NDArray[np.int64]) -> Mapping[str, NDArray[Any]]:
    return {name: values[rows] for name, values in columns.items()}


def _typed(table: pa.RecordBatch, schema: pa.Schema, columns: Columns, name: str) -> pa.RecordBatch:
    """Texts of a CSV file as what they are known to be by now."""
    arrays = []
    for field, texts in zip(schema, table.columns, strict=False):
        if field.name not in columns or pa.types.is_string(field.type):
            arrays.append(texts)
            continue
        try:  # from the text where it is plain: a float holds whole numbers up to 2 ** 53 only
            arrays.append(pc.cast(texts, field.type))
        except pa.ArrowInvalid:
            try:
                arrays.append(pa.array(columns[field.name], from_pandas=True).cast(field.type))
            except pa.ArrowInvalid:
                what = f"column '{field.name}' of {name} has whole numbers of more than 64 bits"
                raise DataError(what, "Write CSV") from None
    return pa.RecordBatch.from_arrays(arrays, names=table.schema.names)
