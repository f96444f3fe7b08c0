"""The Open Inference Protocol: tensors in, the same answers as everywhere, and refusals that name row and column."""

import json
import math
import struct
from typing import Any

import numpy as np

ROWS = [{"area": 100.0, "rooms": 3, "income": 4e4}, {"area": 20.5, "rooms": 1, "income": None}]
DAYS = [{"city": "Graz", "pressure": 990.0, "windy": True}, {"city": None, "pressure": 910.5, "windy": False}]
INFER = "/v2/models/local.houses/infer"


def tensors(rows: list[dict[str, Any]], **datatypes: str) -> list[dict[str, Any]]:
    kinds = {name: {"name": name, "shape": [len(rows)], "datatype": datatypes.get(name, "FP64")} for name in rows[0]}
    return [kind | {"data": [row[name] for row in rows]} for name, kind in kinds.items()]


def test_a_regression_is_answered_as_at_predict(houses_client):
    expected = houses_client.post("/predict", json={"records": ROWS}).json()["predictions"]
    flat = [value for row in ROWS for value in row.values()]
    matrix: dict[str, Any] = {"name": "any", "shape": [2, 3], "datatype": "FP64"}
    for inputs in (
        tensors(ROWS, rooms="INT64")[::-1],
        [one | {"shape": [2, 1]} for one in tensors(ROWS)],
        [matrix | {"data": flat}],
        [matrix | {"data": [flat[:3], flat[3:]]}],
    ):
        told = houses_client.post(INFER, json={"id": "7", "inputs": inputs}).json()
        output = {"name": "price", "datatype": "FP64", "shape": [2], "data": expected}
        assert told == {"model_name": "local.houses", "model_version": "3", "id": "7", "outputs": [output]}


def test_a_classification_answers_labels_and_probabilities(days_client):
    body = {"inputs": tensors(DAYS, city="BYTES", windy="BOOL")}
    expected = days_client.post("/predict", json={"records": DAYS}).json()
    told = days_client.post("/v2/models/local.days/versions/1/infer", json=body).json()["outputs"]
    assert [one["name"] for one in told] == ["weather", "weather_is_dry", "weather_is_rain", "weather_is_snow"]
    assert (told[0]["datatype"], told[0]["data"]) == ("BYTES", expected["predictions"])
    assert told[1]["data"] == [row["dry"] for row in expected["probabilities"]]
    wanted = days_client.post("/v2/models/local.days/infer", json=body | {"outputs": [{"name": "weather_is_rain"}]})
    assert [one["name"] for one in wanted.json()["outputs"]] == ["weather_is_rain"]


GOOD = tensors(ROWS)
REFUSED = [
    ([GOOD[0] | {"data": [100.0, 9.0]}, *GOOD[1:]], "row 1, column 'area': is below 10"),
    ([GOOD[0] | {"data": [100.0, None]}, *GOOD[1:]], "row 1, column 'area': has no value"),
    ([GOOD[0], GOOD[1] | {"data": [1.5, 2]}, GOOD[2]], "row 0, column 'rooms': is not a whole number"),
    ([GOOD[0] | {"data": [True, 1.0]}, *GOOD[1:]], "row 0, column 'area': is not a number"),
    ([GOOD[0] | {"data": [100.0, 10**400]}, *GOOD[1:]], "row 1, column 'area': is not a finite number"),
    ([GOOD[0] | {"data": [100.0, {}]}, *GOOD[1:]], "row 1, column 'area': is not a number"),
    ([GOOD[0] | {"data": [100.0, math.nan]}, *GOOD[1:]], "row 1, column 'area': "),
    ([GOOD[0] | {"datatype": "BYTES", "data": ["a", "b"]}, *GOOD[1:]], "row 0, column 'area': is not a number"),
    ([GOOD[0] | {"datatype": "FP99"}, *GOOD[1:]], "the datatype of 'area' is unknown"),
    ([GOOD[0] | {"shape": [3]}, *GOOD[1:]], "the data of 'area' is not what its shape says"),
    ([GOOD[0] | {"shape": [1], "data": [100.0]}, *GOOD[1:]], "the inputs are not of one length"),
    (GOOD[1:], "the input 'area' is missing"),
    ([*GOOD, GOOD[0] | {"name": "colour"}], "'colour' is no input"),
    ([*GOOD, GOOD[0]], "an input stands twice"),
    (tensors(ROWS * 2), "there are 4 rows"),
    ([{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}], "an input of two dimensions is not of 3"),
    ([], "the input 'area' is missing"),
    ([{"name": "area"}], "the body is no request to infer"),
]


def test_what_is_refused_says_where(houses_client):
    kind = {"content-type": "application/json"}
    sent = [(json.dumps({"inputs": inputs}), kind, said) for inputs, said in REFUSED]  # which says NaN, too
    for body, headers, said in [*sent, *((*binary(inputs), said) for inputs, said in MISPACKED)]:
        told = houses_client.post(INFER, content=body, headers=headers)
        assert (told.status_code, [*told.json()], told.json()["error"][: len(said)]) == (400, ["error"], said)


def test_bodies_types_and_methods(houses_client):
    for headers, body, status in (
        ({"inference-header-content-length": "9"}, b"{}", 400), ({"content-type": "text/plain"}, b"{}", 415),
        ({"origin": "http://elsewhere"}, b"{}", 415), ({}, b'{"inputs": [], "inputs": []}', 400),
    ):  # fmt: skip
        told = houses_client.post(INFER, content=body, headers=headers)
        assert (told.status_code, [*told.json()]) == (status, ["error"]), told.text
    assert houses_client.get(INFER).status_code == 405


def test_what_is_asked_before(houses_client):
    assert houses_client.get("/v2/health/ready").json() == {"ready": True}
    assert houses_client.get("/v2/health/live").json() == {"live": True}
    assert houses_client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert houses_client.get("/v2/models/local.houses/ready").json()["ready"]
    told = houses_client.get("/v2/models/local.houses/versions/3").json()
    assert told["inputs"][1] == {"name": "rooms", "datatype": "INT64", "shape": [-1]}
    assert told["outputs"] == [{"name": "price", "datatype": "FP64", "shape": [-1]}]
    other = houses_client.get("/v2/models/other")
    assert (other.status_code, other.json()) == (404, {"error": "Not Found"})


def binary(inputs: dict[str, Any], **more: Any) -> tuple[bytes, dict[str, str]]:
    """Arrays, and texts that are bytes already, as tritonclient sends them."""
    about, behind = [], b""
    for name, (datatype, shape, content) in inputs.items():
        size = {"binary_data_size": len(content)}
        about.append({"name": name, "datatype": datatype, "shape": shape, "parameters": size})
        behind += content
    head = json.dumps({"inputs": about, **more}).encode()
    return head + behind, {"inference-header-content-length": str(len(head))}


def packed(*texts: str) -> bytes:
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)


FLOATS = np.array([[100.0, 3, 4e4], [20.5, 1, np.nan]])
COLUMNS = {
    "area": ("FP32", [2], np.float32([100.0, 20.5]).tobytes()),
    "rooms": ("INT64", [2, 1], np.int64([3, 1]).tobytes()),
    "income": ("FP64", [2], FLOATS[:, 2].tobytes()),
}


def test_binary_tensors_are_answered_as_those_in_json(houses_client, days_client):
    expected = houses_client.post(INFER, json={"inputs": tensors(ROWS)}).json()["outputs"][0]
    for inputs in (COLUMNS, {"any": ("FP64", [2, 3], FLOATS.tobytes())}):
        body, headers = binary(inputs)
        assert houses_client.post(INFER, content=body, headers=headers).json()["outputs"] == [expected]
        body, headers = binary(inputs, parameters={"binary_data_output": True})
        told = houses_client.post(INFER, content=body, headers=headers)
        head = int(told.headers["inference-header-content-length"])
        assert told.headers["content-type"] == "application/octet-stream"
        (about,) = json.loads(told.content[:head])["outputs"]
        assert about == {"name": "price", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": 16}}
        assert np.frombuffer(told.content[head:]).tolist() == expected["data"]
    cities, flags = ("BYTES", [2], packed("Graz", "")), ("BOOL", [2], b"\1\0")
    pressures = ("FP16", [2], np.float16([990.0, 910.5]).tobytes())
    wanted = [{"name": "weather", "parameters": {"binary_data": True}}, {"name": "weather_is_dry"}]
    body, headers = binary({"city": cities, "pressure": pressures, "windy": flags}, outputs=wanted)
    told = days_client.post("/v2/models/local.days/infer", content=body, headers=headers)
    head = int(told.headers["inference-header-content-length"])
    plain = days_client.post("/predict", json={"records": DAYS}).json()
    assert told.content[head:] == packed(*plain["predictions"])
    assert json.loads(told.content[:head])["outputs"][1]["data"] == [row["dry"] for row in plain["probabilities"]]


AREA = COLUMNS["area"]
MISPACKED: list[Any] = [
    ({**COLUMNS, "area": ("FP32", [2], np.float32([100, np.nan]).tobytes())}, "row 1, column 'area': has no value"),
    ({**COLUMNS, "area": ("FP32", [2], np.float32([np.inf, 100]).tobytes())}, "row 0, column 'area': is not a finite"),
    ({**COLUMNS, "rooms": ("FP64", [2], np.array([3, 1.5]).tobytes())}, "row 1, column 'rooms': is not a whole number"),
    ({**COLUMNS, "area": ("BOOL", [2], b"\1\1")}, "row 0, column 'area': is not a number"),
    ({**COLUMNS, "area": ("BOOL", [2], b"\1\2")}, "row 1, column 'area': is not true or false"),
    ({**COLUMNS, "area": ("BYTES", [2], b"\1\0\0\0a\1\0\0\0\xff")}, "row 1, column 'area': is not UTF-8"),
    ({**COLUMNS, "area": ("BYTES", [2], b"\xff\xff\xff\xffab")}, "the bytes of 'area' are not a text for each value"),
    ({**COLUMNS, "area": ("BYTES", [2], b"\1\0\0\0a")}, "the bytes of 'area' are not a text for each value"),
    ({**COLUMNS, "area": ("FP32", [2], AREA[2][1:])}, "'area' has 7 bytes, and not 4 for each value"),
    ({**COLUMNS, "area": ("BF16", [2], AREA[2])}, "the datatype of 'area' is unknown"),
    ({**COLUMNS, "area": ("FP32", [-2], AREA[2])}, "'area' has 8 bytes"),
    ({**COLUMNS, "area": ("FP32", [-1, -2], AREA[2])}, "the input 'area' is not of shape [rows]"),
    ({**COLUMNS, "area": ("FP32", [0], b"")}, "the data of 'area' is not what its shape says"),
    ({"x": ("FP64", [-2, 3], FLOATS.tobytes())}, "'x' has 48 bytes"),
    ({"x": ("FP64", [4, 3], FLOATS.tobytes() * 2)}, "there are 4 rows"),
]


def test_half_a_body_and_lengths_that_are_none(houses_client):
    body, headers = binary(COLUMNS)
    two = json.dumps({"inputs": [GOOD[0] | {"parameters": {"binary_data_size": 8}}, *GOOD[1:]]}).encode()
    for content, length, said in (
        (body[:-1], None, "the bytes of 'income' are not there"),
        (body + b"1", None, "there are 1 bytes more"),
        (two, str(len(two)), "the input 'area' has no data, or has it twice"),
        (two.replace(b'"binary_data_size": 8', b""), "9" * 5000, "Inference-Header-Content-Length is not"),
        (body, "-1", "Inference-Header-Content-Length is not"),
        (body, "7", "the body is not JSON"),
        (body.replace(b'"binary_data_size": 8', b'"binary_data_size":-8'), None, "the bytes of 'area' are not there"),
    ):
        sent = headers if length is None else {"inference-header-content-length": length}
        told = houses_client.post(INFER, content=content, headers=sent)
        assert (told.status_code, told.json()["error"][: len(said)]) == (400, said)
