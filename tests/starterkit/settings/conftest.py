"""A small repository with real files, in which each test writes what it is about."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from starterkit.settings import Layers, read_layers


@dataclass(frozen=True)
class Repository:
    """A folder with `config/*.yaml` that every stage accepts, until a test writes something else."""

    root: Path

    def write(self, name: str, text: str | bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def read(self, **environ: str) -> Layers:
        return read_layers(self.root, environ)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Repository]:
    """A new one with nothing in it, for each of a test's examples."""
    return lambda: Repository(tmp_path_factory.mktemp("layers"))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path)
    repository.write("config/base.yaml", "data: {source: data/example.csv}\n")
    repository.write("config/local.yaml", "tracking: {uri: 'sqlite:///mlflow.db'}\n")
    for stage in ("dev", "test", "staging", "prod"):
        server = "tracking: {uri: 'http://mlflow:5000'}\nserving: {require_api_key: true}\n"
        repository.write(f"config/{stage}.yaml", server)
    return repository
