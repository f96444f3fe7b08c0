"""What is wrong with a value is told with its row and its column at each protocol's address, and never with a 5xx."""

import json
from typing import Any

import pytest

GOOD = {"area": 100.0, "rooms": 3, "income": 4e4}
PREDICT, INVOCATIONS, INFER = "/predict", "/invocations", "/v2/models/local.houses/infer"
DATATYPES = {"area": "FP64", "rooms": "INT64", "income": "FP64"}


def bodies(second: dict[str, Any]) -> dict[str, str]:
    """A sound row and another one, as each protocol has them. A text `<…>` stands for what JSON cannot say."""
    rows = [GOOD, second]
    names = [*dict.fromkeys([*GOOD, *second])]
    inputs = [
        {"name": name, "shape": [2], "datatype": DATATYPES.get(name, "FP64"), "data": [row.get(name) for row in rows]}
        for name in names
    ]
    split = {"columns": [*second], "data": [[GOOD.get(name) for name in second], [*second.values()]]}
    told = {PREDICT: {"records": rows}, INVOCATIONS: {"instances": rows}, INFER: {"inputs": inputs}}
    texts = {address: json.dumps(body) for address, body in told.items()}
    texts[f"{INVOCATIONS}?"] = json.dumps({"dataframe_split": split})
    return {address: text.replace('"<', "").replace('>"', "") for address, text in texts.items()}


VALUES = [
    ({"area": "<NaN>"}, "area"),
    ({"area": None}, "area"),
    ({"income": "<Infinity>"}, "income"),
    ({"income": "<-Infinity>"}, "income"),
    ({"area": "large"}, "area"),
    ({"area": True}, "area"),
    ({"area": [1]}, "area"),
    ({"area": {"a": 1}}, "area"),
    ({"rooms": 2.5}, "rooms"),
    ({"rooms": "<" + "9" * 400 + ">"}, "rooms"),
    ({"area": "<1e999>"}, "area"),
    ({"area": 5}, "area"),
    ({"income": 1e12}, "income"),
]


@pytest.mark.parametrize(("change", "column"), VALUES, ids=[str(place) for place, _ in enumerate(VALUES)])
def test_a_value_is_told_with_row_and_column(houses_client, change, column):
    for address, text in bodies({**GOOD, **change}).items():
        told = houses_client.post(address.rstrip("?"), content=text, headers={"content-type": "application/json"})
        assert told.status_code in (400, 422), (address, told.text)
        assert f"row 1, column '{column}'" in told.text, (address, told.text)


@pytest.mark.parametrize(
    "second", [{"rooms": 3, "income": 4e4}, {"area": 1.0, "roms": 3, "income": 4e4}, {**GOOD, "colour": 1}, {}]
)
def test_a_column_that_is_missing_or_unknown_is_named(houses_client, second):
    for address, text in bodies(second).items():
        told = houses_client.post(address.rstrip("?"), content=text, headers={"content-type": "application/json"})
        assert told.status_code in (400, 422), (address, told.text)


WHOLE = json.dumps({"records": [GOOD]}).encode()
BODIES = [
    b"",
    b"{",
    WHOLE[:-9],
    b"[" * 1900,
    b"1" * 1900,
    b"\xff\xfe",
    WHOLE.decode().encode("utf-16"),
    b"null",
    b"[]",
    b"{}",
]


@pytest.mark.parametrize("address", [PREDICT, INVOCATIONS, INFER])
def test_a_body_that_is_none_is_refused(houses_client, address):
    for body in (*BODIES, b'{"records": [], "records": []}', b'{"inputs": [], "inputs": []}'):
        for headers in ({}, {"content-encoding": "gzip"}):
            told = houses_client.post(address, content=body, headers={"content-type": "application/json", **headers})
            assert 400 <= told.status_code < 500, (body, told.text)
