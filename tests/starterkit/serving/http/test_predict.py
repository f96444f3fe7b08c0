"""A request is answered, or refused with what is wrong, where, and what would do, and no value comes back."""

import gzip
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from starterkit.contract import Prediction, Written
from starterkit.serving.http.answers import InvalidRequest, answer, prediction_content
from starterkit.serving.http.records import RecordReader
from starterkit.serving.predictor import Answered, Predictor
from starterkit.serving.validation import InvalidRecords, read_records

HOUSES = [
    {"area": 100.0, "rooms": 3, "income": 40000.0},
    {"area": 17, "rooms": 20.0, "income": None},
    {"income": -100_000.0, "rooms": 1, "area": 500},
]
DAYS = [
    {"city": "Zürich", "pressure": 960.5, "windy": True},
    {"city": None, "pressure": 1049, "windy": False},
    {"windy": False, "pressure": 900, "city": "Linz"},
]


def test_a_row_beyond_the_proof_is_refused_or_answered_and_marked(houses):
    near, far = houses.example, houses.example | {"income": 1e12}
    marking = replace(houses, model=replace(houses.model, predictor=Predictor(houses.folder, beyond="mark")))
    for app, status, kind in ((houses.app(), 422, "errors"), (marking.app(), 200, "beyond")):
        with TestClient(app) as client:
            assert "beyond" not in client.post("/predict", json={"records": [near]}).json()
            response = client.post("/predict", json={"records": [near, far]})
            described = client.get("/openapi.json").json()["components"]["schemas"]
        (fault,) = response.json()[kind]
        assert (response.status_code, fault["row"], fault["column"]) == (status, 1, "income")
        assert "as far as the model is proven" in fault["problem"]
        assert ("maximum" in described["Record"]["properties"]["income"]) == (kind == "errors")
        assert ("beyond" in described["Prediction"]["properties"]) == (kind == "beyond")


def test_an_answer_is_the_predictors_with_each_classs_probability(houses, houses_client, days, days_client):
    response = houses_client.post("/predict", json={"records": HOUSES})
    expected = houses.model.predictor.predict(read_records(houses.contract, HOUSES)).values.tolist()
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"model": {"name": "local.houses", "version": "3"}, "predictions": expected}
    assert len(set(expected)) == 3
    found = days_client.post("/predict", json={"records": DAYS}).json()
    expected = days.model.predictor.predict(read_records(days.contract, DAYS))
    assert found["predictions"] == expected.values.tolist() == ["rain", "dry", "snow"]
    for row, probabilities in zip(found["probabilities"], expected.probabilities, strict=True):
        assert list(row) == ["dry", "rain", "snow"]
        assert list(row.values()) == probabilities.tolist()


def test_a_key_beside_each_record_is_kept_and_not_scored(houses, houses_client):
    for keys in (["h:1", "h, 2", "Ü"], ["same"] * 3, ["x" * 200, "\\", '"']):
        body = {"records": HOUSES, "keys": keys}
        assert [*RecordReader(houses.contract, "refuse", 3).read(json.dumps(body).encode()).keys] == keys
        expected = houses_client.post("/predict", json={"records": HOUSES}).json()
        assert houses_client.post("/predict", json=body).json() == expected
    for key in ("", 7, None, "x" * 201, "a\n", "\0", "\ud800"):
        body = json.dumps({"records": HOUSES, "keys": ["a", key, "b"]})
        (error,) = problem(houses_client.post("/predict", content=body, headers=JSON), 422)["errors"]
        assert (error["row"], error["column"], error["problem"]) == (1, None, "has a key that is none")


def test_a_boolean_class_is_no_number(days):
    contract = replace(days.contract, classes=(False, True))
    served = replace(days.model, predictor=SimpleNamespace(contract=contract))
    content = prediction_content(served, Answered(Prediction(np.array([1, 0]), np.array([[0.2, 0.8], [0.9, 0.1]])), ()))
    assert [value is True for value in json.loads(answer(content).body)["predictions"]] == [True, False]
    assert json.loads(answer(content).body)["probabilities"][0] == {"false": 0.2, "true": 0.8}
    content = prediction_content(served, Answered(Prediction(np.array([0]), decision_values=np.array([[-1.5]])), ()))
    assert json.loads(answer(content).body)["decision_values"] == [{"true": -1.5}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON;charset=latin-1"])
def test_json_is_utf8_whatever_the_header_adds(days_client, kind, encoding):
    body = json.dumps({"records": DAYS}, ensure_ascii=False).encode(encoding)
    response = days_client.post("/predict", content=body, headers={"content-type": kind})
    assert response.json()["predictions"] == ["rain", "dry", "snow"]


def written(days):
    """The weather's model, with columns that the file writes otherwise."""
    how = {
        "city": Written(header="Home City", missing=("?",)),
        "pressure": Written(header="p (hPa)", decimal=",", thousands=".", affixes=("hPa",)),
        "windy": Written(flags={"Y": True, "": False}),
    }
    columns = tuple(replace(one, written=how[one.name]) for one in days.contract.columns)
    contract = replace(days.contract, columns=columns)
    predict = days.model.predictor.predict
    predictor = SimpleNamespace(contract=contract, predict=predict, beyond="refuse", most_alike=0)
    return replace(days, model=replace(days.model, predictor=predictor))


def test_raw_records_are_answered_as_those_in_the_schemas_words(days, days_client):
    raw = [
        {"Home City": "Zürich", "p (hPa)": "960,5 hPa", "windy": "Y", "weather": "?", "": 1},
        {"Home City": "?", "p (hPa)": "1.049", "windy": ""},
        {"windy": False, "pressure": "900", "city": "Linz"},
    ]
    with TestClient(written(days).app(raw_records=True)) as client:
        answered = client.post("/predict", json={"records": raw})
        assert answered.json() == days_client.post("/predict", json={"records": DAYS}).json()
        assert "p (hPa)" in client.get("/openapi.json").json()["components"]["schemas"]["Record"]["description"]
    assert days_client.post("/predict", json={"records": raw}).status_code == 422


def test_a_raw_record_that_does_not_fit_is_told_where(days):
    record = {"Home City": "Linz", "p (hPa)": 960.5, "windy": True}
    with TestClient(written(days).app(raw_records=True)) as client:
        for name, value, said in (
            ("p (hPa)", "960.5", ("pressure", "is not a number", "Give a number in hPa, 900 to 1100")),
            ("p (hPa)", [960], ("pressure", "is not a number", "Give a number in hPa, 900 to 1100")),
            ("p (hPa)", math.inf, ("pressure", "is not a finite number", "Give a number in hPa, 900 to 1100")),
            ("p (hPa)", None, ("pressure", "has no value", "Give a number in hPa, 900 to 1100")),
            ("Home City", "\ud800", ("city", "is not a text", "Give one of 'Graz', 'Linz', 'Zürich' or null")),
            ("windy", "maybe", ("windy", "is not true or false", "Give true or false")),
        ):
            body = json.dumps({"records": [record, record | {name: value}]})
            (error,) = client.post("/predict", content=body, headers=JSON).json()["errors"]
            assert (error["row"], error["column"], error["problem"], error["mend"]) == (1, *said)
        misspelt = client.post("/predict", json={"records": [{"Home Cty": "Linz", "p (hPa)": 950, "windy": True}, 7]})
    first, second = misspelt.json()["errors"]
    assert (first["problem"], first["mend"]) == ("is missing", "Did you mean 'Home Cty'?")
    assert (second["row"], second["problem"]) == (1, "is not an object")


JSON = {"content-type": "application/json"}
GOOD = HOUSES[0]
AREA, ROOMS = "Give a number in m², 10 to 500", "Give a whole number, 1 to 20"
INCOME = "Give a number in €; the model is proven from -480000 to 580000 or null"
WHOLE, INFINITE = "is not a whole number", "is not a finite number"
PRIVATE = 7654321

UNKNOWN = "is not a column of this model"
FAULTS = [  # what is sent instead, and each column's fault and hint
    ({"area": None}, [("area", "has no value", AREA)]),
    ({"area": 9.99, "rooms": PRIVATE}, [("area", "is below 10", AREA), ("rooms", "is above 20", ROOMS)]),
    ({"area": f"{PRIVATE}", "rooms": 3.5}, [("area", "is not a number", AREA), ("rooms", WHOLE, ROOMS)]),
    ({"rooms": True}, [("rooms", WHOLE, ROOMS)]),
    ({"rooms": [PRIVATE]}, [("rooms", WHOLE, ROOMS)]),
    ({"area": float("nan"), "income": float("-inf")}, [("area", INFINITE, AREA), ("income", INFINITE, INCOME)]),
    ({"income": 10**400}, [("income", INFINITE, INCOME)]),
    ({"colour": PRIVATE}, [("colour", UNKNOWN, "Leave it out. The model takes area, rooms, income")]),
    ({"roms": PRIVATE, "rooms": ...}, [("rooms", "is missing", ROOMS), ("roms", UNKNOWN, "Did you mean 'rooms'?")]),
    ([PRIVATE], [(None, "is not an object", "Give an object with area, rooms, income")]),
]

DEEP = "the body is nested too deeply, or has a number with too many digits"
BODIES = [
    (b"", "the body is empty"),
    (b" \n", "the body is empty"),
    (b'{"records": [\n {"area" 7654321}]}', "the body is not JSON at line 2, column 10"),
    (b'{"records": []} {}', "the body is not JSON at line 1, column 17"),
    (b'{"records": "\xff"}', "the body is not UTF-8 at byte 13"),
    ('{"records": []}'.encode("utf-16"), "the body is not UTF-8 at byte 0"),
    (b"[" * 200_000, DEEP),
    (b"9" * 4400, DEEP),
    (b'{"records": [{"area": 7654321, "area": 1}]}', "the key 'area' stands twice in one object"),
    (b'{"records": [{"area": 9, "rooms": 3, "income": 1, "area": 9}]}', "the key 'area' stands twice in one object"),
    (b'{"records": [7654321], "records": []}', "the key 'records' stands twice in one object"),
    (b'[{"area": 7654321}]', "the body is not an object"),
    (b"null", "the body is not an object"),
    (b'{"instances": [7654321]}', "the body has no 'records'"),
    (b'{"records": [{}], "instances": 7654321}', "the body has the unknown key 'instances'"),
    (b'{"records": [{}], "keys": "7654321"}', "'keys' is not a list of 1"),
    (b'{"records": [{}], "keys": []}', "'keys' is not a list of 1"),
    (b'{"records": [{}], "keys": ["a"], "keys": ["7654321"]}', "the key 'keys' stands twice in one object"),
    (b'{"records": {"area": 7654321}}', "'records' is not a list"),
    (b'{"records": []}', "'records' is empty"),
    (b'{"records": [{}, {}, {}, {}]}', "'records' has 4 rows. Send at most 3 in a request"),
]


def problem(answer, status: int) -> Mapping:
    """The problem details in an answer, once it is proven to be some."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert (content["type"], content["status"]) == ("about:blank", status)
    assert content["title"]
    assert str(PRIVATE) not in answer.text
    return content


@pytest.mark.parametrize(("change", "expected"), FAULTS)
def test_a_row_that_is_not_what_the_model_takes(houses_client, change, expected):
    row = change
    if isinstance(change, dict):
        row = {name: value for name, value in {**GOOD, **change}.items() if value is not ...}
    answer = houses_client.post("/predict", content=json.dumps({"records": [GOOD, row]}), headers=JSON)
    content = problem(answer, 422)
    found = [(error["row"], error["column"], error["problem"], error["mend"]) for error in content["errors"]]
    assert found == [(1, *fault) for fault in expected]
    assert content["detail"].startswith("row 1")


def test_a_text_or_a_boolean_that_is_not_what_the_model_takes(days, days_client):
    for column, value, fault in (
        ("city", "7654321", "is not one of the known values"), ("city", 7654321, "is not a text"),
        ("city", "\ud800", "is not valid Unicode"), ("windy", 1, "is not true or false"),
        ("windy", "true", "is not true or false"),
    ):  # fmt: skip
        body = json.dumps({"records": [{**days.example, column: value}]})
        content = problem(days_client.post("/predict", content=body, headers=JSON), 422)
        assert [(error["column"], error["problem"]) for error in content["errors"]] == [(column, fault)]


@pytest.fixture(scope="module")
def endless_client(houses):
    """It reads 1 MB, and 3 rows."""
    with TestClient(houses.app(max_rows=3)) as client:
        yield client


@pytest.mark.parametrize(("body", "said"), BODIES, ids=lambda value: value[:20] if isinstance(value, str) else "")
def test_a_body_that_holds_no_records(endless_client, body, said):
    content = problem(endless_client.post("/predict", content=body, headers=JSON), 422)
    assert content["detail"].startswith(said)
    (error,) = content["errors"]
    assert (error["row"], error["column"], bool(error["mend"])) == (None, None, True)


def test_a_name_that_a_client_sends_is_cut_short(houses_client):
    long = "\ud800" + "x" * 1000
    bodies = [{"records": [{**GOOD, long: 1}]}, {"records": [GOOD], long: 1}]
    for text in (*map(json.dumps, bodies), '{"%s": 1, "%s": 1}' % (("x" * 900,) * 2)):
        answer = houses_client.post("/predict", content=text, headers=JSON)
        assert "x" * 101 not in str(problem(answer, 422))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_the_largest_size_is_read_and_one_byte_more_is_not(houses_client, chunked):
    for size in (2000, 2001):
        body = json.dumps({"records": [GOOD]}).encode().ljust(size)
        content = (body[start : start + 999] for start in range(0, size, 999)) if chunked else body
        answer = houses_client.post("/predict", content=content, headers=JSON)
        if size == 2000:
            assert answer.status_code == 200
        else:
            said = "the body has more than 2000 bytes. Send fewer rows in a request."
            assert problem(answer, 413)["detail"] == said


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonl"]
)
def test_a_body_that_is_not_said_to_be_json_or_is_compressed(houses_client, content_type):
    headers = {} if content_type is None else {"content-type": content_type}
    answer = houses_client.post("/predict", content=json.dumps({"records": [GOOD]}), headers=headers)
    assert "Content-Type: application/json" in problem(answer, 415)["detail"]
    packed = gzip.compress(json.dumps({"records": [GOOD]}).encode())
    answer = houses_client.post("/predict", content=packed, headers={**JSON, "content-encoding": "gzip"})
    assert "without the header Content-Encoding" in problem(answer, 415)["detail"]
    assert answer.headers["accept-encoding"] == "identity"


def test_other_addresses_and_methods(houses_client):
    for address in ("/7654321", "/predict/"):
        problem(houses_client.get(address), 404)
    assert problem(houses_client.get("/predict"), 405)
    assert houses_client.get("/predict").headers["allow"] == "POST"


def test_an_answer_that_is_not_finite_is_refused_by_row_and_what_memory_does_not_bear_finds_no_room(faulty):
    with TestClient(faulty(values=(1.0, float("inf"), float("nan")))) as client:
        content = problem(client.post("/predict", json={"records": [GOOD] * 3}), 422)
    said = [(error["row"], error["problem"]) for error in content["errors"]]
    assert said == [(row, "has no finite answer") for row in (1, 2)]
    with TestClient(faulty(failure=MemoryError())) as client:  # nothing is raised: the log gets no traceback
        answer = client.post("/predict", json={"records": [GOOD]})
    assert "no room" in problem(answer, 503)["detail"]
    assert answer.headers["retry-after"] == "1"


def test_a_failing_graph_tells_the_client_nothing_in_each_protocols_form(faulty):
    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in GOOD.items()]
    with TestClient(faulty(failure=ValueError(f"income {PRIVATE}")), raise_server_exceptions=False) as client:
        for address, body, form in (
            ("/predict", {"records": [GOOD]}, ["type", "title", "status", "detail"]),
            ("/invocations", {"instances": [GOOD]}, ["error_code", "message"]),
            ("/v2/models/local.houses/infer", {"inputs": inputs}, ["error"]),
        ):
            answer = client.post(address, json=body)
            assert (answer.status_code, [*answer.json()]) == (500, form)
            assert not re.search(f"income|{PRIVATE}", answer.text)


TEXT = st.text(st.characters(exclude_categories=()))  # with halves of surrogate pairs
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from(["Graz", 100, 990.0])
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8)
NAMES = st.sampled_from(["area", "rooms", "income", "city", "pressure", "windy"])
HOUSE = st.fixed_dictionaries({"area": SCALARS, "rooms": SCALARS, "income": SCALARS})
INCOMES = st.none() | st.floats()
PLAUSIBLE_HOUSE = st.fixed_dictionaries({"area": st.floats(10, 500), "rooms": st.integers(1, 20), "income": INCOMES})
DAY = st.fixed_dictionaries({"city": SCALARS, "pressure": st.floats(890, 1110), "windy": st.booleans()})
RECORD = HOUSE | PLAUSIBLE_HOUSE | DAY | st.dictionaries(NAMES | TEXT, SCALARS) | ANYTHING
DOCUMENT = ANYTHING | st.fixed_dictionaries({"records": st.lists(RECORD, max_size=4)}) | st.dictionaries(TEXT, ANYTHING)


@settings(max_examples=60, deadline=None)
@given(body=st.binary() | DOCUMENT.map(json.dumps).map(str.encode))
def test_no_body_makes_the_server_fail(houses_client, days_client, body):
    for client in (houses_client, days_client):
        answer = client.post("/predict", content=body, headers=JSON)
        assert answer.status_code in (200, 413, 422)
        answer.json()


CHANGES = [("}", ', "area": 100}'), ("}", ', "city": ":"}'), ("{", '{"area": 1, '), ("Graz", "Gr:az"), ("", "")]
RECORDS = st.lists(HOUSE | PLAUSIBLE_HOUSE | DAY | st.sampled_from([*HOUSES, *DAYS]), max_size=3)


@pytest.mark.parametrize("beyond", ["refuse", "mark"])
@settings(max_examples=150, deadline=None)
@given(RECORDS, st.sampled_from(CHANGES), st.none() | st.lists(TEXT, max_size=3) | st.just(["a:", ",", "b"]))
def test_both_ways_of_reading_come_to_the_same(houses, days, beyond, records, change, keys):
    document = {"records": records} | ({} if keys is None else {"keys": keys})
    body = json.dumps(document, ensure_ascii=False).replace(*change).encode("utf-8", "replace")
    for model in (houses, days):
        both = [RecordReader(model.contract, beyond, 3), RecordReader(model.contract, beyond, 3)]
        both[1]._quick = None
        quick, exact = (read(reader, body) for reader in both)
        if isinstance(quick, str) or isinstance(exact, str):
            assert quick == exact
            continue
        assert [*quick.keys] == [*exact.keys]
        quick, exact = quick.table, exact.table
        if isinstance(quick, np.ndarray):
            quick = dict(zip(model.contract.names, quick.T, strict=True))
        for name in model.contract.names:
            assert [*map(repr, quick[name].tolist())] == [*map(repr, exact[name].tolist())]


def read(reader, body):
    try:
        return reader.read(body)
    except (InvalidRecords, InvalidRequest) as error:
        return str(error)


def test_sound_rows_are_read_the_quick_way(houses, days):
    """Or the test above compares the exact one with itself."""
    for model, records in ((houses, HOUSES), (days, DAYS)):
        reader = RecordReader(model.contract, "refuse", 3)
        assert reader._quick.read(json.dumps({"records": records}).encode(), 3) is not None


def test_a_mass_of_values_is_refused_before_anything_is_made_of_it(houses, days):
    for body in (b'{"records": [' + b"[]," * 9999 + b"[]]}", b'{"records": [' + b"1," * 9999 + b'"]"]}'):
        for model in (houses, days):
            with pytest.raises(InvalidRequest, match="more values than 3 rows can have"):
                RecordReader(model.contract, "refuse", 3).read(body)
    with pytest.raises(InvalidRequest, match="not JSON at line 2, column 2: "):
        RecordReader(houses.contract, "refuse", 3).read(b'{"records": [1\n' + b"," * 9999)
    text = {**DAYS[0], "city": "," * 9999}  # commas in a text are none between values
    with pytest.raises(InvalidRecords, match="is not one of the known values"):
        RecordReader(days.contract, "refuse", 3).read(json.dumps({"records": [text]}).encode())


@pytest.mark.parametrize("address", ["/predict", "/invocations", "/v2/models/local.houses/infer"])
def test_a_body_that_is_none_is_refused_at_each_protocols_address(houses_client, address):
    more = [b"{", b"[" * 1900, b"1" * 1900, b"\xff\xfe", b"[]", b"{}", b'{"inputs": [], "inputs": []}']
    whole = json.dumps({"records": [GOOD]}).encode()
    for body in (*more, whole[:-9], whole.decode().encode("utf-16"), *(body for body, _ in BODIES)):
        for headers in (JSON, {**JSON, "content-encoding": "gzip"}):
            told = houses_client.post(address, content=body, headers=headers)
            assert 400 <= told.status_code < 500, (body, told.text)
