"""The names, types and shapes of a graph's inputs and outputs."""

from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from starterkit.contract import Column
from starterkit.serving.graph import Session
from starterkit.training.export.conversion import to_graph

KINDS = {"whole": "integer", "flag": "boolean", "number": "float", "gaps": "integer", "text": "string"}


def columns_of(*names: str) -> list[Column]:
    return [
        Column(name=name, role="feature", type=KINDS[name], unit="", sensitivity="plain", nullable=name == "gaps")
        for name in names
    ]


def table(*names: str) -> pd.DataFrame:
    number = np.arange(40)
    made: dict[str, Any] = {
        "whole": number, "flag": number % 2, "number": number / 7, "gaps": number % 5,
        "text": np.where(number % 3, "a", "b"),
    }  # fmt: skip
    return pd.DataFrame({name: made[name] for name in names})


def shapes(values: Any) -> list[tuple[str, int, list[int | str]]]:
    return [
        (
            value.name,
            value.type.tensor_type.elem_type,
            [size.dim_value or "n" for size in value.type.tensor_type.shape.dim],
        )
        for value in values
    ]


DOUBLE, WHOLE, FLAG, TEXT = (
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.INT64,
    onnx.TensorProto.BOOL,
    onnx.TensorProto.STRING,
)


def test_a_matrix_may_be_read_by_name():
    columns, rows = columns_of("whole", "number"), table("whole", "number")
    first = make_column_transformer(("passthrough", ["number"]), ("passthrough", ["whole"]))
    model = make_pipeline(first, Ridge()).fit(rows, np.arange(40))
    answered = Session(to_graph(model, columns, "y").graph).run({"features": rows.to_numpy(float)})
    assert answered[0].ravel() == pytest.approx(model.predict(rows))


def test_columns_have_their_own_type_unless_a_value_may_be_missing():
    names = ("whole", "flag", "number", "gaps", "text")
    columns, rows = columns_of(*names), table(*names)
    first = make_column_transformer((OneHotEncoder(), ["text"]), ("passthrough", list(names[:-1])))
    model = make_pipeline(first, Ridge()).fit(rows, np.arange(40))
    graph = onnx.load_from_string(to_graph(model, columns, "y").graph).graph
    expected = {"whole": WHOLE, "flag": FLAG, "number": DOUBLE, "gaps": DOUBLE, "text": TEXT}
    assert shapes(graph.input) == [(name, kind, ["n"]) for name, kind in expected.items()]
    casts = [node.input[0] for node in graph.node if node.op_type == "Cast" and node.input[0] in names]
    assert casts == ["whole", "flag"]
    given = {name: rows[name].to_numpy() for name in names}
    given |= {
        "flag": given["flag"].astype(bool),
        "gaps": given["gaps"].astype(float),
        "text": given["text"].astype(object),
    }
    answered = Session(to_graph(model, columns, "y").graph).run(given)
    assert answered[0].ravel() == pytest.approx(model.predict(rows))


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_each_class_has_an_output_of_its_own(classes):
    columns, rows = columns_of("whole", "number"), table("whole", "number")
    labels = np.array(classes)[np.arange(40) % len(classes)]
    model = LogisticRegression().fit(rows.to_numpy(), labels)
    graph = onnx.load_from_string(to_graph(model, columns, "y").graph).graph
    outputs = shapes(graph.output)
    assert outputs[0][:2] == ("y", TEXT)
    assert [one[:2] for one in outputs[1:]] == [(f"y_is_{label}", DOUBLE) for label in classes]
    assert [one[2] for one in outputs[1:]] == [["n"]] * len(classes)
    labelled, *chances = Session(to_graph(model, columns, "y").graph).run({"features": rows.to_numpy(float)})
    assert labelled.tolist() == model.predict(rows.to_numpy()).tolist()
    assert np.column_stack(chances) == pytest.approx(model.predict_proba(rows.to_numpy()))
