"""`loadtest` and several workers, as commands in processes of their own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from starterkit.pipeline import Summary
from starterkit.settings import Stage, load_settings
from starterkit.tracking.connection import connect
from starterkit.tracking.registry import ModelRegistry

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "starterkit"]
LINUX = sys.platform.startswith("linux")


@pytest.fixture(scope="module")
def trained(first_run: tuple[Path, Summary], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = Path(shutil.copytree(first_run[0], tmp_path_factory.mktemp("load") / "my prøject"))
    connect(load_settings(root, {}).tracking, root)
    return root


def kit(root: Path, *words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    given = os.environ | {"NO_COLOR": "1", "COLUMNS": "200"} | environ
    return subprocess.run([*COMMAND, *words], cwd=root, env=given, capture_output=True, text=True, timeout=200)


def test_an_api_is_started_loaded_measured_and_ended(trained: Path) -> None:
    done = kit(trained, "loadtest", "--seconds", "2", "--json", KIT_LOADTEST__MAX_P95_MS="20000")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["passed"]
    assert said["errors"] == 0
    assert said["requests"] > 10
    assert 0 < said["p50_ms"] <= said["p95_ms"] <= said["p99_ms"] <= said["max_ms"]
    if LINUX:
        assert said["memory_mb"] > 40
        assert said["cores"] > 0
    client = connect(load_settings(trained, {}).tracking, trained).client
    run = client.get_run(said["run"])
    assert run.info.status == "FINISHED"
    assert client.get_experiment(run.info.experiment_id).name == "local.diabetes.load"
    assert run.data.metrics["throughput"] == pytest.approx(said["throughput"])
    assert run.data.tags["served"] == "local.diabetes version 1"
    assert [file.path for file in client.list_artifacts(run.info.run_id, "figures")] == ["figures/latency.png"]


def test_a_limit_that_does_not_hold_is_refused_and_kept(trained: Path) -> None:
    done = kit(trained, "loadtest", "--seconds", "1", KIT_LOADTEST__MIN_THROUGHPUT="1e9")
    assert done.returncode == 1
    assert "the API does not hold the stage's limits for throughput" in done.stderr
    assert "REFUSE" in done.stdout
    assert "keep the figures" in done.stderr


def test_an_api_that_cannot_start_says_why(trained: Path) -> None:
    done = kit(trained, "loadtest", "--seconds", "1", KIT_SERVING__PROVIDERS='["cuda"]')
    assert done.returncode == 1
    assert "error: the API did not start: execution provider 'cuda' is not there" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_api_that_cannot_start_says_its_own_mend(trained: Path) -> None:
    done = kit(trained, "loadtest", "--seconds", "1", KIT_SERVING__REQUIRE_API_KEY="true")
    assert done.returncode == 1
    what, mend = done.stderr.splitlines()[-2:]
    assert what == "error: the API did not start: serving.require_api_key is true and serving.api_key is not set."
    assert mend.strip() == "Set KIT_SERVING__API_KEY or put it into secrets/KIT_SERVING__API_KEY."


def test_an_address_where_nobody_is(trained: Path) -> None:
    done = kit(trained, "loadtest", "--seconds", "1", "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "the API at http://127.0.0.1:9 is not ready" in done.stderr


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def workers(trained: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    environ = os.environ | {"KIT_SERVING__WORKERS": "2", "KIT_SERVING__PORT": str(port)}
    with (trained / "said.txt").open("wb") as said:
        process = subprocess.Popen([*COMMAND, "serve"], cwd=trained, env=environ, stdout=said, stderr=said)
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


@pytest.mark.skipif(not LINUX, reason="not run: a process's children are found in /proc")
def test_a_worker_that_dies_is_started_again_and_all_end_together(
    trained: Path, port: int, workers: "subprocess.Popen[bytes]"
) -> None:
    end = time.monotonic() + 60
    while "Answering on " not in (trained / "said.txt").read_text():
        assert time.monotonic() < end
        time.sleep(0.2)
    first = answering(workers.pid)
    assert len(first) == 2
    promote_another(trained)
    now = first
    for killed in first:
        os.kill(killed, signal.SIGKILL)
        end = time.monotonic() + 60
        while len(now := answering(workers.pid)) < 2 or killed in now:
            assert time.monotonic() < end
            wait_until_ready(port)  # the other one goes on
            time.sleep(0.2)
    assert wait_until_ready(port) == "1"  # those that were started again serve what the first ones served
    workers.send_signal(signal.SIGTERM)
    assert workers.wait(60) == 0  # as with one process
    assert not [pid for pid in now if Path(f"/proc/{pid}").exists()]
    said = (trained / "said.txt").read_text()
    assert said.count("Answering on ") == 1
    assert said.count("A process ended with -9: starting another") == 2

    assert "Traceback" not in said
    assert "Stopped" not in said


@pytest.mark.skipif(not LINUX, reason="not run: a process's children are found in /proc")
def test_workers_outlive_the_folder_and_a_worker_that_cannot_be_started_again(
    trained: Path, tmp_path: Path, port: int
) -> None:
    assert kit(trained, "fetch", str(tmp_path / "model")).returncode == 0
    environ = os.environ | {"KIT_SERVING__WORKERS": "2", "KIT_SERVING__PORT": str(port), "TMPDIR": str(tmp_path)}
    command = [*COMMAND, "serve", "--folder", str(tmp_path / "model")]
    with subprocess.Popen(command, cwd=trained, env=environ, stderr=subprocess.DEVNULL) as serving:
        try:
            version = wait_until_ready(port)
            wait_for_workers(serving.pid, 2)
            shutil.rmtree(tmp_path / "model")  # as `fetch` does when it writes a newer one
            first, second = answering(serving.pid)
            os.kill(first, signal.SIGKILL)
            wait_for_workers(serving.pid, 2, without=first)
            third = next(pid for pid in answering(serving.pid) if pid != second)
            time.sleep(6)  # a process that starts opens the model within this time
            os.kill(second, signal.SIGKILL)
            wait_for_workers(serving.pid, 2, without=second)
            assert wait_until_ready(port) == version  # from the one that was started without the folder

            shutil.rmtree(next(tmp_path.glob("starterkit-model-*")))
            for pid in answering(serving.pid):
                if pid != third:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(6)
            assert serving.poll() is None
            assert wait_until_ready(port) == version
        finally:
            serving.terminate()
    assert serving.returncode == 0


@pytest.mark.skipif(not LINUX, reason="not run: a process's children are found in /proc")
def test_who_comes_while_workers_end_is_refused_at_once(
    trained: Path, port: int, workers: "subprocess.Popen[bytes]"
) -> None:
    wait_until_ready(port)
    wait_for_workers(workers.pid, 2)
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with ExitStack() as opened:
        for _ in range(4):  # requests that hold the end up
            opened.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(head)
        time.sleep(0.5)
        workers.send_signal(signal.SIGTERM)
        time.sleep(2)
        assert workers.poll() is None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
    assert workers.wait(60) == 0


def wait_for_workers(parent: int, count: int, without: int = 0) -> None:
    end = time.monotonic() + 60
    while len(now := answering(parent)) < count or without in now:
        assert time.monotonic() < end
        time.sleep(0.1)


def promote_another(root: Path) -> None:
    """A second version of the same files, which is champion from now on."""
    registry = ModelRegistry(connect(load_settings(root, {}).tracking, root), Stage.LOCAL, "diabetes")
    first = registry.version(1)
    registry.set_champion(registry.copy(first, first.tags, "again"))


def wait_until_ready(port: int) -> str:
    """The version that answers."""
    end = time.monotonic() + 60
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as answer:
                return json.load(answer)["model"]["version"]
        except (URLError, OSError):
            assert time.monotonic() < end
            time.sleep(0.2)


def answering(parent: int) -> list[int]:
    """The parent's processes that answer: Python starts one more, which keeps track of what they share."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
