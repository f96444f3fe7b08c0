"""A build beside a mirror: base images under another name, an index with a certificate of its own and a password."""

import base64
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from engine import BUILD_SECONDS

REPOSITORY = Path(__file__).parents[2]
PASSWORD = "Basic " + base64.b64encode(b"ada:secret").decode()
CERTIFICATE = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=mirror -addext basicConstraints=critical,CA:FALSE"


class Index(SimpleHTTPRequestHandler):
    """Has uv alone. Whoever asks without the password is asked for it."""

    asked: list[str]

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != PASSWORD:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
            return
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path, pem: Path) -> Iterator[tuple[str, list[str]]]:
    """The index's address, and what it was asked for."""
    asked: list[str] = []
    handler = type("Here", (Index,), {"asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://localhost:{server.server_port}/simple/", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name", ["serve", "mlflow", "train"])
def test_addresses_certificate_and_password_reach_a_build(docker, tmp_path, name):
    """uv comes from the mirror, then uv asks it for the rest, which it has not: that ends the build."""
    wheels = tmp_path / "simple" / "uv"
    wheels.mkdir(parents=True)
    fetch = [sys.executable, "-m", "venv", str(tmp_path / "pip")]
    subprocess.run(fetch, check=True)
    fetch = [tmp_path / "pip/bin/pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", wheels]
    subprocess.run([*fetch, "--require-hashes", "-r", REPOSITORY / "requirements-uv.txt"], check=True)
    pem, netrc = tmp_path / "mirror.pem", tmp_path / "netrc"
    subprocess.run(
        ["openssl", *CERTIFICATE.split(), "-addext", "subjectAltName=DNS:localhost", "-keyout", pem, "-out", pem],
        check=True,
        capture_output=True,
    )
    netrc.write_text("machine localhost login ada password secret\n")
    registry = f"{docker.name('mirror')}/"
    docker("tag", "python:3.13-slim-trixie", f"{registry}python:3.13-slim-trixie")
    with serving(tmp_path, pem) as (address, asked):
        done = docker.ask(
            "build", "--network=host", "--progress=plain", f"--file=docker/{name}.Dockerfile",
            f"--build-arg=REGISTRY={registry}", f"--build-arg=PIP_INDEX_URL={address}",
            f"--build-arg=UV_DEFAULT_INDEX={address}", f"--secret=id=certificates,src={pem}",
            f"--secret=id=netrc,src={netrc}", str(REPOSITORY), seconds=BUILD_SECONDS,
        )  # fmt: skip
    docker("rmi", f"{registry}python:3.13-slim-trixie")
    assert f"{registry}python:3.13-slim-trixie" in done.stderr
    assert "/simple/uv/" in asked, done.stderr[-3000:]
    assert [path for path in asked if not path.startswith("/simple/uv/")], done.stderr[-3000:]
    assert done.returncode
