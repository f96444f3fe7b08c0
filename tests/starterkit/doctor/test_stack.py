"""What doctor says of the compose stack without Docker. tests/containers meets the rest with real containers."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from starterkit.doctor import Doctor, Finding

REPOSITORY = Path(__file__).parents[3]


def stack(root: Path, uri: str) -> Finding | None:
    found = Doctor(root, {"KIT_STAGE": "dev", "KIT_TRACKING__URI": uri}).examine()
    return next((one for one in found if one.item == "stack"), None)


@pytest.fixture
def closed() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_server_elsewhere_is_no_matter_of_the_stack(repository: Path) -> None:
    shutil.copy(REPOSITORY / "docker-compose.yml", repository)
    assert stack(repository, "http://mlflow.invalid:5000") is None


def test_machine_without_docker_is_named(repository: Path, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(REPOSITORY / "docker-compose.yml", repository)
    monkeypatch.setenv("PATH", str(repository))
    found = stack(repository, closed)
    assert found is not None
    assert found.state == "failing"
    assert "Docker is not installed here" in found.text
    assert "KIT_TRACKING__URI" in found.mend


def test_docker_that_does_not_run_is_named(repository: Path, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("docker") is None:
        pytest.skip("not run: Docker is not installed")
    shutil.copy(REPOSITORY / "docker-compose.yml", repository)
    monkeypatch.setenv("DOCKER_HOST", f"tcp://{closed.removeprefix('http://')}")
    found = stack(repository, closed)
    assert found is not None
    assert "Docker does not answer" in found.text
    assert "Start Docker" in found.mend


def test_docker_without_compose_is_named(repository: Path, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("docker") is None:
        pytest.skip("not run: Docker is not installed")
    shutil.copy(REPOSITORY / "docker-compose.yml", repository)
    monkeypatch.setenv("DOCKER_CONFIG", str(repository))  # where plugins of a user's own are looked for
    if not subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("not run: Compose is installed for everybody here")
    found = stack(repository, closed)
    assert found is not None
    assert "Docker has no Compose here" in found.text
