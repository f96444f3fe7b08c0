"""The API in use, with a real MLflow server behind it: what was sent while something broke, what failed, what was lost.

"Failed" is an answer that is no prediction, "lost" a request without an answer. Only a worker that is killed may lose
what it had in its hands: one request a connection.
"""

import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography.fernet import Fernet
from scratch import Scratch, copied, fill

SECONDS = 120
NAME = "local.diabetes"
SECRET = "of the webhook, long"


def promote(mlflow: Any, number: str) -> None:
    mlflow.ask("registered-models/alias", name=NAME, alias="champion", version=number)


def another(mlflow: Any) -> str:
    """A further version, of the same files as the first."""
    first = mlflow.ask(f"model-versions/get?name={NAME}&version=1")["model_version"]
    given = {"name": NAME, "source": f"models:/{NAME}/1", "run_id": first["run_id"], "tags": first["tags"]}
    return mlflow.ask("model-versions/create", **given)["model_version"]["version"]


def wait_for(api: Any, version: str, **told: str) -> float:
    """Every worker answers so: none of twelve questions, over as many connections, says otherwise."""

    def reached() -> bool:
        found = [api.ready() for _ in range(12)]
        return all(one.get("model", {}).get("version") == version and told.items() <= one.items() for one in found)

    return api.wait(reached)


@pytest.fixture(scope="session")
def filled(trained: Path, tmp_path_factory: pytest.TempPathFactory, mlflow_server: Callable[..., Any]) -> Any:
    """A server on which version 1 is champion. It may send messages to loopback, and remembers no list of receivers."""
    given = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "https,http", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}
    given |= {"MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode(), "MLFLOW_WEBHOOK_CACHE_TTL": "0"}
    folder = copied(trained, tmp_path_factory.mktemp("mlflow") / "store").root
    return mlflow_server(folder, "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", **given)


@pytest.fixture
def mlflow(filled: Any) -> Any:
    if filled.process.poll() is None:
        filled.signal(signal.SIGCONT)
    else:
        filled.start()
    promote(filled, "1")
    return filled


@pytest.fixture
def follow(mlflow: Any, fresh: Scratch, serve: Callable[..., Any]) -> Callable[..., Any]:
    """Starts an API that looks at the champion each second; all of a test share one folder."""
    given = {"KIT_TRACKING__URI": mlflow.address, "KIT_SERVING__FOLLOW_SECONDS": "1"}
    return lambda **environ: serve(fresh.root, **(given | environ))


def line(api: Any, words: str) -> str:
    return next((one.strip() for one in api.said.splitlines() if words in one), "nothing")


def test_mlflow_hangs(mlflow, follow, load, tell):
    api = follow()
    wait_for(api, "1")
    with load(api) as asking:
        mlflow.signal(signal.SIGSTOP)
        wait_for(api, "1", registry="does not give its champion")
        again = follow()
        took = wait_for(again, "1", registry="does not give its champion")
    said = line(again, "open the model")
    tell("MLflow hangs, and the API is started again", again.end(), said, asking, f"ready in {took:.1f} s", "")
    assert asking.harmed == (0, 0)
    assert "the copy that was kept" in said


def test_mlflow_is_gone_in_between_and_at_the_start(mlflow, follow, load, fresh, tell):
    first = follow()
    wait_for(first, "1")
    with load(first) as asking:
        mlflow.signal(signal.SIGKILL)
        wait_for(first, "1", registry="does not give its champion")
        assert first.metric("registry_missed_processes") == 1
    assert first.end() == 0
    (copy,) = (fresh.root / "build" / "champion").glob("*/model")
    copy.rename(copy.with_name(".model.earlier"))  # as `kill -9` leaves it between two renamings
    again = follow(KIT_SERVING__WORKERS="2")
    took = wait_for(again, "1", registry="does not give its champion")
    said = line(again, "fetch the champion")
    graph = copy / "model.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-100])
    refused = follow()
    code = refused.process.wait(SECONDS)
    tell("MLflow is killed, the copy is cut off, the API started", code, line(refused, "error:"), "no answer", "", "")
    assert (code, "is not used" in refused.said, "Traceback" in refused.said) == (1, True, False)
    with load(again) as second:
        mlflow.start()
        version = another(mlflow)
        promote(mlflow, version)
        caught_up = wait_for(again, version)
    assert "registry" not in again.ready()
    assert graph.read_bytes() == whole  # the two versions have the same files
    tell("MLflow is killed, and the API started again", again.end(), said, f"{asking}; then {second}",
         f"ready in {took:.1f} s; has the next champion in {caught_up:.1f} s", "")  # fmt: skip
    assert (asking.harmed, second.harmed) == ((0, 0), (0, 0))
    assert "the copy that was kept" in said


def test_the_alias_moves_fifty_times_under_load(scratch, serve, load, tell):
    """In a local store, whose champion is at hand: each move is a swap, in both workers."""
    from starterkit.settings import load_settings
    from starterkit.tracking.registry import ModelRegistry

    registry = ModelRegistry.of(load_settings(scratch.root, {}), "diabetes")
    first = registry.version(1)
    both = [first, registry.copy(first, first.tags, "the same again")]
    api = serve(scratch.root, KIT_SERVING__WORKERS="2", KIT_SERVING__FOLLOW_SECONDS="0.1")
    wait_for(api, "1")
    with load(api) as asking:
        for move in range(1, 51):
            registry.set_champion(both[move % 2])
            time.sleep(0.25)
        wait_for(api, "1")
    swaps, versions = api.metric('swaps_total{outcome="swapped"'), {*asking.told("x-model-version")}
    tell("the alias moves 50 times under load, 2 workers", api.end(), line(api, "Answering"), asking,
         f"versions {sorted(versions)}, {swaps:.0f} swaps", "")  # fmt: skip
    assert (asking.harmed, versions) == ((0, 0), {"1", "2"})
    assert 20 <= swaps <= 100  # of both; a busy machine passes some over


def test_mlflow_s_webhook_wakes_all_workers(mlflow, follow, load, tell):
    api = follow(KIT_SERVING__WORKERS="2", KIT_SERVING__FOLLOW_SECONDS="600", KIT_SERVING__WEBHOOK_SECRET=SECRET)
    wait_for(api, "1")
    event = {"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}
    mlflow.ask("webhooks", name="promoted", url=f"http://127.0.0.1:{api.port}/webhooks/mlflow", events=[event],
               secret=SECRET)  # fmt: skip
    version = another(mlflow)
    with load(api) as asking:
        promote(mlflow, version)
        took = wait_for(api, version)
    tell("MLflow's webhook tells of a new champion", api.end(), line(api, "Answering"), asking, f"in {took:.1f} s", "")
    assert asking.harmed == (0, 0)


@pytest.mark.parametrize("cut", ["shorter", "gone"])
def test_the_champion_s_files_are_cut_off(mlflow, follow, load, tell, cut):
    api = follow()
    wait_for(api, "1")
    version, graph = another(mlflow), next((mlflow.folder / "mlartifacts").rglob("model.onnx"))
    whole = graph.read_bytes()
    try:
        if cut == "shorter":
            graph.write_bytes(whole[: len(whole) // 2])
        else:
            graph.unlink()
        with load(api) as asking:
            promote(mlflow, version)
            api.wait(lambda: "refused" in api.ready())
        again = follow(KIT_SERVING__FOLLOW_SECONDS="0")
        wait_for(again, "1")
        assert "refused" in again.ready()
    finally:
        graph.write_bytes(whole)
    said = line(again, "open the model")
    tell(f"a new champion's model.onnx is {cut}", api.end(), line(api, "WARNING"), asking, f"a start: {said}", "")
    assert asking.harmed == (0, 0)
    assert "the copy that was kept" in said


def test_the_challenger_s_process_is_killed_and_stands_still_and_its_files_are_cut_off(mlflow, follow, load, tell):
    api, version, other = follow(KIT_SERVING__SHADOW="challenger"), another(mlflow), another(mlflow)
    graph = next((mlflow.folder / "mlartifacts").rglob("model.onnx"))
    whole = graph.read_bytes()

    def shadow(words: str) -> float:
        return api.wait(lambda: words in str(api.ready().get("shadow")))

    def process() -> psutil.Process:
        return api.workers[0]  # with one that answers, the only other one

    wait_for(api, "1")
    mlflow.ask("registered-models/alias", name=NAME, alias="challenger", version=version)
    shadow(version)
    with load(api) as asking:
        process().kill()
        back = shadow("ended with -9") + shadow(f"'version': '{version}'")
        process().suspend()
        api.wait(lambda: api.metric('shadow_total{outcome="dropped"'))
        process().resume()
        scored = api.metric('shadow_total{outcome="scored"')
        api.wait(lambda: api.metric('shadow_total{outcome="scored"') > scored)
        try:
            graph.write_bytes(whole[:-100])
            mlflow.ask("registered-models/alias", name=NAME, alias="challenger", version=other)
            shadow(f"version {other}: model.onnx is not the file")
        finally:
            graph.write_bytes(whole)
    tell("the challenger is killed, stopped, and cut off", api.end(), line(api, "no shadow"), asking,
         f"scored again in {back:.1f} s", "")  # fmt: skip
    assert asking.harmed == (0, 0)
    assert {*asking.told("x-model-version")} == {"1"}


def test_a_worker_is_killed_under_load(scratch, serve, load, tell):
    api, clients = serve(scratch.root, KIT_SERVING__WORKERS="2"), 8
    wait_for(api, "1")
    with load(api, clients=clients) as asking:
        for _ in range(2):
            gone = api.workers[0]
            gone.kill()
            api.wait(lambda gone=gone: len(api.workers) == 2 and gone not in api.workers)
        time.sleep(2)
    tell("one of 2 workers is killed, twice", api.end(), line(api, "starting another"), asking, "answers", "")
    assert asking.harmed <= (0, 2 * clients)


def test_slow_clients(scratch, serve, load, tell):
    api = serve(scratch.root, KIT_SERVING__SECONDS_TO_ASK="2", KIT_SERVING__MAX_CONNECTIONS="64")
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"
    ended: list[bytes] = []

    def dribble() -> None:
        said = b"cut"
        with suppress(OSError), socket.create_connection(("127.0.0.1", api.port)) as client:
            client.sendall(head)
            for _ in range(30):
                client.sendall(b" ")
                time.sleep(0.2)
            said = client.recv(20)
        ended.append(said)

    wait_for(api, "1")
    slow = [threading.Thread(target=dribble) for _ in range(40)]
    with load(api) as asking:
        for one in slow:
            one.start()
        for one in slow:
            one.join(20)
    tell("40 clients send a byte each 0.2 s", api.end(), "", asking, f"{len(ended)} ended", "")
    assert asking.harmed == (0, 0)
    assert len(ended) == len(slow)
    assert not any(b"200" in one for one in ended)


def test_the_disk_under_the_copy_is_full(mlflow, follow, load, small_disk, tell):
    disk = small_disk(2)
    there = {"KIT_SERVING__COPY_FOLDER": str(disk / "champion")}
    api = follow(**there)
    wait_for(api, "1")
    fill(disk / "filler")
    version = another(mlflow)
    with load(api) as asking:
        promote(mlflow, version)
        wait_for(api, version)
    assert asking.harmed == (0, 0)
    mlflow.signal(signal.SIGKILL)
    again = follow(**there)
    wait_for(again, "1", registry="does not give its champion")  # the last that found room
    tell("the disk under the copy is full at a promotion", api.end(), line(api, "no copy"), asking,
         "starts with the copy before it", "")  # fmt: skip
    assert "No space left" in line(api, "no copy")
    assert [one.name for one in next((disk / "champion").iterdir()).iterdir() if one.name != "lock"] == ["model"]
