"""The compose stack as a user starts it, under a name and on ports of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from engine import Docker

REPOSITORY = Path(__file__).parents[2]
UP_SECONDS = 900


@dataclass(frozen=True)
class Stack:
    """`docker compose`, called in the repository. `environ` is what a user would put into .env."""

    docker: Docker
    name: str
    port: int
    api_port: int
    environ: dict[str, str] = field(default_factory=dict)

    def ask(self, *words: str, seconds: float = 120, **environ: str) -> subprocess.CompletedProcess[str]:
        ports = {"MLFLOW_PORT": str(self.port), "API_PORT": str(self.api_port), "COMPOSE_PROJECT_NAME": self.name}
        given = {**os.environ, **ports, **self.environ, **environ}
        command = ["docker", "compose", *words]
        return subprocess.run(command, cwd=REPOSITORY, env=given, capture_output=True, text=True, timeout=seconds)

    def __call__(self, *words: str, seconds: float = 120, **environ: str) -> str:
        """What a command prints. Where it fails, the containers' logs are shown."""
        done = self.ask(*words, seconds=seconds, **environ)
        if done.returncode:
            logs = self.ask("logs", "--no-color", "--tail", "40")
            pytest.fail(f"docker compose {' '.join(words)} failed:\n{done.stderr[-3000:]}\n{logs.stdout}")
        return done.stdout.strip()

    def up(self, *words: str, **environ: str) -> None:
        self("up", "--detach", "--wait", *words, seconds=UP_SECONDS, **environ)

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A make target for this stack."""
        given = {**os.environ, "COMPOSE_PROJECT_NAME": self.name, "MLFLOW_PORT": str(self.port), **self.environ}
        given["PYTHON"] = sys.executable
        return subprocess.run(["make", *words], cwd=REPOSITORY, env=given, capture_output=True, text=True, timeout=600)

    def container(self, service: str) -> dict[str, Any]:
        return self.docker.inspect(self("ps", "--all", "--quiet", service).splitlines()[0])

    def inside(self, service: str, *words: str) -> str:
        return self("exec", "-T", service, *words)

    def query(self, statement: str) -> str:
        return self.inside("postgres", "psql", "--username=mlflow", "--dbname=mlflow", "-tAc", statement)

    def said(self, service: str) -> str:
        return self.ask("logs", "--no-color", "--no-log-prefix", service).stdout

    def remove(self) -> None:
        self.ask("--profile", "api", "down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "2")

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}"


def kit(root: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command of the kit in a repository, as stage dev."""
    given = {**os.environ, "KIT_STAGE": "dev", "NO_COLOR": "1", "COLUMNS": "200", **environ}
    command = [sys.executable, "-m", "starterkit", *words]
    return subprocess.run(command, cwd=root, env=given, capture_output=True, text=True, timeout=300)


def doctor(stack: Stack, repository: Path) -> dict[str, dict[str, str]]:
    """What doctor finds of each item, beside the stack's own compose project."""
    environ = {"KIT_TRACKING__URI": stack.address, "COMPOSE_PROJECT_NAME": stack.name, "MLFLOW_PORT": str(stack.port)}
    found = json.loads(kit(repository, "doctor", "--json", **environ).stdout)
    return {one["item"]: one for one in found}


def services(stack: Stack) -> dict[str, dict[str, Any]]:
    return {one["Service"]: one for one in map(json.loads, stack("ps", "--all", "--format", "json").splitlines())}
