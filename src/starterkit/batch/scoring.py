"""One file's rows to bytes of another: read, check, answer, encode. Any number of threads do this beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import parquet

from starterkit.batch import encoding
from starterkit.batch.answers import answer_columns, answer_schema
from starterkit.batch.arrow_source import ArrowSource
from starterkit.batch.csv_source import CsvSource
from starterkit.batch.morsel import Morsel, Rows, require_columns
from starterkit.batch.plan import Kind, kind_of
from starterkit.contract import Prediction
from starterkit.errors import ContractError, DataError
from starterkit.inference import Columns, Fault, Predictor, check_columns, faults_of_answers


@dataclass(frozen=True)
class Scored:
    """A morsel after all of it: its good rows as bytes, and the faults of the others. Rows count from the morsel's."""

    content: bytes | pa.Buffer
    rows: int
    faults: Sequence[Fault]
    end: int
    share: float | None

    @property
    def bad(self) -> int:
        return len({fault.row for fault in self.faults})


class FileScoring:
    """How the morsels of one file become another file of some kind.

    Raises
    ------
    DataError
        The file cannot be read, has no rows, or lacks a column that the model takes.
    """

    def __init__(self, source: CsvSource | ArrowSource, kind: Kind, predictor: Predictor) -> None:
        contract = predictor.contract
        self.source = source
        self._predictor = predictor
        self._kind = kind
        added = answer_schema(contract)
        require_columns(source.name, list(source.names), contract.names, added.names)
        # Between two CSV files the lines are copied, and nothing but the model's columns is parsed.
        self._copies_lines = isinstance(source, CsvSource) and kind == "csv"
        self._names = contract.names if self._copies_lines else source.names
        self._schema = _joined(source.schema(contract.columns), added)
        self.beginning = self._begin(added)

    def score(self, morsel: Morsel) -> Scored:
        """Read, check, answer and encode.

        Raises
        ------
        DataError
            The file is not what its beginning promised.
        ContractError
            The graph failed.
        """
        contract = self._predictor.contract
        rows = self.source.read(morsel, self._names)
        given = {one.name: self.source.values(one, rows.table.column(one.name)) for one in contract.columns}
        checked = check_columns(contract, given)
        columns, good = checked.columns, np.flatnonzero(~checked.bad)
        if len(good) < len(checked.bad):
            columns = _taken(columns, good)
        prediction = self._answer(columns) if len(good) else None
        unanswered = faults_of_answers(prediction) if prediction else []
        faults = [replace(fault, row=int(rows.kept[fault.row])) for fault in checked.faults]
        faults += [replace(fault, row=int(rows.kept[good[fault.row]])) for fault in unanswered]
        if prediction and unanswered:
            some = np.delete(np.arange(len(good)), [fault.row for fault in unanswered])
            good, columns, shares = good[some], _taken(columns, some), prediction.probabilities
            prediction = Prediction(prediction.values[some], None if shares is None else shares[some])
        content = self._encode(rows, good, columns, prediction) if prediction and len(good) else b""
        together = sorted([*rows.torn, *faults], key=lambda fault: fault.row)
        return Scored(content, rows.count, together, morsel.end, morsel.share)

    def _answer(self, columns: Columns) -> Prediction:
        try:
            return self._predictor.predict(columns)
        except ContractError:  # its message may repeat a value
            what = f"the model's graph failed on rows of {self.source.name}"
            raise ContractError(what, "Export the model again") from None

    def _encode(
        self, rows: Rows, good: NDArray[np.int64], columns: Columns, prediction: Prediction
    ) -> bytes | pa.Buffer:
        answers = answer_columns(self._predictor.contract, prediction)
        whole = len(good) == len(rows.table)
        if self._copies_lines and isinstance(self.source, CsvSource) and rows.lines is not None:
            lines = rows.lines if whole else rows.lines.take(pa.array(good))
            return encoding.longer_lines(lines, answers, self.source.line_end)
        table = rows.table if whole else rows.table.take(pa.array(good))
        if isinstance(self.source, CsvSource):
            table = _typed(table, self._schema, columns, self.source.name)
        batch = pa.RecordBatch.from_arrays([*table.columns, *answers.columns], schema=self._schema)
        if self._kind != "csv":
            return batch.serialize()
        try:
            return encoding.to_csv(batch)
        except pa.ArrowException:  # its message may repeat a value
            what = f"{self.source.name} has values that CSV cannot hold, such as bytes that are no text"
            raise DataError(what, "Write Parquet, or leave the column out") from None

    def _begin(self, added: pa.Schema) -> bytes | pa.Buffer:
        """What stands before the rows: the header line, or the stream's schema."""
        if self._copies_lines and isinstance(self.source, CsvSource):
            return encoding.longer_header(self.source, added)
        if self._kind == "parquet":
            self._refuse_what_parquet_lacks()
        if self._kind != "csv":
            return self._schema.serialize()
        try:
            return encoding.to_csv(pa.RecordBatch.from_pylist([], self._schema), header=True)
        except pa.ArrowException:
            what = f"{self.source.name} has columns that CSV cannot hold, such as lists"
            raise DataError(what, "Write Parquet, or leave them out") from None

    def _refuse_what_parquet_lacks(self) -> None:
        try:
            parquet.ParquetWriter(pa.BufferOutputStream(), self._schema).close()
        except pa.ArrowException:
            what = f"{self.source.name} has columns that Parquet cannot hold, such as intervals"
            raise DataError(what, "Write an Arrow file, or leave them out") from None


def open_scoring(path: Any, destination: Any, predictor: Predictor) -> FileScoring:
    """The way from one file to another, by their suffixes."""
    kind, made, contract = kind_of(path), kind_of(destination), predictor.contract
    if kind != "csv":
        return FileScoring(ArrowSource(path, kind), made, predictor)
    # A typed file gets its numbers from their texts: a float holds whole ones up to 2 ** 53 only.
    numbers = [one.name for one in contract.columns if one.type in ("integer", "float") and made == "csv"]
    return FileScoring(CsvSource(path, contract.names, numbers), made, predictor)


def _joined(stored: pa.Schema, added: pa.Schema) -> pa.Schema:
    return pa.schema([*stored, *added], stored.metadata)


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
