"""The API in use, with a real MLflow server behind it: what was sent while something broke, what failed, what was lost.

"Failed" is an answer that is no prediction, "lost" a request without an answer. Only a worker that is killed may lose
what it had in its hands: one request a connection.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import pytest
from cryptography.fernet import Fernet
from scratch import COMMAND, QUIET, Scratch, copied

SECONDS = 120
NAME = "local.diabetes"
SECRET = "of the webhook, long"


def wait_until(reached: Callable[[], Any], why: Callable[[], str], seconds: float = SECONDS) -> float:
    """For how long it took."""
    began = time.monotonic()
    while not reached():
        assert time.monotonic() - began < seconds, why()
        time.sleep(0.1)
    return time.monotonic() - began


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Mlflow:
    """A server on loopback over a store that a run filled. It may send messages to loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.key = Fernet.generate_key().decode()
        self.process: Any = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        given = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "https,http"}
        given |= {"MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true", "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": self.key}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | QUIET | given,
                                            cwd=self.folder, start_new_session=True)  # fmt: skip
        wait_until(self._answers, lambda: (self.folder / "server.log").read_text())

    def _answers(self) -> bool:
        with suppress(OSError), urlopen(f"{self.address}/version", timeout=1):
            return True
        return False

    def signal(self, number: int) -> None:
        """To the server and its worker."""
        with suppress(ProcessLookupError):  # killed before
            os.killpg(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.wait()

    def ask(self, path: str, **content: Any) -> dict[str, Any]:
        request = Request(f"{self.address}/api/2.0/mlflow/{path}", json.dumps(content).encode(),
                          {"Content-Type": "application/json"})  # fmt: skip
        with urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def promote(self, number: str) -> None:
        self.ask("registered-models/alias", name=NAME, alias="champion", version=number)

    def another(self) -> str:
        """A further version, of the same files as the first."""
        words = f"model-versions/get?name={NAME}&version=1"
        with urlopen(f"{self.address}/api/2.0/mlflow/{words}", timeout=20) as answer:
            first = json.load(answer)["model_version"]
        given = {"name": NAME, "source": f"models:/{NAME}/1", "run_id": first["run_id"], "tags": first["tags"]}
        return self.ask("model-versions/create", **given)["model_version"]["version"]


class Api:
    """`serve` in a process of its own, and what its output says."""

    def __init__(self, scratch: Scratch, **environ: str) -> None:
        self.several = "KIT_SERVING__WORKERS" in environ
        self.port, self.printed = free_port(), scratch.root.parent / f"printed-{time.monotonic_ns()}.txt"
        given = os.environ | QUIET | {"KIT_SERVING__PORT": str(self.port)} | scratch.environ | environ
        with self.printed.open("w") as out:
            self.process = subprocess.Popen([*COMMAND, "serve"], cwd=scratch.root, env=given, stdout=out, stderr=out,
                                            start_new_session=True)  # fmt: skip

    @property
    def said(self) -> str:
        return self.printed.read_text()

    def ready(self) -> dict[str, Any]:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=5) as answer:
                return json.load(answer)
        except OSError:
            assert self.process.poll() is None, self.said
            return {}

    def wait_for(self, version: str, **told: str) -> float:
        """Every worker answers so: none of twelve questions, over as many connections, says otherwise."""

        def reached() -> bool:
            found = [self.ready() for _ in range(12 if self.several else 1)]
            return all(one.get("model", {}).get("version") == version and told.items() <= one.items() for one in found)

        return wait_until(reached, lambda: f"{self.ready()}\n{self.said}")

    @property
    def workers(self) -> list[psutil.Process]:
        found = []
        for one in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # it ended meanwhile
                found += [one] * ("spawn_main" in " ".join(one.cmdline()))
        return found

    def metric(self, name: str) -> float:
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"starterkit_{name}"))

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(SECONDS)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Load:
    """Clients that ask one after the other, each over a connection that it keeps as long as it can."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.came: Counter[str] = Counter()
        self.versions: set[str] = set()
        self._port, self._ends = port, threading.Event()
        self._clients = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    def __enter__(self) -> "Load":
        with urlopen(f"http://127.0.0.1:{self._port}/model", timeout=20) as answer:
            self._body = json.dumps({"records": [json.load(answer)["example"]]})
        for one in self._clients:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for one in self._clients:
            one.join(20)

    def _ask(self) -> None:
        headers = {"Content-Type": "application/json"}
        connection = HTTPConnection("127.0.0.1", self._port, timeout=20)
        while not self._ends.is_set():
            self.came["sent"] += 1
            try:
                connection.request("POST", "/predict", self._body, headers)
                answer = connection.getresponse()
                content = json.loads(answer.read())
                self.came["failed"] += answer.status != 200
                self.versions.add(content["model"]["version"] if answer.status == 200 else str(content))
            except (OSError, HTTPException):
                self.came["lost"] += 1
                connection.close()
            time.sleep(0.01)

    def __str__(self) -> str:
        return f"sent {self.came['sent']}, failed {self.came['failed']}, lost {self.came['lost']}"

    @property
    def harmed(self) -> tuple[int, int]:
        return self.came["failed"], self.came["lost"]


@pytest.fixture(scope="session")
def filled(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    """A server on which version 1 is champion."""
    server = Mlflow(copied(trained, tmp_path_factory.mktemp("mlflow") / "store").root)
    server.start()
    yield server
    server.signal(signal.SIGKILL)


@pytest.fixture
def mlflow(filled: Mlflow) -> Mlflow:
    if filled.process.poll() is None:
        filled.signal(signal.SIGCONT)
    else:
        filled.start()
    filled.promote("1")
    return filled


@pytest.fixture
def serve(mlflow: Mlflow, fresh: Scratch) -> Iterator[Callable[..., Api]]:
    """Starts an API that looks at the champion each second; all of a test share one folder."""
    with ExitStack() as started:

        def start(**environ: str) -> Api:
            given = {"KIT_TRACKING__URI": mlflow.address, "KIT_SERVING__FOLLOW_SECONDS": "1"}
            api = Api(fresh, **(given | environ))
            started.callback(api.kill)
            return api

        yield start


def line(api: Api, words: str) -> str:
    return next((one.strip() for one in api.said.splitlines() if words in one), "nothing")


def test_mlflow_hangs(mlflow, serve, tell):
    api = serve()
    api.wait_for("1")
    with Load(api.port) as load:
        mlflow.signal(signal.SIGSTOP)
        api.wait_for("1", registry="does not give its champion")
        again = serve()
        took = again.wait_for("1", registry="does not give its champion")
    said = line(again, "open the model")
    tell("MLflow hangs, and the API is started again", again.end(), said, load, f"ready in {took:.1f} s", "")
    assert load.harmed == (0, 0)
    assert "the copy that was kept" in said


def test_mlflow_is_gone_in_between_and_at_the_start(mlflow, serve, fresh, tell):
    first = serve()
    first.wait_for("1")
    with Load(first.port) as load:
        mlflow.signal(signal.SIGKILL)
        first.wait_for("1", registry="does not give its champion")
        assert first.metric("registry_missed_processes") == 1
    assert first.end() == 0
    (copy,) = (fresh.root / "build" / "champion").glob("*/model")
    copy.rename(copy.with_name(".model.earlier"))  # as `kill -9` leaves it between two renamings
    again = serve(KIT_SERVING__WORKERS="2")
    took = again.wait_for("1", registry="does not give its champion")
    said = line(again, "fetch the champion")
    graph = copy / "model.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-100])
    refused = serve()
    code = refused.process.wait(SECONDS)
    tell("MLflow is killed, the copy is cut off, the API started", code, line(refused, "error:"), "no answer", "", "")
    assert (code, "is not used" in refused.said, "Traceback" in refused.said) == (1, True, False)
    with Load(again.port) as second:
        mlflow.start()
        version = mlflow.another()
        mlflow.promote(version)
        caught_up = again.wait_for(version)
    assert "registry" not in again.ready()
    assert graph.read_bytes() == whole  # the two versions have the same files
    tell("MLflow is killed, and the API started again", again.end(), said, f"{load}; then {second}",
         f"ready in {took:.1f} s; has the next champion in {caught_up:.1f} s", "")  # fmt: skip
    assert (load.harmed, second.harmed) == ((0, 0), (0, 0))
    assert "the copy that was kept" in said


def test_the_alias_moves_fifty_times_under_load(scratch, tell):
    """In a local store, whose champion is at hand: each move is a swap, in both workers."""
    from starterkit.settings import Stage, load_settings
    from starterkit.tracking.connection import connect
    from starterkit.tracking.registry import ModelRegistry

    registry = ModelRegistry(connect(load_settings(scratch.root, {}).tracking, scratch.root), Stage.LOCAL, "diabetes")
    first = registry.version(1)
    both = [first, registry.copy(first, first.tags, "the same again")]
    api = Api(scratch, KIT_SERVING__WORKERS="2", KIT_SERVING__FOLLOW_SECONDS="0.1")
    try:
        api.wait_for("1")
        with Load(api.port) as load:
            for move in range(1, 51):
                registry.set_champion(both[move % 2])
                time.sleep(0.25)
            api.wait_for("1")
        swaps = api.metric('swaps_total{outcome="swapped"')
        tell("the alias moves 50 times under load, 2 workers", api.end(), line(api, "Answering"), load,
             f"versions {sorted(load.versions)}, {swaps:.0f} swaps", "")  # fmt: skip
        assert load.harmed == (0, 0)
        assert load.versions == {"1", "2"}
        assert 20 <= swaps <= 100  # of both; a busy machine passes some over
    finally:
        api.kill()


def test_mlflow_s_webhook_wakes_all_workers(mlflow, serve, tell):
    api = serve(KIT_SERVING__WORKERS="2", KIT_SERVING__FOLLOW_SECONDS="600", KIT_SERVING__WEBHOOK_SECRET=SECRET)
    api.wait_for("1")
    event = {"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}
    mlflow.ask("webhooks", name="promoted", url=f"http://127.0.0.1:{api.port}/webhooks/mlflow", events=[event],
               secret=SECRET)  # fmt: skip
    version = mlflow.another()
    with Load(api.port) as load:
        mlflow.promote(version)
        took = api.wait_for(version)
    tell("MLflow's webhook tells of a new champion", api.end(), line(api, "Answering"), load, f"in {took:.1f} s", "")
    assert load.harmed == (0, 0)


@pytest.mark.parametrize("cut", ["shorter", "gone"])
def test_the_champion_s_files_are_cut_off(mlflow, serve, tell, cut):
    api = serve()
    api.wait_for("1")
    version, graph = mlflow.another(), next((mlflow.folder / "mlartifacts").rglob("model.onnx"))
    whole = graph.read_bytes()
    try:
        if cut == "shorter":
            graph.write_bytes(whole[: len(whole) // 2])
        else:
            graph.unlink()
        with Load(api.port) as load:
            mlflow.promote(version)
            wait_until(lambda: "refused" in api.ready(), lambda: api.said)
        again = serve(KIT_SERVING__FOLLOW_SECONDS="0")
        again.wait_for("1")
        assert "refused" in again.ready()
    finally:
        graph.write_bytes(whole)
    said = line(again, "open the model")
    tell(f"a new champion's model.onnx is {cut}", api.end(), line(api, "WARNING"), load, f"a start: {said}", "")
    assert load.harmed == (0, 0)
    assert "the copy that was kept" in said


def test_the_challenger_s_process_is_killed_and_stands_still_and_its_files_are_cut_off(mlflow, serve, tell):
    api, version, another = serve(KIT_SERVING__SHADOW="challenger"), mlflow.another(), mlflow.another()
    graph = next((mlflow.folder / "mlartifacts").rglob("model.onnx"))
    whole = graph.read_bytes()

    def shadow(words: str) -> float:
        return wait_until(lambda: words in str(api.ready().get("shadow")), lambda: f"{api.ready()}\n{api.said}")

    def process() -> psutil.Process:
        return api.workers[0]  # with one that answers, the only other one

    api.wait_for("1")
    mlflow.ask("registered-models/alias", name=NAME, alias="challenger", version=version)
    shadow(version)
    with Load(api.port) as load:
        process().kill()
        back = shadow("ended with -9") + shadow(f"'version': '{version}'")
        process().suspend()
        wait_until(lambda: api.metric('shadow_total{outcome="dropped"'), lambda: str(api.ready()))
        process().resume()
        scored = api.metric('shadow_total{outcome="scored"')
        wait_until(lambda: api.metric('shadow_total{outcome="scored"') > scored, lambda: str(api.ready()))
        try:
            graph.write_bytes(whole[:-100])
            mlflow.ask("registered-models/alias", name=NAME, alias="challenger", version=another)
            shadow(f"version {another}: model.onnx is not the file")
        finally:
            graph.write_bytes(whole)
    tell("the challenger is killed, stopped, and cut off", api.end(), line(api, "no shadow"), load,
         f"scored again in {back:.1f} s", "")  # fmt: skip
    assert load.harmed == (0, 0)
    assert load.versions == {"1"}


def test_a_worker_is_killed_under_load(scratch, tell):
    api = Api(scratch, KIT_SERVING__WORKERS="2")
    try:
        api.wait_for("1")
        clients = 8
        with Load(api.port, clients) as load:
            for _ in range(2):
                before = api.workers
                before[0].kill()
                wait_until(lambda gone=before[0]: len(api.workers) == 2 and gone not in api.workers, lambda: api.said)
            time.sleep(2)
        tell("one of 2 workers is killed, twice", api.end(), line(api, "starting another"), load, "answers", "")
        assert load.came["failed"] == 0
        assert load.came["lost"] <= 2 * clients
    finally:
        api.kill()


def test_slow_clients(scratch, tell):
    api = Api(scratch, KIT_SERVING__SECONDS_TO_ASK="2", KIT_SERVING__MAX_CONNECTIONS="64")
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"
    cut: list[int] = []
    ended: list[bytes] = []

    def dribble() -> None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", api.port)) as client:
            client.sendall(head)
            for _ in range(30):
                client.sendall(b" ")
                time.sleep(0.2)
            ended.append(client.recv(20))
            return
        cut.append(1)

    try:
        api.wait_for("1")
        slow = [threading.Thread(target=dribble) for _ in range(40)]
        with Load(api.port) as load:
            for one in slow:
                one.start()
            for one in slow:
                one.join(20)
        tell(
            "40 clients send a byte each 0.2 s",
            api.end(),
            "",
            load,
            f"{len(slow)} ended, {len(ended)} with an answer",
            "",
        )
        assert load.harmed == (0, 0)
        assert not any(b"200" in one for one in ended)
        assert len(cut) + len(ended) == len(slow)
    finally:
        api.kill()


def test_the_disk_under_the_copy_is_full(mlflow, serve, small_disk, tell):
    disk = small_disk(2)
    there = {"KIT_SERVING__COPY_FOLDER": str(disk / "champion")}
    api = serve(**there)
    api.wait_for("1")
    with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(b"x" * 4096) == 4096:
            pass
    version = mlflow.another()
    with Load(api.port) as load:
        mlflow.promote(version)
        api.wait_for(version)
    assert load.harmed == (0, 0)
    mlflow.signal(signal.SIGKILL)
    again = serve(**there)
    again.wait_for("1", registry="does not give its champion")  # the last that found room
    tell("the disk under the copy is full at a promotion", api.end(), line(api, "no copy"), load,
         "starts with the copy before it", "")  # fmt: skip
    assert "No space left" in line(api, "no copy")
    assert [one.name for one in next((disk / "champion").iterdir()).iterdir() if one.name != "lock"] == ["model"]
