"""A repository of one's own for each test: settings, data and an empty store, in a folder with an awkward name."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from example_project import problem
from starterkit.pipeline import Pipeline, Summary
from starterkit.settings import Settings, load_settings
from starterkit.tracking import Connection, connect

REPOSITORY = Path(__file__).parents[2]
FEWER_ROWS = "\nexport:\n  parity_rows: 500\n"
COPIED = ("config", "data", "requirements.txt", "MLproject", "python_env.yaml")


def copy_repository(destination: Path, store: Path | None = None) -> Path:
    """What a run reads, copied to `destination`; `store` is an MLflow database to start with.

    A run is quick there: writing 200 trees and proving 100,000 rows would be most of it.
    """
    destination.mkdir(parents=True)
    for name in COPIED:
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, destination / name)
    base = destination / "config" / "base.yaml"
    few = (
        base.read_text()
        .replace("n_estimators: 200", "n_estimators: 20")
        .replace("learning_rate: 0.03", "learning_rate: 0.2")
    )
    assert few.count("n_estimators: 20\n") == few.count("learning_rate: 0.2\n") == 1
    base.write_text(few + FEWER_ROWS)
    if store is not None:
        shutil.copy(store, destination / "mlflow.db")
    return destination


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing in them. Making one takes over a second, copying none."""
    root = copy_repository(tmp_path_factory.mktemp("store") / "made")
    connect(load_settings(root, {}).tracking, root)
    return root / "mlflow.db"


@pytest.fixture
def repository(tmp_path: Path, empty_store: Path) -> Path:
    return copy_repository(tmp_path / "my prøject ü", empty_store)


@pytest.fixture
def fresh_repository(tmp_path: Path) -> Path:
    """A repository in which nothing ran yet."""
    return copy_repository(tmp_path / "fresh")


@pytest.fixture
def settings(repository: Path) -> Settings:
    return load_settings(repository, {})


@pytest.fixture
def connection(settings: Settings) -> Connection:
    return connect(settings.tracking, settings.root)


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> tuple[Path, Summary]:
    """A repository in which the pipeline ran once, and what that run said. Read only: copy it to change it."""
    root = copy_repository(tmp_path_factory.mktemp("first") / "run", empty_store)
    return root, Pipeline(problem, load_settings(root, {})).run()


@pytest.fixture
def after_a_run(first_run: tuple[Path, Summary], tmp_path: Path) -> Settings:
    """The settings of a copy in which version 1 is champion."""
    return load_settings(Path(shutil.copytree(first_run[0], tmp_path / "after a rün")), {})


class MlflowServer:
    """An MLflow server on loopback with a store and artifacts of its own. It can be ended and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=clean | quiet, cwd=self.folder, start_new_session=True
            )
        for _ in range(120):
            try:
                urlopen(f"{self.address}/version", timeout=1).close()
            except OSError:
                time.sleep(0.5)
            else:
                return
        pytest.fail("the MLflow server did not answer within a minute")

    def end(self) -> None:
        """The server and its workers, which are a process group of their own."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait()


@pytest.fixture
def server(tmp_path: Path, empty_store: Path) -> Iterator[MlflowServer]:
    """A server that runs, ended after the test."""
    (tmp_path / "server.db").write_bytes(empty_store.read_bytes())
    made = MlflowServer(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.end()
