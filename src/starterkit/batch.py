"""`BatchScorer`: the same `Predictor` over a file. Thin: it reads the whole file; streaming comes later."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet

from starterkit.contract import Contract
from starterkit.errors import DataError
from starterkit.inference import Predictor, read_records

PREDICTION = "prediction"


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
            A file cannot be read or written.
        InvalidRecords
            Some rows cannot be scored. Nothing is written then.
        """
        contract = self._predictor.contract
        table = _read(source, contract)
        if table.num_rows == 0:
            raise DataError(f"{source} has no rows", "Name another file")
        present = [name for name in contract.names if name in table.column_names]
        columns = read_records(contract, table.select(present).to_pylist())
        values = self._predictor.predict(columns).values
        _write(table.append_column(PREDICTION, pa.array(values.tolist())), destination)
        return table.num_rows


def _read(path: Path, contract: Contract) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            return parquet.read_table(path)
        text: dict[str, Any] = {column.name: pa.string() for column in contract.columns if column.type == "string"}
        return csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=text, null_values=[""]))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}", "Repair it or name another") from error


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
    finally:
        partial.unlink(missing_ok=True)
