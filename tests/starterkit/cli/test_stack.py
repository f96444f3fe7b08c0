"""What doctor says of the compose stack without Docker. tests/containers meets the rest with real containers."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer

import pytest

from starterkit.cli.doctor import Doctor
from starterkit.cli.environment import Finding

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def compose_file(repository: Path) -> None:
    shutil.copy(REPOSITORY / "docker-compose.yml", repository)


def examine(root: Path, uri: str) -> list[Finding]:
    return Doctor(root, {"KIT_STAGE": "dev", "KIT_TRACKING__URI": uri}).examine()


def test_server_elsewhere_is_no_matter_of_the_stack(repository):
    assert "stack" not in [one.item for one in examine(repository, "http://mlflow.invalid:5000")]


def has_compose() -> bool:
    return not subprocess.run(["docker", "compose", "version"], capture_output=True).returncode


@pytest.mark.parametrize(
    ("variable", "value", "needs_compose", "said"),
    [
        ("PATH", "{root}", None, "Docker is not installed here"),
        ("DOCKER_HOST", "tcp://{closed}", True, "Docker does not answer"),
        # Where plugins of a user's own are looked for.
        ("DOCKER_CONFIG", "{root}", False, "Docker has no Compose here"),
    ],
)
def test_what_the_stack_lacks_is_named(repository, port, monkeypatch, variable, value, needs_compose, said):
    if needs_compose is not None and shutil.which("docker") is None:
        pytest.skip("not run: Docker is not installed")
    closed = f"127.0.0.1:{port}"
    monkeypatch.setenv(variable, value.format(root=repository, closed=closed))
    if needs_compose is not None and has_compose() != needs_compose:
        pytest.skip("not run: Compose is installed for everybody here, or for nobody")
    (found,) = [one for one in examine(repository, f"http://{closed}") if one.item == "stack"]
    assert found.state == "failing"
    assert said in found.text
    assert ("Start Docker" in found.hint) == (needs_compose is True)
    assert "KIT_TRACKING__URI" in found.hint


ANSWERS = {
    "no web server": b"SSH-2.0-other\r\n",
    "a page": b"HTTP/1.1 404 Not Found\r\nContent-Length: 24\r\n\r\n<!DOCTYPE html><p>Not he",
    "nothing": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",  # as macOS answers on port 5000
}


@pytest.fixture(params=ANSWERS)
def taken(request: pytest.FixtureRequest) -> Iterator[str]:
    """Another program's address, which answers everything alike."""

    class Other(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(ANSWERS[request.param])

    with TCPServer(("127.0.0.1", 0), Other) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


def test_another_program_on_the_port_is_named(repository, taken):
    failing = [one for one in examine(repository, taken) if one.state == "failing"]
    assert [one.item for one in failing] in (["stack"], ["MLflow"])
    assert "MLFLOW_PORT" in failing[0].hint
