"""An exported folder made callable, with onnxruntime and numpy alone."""

from starterkit.inference.graph import Columns, Graph, Session, as_prediction
from starterkit.inference.parity import compare
from starterkit.inference.predictor import CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE, Predictor, sha256
from starterkit.inference.records import Fault, InvalidRecords, read_records

__all__ = [
    "CONTRACT_FILE",
    "GRAPH_FILE",
    "SAMPLE_FILE",
    "Columns",
    "Fault",
    "Graph",
    "InvalidRecords",
    "Predictor",
    "Session",
    "as_prediction",
    "compare",
    "read_records",
    "sha256",
]
