"""The API as other people's clients ask it: each in an environment of its own, pinned."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import product

import pytest
from test_over_http import running

from starterkit.feedback.predictions import PredictionLog
from starterkit.feedback.writer import Writer
from starterkit.serving.http import create_app
from starterkit.settings import ServingSettings

HOUSES = [{"area": 100.0, "rooms": 3, "income": 4e4}, {"area": 20.5, "rooms": 1, "income": None}]
DAYS = [{"city": "Graz", "pressure": 990.0, "windy": True}, {"city": "Zürich", "pressure": 910.5, "windy": False}]

TRITON = """
import json, sys
import numpy as np
import tritonclient.http as http

at, houses, days = json.loads(sys.argv[1])
client, other = (http.InferenceServerClient(one.removeprefix("http://")) for one in at.values())
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("local.houses")
assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
about = {one["name"]: one["datatype"] for one in other.get_model_metadata("local.days")["inputs"]}
KINDS = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}

def asked(name, values, datatype, binary):
    array = np.array([np.nan if one is None else one for one in values], KINDS[datatype])
    given = http.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given

told = []
for binary in (True, False):
    for said in (True, False):
        of = lambda name: http.InferRequestedOutput(name, binary_data=said)
        rows = [[np.nan if v is None else float(v) for v in row.values()] for row in houses]
        if binary:
            matrix = http.InferInput("any", [2, 3], "FP64")
            matrix.set_data_from_numpy(np.array(rows), binary_data=True)
            told.append(client.infer("local.houses", [matrix], outputs=[of("price")]).as_numpy("price").tolist())
        columns = [asked(n, [row[n] for row in days], kind, binary) for n, kind in about.items()]
        answer = other.infer("local.days", columns, outputs=[of("weather"), of("weather_is_dry")], request_id="7")
        assert answer.get_response()["id"] == "7"
        labels = [one.decode() if isinstance(one, bytes) else one for one in answer.as_numpy("weather").tolist()]
        told.append([labels, answer.as_numpy("weather_is_dry").tolist()])
    answer = other.infer("local.days", columns)  # as it comes: all outputs, in bytes
    told.append([[one.decode() for one in answer.as_numpy("weather")], answer.as_numpy("weather_is_dry").tolist()])
try:
    other.infer("local.days", [asked("city", ["Graz"], "BYTES", True)])
except Exception as error:
    assert "the input 'pressure' is missing" in str(error), error
print(json.dumps(told))
"""

KSERVE = """
import asyncio, json, sys
import numpy as np
import pandas as pd
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

at, houses, days = json.loads(sys.argv[1])

async def main():
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_ready(at["local.houses"]) and await client.is_server_live(at["local.houses"])
    assert await client.is_model_ready(at["local.houses"], "local.houses")
    told = []
    for binary in (True, False):
        for model, frame in (("local.houses", pd.DataFrame(houses)), ("local.days", pd.DataFrame(days))):
            inputs = []
            for name in frame:
                array = frame[name].to_numpy()
                kind = {"f": "FP64", "i": "INT64", "b": "BOOL"}.get(array.dtype.kind, "BYTES")
                one = InferInput(name, list(array.shape), kind)
                one.set_data_from_numpy(array, binary_data=binary)
                inputs.append(one)
            request = InferRequest(model_name=model, infer_inputs=inputs)
            answer = await client.infer(at[model], request, model_name=model)
            values = [one.as_numpy().tolist() for one in answer.outputs[:2]]
            values[0] = [one.decode() if isinstance(one, bytes) else one for one in values[0]]
            told.append(values[0] if len(values) == 1 else values)
    print(json.dumps(told))

asyncio.run(main())
"""

MLSERVER = """
import json, sys
from urllib.request import Request, urlopen
import numpy as np
import pandas as pd
from mlserver.codecs import NumpyCodec, PandasCodec
from mlserver.types import InferenceRequest, InferenceResponse

at, houses, days = json.loads(sys.argv[1])
told = []
for model, request in (
    ("local.houses", PandasCodec.encode_request(pd.DataFrame(houses))),
    ("local.days", PandasCodec.encode_request(pd.DataFrame(days))),
    ("local.houses", InferenceRequest(inputs=[NumpyCodec.encode_input("any", pd.DataFrame(houses).to_numpy(float))])),
):
    body = request.model_dump_json(exclude_none=True).encode()
    asked = Request(f"{at[model]}/v2/models/{model}/infer", body, {"content-type": "application/json"})
    answer = InferenceResponse.model_validate_json(urlopen(asked).read())
    frame = PandasCodec.decode_response(answer)
    values = [frame[name].tolist() for name in [*frame][:2]]
    told.append(values[0] if len(values) == 1 else values)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def asked(houses, days) -> Iterator[str]:
    with running(houses.app()) as one, running(days.app()) as two:
        at = {"local.houses": "http://{}:{}".format(*one), "local.days": "http://{}:{}".format(*two)}
        yield json.dumps([at, HOUSES, DAYS])


@pytest.mark.parametrize(
    ("package", "script", "expected"),
    [
        ("tritonclient[http]==2.73.0", TRITON, "hdhddddd"),
        ("kserve==0.21.0", KSERVE, "hdhd"),
        ("mlserver==1.7.1 pandas==2.3.3", MLSERVER, "hdh"),
    ],
)
def test_the_open_inference_protocols_clients(client, asked, houses_client, days_client, package, script, expected):
    prices = houses_client.post("/predict", json={"records": HOUSES}).json()["predictions"]
    weather = days_client.post("/predict", json={"records": DAYS}).json()
    answers = {"h": prices, "d": [weather["predictions"], [row["dry"] for row in weather["probabilities"]]]}
    assert json.loads(client(package, "-c", script, asked)) == [answers[one] for one in expected]


CASES = 10_000
SCHEMATHESIS = "schemathesis==4.32.5"
CHECKS = "--checks=not_a_server_error,status_code_conformance,content_type_conformance"


def test_what_schemathesis_makes_of_the_openapi_document(client, houses, days, settings, pytestconfig):
    """Both models' whole documents: no 5xx, and each answer is one that the document tells of.

    Sound requests and broken ones are drawn apart, and few with one seed: a case costs the more, the more there were.
    """
    terminal, said = pytestconfig.get_terminal_writer(), client(SCHEMATHESIS, "--version", command="schemathesis")
    given = ("--max-examples=150", "--no-color", "--suppress-health-check=all", CHECKS)
    with ExitStack() as stack:
        writer = Writer(PredictionLog(settings), int)
        apps = [create_app(one.model, ServingSettings(), log=writer) for one in (houses, days)]
        documents = ["http://{}:{}/openapi.json".format(*stack.enter_context(running(app))) for app in apps]

        def run(at: str, mode: str, seed: int) -> int:
            phases = "fuzzing" if seed > 1 else "examples,coverage,fuzzing"  # the others have no chance in them
            words = ("run", at, f"--mode={mode}", f"--seed={seed}", f"--phases={phases}", *given)
            told = client(SCHEMATHESIS, *words, command="schemathesis", seconds=1800)
            count = int(told.partition("Test cases:")[2].partition("generated")[0].replace(",", ""))
            terminal.line(f"{mode}, seed {seed}, {at}: {count:,} cases")
            return count

        runs = product(documents, ("positive", "negative"), range(1, 5))
        sent = [*stack.enter_context(ThreadPoolExecutor(4)).map(run, *zip(*runs, strict=True))]
    terminal.line(f"{said.strip()}: {sum(sent):,} cases")
    assert sum(sent) >= CASES, sent
