"""A disk that is full inside of the stack: one line that says so, nothing lost, and the same command afterwards."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from compose import UP_SECONDS, Stack, doctor, kit
from engine import Container, Docker

# Volumes in memory have an end of their own.
SMALL = """
volumes:
  postgres: {driver_opts: {type: tmpfs, device: tmpfs, o: "size=200m,mode=0700,uid=${POSTGRES_UID:-0}"}}
  artifacts: {driver_opts: {type: tmpfs, device: tmpfs, o: "size=60m,mode=0700,uid=${MLFLOW_UID:-0}"}}
"""


@pytest.fixture(scope="module")
def small(docker: Docker, free_tcp_port_factory: Callable[[], int], tmp_path_factory: Any) -> Iterator[Stack]:
    override = tmp_path_factory.mktemp("small") / "small.yml"
    override.write_text(SMALL)
    files = {"COMPOSE_FILE": f"docker-compose.yml:{override}"}
    made = Stack(docker, docker.name("small"), free_tcp_port_factory(), free_tcp_port_factory(), files)
    try:
        made("build", "postgres", "mlflow", seconds=UP_SECONDS)
        for service in ("postgres", "mlflow"):
            user = docker("run", "--rm", "--entrypoint", "id", f"{made.name}-{service}", "-u")
            files[f"{service.upper()}_UID"] = user
        made.up()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def holder(small: Stack, docker: Docker) -> Iterator[Container]:
    """Keeps the volumes mounted, so that they outlive their services, and fills and frees them."""
    volumes = [f"--volume={small.name}_{name}:/{name}" for name in ("postgres", "artifacts")]
    held = docker.start(*volumes, "python:3.13-slim-trixie", "sleep", "infinity")
    yield held
    docker("rm", "--force", held.id)


@contextmanager
def full(holder: Container, volume: str) -> Iterator[None]:
    """A volume that is full and stays so: what PostgreSQL gives free now and then is taken at once."""
    docker, file = holder.docker, f"/{volume}/filler"
    more = f"cat /dev/zero >> {file} 2>/dev/null"
    docker("exec", holder.id, "sh", "-c", f"touch /full /held; {more} || true")
    keep = f"while [ -e /full ]; do {more}; sleep 0.05; done; rm {file} /held"
    docker("exec", "--detach", holder.id, "sh", "-c", keep)
    try:
        yield
    finally:
        docker("exec", holder.id, "sh", "-c", "rm /full; while [ -e /held ]; do sleep 0.1; done")


@pytest.mark.parametrize("volume", ["artifacts", "postgres"])
def test_full_disk_under_a_run_is_one_line(small, holder, repository, volume):
    with full(holder, volume):
        done = kit(repository, "run", KIT_TRACKING__URI=small.address)
        assert done.returncode == 1, done.stdout
        assert "Traceback" not in done.stderr
        assert "its disk may be full; `starterkit doctor` looks closer" in done.stderr, done.stderr
        found = doctor(small, repository)
        assert "no space left" in found["stack"]["text"].lower(), found
        assert "Free space on Docker's disk" in found["stack"]["mend"]
    small.up()
    done = kit(repository, "run", KIT_TRACKING__URI=small.address)
    assert done.returncode == 0, done.stderr
    assert doctor(small, repository)["champion"]["state"] == "well"


def test_database_that_cannot_start_on_a_full_disk_is_named(small, holder, repository, until):
    small("stop", "postgres")
    with full(holder, "postgres"):
        small.ask("up", "--detach", "postgres")
        until(lambda: "No space left" in small.said("postgres"), "told in the log")

        def is_told() -> bool:  # Docker starts it again and again, and in between it looks well
            found = doctor(small, repository)["stack"]
            return "No space left" in found["text"] and "Free space" in found["mend"]

        until(is_told, "told by doctor")
    small("restart")  # what the hint says
    small.up()
    assert doctor(small, repository)["champion"]["state"] == "well"
