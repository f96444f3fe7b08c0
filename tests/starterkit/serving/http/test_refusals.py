"""Whatever cannot be scored is refused with what is wrong, where, and what would do; and no value comes back."""

import gzip
import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

JSON = {"content-type": "application/json"}
GOOD = {"area": 100.0, "rooms": 3, "income": 40000.0}
AREA, ROOMS = "Give a number in m², 10 to 500", "Give a whole number, 1 to 20"
PRIVATE = 7654321

FAULTS = {
    "missing": ({"area": None, "income": 1.0}, [("area", "has no value", AREA), ("rooms", "is missing", ROOMS)]),
    "extra": (
        {**GOOD, "colour": PRIVATE},
        [("colour", "is not a column of this model", "Leave it out. The model takes area, rooms, income")],
    ),
    "misspelt": (
        {"Area": PRIVATE, "rooms": 3, "income": 1.0},
        [("area", "is missing", AREA), ("Area", "is not a column of this model", "Did you mean 'area'?")],
    ),
    "text for a number": ({**GOOD, "area": f"{PRIVATE}"}, [("area", "is not a number", AREA)]),
    "boolean for a number": ({**GOOD, "rooms": True}, [("rooms", "is not a whole number", ROOMS)]),
    "list for a number": ({**GOOD, "rooms": [PRIVATE]}, [("rooms", "is not a whole number", ROOMS)]),
    "fraction for a whole number": ({**GOOD, "rooms": 3.5}, [("rooms", "is not a whole number", ROOMS)]),
    "null": ({**GOOD, "rooms": None}, [("rooms", "has no value", ROOMS)]),
    "NaN": ({**GOOD, "area": float("nan")}, [("area", "is not a finite number", AREA)]),
    "NaN for a missing value": (
        {**GOOD, "income": float("nan")},
        [("income", "is not a finite number", "Give a number in € or null")],
    ),
    "infinity": ({**GOOD, "area": float("-inf")}, [("area", "is not a finite number", AREA)]),
    "too large for a float": ({**GOOD, "income": 10**400}, [("income", "is not a finite number", None)]),
    "below the range": ({**GOOD, "area": 9.99}, [("area", "is below 10", AREA)]),
    "above the range": ({**GOOD, "rooms": PRIVATE}, [("rooms", "is above 20", ROOMS)]),
    "not an object": ([PRIVATE], [(None, "is not an object", "Give an object with area, rooms, income")]),
}

BODIES = {
    "empty": (b"", "the body is empty"),
    "white space": (b" \n", "the body is empty"),
    "broken": (b'{"records": [\n {"area" 7654321}]}', "the body is not JSON at line 2, column 10"),
    "two documents": (b'{"records": []} {}', "the body is not JSON at line 1, column 17"),
    "not UTF-8": (b'{"records": "\xff"}', "the body is not UTF-8 at byte 13"),
    "UTF-16": ('{"records": []}'.encode("utf-16"), "the body is not UTF-8 at byte 0"),
    "too deep": (b"[" * 200_000, "the body is nested too deeply, or has a number with too many digits"),
    "too many digits": (b"9" * 4400, "the body is nested too deeply, or has a number with too many digits"),
    "key twice": (b'{"records": [{"area": 7654321, "area": 1}]}', "the key 'area' stands twice in one object"),
    "records twice": (b'{"records": [7654321], "records": []}', "the key 'records' stands twice in one object"),
    "a list": (b'[{"area": 7654321}]', "the body is not an object"),
    "null": (b"null", "the body is not an object"),
    "NaN": (b"NaN", "the body is not an object"),
    "no records": (b'{"instances": [7654321]}', "the body has no 'records'"),
    "another key": (b'{"records": [{}], "instances": 7654321}', "the body has the unknown key 'instances'"),
    "records no list": (b'{"records": {"area": 7654321}}', "'records' is not a list"),
    "no rows": (b'{"records": []}', "'records' is empty"),
    "too many rows": (b'{"records": [{}, {}, {}, {}]}', "'records' has 4 rows. Send at most 3 in a request"),
}


def problem(answer, status: int) -> Mapping:
    """The problem details in an answer, once it is proven to be some."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert content["type"] == "about:blank"
    assert content["status"] == status
    assert content["title"]
    assert content["detail"]
    assert str(PRIVATE) not in answer.text
    return content


@pytest.mark.parametrize("name", FAULTS)
def test_a_row_that_is_not_what_the_model_takes(houses_client, name):
    row, expected = FAULTS[name]
    answer = houses_client.post("/predict", content=json.dumps({"records": [GOOD, row]}), headers=JSON)
    content = problem(answer, 422)
    found = [(error["row"], error["column"], error["problem"], error["mend"]) for error in content["errors"]]
    assert found == [(1, column, fault, hint or found[0][3]) for column, fault, hint in expected]
    assert content["detail"].startswith("row 1")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"city": "7654321"}, "is not one of the known values"),
        ({"city": 7654321}, "is not a text"),
        ({"city": "\ud800"}, "is not valid Unicode"),
        ({"windy": 1}, "is not true or false"),
        ({"windy": "true"}, "is not true or false"),
    ],
)
def test_a_text_or_a_boolean_that_is_not_what_the_model_takes(days, days_client, change, fault):
    body = json.dumps({"records": [{**days.example, **change}]})
    content = problem(days_client.post("/predict", content=body, headers=JSON), 422)
    assert [(error["column"], error["problem"]) for error in content["errors"]] == [(next(iter(change)), fault)]


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_holds_no_records(houses, name):
    body, expected = BODIES[name]
    with TestClient(houses.app(max_rows=3)) as client:
        content = problem(client.post("/predict", content=body, headers=JSON), 422)
    assert content["detail"].startswith(expected)
    assert content["errors"] == [
        {"row": None, "column": None, "problem": content["errors"][0]["problem"], "mend": content["errors"][0]["mend"]}
    ]
    assert content["errors"][0]["mend"]


def test_a_name_that_a_client_sends_is_cut_short(houses_client):
    long = "\ud800" + "x" * 1000
    bodies = [{"records": [{**GOOD, long: 1}]}, {"records": [GOOD], long: 1}]
    texts = [json.dumps(body) for body in bodies] + ['{"%s": 1, "%s": 1}' % (("y" * 900,) * 2)]
    for text in texts:
        answer = houses_client.post("/predict", content=text, headers=JSON)
        problem(answer, 422)
        assert "x" * 101 not in answer.text
        assert "y" * 101 not in answer.text


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "status"), [(2000, 200), (2001, 413)])
def test_a_body_of_the_largest_size_is_read_and_one_byte_more_is_not(houses_client, chunked, size, status):
    body = json.dumps({"records": [GOOD]}).encode().ljust(size)
    content = (body[start : start + 999] for start in range(0, size, 999)) if chunked else body
    answer = houses_client.post("/predict", content=content, headers=JSON)
    assert answer.status_code == status
    if status == 413:
        detail = "the body has more than 2000 bytes. Send fewer rows in a request."
        assert problem(answer, 413)["detail"] == detail


def test_a_compressed_body_is_named_as_such(houses_client):
    body = gzip.compress(json.dumps({"records": [GOOD]}).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = houses_client.post("/predict", content=body, headers=headers)
    assert "without the header Content-Encoding" in problem(answer, 415)["detail"]
    assert answer.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonl"]
)
def test_a_body_that_is_not_said_to_be_json(houses_client, content_type):
    headers = {} if content_type is None else {"content-type": content_type}
    answer = houses_client.post("/predict", content=json.dumps({"records": [GOOD]}), headers=headers)
    assert "Content-Type: application/json" in problem(answer, 415)["detail"]


def test_other_addresses_and_methods(houses_client):
    problem(houses_client.get("/7654321"), 404)
    problem(houses_client.post("/predict/", json={"records": [GOOD]}), 404)
    answer = houses_client.get("/predict")
    problem(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_an_answer_that_is_not_finite_is_refused_by_row(faulty):
    with TestClient(faulty(values=(1.0, float("inf"), float("nan")))) as client:
        content = problem(client.post("/predict", json={"records": [GOOD] * 3}), 422)
    assert [(error["row"], error["problem"]) for error in content["errors"]] == [
        (1, "has no finite answer"),
        (2, "has no finite answer"),
    ]


def test_a_failing_graph_tells_the_client_nothing(faulty):
    with TestClient(faulty(failure=ValueError(f"income {PRIVATE}")), raise_server_exceptions=False) as client:
        content = problem(client.post("/predict", json={"records": [GOOD]}), 500)
    assert set(content) == {"type", "title", "status", "detail"}
    assert "income" not in content["detail"]


TEXT = st.text(st.characters(exclude_categories=()))  # with halves of surrogate pairs
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from(["Graz", 100, 990.0])
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8)
NAMES = st.sampled_from(["area", "rooms", "income", "city", "pressure", "windy"])
HOUSE = st.fixed_dictionaries({"area": SCALARS, "rooms": SCALARS, "income": SCALARS})
PLAUSIBLE_HOUSE = st.fixed_dictionaries(
    {"area": st.floats(10, 500), "rooms": st.integers(1, 20), "income": st.none() | st.floats()}
)
DAY = st.fixed_dictionaries({"city": SCALARS, "pressure": st.floats(890, 1110), "windy": st.booleans()})
RECORD = HOUSE | PLAUSIBLE_HOUSE | DAY | st.dictionaries(NAMES | TEXT, SCALARS) | ANYTHING
DOCUMENT = ANYTHING | st.fixed_dictionaries({"records": st.lists(RECORD, max_size=4)}) | st.dictionaries(TEXT, ANYTHING)


@settings(max_examples=150, deadline=None)
@given(body=st.binary() | DOCUMENT.map(json.dumps).map(str.encode))
def test_no_body_makes_the_server_fail(houses_client, days_client, body):
    for client in (houses_client, days_client):
        answer = client.post("/predict", content=body, headers=JSON)
        assert answer.status_code in (200, 413, 422)
        answer.json()
