"""From a stage's source to rows that can be trusted: read, checked against the schema, split for good."""

from starterkit.data.checking import Failure, InvalidData, check_frame
from starterkit.data.dataset import Dataset, Rows, as_columns, as_records
from starterkit.data.made_up import draw_rows, typical_row
from starterkit.data.prepared import proof_of, usual_place
from starterkit.data.reader import DatasetReader
from starterkit.data.row_record import ROWS_FILE, RowRecord
from starterkit.data.slices import slices_of
from starterkit.data.sources import open_source

__all__ = [
    "ROWS_FILE",
    "Dataset",
    "DatasetReader",
    "Failure",
    "InvalidData",
    "RowRecord",
    "Rows",
    "as_columns",
    "as_records",
    "check_frame",
    "draw_rows",
    "open_source",
    "proof_of",
    "slices_of",
    "typical_row",
    "usual_place",
]
