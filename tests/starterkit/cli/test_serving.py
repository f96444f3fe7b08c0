"""`serve` in processes of its own: one, several behind one port, one that starts again; and `ui`."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest

from starterkit.cli import server
from starterkit.cli.champion import VERSION_FILE, name_of_problem, open_folder
from starterkit.errors import ContractError, ProblemError
from starterkit.serving.predictor import CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE
from starterkit.settings import load_settings
from starterkit.tracking.connection import connect

REPOSITORY = Path(__file__).parents[3]
SECONDS = 60
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
"""A request whose rest never comes."""


KIT = (sys.executable, "-m", "starterkit")


def wait_for_workers(api: Any, count: int, without: int = 0) -> list[int]:
    """So many, and not the one that ended. Their process ids."""
    api.wait(lambda: len(api.workers) == count and without not in [one.pid for one in api.workers])
    return [one.pid for one in api.workers]


def require_end(api: Any, code: int) -> None:
    """It ended so, without a traceback, and no process of its session is left."""

    def is_there() -> bool:
        try:
            os.killpg(api.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    assert api.process.wait(SECONDS) == code, api.said
    api.wait(lambda: not is_there(), seconds=10)
    assert "Traceback" not in api.said


def test_a_port_that_is_lost_while_the_model_is_opened_is_one_line(run, trained, port, monkeypatch):
    opened = server._open_champion

    def open_slowly(*given):
        rivals.enter_context(socket.create_server(("127.0.0.1", port)))
        return opened(*given)

    monkeypatch.setattr(server, "_open_champion", open_slowly)
    with ExitStack() as rivals:
        done = run(trained, "serve", KIT_SERVING__PORT=str(port), code=2)
    assert f"error: 127.0.0.1 port {port} cannot be had: Address already in use." in done.stderr


def test_a_key_that_was_made_opens_it_and_its_log_is_json_without_a_value(run, trained, tmp_path, serve):
    assert run(trained, "api-key", "no name").returncode == 2
    made = run(trained, "api-key", "ada")
    keys, key, trace = tmp_path / "keys", made.stderr.split()[-1], "4bf92f3577b34da6a3ce929d0e0e4736"
    keys.write_text(made.stdout)
    assert key not in made.stdout
    asked = {"REQUIRE_API_KEY": "true", "API_KEYS_FILE": str(keys), "LOG_FORMAT": "json", "LOG_REQUESTS": "true"}
    api = serve(trained, **{f"KIT_SERVING__{name}": value for name, value in asked.items()})
    api.wait_for()
    client = HTTPConnection("127.0.0.1", api.port)
    told = []
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "content-type": "application/json"}
    for sent in (key, key[:-1]):
        body = '{"records": [{"age": 7654321}]}'
        client.request("POST", "/predict?name=7654321", body, headers | {"x-api-key": sent})
        told.append(client.getresponse())
        told[-1].read()
    assert [answer.status for answer in told] == [422, 401]
    api.wait_for("\n{", times=2)
    lines = [json.loads(line) for line in api.said.splitlines() if line.startswith("{")]
    told = [(line["method"], line["path"], line["status"]) for line in lines]
    assert told == [("POST", "/predict", 422), ("POST", "/predict", 401)]
    assert {(line["request"], line["model"], line["level"]) for line in lines} == {(trace, "1", "info")}
    assert all(0 < line["ms"] < 10_000 for line in lines)
    assert "local.diabetes version 1 on cpu" in api.said
    assert ("7654321" in api.said, key[:-1] in api.said) == (False, False)


@pytest.mark.slow
def test_being_ended_is_a_good_end_also_where_a_client_never_sends_its_body(serve, trained):
    host, shown = ("::1", "[::1]") if socket.has_ipv6 else ("127.0.0.1", "127.0.0.1")
    api = serve(trained, KIT_SERVING__HOST=host)
    api.wait_for(f"Answering on http://{shown}:{api.port}, ")  # an address that can be opened, for IPv6 too
    with socket.create_connection((host, api.port)) as client:
        client.sendall(HEAD)
        time.sleep(0.5)
        api.process.send_signal(signal.SIGTERM)
        require_end(api, 0)
    assert "Stopped" not in api.said


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_the_log_has_not_written_yet_is_written_at_the_end(serve, trained, workers):
    """Refused requests are counted and written later, and SQLite carries its own log into the file."""
    api = serve(trained, KIT_SERVING__WORKERS=str(workers), KIT_FEEDBACK__DATABASE="sqlite:///ended.db")
    api.wait(api.version)
    wait_for_workers(api, workers if workers > 1 else 0)
    with suppress(HTTPError):
        urlopen(Request(f"{api.address}/predict", b"{}", {"Content-Type": "application/json"}), timeout=20)
    api.process.send_signal(signal.SIGTERM)
    require_end(api, 0)
    assert [file.name for file in trained.rglob("ended.db*")] == ["ended.db"]
    with closing(sqlite3.connect(next(trained.rglob("ended.db")))) as log:
        assert log.execute("SELECT sum(count) FROM refusal WHERE reason = ''").fetchone() == (1,)


@pytest.mark.slow
def test_workers_outlive_the_folder_and_a_worker_that_cannot_be_started_again(run, trained, tmp_path, serve):
    model = tmp_path / "model"
    run(trained, "fetch", str(model), code=0)
    api = serve(trained, "--folder", str(model), KIT_SERVING__WORKERS="2", TMPDIR=str(tmp_path))
    first, second = wait_for_workers(api, 2)
    api.wait(api.version)
    version = api.version()
    shutil.rmtree(model)  # as `fetch` does when it writes a newer one
    os.kill(first, signal.SIGKILL)
    wait_for_workers(api, 2, without=first)
    time.sleep(6)  # a process that starts opens the model within this time
    (third,) = {*wait_for_workers(api, 2)} - {second}
    os.kill(second, signal.SIGKILL)
    (fourth,) = {*wait_for_workers(api, 2, without=second)} - {third}
    api.wait(api.version)
    assert api.version() == version  # from the one that was started without the folder

    shutil.rmtree(next(tmp_path.glob("starterkit-model-*")))
    os.kill(fourth, signal.SIGKILL)
    time.sleep(6)
    assert api.process.poll() is None
    assert api.version() == version
    assert api.end() == 0


@pytest.mark.slow
def test_who_comes_while_workers_end_is_refused_at_once(serve, trained):
    api = serve(trained, KIT_SERVING__WORKERS="2")
    api.wait(api.version)
    wait_for_workers(api, 2)
    with ExitStack() as opened:
        for _ in range(4):  # requests that hold the end up
            opened.enter_context(socket.create_connection(("127.0.0.1", api.port))).sendall(HEAD)
        time.sleep(0.5)
        api.process.send_signal(signal.SIGTERM)
        time.sleep(2)
        assert api.process.poll() is None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", api.port), timeout=5)
    require_end(api, 0)


@pytest.mark.slow
def test_it_starts_again_when_code_or_settings_change(run, trained, serve):
    shutil.copytree(REPOSITORY / "src" / "example_project", trained / "src" / "example_project")
    api = serve(trained, "--reload", PYTHONPATH=str(trained / "src"))
    api.wait_for(f"Answering on {api.address}, ")
    (trained / "src" / "example_project" / "problem.py").open("a").write("\n# saved\n")
    api.wait_for("src/example_project/problem.py changed: starting again")
    local = trained / "config" / "local.yaml"
    text = local.read_text()
    local.write_text(f"{text}\nserving:\n  max_rowz: 5\n")
    said = api.wait_for("Not answering until that is mended")
    assert "config/local.yaml changed: starting again" in said
    assert "serving.max_rowz is not a setting (did you mean serving.max_rows?)" in said
    local.write_text(f"{text}\nserving:\n  max_rows: 5\n")
    done = run(trained, "traffic", "--count", "5", "--rate", "50", KIT_SERVING__PORT=str(api.port), code=0)
    assert done.stdout.startswith("5 answered, 0 refused; median ")
    os.killpg(api.process.pid, signal.SIGINT)  # as a terminal does
    require_end(api, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("child", "number", "code"), [(False, signal.SIGTERM, 143), (False, signal.SIGKILL, -9), (True, signal.SIGKILL, 1)]
)
def test_nothing_is_left_when_it_or_the_process_that_answers_is_ended(serve, trained, child, number, code):
    api = serve(trained, "--reload")
    api.wait_for()
    os.kill(api.workers[0].pid if child else api.process.pid, number)
    require_end(api, code)
    assert ("error: the process that answers was ended by signal 9." in api.said) == child


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environ", "code", "said"),
    [
        ({"KIT_SERVING__REQUIRE_API_KEY": "true"}, 2, "serving.api_key is not set"),
        ({"KIT_TRACKING__URI": "sqlite:///other.db"}, 1, "has no champion"),
        ({"KIT_SERVING__HOST": "192.0.2.1"}, 2, "192.0.2.1 port"),
        ({"KIT_STAGE": "produktion"}, 2, "KIT_STAGE"),
    ],
)
def test_a_first_start_that_is_refused_ends_it(serve, trained, environ, code, said):
    api = serve(trained, "--reload", **environ)
    require_end(api, code)
    assert said in api.said
    assert api.said.count("error:") == 1
    assert "Answering" not in api.said


@pytest.mark.parametrize("command", ["ui", "serve"])
def test_a_taken_port_is_told_with_what_names_another(run, unchanged, port, command):
    with socket.create_server(("127.0.0.1", port)):
        done = run(unchanged, command, "--port", str(port), code=2)
    what, hint = done.stderr.splitlines()[-2:]
    assert what == f"error: 127.0.0.1 port {port} cannot be had: Address already in use."
    assert ("KIT_SERVING__PORT" if command == "serve" else "--port") in hint
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("died", [False, True], ids=["Ctrl-C", "died"])
def test_its_end_is_told_only_where_nobody_asked_for_it(repository, port, died):
    command, environ = [*KIT, "ui", "--port", str(port)], os.environ | {"PYTHONUNBUFFERED": "1"}
    pipe: Any = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=repository, text=True, env=environ, **pipe) as running:
        assert running.stdout.readline().startswith("MLflow's UI: ")
        if died:
            psutil.Process(running.pid).children()[0].kill()
        else:
            running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=60)
    assert running.returncode == (1 if died else 0)
    assert ("error: MLflow's UI ended by itself." in told) == died
    assert "Stopped" not in told

    until = time.monotonic() + 10
    with suppress(ConnectionRefusedError):  # its worker has ended, too
        while time.monotonic() < until:
            socket.create_connection(("127.0.0.1", port)).close()
            time.sleep(0.1)
        pytest.fail(f"somebody still answers on port {port}")


def loadtest(root: Path, *words: str, code: int = 1, **environ: str) -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own, as is the API that it starts."""
    given = os.environ | {"NO_COLOR": "1", "COLUMNS": "200"} | environ
    command = [*KIT, "loadtest", "--seconds", "1", *words]
    done = subprocess.run(command, cwd=root, env=given, capture_output=True, text=True, timeout=200)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    return done


@pytest.mark.slow
def test_an_api_is_started_loaded_measured_and_ended(trained):
    said = json.loads(loadtest(trained, "--json", code=0, KIT_LOADTEST__MAX_P95_MS="20000").stdout)
    assert (said["passed"], said["errors"]) == (True, 0)
    assert 0 < said["p50_ms"] <= said["p95_ms"] <= said["p99_ms"] <= said["max_ms"]
    assert [said["requests"] > 10, said["memory_mb"] > 40, said["cores"] > 0] == [True] * 3
    client = connect(load_settings(trained, {}).tracking, trained).client
    run = client.get_run(said["run"])
    assert run.info.status == "FINISHED"
    assert client.get_experiment(run.info.experiment_id).name == "local.diabetes.load"
    assert run.data.metrics["throughput"] == pytest.approx(said["throughput"])
    assert run.data.tags["served"] == "local.diabetes version 1"
    assert [file.path for file in client.list_artifacts(run.info.run_id, "figures")] == ["figures/latency.png"]


@pytest.mark.slow
def test_a_limit_that_does_not_hold_is_refused_and_kept_and_an_api_that_cannot_start_says_why(trained):
    done = loadtest(trained, KIT_LOADTEST__MIN_THROUGHPUT="1e9")
    assert "REFUSE" in done.stdout
    for words in ("the API does not hold the stage's limits for throughput", "keep the figures"):
        assert words in done.stderr
    done = loadtest(trained, KIT_SERVING__REQUIRE_API_KEY="true")
    assert "the API did not start: serving.require_api_key is true and serving.api_key is not set." in done.stderr
    assert "Set KIT_SERVING__API_KEY or put it into secrets/KIT_SERVING__API_KEY." in done.stderr


HEAVY = ("mlflow", "onnx", "pandas", "pandera", "pyarrow", "skl2onnx", "sklearn")


@pytest.fixture
def kept(run, trained: Path) -> Path:
    assert run(trained, "fetch", "build/model", code=0).stdout == "local.diabetes version 1 is in build/model\n"
    return trained / "build" / "model"


def test_a_kept_folder_serves_as_the_version_that_it_is(run, trained, kept):
    assert {file.name for file in kept.iterdir()} == {CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE, VERSION_FILE}
    assert [file.name for file in kept.parent.iterdir()] == ["model"]
    served = open_folder(load_settings(trained, {}), kept)
    assert (served.name, served.version) == ("local.diabetes", "1")
    for note in ("{", "[]", '{"model": "local.diabetes"}', "\udcff"):
        (kept / VERSION_FILE).write_bytes(note.encode("utf-8", "surrogateescape"))
        with pytest.raises(ContractError, match="does not say which version it is"):
            open_folder(load_settings(trained, {}), kept)
    (kept / VERSION_FILE).unlink()
    served = open_folder(load_settings(trained, {}), kept)
    assert (served.name, served.version) == ("diabetes", "folder model")


def test_an_earlier_copy_is_replaced_and_nothing_else_is(run, trained, kept):
    (kept / GRAPH_FILE).write_bytes(b"an earlier one")
    done = run(trained, "fetch", "build/model", "--json")
    assert json.loads(done.stdout) == {"model": "local.diabetes", "version": "1", "folder": "build/model"}
    assert open_folder(load_settings(trained, {}), kept).contract.problem == "diabetes"

    (kept / "thesis.txt").touch()
    said = " ".join(run(trained, "fetch", "build/model", code=2).stderr.split())
    assert "build/model holds something else than a model's exported folder. Name" in said
    assert (kept / "thesis.txt").exists()


def test_serving_loads_nothing_heavy(trained, kept):
    code = f"""
import sys
from pathlib import Path
import starterkit.cli.commands
from starterkit.cli.champion import Kept, open_folder
from starterkit.serving.http import create_app
from starterkit.settings import load_settings
settings = load_settings()
for served in (Kept(settings, Path("build/kept")).first()[0], open_folder(settings, Path("build/model"))):
    create_app(served, settings.serving)
    print(served.name, served.version, sorted({set(HEAVY)!r} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=trained, capture_output=True, text=True, timeout=120)
    assert done.stdout == "local.diabetes 1 []\n" * 2, done.stderr


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("pandas", "error: this command needs the package 'pandas', which is not installed here."),
        ("starterkit.data", "Traceback"),  # the kit's own fault, which nobody may hide
    ],
)
def test_a_command_without_its_packages_says_so(repository, missing, says):
    code = f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['', 'train'];"
    code += "import starterkit.cli as c; c.main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith(says)


def test_an_older_project_s_name_needs_its_packages(monkeypatch):
    monkeypatch.setattr("starterkit.machine.stated_name", lambda: None)
    assert name_of_problem() == "diabetes"
    monkeypatch.setitem(sys.modules, "starterkit.problem", None)
    with pytest.raises(ProblemError, match=r"importing it needs starterkit\.problem\. Call the entry point in"):
        name_of_problem()
