"""What doctor says of the compose stack without Docker. tests/containers meets the rest with real containers."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer

import pytest

from starterkit.cli.doctor.doctor import Doctor
from starterkit.cli.doctor.environment import Finding

REPOSITORY = Path(__file__).parents[4]


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
    assert "KIT_TRACKING__URI" in found.hint


def test_docker_that_does_not_run_is_named(repository: Path, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("not run: Docker is not installed, or has no Compose")
    shutil.copy(REPOSITORY / "docker-compose.yml", repository)
    monkeypatch.setenv("DOCKER_HOST", f"tcp://{closed.removeprefix('http://')}")
    found = stack(repository, closed)
    assert found is not None
    assert "Docker does not answer" in found.text
    assert "Start Docker" in found.hint
    assert found.hint.endswith("or name a server elsewhere in KIT_TRACKING__URI")


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
    assert found.hint.endswith("or name a server elsewhere in KIT_TRACKING__URI")


class NoWebServer(BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(1000)
        self.request.sendall(b"SSH-2.0-other\r\n")


class Page(BaseHTTPRequestHandler):
    """Answers everything with a page that is not MLflow's."""

    said = b"<!DOCTYPE html><p>Not here"

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", str(len(self.said)))
        self.end_headers()
        self.wfile.write(self.said)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


class Nothing(Page):
    """As macOS answers on port 5000."""

    said = b""


@pytest.fixture(
    params=[(TCPServer, NoWebServer), (HTTPServer, Page), (HTTPServer, Nothing)], ids=lambda one: one[1].__name__
)
def taken(request: pytest.FixtureRequest) -> Iterator[str]:
    server, handler = request.param
    with server(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


def test_another_program_on_the_port_is_named(repository: Path, taken: str) -> None:
    shutil.copy(REPOSITORY / "docker-compose.yml", repository)
    found = Doctor(repository, {"KIT_STAGE": "dev", "KIT_TRACKING__URI": taken}).examine()
    failing = [one for one in found if one.state == "failing"]
    assert [one.item for one in failing] in (["stack"], ["MLflow"])
    assert "MLFLOW_PORT" in failing[0].hint
