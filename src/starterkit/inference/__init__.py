"""An exported folder made callable, with onnxruntime and numpy alone."""

from starterkit.inference.columns import Checked, Values, check_columns, faults_of_answers
from starterkit.inference.compute import Compute
from starterkit.inference.graph import Columns, Graph, Session, as_prediction
from starterkit.inference.parity import compare
from starterkit.inference.predictor import CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE, Predictor, sha256
from starterkit.inference.records import Fault, InvalidRecords, read_records

__all__ = [
    "CONTRACT_FILE",
    "GRAPH_FILE",
    "SAMPLE_FILE",
    "Checked",
    "Columns",
    "Compute",
    "Fault",
    "Graph",
    "InvalidRecords",
    "Predictor",
    "Session",
    "Values",
    "as_prediction",
    "check_columns",
    "compare",
    "faults_of_answers",
    "read_records",
    "sha256",
]
