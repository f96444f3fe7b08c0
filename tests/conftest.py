"""What holds for all tests. It is read by the process that hands them out, too: nothing here takes long to import."""

import gc
import hashlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from ctypes import CDLL
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

import pytest

REPOSITORY = Path(__file__).parents[1]
UV = shutil.which("uv") or str(REPOSITORY / ".cache" / "uv" / "bin" / "uv")
MADE_OF = ("pyproject.toml", "requirements.txt", "requirements-serve.txt", "conda.yaml")
READ_BY_A_RUN = ("config", "data", "requirements.txt", "MLproject", "python_env.yaml")


def lightgbm_loads() -> bool:
    """Its library wants OpenMP's, which a bare machine lacks."""
    found = find_spec("lightgbm")
    try:
        for library in Path(found.origin).parent.rglob("lib_lightgbm.*") if found and found.origin else ():
            CDLL(str(library))
    except OSError:
        return False
    return True


WANTS_LIGHTGBM = [] if lightgbm_loads() else ["test_estimators.py", "test_scores.py", "test_trees.py"]
collect_ignore = [f"starterkit/training/export/{name}" for name in WANTS_LIGHTGBM]


def pytest_configure() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and so does all that is started from there."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.set_threshold(20_000, 50, 100)  # the libraries make objects that stay; looking through them is a tenth of all


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if WANTS_LIGHTGBM:
        mend = "apt-get install libgomp1, or brew install libomp"
        terminalreporter.write_line(f"not run: {', '.join(WANTS_LIGHTGBM)}, for LightGBM does not load ({mend})")


def train_few(root: Path) -> None:
    """A run is quick there: writing 200 trees and proving 100,000 rows would be most of it."""
    base, few = root / "config" / "base.yaml", ("n_estimators: 20\n", "learning_rate: 0.2\n")
    text = base.read_text().replace("n_estimators: 200\n", few[0]).replace("learning_rate: 0.03\n", few[1])
    assert [text.count(line) for line in few] == [1, 1]
    base.write_text(f"{text}\nexport:\n  parity_rows: 500\n")


def copy_repository(destination: Path, store: Path | None = None) -> Path:
    """What a run reads, copied to `destination`; `store` is an MLflow database to start with."""
    destination.mkdir(parents=True)
    for name in READ_BY_A_RUN:
        source = REPOSITORY / name
        if source.is_dir():  # a clone that is in use has prepared data
            shutil.copytree(source, destination / name, ignore=shutil.ignore_patterns("dev", "test", "staging"))
        else:
            shutil.copy(source, destination)
    train_few(destination)
    if store is not None:
        shutil.copy(store, destination / "mlflow.db")
    return destination


@pytest.fixture(scope="session")
def copied() -> Callable[..., Path]:
    return copy_repository


def clone_repository(destination: Path, tests: str = "tests/") -> Path:
    """What git would have, also of what is not committed yet, as a repository of its own with so much of the tests."""
    git = ("git", "-c", "safe.directory=*", "-c", "user.name=test", "-c", "user.email=test@example.com")
    listing = [*git, "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(listing, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    for name in listed.split("\0"):
        if (REPOSITORY / name).is_file() and (name.startswith(tests) or not name.startswith("tests/")):
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, destination / name)
    train_few(destination)
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "A clone"]):
        subprocess.run([*git, *words], cwd=destination, check=True)
    return destination


@pytest.fixture(scope="session")
def cloned() -> Callable[..., Path]:
    return clone_repository


@pytest.fixture(scope="session")
def environment() -> Callable[..., Path]:
    """Makes one of other people's packages, pinned, below build/envs: each step is what a call of uv installs.

    The answer is its folder of commands. Where a package cannot be had, what needs it is skipped.
    """

    def make(name: str, *steps: str) -> Path:
        place = REPOSITORY / "build" / "envs" / name
        bin_, made = place / "bin", place / "made"
        read = b"".join((REPOSITORY / file).read_bytes() for file in MADE_OF)
        stamp = hashlib.sha256(read + "\n".join(steps).encode()).hexdigest()
        if made.is_file() and made.read_text() == stamp:
            return bin_
        for command in (
            [UV, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)],
            *([UV, "pip", "install", "--quiet", "--python", str(bin_ / "python"), *step.split()] for step in steps),
        ):
            done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=900)
            if done.returncode:
                pytest.skip(f"not run: {steps[-1]} cannot be had: {done.stderr.strip()[-300:]}")
        made.write_text(stamp)
        return bin_

    return make


class Postgres:
    """A server of its own on loopback, which is stopped and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        beside = [str(one) for one in Path("/usr/lib/postgresql").glob("*/bin")]  # where Debian keeps it, on no path
        self._path = os.pathsep.join([os.environ.get("PATH", ""), *beside])
        if not shutil.which("initdb", path=self._path):
            pytest.skip("not run: PostgreSQL is not installed")
        self.folder, self.port, self._user, self._made = folder, port, {}, 0
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        self.run("initdb", "-D", "data", "-U", "kit", "--no-sync", "-A", "trust").check_returncode()
        self.start()

    def run(self, *words: str) -> "subprocess.CompletedProcess[bytes]":
        command = [shutil.which(words[0], path=self._path) or words[0], *words[1:]]
        return subprocess.run(command, cwd=self.folder, capture_output=True, timeout=60, **self._user)

    def start(self) -> None:
        command = [shutil.which("postgres", path=self._path) or "", "-D", "data", "-h", "127.0.0.1"]
        command += ["-p", str(self.port), "-k", str(self.folder)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self.folder, **self._user}
        self._server = subprocess.Popen(command, **quiet)
        until = time.monotonic() + 30
        while self.run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port)).returncode:
            assert time.monotonic() < until, "PostgreSQL does not start"
            time.sleep(0.1)

    def stop(self) -> None:
        """At once, as if the machine had gone: its journal mends the rest."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(20)

    def database(self) -> str:
        import psycopg

        self._made += 1
        address = f"postgresql://kit@127.0.0.1:{self.port}/"
        with psycopg.connect(f"{address}postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE log{self._made}")
        return f"{address}log{self._made}"


@pytest.fixture(scope="session")
def postgres(free_tcp_port_factory: Callable[[], int]) -> Iterator[Postgres]:
    """Skipped where PostgreSQL is not installed."""
    with TemporaryDirectory(prefix="kit-pg-", dir="/tmp") as folder:  # a socket's path is short
        server = Postgres(Path(folder), free_tcp_port_factory())
        yield server
        server.stop()


KIT = (sys.executable, "-m", "starterkit")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("KIT_", "MLFLOW_"))}
CLEAN |= {"MLFLOW_DISABLE_TELEMETRY": "true", "ORT_DISABLE_TELEMETRY": "1"}
CLEAN |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@pytest.fixture(scope="session")
def kit() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Gives a command of the kit in a process of its own, beside nothing that steers it. It must end with `code`."""

    def call(root: Path, *words: str | Path, code: int | None = None, **environ: str) -> Any:
        environ = CLEAN | {"COLUMNS": "300"} | environ
        done = subprocess.run([*KIT, *words], cwd=root, env=environ, capture_output=True, text=True, timeout=300)
        assert code in (None, done.returncode), done.stdout[-2000:] + done.stderr[-2000:]
        return done

    return call


class Program:
    """A command in a session of its own: what it prints, and nothing that steers the kit or MLflow."""

    def __init__(self, folder: Path, port: int, log: Path, *command: str | Path, **environ: str) -> None:
        self.folder, self.port, self.address = folder, port, f"http://127.0.0.1:{port}"
        self._command = [str(word).replace("{port}", str(port)) for word in command]
        self._printed = log
        self._environ = CLEAN | environ
        self.start()

    def start(self) -> None:
        with self._printed.open("a") as out:
            how = {"cwd": self.folder, "env": self._environ, "stdout": out, "stderr": out, "start_new_session": True}
            self.process = subprocess.Popen(self._command, **how)

    @property
    def said(self) -> str:
        return self._printed.read_text()

    def wait(self, reached: Callable[[], Any], seconds: float = 120) -> float:
        """Until something is so. For how long it took."""
        began = time.monotonic()
        while not reached():
            assert time.monotonic() - began < seconds, self.said
            time.sleep(0.05)
        return time.monotonic() - began

    def get(self, path: str) -> str:
        with urlopen(f"{self.address}{path}", timeout=20) as answer:
            return answer.read().decode()

    def answers(self, path: str) -> bool:
        with suppress(OSError):
            return bool(self.get(path))
        return False

    def signal(self, number: int) -> None:
        """To the whole session."""
        with suppress(ProcessLookupError):  # it ended before
            os.killpg(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.wait()


Start = Callable[..., Any]


@contextmanager
def starting(kind: Callable[..., Program], free_port: Callable[[], int]) -> Iterator[Start]:
    """Starts programs of a kind, each in a folder and with a port of its own. All are killed in the end."""
    with ExitStack() as started:

        def start(folder: Path, *words: Any, **environ: str) -> Program:
            program = kind(folder, free_port(), *words, **environ)
            started.callback(program.signal, signal.SIGKILL)
            return program

        yield start


@pytest.fixture(scope="session")
def program(free_tcp_port_factory: Callable[[], int]) -> Iterator[Start]:
    """Starts any command, in which {port} stands for its port."""
    with starting(Program, free_tcp_port_factory) as start:
        yield start


class Api(Program):
    """`serve`."""

    def __init__(self, root: Path, port: int, *words: str, **environ: str) -> None:
        given = {"KIT_SERVING__PORT": str(port)} | environ
        super().__init__(root, port, root.parent / f"api-{port}.log", *KIT, "serve", *words, **given)

    @property
    def workers(self) -> list[Any]:
        """Python starts one process more, which keeps track of what they share."""
        import psutil

        found = []
        for one in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # it ended meanwhile, or is a zombie
                found += [one] * ("spawn_main" in " ".join(one.cmdline()))
        return found

    def wait_for(self, words: str = "Answering on ", times: int = 1) -> str:
        self.wait(lambda: self.said.count(words) >= times or self.process.poll() is not None)
        assert self.said.count(words) >= times, self.said
        return self.said

    def ready(self) -> dict[str, Any]:
        """What it says of itself, or nothing."""
        try:
            return json.loads(self.get("/health/ready"))
        except OSError:
            assert self.process.poll() is None, self.said
            return {}

    def version(self) -> str | None:
        return self.ready().get("model", {}).get("version")

    def metric(self, name: str) -> float:
        lines = self.get("/metrics").splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"starterkit_{name}"))

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(120)


@pytest.fixture
def serve(free_tcp_port_factory: Callable[[], int]) -> Iterator[Start]:
    """Starts an API."""
    with starting(Api, free_tcp_port_factory) as start:
        yield start


class Load:
    """Clients that ask an API one after the other while the block goes on, each over a connection that it keeps."""

    def __init__(self, api: Any, body: str = "", clients: int = 4, **headers: str) -> None:
        self._api, self._body = api, body or json.dumps({"records": [json.loads(api.get("/model"))["example"]]})
        self._headers = {"Content-Type": "application/json"} | headers
        self.answers: list[tuple[int, Any]] = []
        self.lost: list[str] = []
        self._ends = threading.Event()
        self._clients = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for one in self._clients:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for one in self._clients:
            one.join(20)

    def _ask(self) -> None:
        connection = None
        while not self._ends.is_set():
            if connection is None or connection.sock is None:  # one that was ended may lead elsewhere the next time
                connection = HTTPConnection("127.0.0.1", self._api.port, timeout=20)
            try:
                connection.request("POST", "/predict", self._body, self._headers)
                answer = connection.getresponse()
                answer.read()
                self.answers.append((answer.status, answer.headers))
            except (OSError, HTTPException) as error:
                self.lost.append(repr(error))
                connection.close()
            time.sleep(0.01)

    def told(self, header: str, status: int = 200) -> list[str]:
        """What answers with that status said in a header."""
        return [headers[header] for code, headers in self.answers if code == status]

    def __str__(self) -> str:
        return f"{len(self.told('date'))} answered, {len(self.answers)} in all, {len(self.lost)} lost"

    @property
    def harmed(self) -> tuple[int, int]:
        """How many answers were no prediction, and how many requests got none."""
        return len(self.answers) - len(self.told("date")), len(self.lost)


@pytest.fixture(scope="session")
def load() -> type[Load]:
    return Load


class MlflowServer(Program):
    """On loopback, with a database and artifacts in its folder. It can be ended and started again."""

    def __init__(self, folder: Path, port: int, *words: str, **environ: str) -> None:
        given = words or ("--backend-store-uri", "sqlite:///server.db", "--artifacts-destination", "artifacts")
        command = (sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *given)
        super().__init__(folder, port, folder / "server.log", *command, **environ)

    def start(self) -> None:
        super().start()
        self.wait(lambda: self.answers("/version"))

    def ask(self, path: str, **content: Any) -> dict[str, Any]:
        place, kind = f"{self.address}/api/2.0/mlflow/{path}", {"Content-Type": "application/json"}
        with urlopen(Request(place, json.dumps(content).encode() if content else None, kind), timeout=20) as answer:
            return json.load(answer)


@pytest.fixture(scope="session")
def mlflow_server(free_tcp_port_factory: Callable[[], int]) -> Iterator[Start]:
    """Starts a server."""
    with starting(MlflowServer, free_tcp_port_factory) as start:
        yield start
