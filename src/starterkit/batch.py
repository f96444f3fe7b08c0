"""`BatchScorer`: the same `Predictor` over a file. Thin: it reads the whole file; streaming comes later."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet

from starterkit.contract import Column, Contract
from starterkit.errors import DataError
from starterkit.inference import Predictor, read_records

PREDICTION = "prediction"

_FLAGS = {"true": True, "false": False, "1": True, "0": False}


class BatchScorer:
    """Scores CSV and Parquet files with one model."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def score(self, source: Path, destination: Path) -> int:
        """Write `source` with a column `prediction` added to `destination`; the number of rows comes back.

        Columns that the model does not take are copied untouched.

        Raises
        ------
        DataError
            A file cannot be read or written, or the rows have predictions already.
        InvalidRecords
            Some rows cannot be scored. Nothing is written then.
        """
        contract = self._predictor.contract
        _refuse_destination(source, destination)
        table = _read(source, contract)
        if table.num_rows == 0:
            raise DataError(f"{source} has no rows", "Name another file")
        if PREDICTION in table.column_names:
            raise DataError(f"{source} has a column '{PREDICTION}' already", "Rename it")
        present = [column for column in contract.columns if column.name in table.column_names]
        rows = table.select([column.name for column in present]).to_pylist()
        if source.suffix == ".csv":
            rows = [{column.name: _value(column, row[column.name]) for column in present} for row in rows]
        values = self._predictor.predict(read_records(contract, rows)).values
        if source.suffix == ".csv":
            table = _with_types(table, present, rows)
        _write(table.append_column(PREDICTION, pa.array(values.tolist())), destination)
        return table.num_rows


def _refuse_destination(source: Path, destination: Path) -> None:
    if destination.suffix not in (".csv", ".parquet"):
        raise DataError(f"{destination} is of no known kind", "Name a .csv or .parquet file")
    if destination.resolve() == source.resolve():
        raise DataError("source and destination are the same file", "Name another destination")
    if not destination.absolute().parent.is_dir():
        raise DataError(f"the folder of {destination} does not exist", "Make it, or name another")


def _read(path: Path, contract: Contract) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            return parquet.read_table(path)
        # The model's columns stay texts, so that one bad cell does not change its column's type.
        texts = csv.ConvertOptions(column_types=dict.fromkeys(contract.names, pa.string()), null_values=[""])
        texts.strings_can_be_null = True
        return csv.read_csv(path, convert_options=texts)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or 'not its kind'}", "Name another file") from error
    except pa.ArrowException:  # its message repeats the row
        kind = "Parquet" if path.suffix == ".parquet" else "CSV"
        raise DataError(
            f"{path} is no sound {kind} file", "See that each line has as many fields as the header"
        ) from None


def _value(column: Column, text: str | None) -> bool | float | str | None:
    """A CSV field as JSON would give it. What is of no such kind stays a text, which the contract then refuses."""
    if text is None or column.type == "string":
        return text
    if column.type == "boolean":
        return _FLAGS.get(text.lower(), text)
    try:
        return float(text)
    except ValueError:
        return text


def _with_types(table: pa.Table, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The model's columns with their types again, now that every field is known to be of it."""
    kinds = {"integer": pa.int64(), "float": pa.float64(), "boolean": pa.bool_(), "string": pa.string()}
    for column in columns:
        values = pa.array([row[column.name] for row in rows]).cast(kinds[column.type])
        table = table.set_column(table.column_names.index(column.name), column.name, values)
    return table


def _write(table: pa.Table, path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        if path.suffix == ".parquet":
            parquet.write_table(table, partial)
        else:
            csv.write_csv(table, partial)
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}", "Free space or name another") from error
    except pa.ArrowException:
        mend = "Write Parquet, or leave out columns that hold lists"
        raise DataError(f"{path} cannot hold these columns", mend) from None
    finally:
        partial.unlink(missing_ok=True)
