"""A model's answers as columns of a file: the prediction and, from a classifier, each class's probability."""

import numpy as np
import pyarrow as pa

from starterkit.contract import Contract, Prediction

PREDICTION = "prediction"
_PROBABILITY = "probability_of_"
_TYPES = {"integer": pa.int64(), "float": pa.float64(), "boolean": pa.bool_(), "string": pa.string()}


def answer_schema(contract: Contract) -> pa.Schema:
    """The columns that are added: ``prediction``, ``probability_of_benign``, …"""
    kind = pa.float64() if contract.task == "regression" else _TYPES[contract.target.type]
    words = [str(label).lower() if isinstance(label, bool) else str(label) for label in contract.classes]
    probabilities = [(f"{_PROBABILITY}{word}", pa.float64()) for word in words]
    return pa.schema([(PREDICTION, kind), *probabilities])


def answer_columns(contract: Contract, prediction: Prediction) -> pa.RecordBatch:
    """n answers in these columns."""
    schema = answer_schema(contract)
    numbers = (
        prediction.probabilities if prediction.probabilities is not None else np.empty((len(prediction.values), 0))
    )
    columns = [pa.array(prediction.values).cast(schema.field(0).type), *map(pa.array, np.ascontiguousarray(numbers.T))]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
