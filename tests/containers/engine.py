"""Docker for the tests: commands with time limits, names that nobody else has, and nothing left behind."""

import json
import secrets
import subprocess
from dataclasses import dataclass, field
from typing import Any

import pytest

LABEL = "starterkit.test"
SECONDS = 60
BUILD_SECONDS = 900


@dataclass(frozen=True)
class Docker:
    """Docker's command. What it makes bears the session's token and is removed at its end."""

    token: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def label(self) -> str:
        return f"{LABEL}={self.token}"

    def name(self, what: str) -> str:
        return f"starterkit-test-{self.token}-{what}"

    def ask(self, *words: str, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
        """What a command comes to, whatever its exit code."""
        try:
            return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"docker {' '.join(words)} took more than {seconds} s", pytrace=False)

    def __call__(self, *words: str, seconds: float = SECONDS) -> str:
        """What a command prints. It has to succeed."""
        done = self.ask(*words, seconds=seconds)
        if done.returncode:
            pytest.fail(f"docker {' '.join(words)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout.strip()

    def build(self, what: str, *words: str) -> str:
        """Build an image; its name."""
        self("build", "--tag", self.name(what), "--label", self.label, *words, seconds=BUILD_SECONDS)
        return self.name(what)

    def start(self, *words: str) -> "Container":
        """Run a container in the background. Options, the image, the command."""
        return Container(self, self("run", "--detach", "--label", self.label, *words))

    def inspect(self, what: str) -> dict[str, Any]:
        return json.loads(self("inspect", what))[0]

    def remove_all(self) -> None:
        found = ("--quiet", "--filter", f"label={self.label}")
        removals = {
            ("rm", "--force", "--volumes"): ("ps", "--all", *found),
            ("network", "rm"): ("network", "ls", *found),
            ("volume", "rm", "--force"): ("volume", "ls", *found),
            ("rmi", "--force"): ("images", "--quiet", "--filter", f"reference={self.name('*')}"),
        }
        for remove, listing in removals.items():
            if ids := sorted(set(self(*listing).split())):
                self.ask(*remove, *ids)


@dataclass(frozen=True)
class Container:
    """One that was started."""

    docker: Docker
    id: str

    def python(self, code: str) -> str:
        """What a few lines of Python print inside."""
        return self.docker("exec", self.id, "python", "-c", code)

    def address(self, port: int) -> str:
        """Where this machine reaches a port of it."""
        done = self.docker.ask("port", self.id, f"{port}/tcp")
        if done.returncode:
            pytest.fail(f"the container has ended; it says:\n{self.said()}", pytrace=False)
        return f"http://{done.stdout.splitlines()[0]}"

    @property
    def state(self) -> dict[str, Any]:
        return self.docker.inspect(self.id)["State"]

    def said(self) -> str:
        """Both of its streams."""
        done = self.docker.ask("logs", self.id)
        return done.stdout + done.stderr
