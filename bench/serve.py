"""The API beside what somebody would write or start instead, on one machine and with one model, all up at once.

    make bench-serve                       five pairs of slices a comparison; writes docs/benchmarks/serving.md
    make bench-serve ARGS="--pairs 1"      fewer; writes nothing
    make bench-serve ARGS="--postgres postgresql://me@127.0.0.1/empty"   and with the log in PostgreSQL; writes nothing
    make bench-serve ARGS="--shadow 300"   the log alone beside a challenger in the shadow, at so many requests a second
    make bench-serve ARGS="--workers"      one worker beside two, on all cores and on one; writes nothing
    make bench-serve ARGS="--binary FOLDER"   10,000 rows as a tensor in bytes and as JSON, and what bounds both
    make bench-serve ARGS="--beside 200"   one row, so often a second, alone and beside requests of 10,000 rows

Each server is a process of its own with one worker, uvloop and httptools where it may choose. Slices of load come in
shuffled order, always one of the kit's beside one of another's, and what counts is the median of their ratios: the
machine's own speed and load meet both. A request's CPU time is the server's own, and hardly depends on who else works.
"""

import argparse
import json
import os
import platform
import random
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import psutil
from peers import PEERS, QUIET, estimator_folder

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks" / "serving.md"
FOLDER = ROOT / "build" / "model"
MADE = ROOT / "build" / "bench"
KEY = "a-key-for-the-benchmark"
CONNECTIONS = 32
ROWS = (1, 100)
MANY = 10_000
SECONDS_TO_START = 90
ENVIRON = {"MLFLOW_DISABLE_TELEMETRY": "true", "ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}

EMPTY = """
from fastapi import FastAPI
app = FastAPI()
@app.post("/predict")
async def predict():
    return {}
"""
PLAIN = """
import numpy as np, onnxruntime
from fastapi import FastAPI
from pydantic import create_model
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
none = onnxruntime.OrtValue.ortvalue_from_numpy(np.array([0]))
options.add_initializer("kit.guard.rows", none)
session = onnxruntime.InferenceSession("build/model/model.onnx", options)
import json
columns = [column["name"] for column in json.load(open("build/model/contract.json"))["columns"]]
Record = create_model("Record", **{name: (float, ...) for name in columns})
Request = create_model("Request", records=(list[Record], ...))
app = FastAPI()
name = session.get_inputs()[0].name
@app.post("/predict")
def predict(request: Request) -> dict[str, list[float]]:
    rows = [[getattr(record, name) for name in columns] for record in request.records]
    return {"predictions": session.run(None, {name: np.array(rows)})[0].ravel().tolist()}
"""
TAKES = """
import asyncio, sys, uvloop
class Takes(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.body = transport, bytearray()
    def data_received(self, data):
        self.body += data
        end = self.body.find(b"\\r\\n\\r\\n") + 4
        length = self.body[:end].partition(b"\\r\\nContent-Length: ")[2].partition(b"\\r")[0]
        if end >= 4 and len(self.body) >= end + int(length or 0):
            self.body = bytearray()
            self.transport.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 80000\\r\\n\\r\\n" + bytes(80_000))
async def main():
    await (await asyncio.get_running_loop().create_server(Takes, "127.0.0.1", int(sys.argv[1]))).serve_forever()
uvloop.run(main())
"""
OPEN_LOG = """
from starterkit.feedback.predictions import PredictionLog
from starterkit.settings import load_settings
PredictionLog(load_settings()).prepare()
"""


@dataclass(frozen=True)
class Side:
    """A server: how it is started, where it is asked, and in which words."""

    name: str
    command: Sequence[str]
    path: str = "/predict"
    form: str = "records"
    ready: str = "/docs"
    log: str = ""
    folder: Path = ROOT
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Slice:
    """Requests a second, each one's milliseconds, and the server's CPU time for each."""

    rate: float
    p50: float
    p99: float
    cpu: float


def sides(uri: str, postgres: str | None = None) -> list[Side]:
    uvicorn = [sys.executable, "-m", "uvicorn", "--log-level", "warning", "--no-access-log", "--port", "{port}"]
    kit = [sys.executable, "-m", "starterkit", "serve", "--folder", str(FOLDER), "--port", "{port}"]
    mlflow = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--port", "{port}", "-m"]
    beside = [Side("kit, its log in PostgreSQL", kit, ready="/health/ready", log=postgres)] if postgres else []
    return [
        Side("kit", kit, ready="/health/ready"),
        Side("kit, with its log", kit, ready="/health/ready", log="sqlite:///build/bench/{port}.db"),
        *beside,
        Side("kit, MLflow's protocol", kit, "/invocations", "dataframe_records", "/health/ready"),
        Side("empty FastAPI route", [*uvicorn, "empty:app"]),
        Side("FastAPI + pydantic", [*uvicorn, "plain:app"]),
        Side("mlflow models serve", [*mlflow, uri], "/invocations", "dataframe_records", "/ping"),
    ]


def others() -> list[Side]:
    """MLflow's server with the estimator itself, and servers of other makers, as far as they can be had."""
    estimator = str(estimator_folder(ROOT, MADE))
    mlflow = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--port", "{port}"]
    found = [
        Side("mlflow, scikit-learn", [*mlflow, "-m", estimator], "/invocations", "dataframe_records", "/ping"),
    ]
    for peer in PEERS:
        try:
            python = peer.prepare(MADE, FOLDER)
        except subprocess.CalledProcessError:
            print(f"{peer.name}: not run, its packages cannot be had", file=sys.stderr)
            continue
        folder = MADE / peer.name.lower()
        found.append(
            Side(
                peer.name, [str(python), *peer.command], peer.path, peer.form, peer.ready, folder=folder, environ=QUIET
            )
        )
    return found


# --- Load: one process, connections that each wait for their answer.


def load(port: int, request: bytes, seconds: float) -> list[float]:
    """Send one request again and again on each connection; the seconds that each answer took."""
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(CONNECTIONS):  # anew: who asks for nothing is not kept
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ask(one, request)  # once before it counts: a busy loop lets one connection in with each turn
            selector.register(one, selectors.EVENT_READ, [b"", 0.0])
        took, now, waiting = [], time.perf_counter, CONNECTIONS
        for key in [*selector.get_map().values()]:
            key.data[1] = now()
            key.fileobj.sendall(request)
        end = now() + seconds
        while waiting:
            for key, _ in selector.select(10):
                one, state = key.fileobj, key.data
                got = one.recv(262_144)
                state[0] += got
                if not got:
                    raise SystemExit(f"a connection on {port} was closed")
                if not whole(state[0]):
                    continue
                at = now()
                took.append(at - state[1])
                if at < end:
                    state[:] = [b"", at]
                    one.sendall(request)
                else:
                    waiting -= 1
        return took


def ask(one: socket.socket, request: bytes) -> None:
    one.sendall(request)
    got = b""
    while not whole(got):
        got += one.recv(262_144)


def paced(port: int, request: bytes, seconds: float, rate: float) -> list[float]:
    """Send one request so often, each on a connection that is free; the seconds that each answer took."""
    now = time.perf_counter
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        free = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(CONNECTIONS)]
        for one in free:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ask(one, request)  # once before it counts, as in `load`
            selector.register(one, selectors.EVENT_READ, [b"", 0.0])
        took, sent, begin, total = [], 0, now(), int(seconds * rate)
        while len(took) < total:
            due = begin + sent / rate
            if sent < total and free and now() >= due:
                one, sent = free.pop(0), sent + 1
                selector.get_key(one).data[:] = [b"", now()]
                one.sendall(request)
                continue
            for key, _ in selector.select(max(0.0, due - now()) if sent < total and free else 10):
                state = key.data
                state[0] += key.fileobj.recv(262_144)
                if whole(state[0]):
                    took.append(now() - state[1])
                    free.append(key.fileobj)
        return took


def whole(answer: bytes) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    if not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"not answered: {answer[:600]!r}")
    at = answer.lower().index(b"\r\ncontent-length: ") + 18  # not that of an inference header
    return len(answer) >= end + 4 + int(answer[at : answer.index(b"\r", at)])


def request(side: Side, rows: int, folder: Path = FOLDER) -> bytes:
    example = json.loads((folder / "contract.json").read_text("utf-8"))["example"]
    content: dict[str, Any] = {side.form: [example] * rows}
    if side.form == "tensors":
        values = [*example.values()] * rows
        tensor = {"name": "features", "shape": [rows, len(example)], "datatype": "FP64", "data": values}
        content = {"inputs": [tensor]}
    body = json.dumps(content, separators=(",", ":")).encode()
    head = f"POST {side.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-API-Key: {KEY}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


# --- Servers.


@contextmanager
def running(side: Side) -> Iterator[tuple[int, psutil.Process, float]]:
    """On a free port: that, the process, and the seconds until it was ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [word.format(port=port) for word in side.command]
    asked = {"KIT_SERVING__API_KEY": KEY, "KIT_SERVING__REQUIRE_API_KEY": "true", "PYTHONPATH": "build/bench"}
    kept = ROOT / "build" / "bench" / f"{port}.db"
    asked["KIT_FEEDBACK__LOG"] = str(bool(side.log)).lower()
    if side.log:
        asked["KIT_FEEDBACK__DATABASE"] = side.log.format(port=port)
    asked["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where MLflow looks for uvicorn
    asked |= {name: word.format(port=port) for name, word in side.environ.items()}
    environ = os.environ | ENVIRON | asked
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages and images have it: nobody compiles at each start
    if side.log:  # its tables are there, as at each start but the first one
        subprocess.run([sys.executable, "-c", OPEN_LOG], cwd=ROOT, env=environ, check=True)
    began = time.monotonic()
    log = MADE / f"{side.name}.log"
    with log.open("wb") as said:
        process = subprocess.Popen(command, cwd=side.folder, env=environ, stdout=said, stderr=said)
    try:
        while not answers(f"http://127.0.0.1:{port}{side.ready}"):
            if process.poll() is not None or time.monotonic() - began > SECONDS_TO_START:
                raise SystemExit(f"{side.name} did not start: see {log.relative_to(ROOT)}")
            time.sleep(0.02)
        yield port, psutil.Process(process.pid), time.monotonic() - began
    finally:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.terminate()
        process.terminate()
        process.wait(20)
        for part in kept.parent.glob(f"{kept.name}*"):
            part.unlink()


def answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=2) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False


def cpu(process: psutil.Process) -> float:
    spent = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(one.user + one.system for one in spent)


def memory(process: psutil.Process) -> float:
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 1e6


def measure(port: int, request: bytes, process: psutil.Process, seconds: float) -> Slice:
    spent, began = cpu(process), time.perf_counter()
    took = sorted(load(port, request, seconds))
    passed = time.perf_counter() - began
    middle, last = took[len(took) // 2], took[int(len(took) * 0.99)]
    return Slice(len(took) / passed, middle * 1e3, last * 1e3, (cpu(process) - spent) / len(took) * 1e6)


# --- With a challenger in the shadow, and without.


def compare_shadow(pairs: int, seconds: float, rate: float) -> str:
    """One served folder, recorded; its version is scored beside it at one of two servers. At a rate both can keep."""
    served = MADE / "served"
    shutil.copytree(FOLDER, served, dirs_exist_ok=True)
    note = served / "version.json"
    number = json.loads(note.read_text("utf-8"))["version"]
    note.unlink()  # under another name than the challenger's, so that both are asked
    command = [sys.executable, "-m", "starterkit", "serve", "--folder", str(served), "--port", "{port}"]
    alone = Side("log alone", command, ready="/health/ready", log="sqlite:///build/bench/{port}.db")
    beside = replace(alone, name="shadow", environ={"KIT_SERVING__SHADOW": number})
    words, taken = request(alone, 1), {"log alone": [], "shadow": []}
    with ExitStack() as stack:
        ports = {one.name: stack.enter_context(running(one))[0] for one in (alone, beside)}
        while f'"version": "{number}"' not in told(ports["shadow"], "health/ready"):
            time.sleep(0.5)
        for pair in range(-1, pairs):
            for name in (*ports,)[:: 1 if pair % 2 else -1]:
                took = sorted(paced(ports[name], words, seconds, rate))
                time.sleep(0.3)  # what is left to score is not on the other one's bill
                if pair >= 0:  # the first ones are slow everywhere
                    taken[name].append([took[int(len(took) * part)] * 1e3 for part in (0.5, 0.99)])
        time.sleep(1)
        counts = [one for one in told(ports["shadow"], "metrics").splitlines() if "shadow_total{" in one]
    p50, p99 = (
        [statistics.median(one[at] for one in taken[name]) for name in ("log alone", "shadow")] for at in (0, 1)
    )
    ratios = [b[1] / a[1] for a, b in zip(taken["log alone"], taken["shadow"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if pairs > 1 else ratios * 3
    lines = [
        f"{rate:g} requests/s, {CONNECTIONS} connections, {pairs} pairs of {seconds:g} s, medians, off and on:",
        f"p50 {p50[0]:.2f} and {p50[1]:.2f} ms, p99 {p99[0]:.2f} and {p99[1]:.2f} ms",
        f"p99 x {middle:.3f} in a pair, half of the pairs {low:.3f} to {high:.3f}",
    ]
    return "\n".join([*lines, *counts])


def compare_workers(pairs: int, seconds: float) -> str:
    """Requests of one row a second, with one worker and with two set, on all cores and on the first alone."""
    one = sides("")[0]
    both = (one, replace(one, name="2 workers", environ={"KIT_SERVING__WORKERS": "2"}))
    words, lines = request(one, 1), [f"{pairs} pairs of {seconds:g} s; the requests come from the same machine"]
    for cores in ([*range(psutil.cpu_count() or 1)], [0]):
        with ExitStack() as stack:
            psutil.Process().cpu_affinity(cores)
            ports = [stack.enter_context(running(side))[0] for side in both]
            psutil.Process().cpu_affinity([])
            rates = [[len(load(port, words, seconds)) / seconds for port in ports] for _ in range(pairs)]
        first, second = (statistics.median(of) for of in zip(*rates, strict=True))
        ratio = statistics.median(b / a for a, b in rates)
        lines.append(f"{len(cores)} core(s): {first:,.0f} and {second:,.0f} requests/s, x {ratio:.2f} in a pair")
    return "\n".join(lines)


def beside_large(seconds: float, rate: float) -> str:
    """One-row requests at a rate, alone and while another client sends 10,000 rows after 10,000 rows."""
    limits = {"KIT_SERVING__MAX_ROWS": str(MANY), "KIT_SERVING__MAX_BODY_BYTES": "20000000"}
    side = replace(sides("")[0], environ=limits)
    lines = []
    with running(side) as (port, *_), ThreadPoolExecutor(1) as other:
        paced(port, request(side, 1), 1, rate)
        for name in ("alone", "beside"):
            done = threading.Event()
            large = other.submit(_send_large, port, request(side, MANY), done) if name == "beside" else None
            took = sorted(paced(port, request(side, 1), seconds, rate))
            done.set()
            p50, p99, most = (1e3 * took[int((len(took) - 1) * part)] for part in (0.5, 0.99, 1))
            words = f"{name}: {rate:g} requests/s of one row, p50 {p50:.1f}, p99 {p99:.1f}, most {most:.1f} ms"
            lines.append(words + (f"; {large.result()} of {MANY:,} rows meanwhile" if large else ""))
    return "\n".join(lines)


def compare_binary(folder: Path, seconds: float) -> str:
    """Milliseconds for 10,000 rows, one request after the other: the least and the median of each."""
    from starterkit.serving.graph import Graph
    from starterkit.serving.http.records import Predict
    from starterkit.serving.predictor import GRAPH_FILE, SAMPLE_FILE, Answered, Predictor, ServedModel
    from starterkit.settings import ServingSettings

    served = ServedModel("model", "1", Predictor(folder))
    contract, route = served.contract, Predict(served, ServingSettings(max_rows=MANY))
    draw = np.random.default_rng(0).choice
    with np.load(folder / SAMPLE_FILE, allow_pickle=False) as sample:  # rows that differ: a tree guesses no branch
        table = np.column_stack([draw(sample[f"column.{name}"], MANY) for name in contract.names])
    about = {"columns": contract.columns, "layout": contract.layout, "task": contract.task}
    graph = Graph((folder / GRAPH_FILE).read_bytes(), **about)  # in the order in which the rows come
    records = [dict(zip(contract.names, row, strict=True)) for row in table.tolist()]
    body = json.dumps({"records": records}, separators=(",", ":")).encode()

    def in_process() -> None:
        asked = route.read(bytearray(body), {})
        route.tell(asked, Answered(graph.answer(asked.table), ()))

    limits = {"KIT_SERVING__MAX_ROWS": str(MANY), "KIT_SERVING__MAX_BODY_BYTES": "20000000"}
    command = [sys.executable, "-m", "starterkit", "serve", "--folder", str(folder), "--port", "{port}"]
    kit = Side("kit", command, ready="/health/ready", environ=limits)
    takes = Side("bytes alone", [sys.executable, "-c", TAKES, "{port}"])
    with running(kit) as (port, *_), running(takes) as (other, *_):
        name = json.loads(told(port, "health/ready"))["model"]["name"]
        matrix = {"name": "x", "shape": [*table.shape], "datatype": "FP64"}
        matrix["parameters"] = {"binary_data_size": table.nbytes}
        said = json.dumps({"inputs": [matrix], "parameters": {"binary_data_output": True}}).encode()
        head = f"POST /v2/models/{name}/infer HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n"
        head += f"Inference-Header-Content-Length: {len(said)}\r\nContent-Length: {len(said) + table.nbytes}\r\n\r\n"
        binary = head.encode() + said + table.tobytes()
        head = f"POST {kit.path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
        plain = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        with ExitStack() as stack:
            one, two = (stack.enter_context(socket.create_connection(("127.0.0.1", at))) for at in (port, other))
            for connection in (one, two):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            calls = {
                "the session alone": lambda: graph.answer(table),
                "the bytes over loopback alone": lambda: ask(two, binary),
                "as a tensor in bytes": lambda: ask(one, binary),
                "JSON decoded, the session, and encoded alone": in_process,
                "as JSON": lambda: ask(one, plain),
            }
            took: dict[str, list[float]] = {name: [] for name in calls}
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                for name, call in calls.items():
                    began = time.perf_counter()
                    call()
                    took[name].append(1e3 * (time.perf_counter() - began))
    return "\n".join(f"{name}: {min(of):.2f} ms, median {statistics.median(of):.2f}" for name, of in took.items())


def _send_large(port: int, words: bytes, done: threading.Event) -> int:
    count = 0
    with socket.create_connection(("127.0.0.1", port)) as one:
        while not done.is_set():
            ask(one, words)
            count += 1
    return count


def told(port: int, path: str) -> str:
    asked = Request(f"http://127.0.0.1:{port}/{path}", headers={"X-API-Key": KEY})
    with urlopen(asked, timeout=5) as answer:
        return answer.read().decode()


# --- The comparison.


def compare(everything: Sequence[Side], pairs: int, seconds: float, seed: int) -> dict[str, Any]:
    with ExitStack() as stack:
        up = {side.name: (side, *stack.enter_context(running(side))) for side in everything}
        asked = {(name, rows): (up[name][1], request(up[name][0], rows)) for name in up for rows in ROWS}
        for port, words in asked.values():
            load(port, words, 0.3)
        found: dict[str, Any] = {
            "start": {name: one[3] for name, one in up.items()},
            "memory": {name: memory(one[2]) for name, one in up.items()},
        }
        order = [(name, rows) for name in [*up][1:] for rows in ROWS for _ in range(pairs)]
        random.Random(seed).shuffle(order)
        taken: dict[tuple[str, int], list[tuple[Slice, Slice]]] = {}
        for at, (name, rows) in enumerate(order):
            both = [(key, up[key][2]) for key in ("kit", name)]
            order_of_two = both[:: 1 if at % 2 else -1]
            got = {key: measure(*asked[key, rows], process, seconds) for key, process in order_of_two}
            taken.setdefault((name, rows), []).append((got["kit"], got[name]))
        found["slices"] = taken
    return found


def middle(slices: Sequence[Slice], field: str) -> float:
    return statistics.median(getattr(one, field) for one in slices)


def table(found: dict[str, Any]) -> str:
    lines = [
        "| rows | server | requests/s | CPU µs a request | p50 ms | p99 ms | kit, times as many | CPU, times less |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for rows in ROWS:
        mine = [one for (_, count), pairs in found["slices"].items() if count == rows for one, _ in pairs]
        lines.append(row(rows, "**kit**", mine, "", ""))
        for (name, count), pairs in sorted(found["slices"].items()):
            if count != rows:
                continue
            ratio = statistics.median(kit.rate / other.rate for kit, other in pairs)
            less = statistics.median(other.cpu / kit.cpu for kit, other in pairs)
            lines.append(row(rows, name, [other for _, other in pairs], f"{ratio:.2f}", f"{less:.2f}"))
    lines += ["", "| server | seconds to be ready | resident MB |", "|---|---|---|"]
    lines += [f"| {name} | {found['start'][name]:.1f} | {found['memory'][name]:.0f} |" for name in found["start"]]
    return "\n".join(lines)


def row(rows: int, name: str, slices: Sequence[Slice], ratio: str, less: str) -> str:
    rate, spent = middle(slices, "rate"), middle(slices, "cpu")
    words = [str(rows), name, f"{rate:,.0f}", f"{spent:.0f}"]
    words += [f"{middle(slices, 'p50'):.1f}", f"{middle(slices, 'p99'):.1f}", ratio, less]
    return f"| {' | '.join(words)} |"


def page(text: str, arguments: argparse.Namespace) -> str:
    names = ("fastapi", "uvicorn", "uvloop", "httptools", "msgspec", "onnxruntime", "numpy", "pydantic", "mlflow")
    cores, load = psutil.cpu_count(), os.getloadavg()[0]
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"""# How fast the API answers

{CONNECTIONS} connections that each wait for their answer, one worker a server, the example's champion everywhere; the
kit's keys, checks, ids and metrics are on. All servers are up at once. Slices of {arguments.seconds:g} s come in
shuffled order, one of the kit's beside each of another's; medians of {arguments.pairs} pairs.
The log's tables are there, as at each start but the first, which takes 0.2 s more.
Written by `make bench-serve`.

{text}

Python {platform.python_version()}, {versions};
{platform.system()} {platform.machine()}, {cores} cores, load {load:.1f} at the end. The requests come from the
same machine. Where other work goes on there, the CPU time of a request is the figure that it disturbs least.
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--workers", action="store_true")
    parser.add_argument("--binary", type=Path, metavar="FOLDER")
    parser.add_argument("--beside", type=float, metavar="RATE")
    parser.add_argument("--shadow", type=float, metavar="RATE")
    parser.add_argument("--uri", default="models:/local.diabetes@champion")
    parser.add_argument("--postgres", help="the address of an empty database")
    arguments = parser.parse_args()
    MADE.mkdir(parents=True, exist_ok=True)
    (MADE / "empty.py").write_text(EMPTY)
    (MADE / "plain.py").write_text(PLAIN)
    if arguments.binary:
        print(compare_binary(arguments.binary.resolve(), 10 * arguments.seconds))
        return
    subprocess.run([sys.executable, "-m", "starterkit", "fetch", str(FOLDER)], cwd=ROOT, check=True)
    if arguments.workers or arguments.beside:
        if arguments.workers:
            print(compare_workers(arguments.pairs, arguments.seconds))
        if arguments.beside:
            print(beside_large(10 * arguments.seconds, arguments.beside))
        return
    if arguments.shadow:
        print(compare_shadow(arguments.pairs, arguments.seconds, arguments.shadow))
        return
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{ROOT / 'mlflow.db'}")
    found = sides(arguments.uri, arguments.postgres)
    if not {*arguments.only} <= {side.name for side in found} or not arguments.only:
        found += others()
    chosen = [side for side in found if side.name == "kit" or not arguments.only or side.name in arguments.only]
    text = table(compare(chosen, arguments.pairs, arguments.seconds, arguments.seed))
    print(text)
    if arguments.pairs >= 5 and not arguments.only and not arguments.postgres:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(text, arguments), "utf-8")


if __name__ == "__main__":
    main()
