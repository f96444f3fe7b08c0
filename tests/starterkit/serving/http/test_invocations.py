"""MLflow's scoring protocol, held against MLflow's own server with the same graph; and clouds' addresses for it."""

import json
import random
from pathlib import Path
from typing import Any

import mlflow.onnx
import mlflow.pyfunc
import onnx
import pandas as pd
import pytest
from mlflow.models import infer_signature
from mlflow.pyfunc import scoring_server
from starlette.testclient import TestClient

from starterkit.errors import UserError
from starterkit.serving.http import Platform

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs", "columns", "csv")
CSV, JSON = {"content-type": "text/csv"}, {"content-type": "application/json"}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*infer_string")
Pair = tuple[TestClient, TestClient, Any]


@pytest.fixture(scope="module")
def pairs(houses, days, tmp_path_factory) -> dict[str, Pair]:
    """For each model the kit's server, MLflow's, and how a row of it is drawn."""
    folder, drawn = tmp_path_factory.mktemp, {"houses": (houses, house), "days": (days, day)}
    return {name: (TestClient(one.app()), theirs(one, folder(name)), draw) for name, (one, draw) in drawn.items()}


def theirs(exported, folder) -> TestClient:
    row = pd.DataFrame([exported.example]).astype({"income": float} if "income" in exported.example else {})
    signature = infer_signature(row, pd.DataFrame({exported.contract.target.name: [0.0]}))
    mlflow.onnx.save_model(onnx.load(exported.folder / "model.onnx"), folder / "model", signature=signature)
    return TestClient(scoring_server.init(mlflow.pyfunc.load_model(str(folder / "model"))))


def house(draw: random.Random) -> dict[str, Any]:
    return {"area": draw.uniform(10, 500), "rooms": draw.randint(1, 20), "income": draw.uniform(-1e5, 5e5)}


def day(draw: random.Random) -> dict[str, Any]:
    pressure = draw.choice([draw.uniform(900, 1100), 990.0])
    return {"city": draw.choice(["Graz", "Linz", "Zürich"]), "pressure": pressure, "windy": draw.random() < 0.5}


def payload(form: str, rows: list[dict[str, Any]], draw: random.Random) -> tuple[bytes, dict[str, str]]:
    """The rows in one of the protocol's forms, with the columns in some order."""
    names = draw.sample([*rows[0]], len(rows[0])) if draw.random() < 0.5 else [*rows[0]]
    frame = pd.DataFrame(rows)[names]
    if form == "csv":
        return frame.to_csv(index=False).encode(), CSV
    split: dict[str, Any] = {"columns": names, "data": [[row[name] for name in names] for row in rows]}
    if draw.random() < 0.3:
        split["index"] = [*range(len(rows))]
    columns = {name: [row[name] for row in rows] for name in names}
    inner = {"dataframe_split": split, "columns": columns}.get(form, [{n: row[n] for n in names} for row in rows])
    return json.dumps({"inputs" if form == "columns" else form: inner}).encode(), JSON


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", ["houses", "days"])
def test_sound_rows_are_answered_as_mlflow_answers_them(pairs, model, form):
    ours, mlflows, draw_row = pairs[model]
    draw = random.Random(f"{model} {form}")
    for _ in range(10):
        body, headers = payload(form, [draw_row(draw) for _ in range(draw.randint(1, 5))], draw)
        with pd.option_context("future.infer_string", False):  # onnxruntime takes none of pandas 3's own texts
            told, expected = (one.post("/invocations", content=body, headers=headers) for one in (ours, mlflows))
        assert (told.status_code, told.json()) == (200, expected.json()), body
        assert told.headers["content-type"] == expected.headers["content-type"]


ROW = {"area": 100.0, "rooms": 3, "income": 4e4}
SPLIT = {"columns": [*ROW], "data": [[*ROW.values()]]}
REFUSED_BY_BOTH: list[Any] = [
    {"instances": []},
    {"inputs": []},
    {"dataframe_records": []},
    {"dataframe_records": [ROW], "inputs": [ROW]},
    {"records": [ROW]},
    [ROW],
    {"dataframe_records": [{"area": 100.0, "rooms": 3}]},
    {"dataframe_split": {**SPLIT, "data": [[100.0, 3]]}},
    {"dataframe_split": {"columns": ["area"], "data": []}},
    {"inputs": [[100.0, 3, 4e4]]},
    {"inputs": {"area": [1.0, 2.0], "rooms": [3], "income": [4e4]}},
    {"dataframe_records": [{**ROW, "area": "large"}]},
    {"dataframe_records": [{**ROW, "area": 9.0}]},  # the graph of the kit refuses what lies beyond its proof
]
ANSWERED_BY_BOTH = [
    {"dataframe_split": {**SPLIT, "data": []}},
    {"inputs": {"area": [], "rooms": [], "income": []}},
    {"inputs": ROW},
    {"dataframe_records": [{**ROW, "income": None}]},
    {"dataframe_records": [ROW], "params": None},
    {"dataframe_records": [{**ROW, "rooms": 3.0}]},
]
REFUSED_HERE: list[Any] = [  # the list in docs/protocols.md
    {"dataframe_records": [{**ROW, "colour": 1}]},
    {"dataframe_records": [{**ROW, "area": "100.0"}]},
    {"dataframe_records": [{**ROW, "income": True}]},
    {"dataframe_records": [{**ROW, "rooms": 1.5}]},
    {"dataframe_records": [{**ROW, "area": float("nan")}]},
    {"dataframe_records": [{**ROW, "area": None}]},
    {"dataframe_records": [ROW], "more": 1},
    {"dataframe_records": [ROW], "params": {"a": 1}},
]


def test_what_is_refused(pairs):
    ours, mlflows, _ = pairs["houses"]
    bodies = [(body, (400, 400)) for body in REFUSED_BY_BOTH] + [(body, (400, 200)) for body in REFUSED_HERE]
    for body, statuses in bodies + [(body, (200, 200)) for body in ANSWERED_BY_BOTH]:
        told, expected = (one.post("/invocations", content=json.dumps(body), headers=JSON) for one in (ours, mlflows))
        status = told.status_code
        assert (status, expected.status_code) == statuses, (body, told.text, expected.text)
        if status == 400:
            assert {*told.json()} >= {"error_code", "message"}
        else:
            assert told.json() == expected.json()


def test_csv_and_content_types(pairs):
    for content, kind, status in (
        (b"area,rooms,income\n100,3,\n", "text/csv; charset=utf-8", 200),
        (b"area,rooms,income\n", "text/csv", 200),
        (b"100.0,3,40000\n20,1,\n", "text/csv", 200),  # SageMaker's, without a first line; MLflow refuses it
        (b"area,rooms,income\n100,3\n", "text/csv", 400),
        (b"area,area,income\n1,2,3\n", "text/csv", 400),
        (b"\xff", "text/csv", 400),
        (b"", "text/csv", 400),
        (b"{}", "application/json; format=pandas-split", 415),
        (b"{}", "", 415),
    ):
        told = pairs["houses"][0].post("/invocations", content=content, headers={"content-type": kind} if kind else {})
        assert told.status_code == status, (content, told.text)
        assert status == 200 or {*told.json()} >= {"error_code", "message"}


def test_a_refusal_names_row_and_column_and_limits_hold(houses, pairs):
    body = {"dataframe_split": {**SPLIT, "data": [[100.0, 3, 4e4], [100.0, 99, 4e4]]}}
    told = pairs["houses"][0].post("/invocations", json=body).json()
    assert told["message"].startswith("row 1, column 'rooms': is above 20")
    assert [(one["row"], one["column"]) for one in told["errors"]] == [(1, "rooms")]
    with TestClient(houses.app(max_rows=1, require_api_key=True, api_key="k" * 16)) as client:
        keyless = client.post("/invocations", json=body)
        assert (keyless.status_code, keyless.json()["error_code"]) == (401, "UNAUTHENTICATED")
        many = client.post("/invocations", json=body, headers={"x-api-key": "k" * 16})
        assert (many.status_code, "at most 1" in many.json()["message"]) == (400, True)


def test_what_is_asked_before(pairs):
    ours, mlflows, _ = pairs["houses"]
    for address in ("/ping", "/health", "/version"):
        told, expected = ours.get(address), mlflows.get(address)
        assert (told.status_code, told.text) == (200, expected.text)
        assert told.headers["content-type"] == expected.headers["content-type"]
    assert ours.get("/invocations").status_code == 405


def test_azure_ml_and_vertex_ai_are_answered_at_their_addresses(houses, pairs, monkeypatch):
    told = {"AZUREML_MODEL_DIR": "/nowhere", "AIP_PREDICT_ROUTE": "/p:predict", "AIP_HEALTH_ROUTE": "/up"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    expected = pairs["houses"][0].post("/invocations", json={"inputs": [ROW]}).json()
    with TestClient(houses.app()) as client:
        assert client.get("/up").status_code == 200
        for address, body in (
            ("/score", {"input_data": SPLIT}),
            ("/score", {"input_data": [ROW]}),
            ("/p:predict", {"instances": [ROW], "parameters": {}}),
        ):
            assert client.post(address, json=body).json() == expected
        assert client.post("/p:predict", json={"instances": [{}]}).json()["error_code"] == "BAD_REQUEST"


NOWHERE = Path("/nowhere")
VERTEX = {"AIP_HTTP_PORT": "8085", "AIP_HEALTH_ROUTE": "/up", "AIP_PREDICT_ROUTE": "/v1/m:predict"}


def test_ports_addresses_and_folders():
    for environ, expected in (
        ({"AIP_STORAGE_URI": "gs://bucket/model"}, Platform()),
        ({"SAGEMAKER_BIND_TO_PORT": "8081"}, Platform(8081)),
        ({"STARTERKIT_MODEL": "/app/model"}, Platform(folder=Path("/app/model"))),
        (VERTEX, Platform(8085, None, ("/v1/m:predict",), ("/up",))),
    ):
        assert Platform.of(environ, NOWHERE) == expected


def test_the_model_that_a_platform_brings(tmp_path):
    opt = tmp_path / "ml"
    (opt / "model").mkdir(parents=True)
    assert Platform.of({"STARTERKIT_MODEL": "own"}, opt) == Platform(8080, Path("own"))  # SageMaker's folder is empty
    (opt / "model" / "contract.json").touch()
    assert Platform.of({"STARTERKIT_MODEL": "own"}, opt).folder == opt / "model"
    azure = tmp_path / "azure"
    (azure / "1" / "house-prices").mkdir(parents=True)
    with pytest.raises(UserError, match="has no exported folder"):
        Platform.of({"AZUREML_MODEL_DIR": str(azure)}, NOWHERE)
    (azure / "1" / "house-prices" / "contract.json").touch()
    told = Platform.of({"AZUREML_MODEL_DIR": str(azure)}, NOWHERE)
    assert told == Platform(None, azure / "1" / "house-prices", ("/score",))


def test_what_is_none_is_named():
    wrong = {"SAGEMAKER_BIND_TO_PORT": "http", "AIP_HTTP_PORT": "65536", "AIP_PREDICT_ROUTE": "predict"}
    for name, value in {**wrong, "AIP_HEALTH_ROUTE": "x"}.items():
        with pytest.raises(UserError, match=name):
            Platform.of({name: value}, NOWHERE)
