"""What came is counted, by whichever process it came to, and each answer says by whom and as what."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from starlette.testclient import TestClient

from starterkit.feedback.predictions import PredictionLog
from starterkit.feedback.writer import Writer
from starterkit.serving.http import create_app
from starterkit.serving.http.prometheus import Metrics, Where
from starterkit.settings import ServingSettings

GOOD = {"area": 100.0, "rooms": 3, "income": 40000.0}
MONITORING = Path(__file__).parents[4] / "docker" / "monitoring"
SAMPLE = re.compile(r'starterkit_\w+(\{\w+="(?:[^"\\\n]|\\.)*"(,\w+="(?:[^"\\\n]|\\.)*")*\})? \S+')


def asked(client: TestClient) -> dict[str, float]:
    """The samples by name and labels, once each line is proven to be one."""
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    assert all(SAMPLE.fullmatch(line) for line in lines)
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_requests_rows_and_faults_are_counted(houses):
    client = TestClient(houses.app())
    client.post("/predict", json={"records": [GOOD] * 3})
    client.post("/predict", json={"records": [GOOD | {"area": 1, "colour": 1}]})
    client.post("/invocations", json={"inputs": [GOOD]})
    client.get("/7654321")
    found = asked(client)
    assert found['starterkit_requests_total{path="/predict",status="200"}'] == 1
    assert found['starterkit_rows_total{path="/predict"}'] == 3
    assert found['starterkit_rows_total{path="/invocations"}'] == 1
    assert found['starterkit_refused_total{reason="range",column="area"}'] == 1
    assert found['starterkit_refused_total{reason="unknown_column",column=""}'] == 1
    assert found['starterkit_requests_total{path="other",status="404"}'] == 1
    assert found['starterkit_request_seconds_bucket{path="/predict",status="200",le="+Inf"}'] == 1
    assert found['starterkit_model_processes{model="local.houses",version="3"}'] == 1
    assert "7654321" not in client.get("/metrics").text


def test_what_a_client_is_told_is_what_is_counted(houses, days, faulty):
    """The word for what is wrong, and the column where the model has it."""
    house, day, long = houses.example, days.example, {"content-type": "application/json", "content-length": "9" * 9}
    for app, sent, expected in (
        *(
            (houses.app(), {"json": {"records": [house | {column: value}]}}, (reason, column))
            for column, value, reason in (
                ("area", None, "missing"), ("rooms", "3", "type"), ("rooms", 3.5, "type"), ("area", 1, "range"),
                ("income", 1e9, "beyond"), ("secret\n", 1, "unknown_column"),
            )
        ),
        (days.app(), {"json": {"records": [day | {"city": "Rom"}]}}, ("category", "city")),
        (faulty(values=(float("nan"),)), {"json": {"records": [house]}}, ("no_answer", None)),
        (houses.app(), {"json": []}, ("body", None)),
        (houses.app(), {"content": b"{}"}, ("content_type", None)),
        (houses.app(), {"content": b"{}", "headers": long}, ("too_long", None)),
    ):  # fmt: skip
        client = TestClient(app)
        error = client.post("/predict", **sent).json()["errors"][0]
        assert (error["kind"], error["column"]) == expected
        reason, column = expected[0], expected[1] if expected[1] in {*house, *day} else ""
        assert f'starterkit_refused_total{{reason="{reason}",column="{column}"}}' in asked(client)


def test_processes_are_added_up_and_one_that_is_replaced_forgets_nothing(houses, tmp_path):
    def start(number: int) -> TestClient:
        return TestClient(create_app(houses.model, ServingSettings(), Metrics(Where(tmp_path, number))))

    predicted = 'starterkit_requests_total{path="/predict",status="200"}'
    first, second = start(0), start(1)
    for client in (first, second, second):
        client.post("/predict", json={"records": [GOOD]})
    assert asked(second)[predicted] == 2  # the first has not told yet: it does so each second
    assert asked(first)[predicted] == asked(second)[predicted] == 3
    again = start(1)
    again.post("/predict", json={"records": [GOOD]})
    found = asked(again)
    assert found[predicted] == 4
    assert found['starterkit_model_processes{model="local.houses",version="3"}'] == 2


def test_each_answer_names_its_request_and_version(houses_client):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for address in ("/predict", "/health/live", "/nothing"):
        for sent, named in (
            ({"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}, trace),
            ({"x-request-id": "mine-1"}, "mine-1"),
            ({"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01", "x-request-id": "no blanks"}, None),
        ):
            told = houses_client.post(address, headers=sent).headers
            assert told["x-model-version"] == "3"
            assert told["x-request-id"] == named if named else re.fullmatch("[0-9a-f]{32}", told["x-request-id"])


def expressions() -> dict[str, str]:
    """Each alert's and each panel's, by its name."""
    rules = yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"][0]["rules"]
    (file,) = (MONITORING / "dashboards").glob("*.json")
    panels = json.loads(file.read_text())["panels"]
    asked = {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels for target in panel["targets"]}
    return {rule["alert"]: rule["expr"] for rule in rules} | asked


def test_alerts_and_dashboard_ask_for_metrics_and_labels_that_there_are(houses, settings):
    log = PredictionLog(settings)
    figures = {"rmse": 61.5, "quality_loss": 0.2, "drift.rooms": 0.3, "drifted_columns": 1.0}
    for broken in (0, 1):  # the last window counts
        log.keep_window(houses.model.name, {"version": "3", "figures": figures, "broken": broken}, datetime.now(UTC))
    log.keep_window("local.others", {"version": "9", "figures": {}, "broken": 7}, datetime.now(UTC))
    app = create_app(houses.model, ServingSettings.model_validate({}), log=Writer(log, int))
    with TestClient(app) as client:
        for record in (GOOD, {}):
            client.post("/predict", json={"records": [record]})
        text = client.get("/metrics").text
    assert 'window_broken_rules{model="local.houses",version="3"} 1\n' in text
    told = [re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line) for line in text.splitlines()]
    there = {line[1]: {*re.findall(r"(\w+)=", line[2] or "")} for line in told if line}
    for name, asked in expressions().items():
        assert "starterkit_" in asked or name == "ApiDown"
        for metric, labels in re.findall(r"(starterkit_\w+)(?:\{(.*?)\})?", asked):
            assert {*re.findall(r"(\w+)[=!]", labels)} <= there[metric], name
        for labels in re.findall(r"by \(([\w, ]+)\)", asked):
            known = set().union(*(there[one] for one in re.findall(r"starterkit_\w+", asked)))
            assert {*labels.split(", ")} <= known, name


REQUESTS, BUCKET = 'starterkit_requests_total{path="/predict",status="%s"}', "starterkit_request_seconds_bucket"
SLOW = [f'{BUCKET}{{path="/predict",status="200",le="{le}"}}' for le in ("0.25", "0.5", "+Inf")]
SWAPS, MODEL = 'starterkit_swaps_total{outcome="%s"}', 'starterkit_model_processes{model="m",version="%s"}'
FIRES = {  # what is seen each minute, beside an API that is up and answers, and at which minute that is one alert more
    "ApiDown": ({'up{job="api"}': "0x40"}, 2),
    "ApiFails": ({REQUESTS % 500: "0+2x40"}, 20),
    "ApiSlow": ({SLOW[0]: "0+90x40", SLOW[1]: "0+100x40", SLOW[2]: "0+100x40"}, 20),
    "InputRefused": ({REQUESTS % 422: "0+20x40"}, 30),
    "ChampionRefused": ({SWAPS % "refused": "0x9 1x30"}, 12),
    "RegistryUnreachable": ({"starterkit_registry_missed_processes": "1x40"}, 20),
    "RuleBroken": ({'starterkit_window_broken_rules{model="m",version="3"}': "0x9 1x30"}, 12),
    "NobodyWatches": ({'starterkit_window_end_timestamp_seconds{model="m",version="3"}': "-172000x40"}, 30),
    "VersionsDiffer": ({MODEL % 1: "1x40", MODEL % 2: "1x40"}, 20),
}
SOUND = {'up{job="api"}': "1x40", REQUESTS % 200: "0+100x40", MODEL % 3: "1x40"}
SOUND |= {SWAPS % "refused": "0x40", "starterkit_registry_missed_processes": "0x40"} | dict.fromkeys(SLOW, "0+100x40")


@pytest.mark.slow
def test_alerts_come_when_they_should_and_only_then(tmp_path):
    promtool = shutil.which("promtool") or pytest.skip("not run: there is no promtool (apt-get install prometheus)")
    config = [promtool, "check", "config", "--syntax-only", MONITORING / "prometheus.yml"]
    assert subprocess.run(config, check=False).returncode == 0
    assert {name for name in expressions() if " " not in name} == FIRES.keys()

    def trial(seen: dict[str, str], minute: int, alert: str = "") -> dict:
        series = [{"series": name, "values": values} for name, values in seen.items()]
        asked = 'count by (alertname) (ALERTS{alertstate="firing"})'
        fires = [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if alert else []
        test = {"expr": asked, "eval_time": f"{minute}m", "exp_samples": fires}
        return {"interval": "1m", "input_series": series, "promql_expr_test": [test]}

    silent = {name: values for name, values in SOUND.items() if "up" not in name}
    tests = [trial(SOUND | seen, minute, alert) for alert, (seen, minute) in FIRES.items()]
    tests += [trial(SOUND, 35), trial(silent, 9, "ApiDown")]
    given = {"rule_files": [str(MONITORING / "rules.yml")], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(given))
    done = subprocess.run([promtool, "test", "rules", tmp_path / "tests.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
