"""What the machine and the compose stack give. `Finding`: what is known of one thing."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from starterkit.errors import SettingsError, TrackingError
from starterkit.machine import owner_of, require_port
from starterkit.settings import Layers, mask
from starterkit.tracking.connection import START, ask_version


@dataclass(frozen=True)
class Finding:
    item: str
    state: Literal["well", "warning", "failing"]
    text: str
    hint: str = ""

    @property
    def content(self) -> dict[str, str]:
        """For a script. Its keys are a format: `hint` is ``mend`` there."""
        return {"item": self.item, "state": self.state, "text": self.text, "mend": self.hint}


def well(item: str, text: str) -> Finding:
    return Finding(item, "well", text)


def warning(item: str, text: str, hint: str) -> Finding:
    return Finding(item, "warning", text, hint)


# --- What the machine gives: space, the right to write, a port.

_DISK_FLOOR = 500_000_000


def disk(layers: Layers) -> Iterator[Finding]:
    """Space for runs and for scratch files, and a repository that can be written."""
    # Python silently takes another folder where it cannot write into TMPDIR.
    root, scratch = layers.settings.root, Path(os.environ.get("TMPDIR") or tempfile.gettempdir())
    for folder, name in ((root, "the repository"), (scratch, f"scratch files, {scratch}")):
        if not folder.is_dir():
            raise SettingsError(f"the folder for {name}, is not there", "Make it, or unset TMPDIR")
        free = shutil.disk_usage(folder).free
        if free < _DISK_FLOOR:
            what = f"{free // 1_000_000} MB are free on the disk of {name}"
            raise SettingsError(what, f"Free at least {_DISK_FLOOR // 1_000_000} MB")
    for folder in (root, root / "data"):
        if folder.exists() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            name = "the repository" if folder == root else f"{folder.name}/"
            what = f"{name} cannot be written: it {owner_of(folder)}"
            hint = "Run this as its owner, or give yourself the right to write it"
            if folder.name == "data":  # it is only read
                yield warning("disk", what, f"{hint}, if you mean to put data there")
            else:
                raise SettingsError(what, hint)
    yield well("disk", f"{shutil.disk_usage(root).free / 1e9:.0f} GB free, the repository can be written")


def api(layers: Layers) -> Iterator[Finding]:
    """The API has what the stage asks for, and a port to listen on."""
    serving = layers.settings.serving
    if serving.require_api_key and serving.api_key is None and serving.api_keys_file is None:
        hint = "Set KIT_SERVING__API_KEY, or put it into secrets/KIT_SERVING__API_KEY"
        raise SettingsError("the stage requires an API key and has none", hint)
    try:
        require_port(serving.host, serving.port)
    except SettingsError as error:
        if "in use" not in error.what:
            raise
        yield warning("API", error.what, error.hint)  # no fault where the one who has it is the API itself
        return
    yield well("API", f"port {serving.port} is free")


# --- The compose stack, where the stage's server is the one of this repository: which service fails, and what it said.

_HERE = ("localhost", "127.0.0.1")
_SECONDS = 20
_START = "`docker compose up -d --wait` starts it"
_ELSEWHERE = "or name a server elsewhere in KIT_TRACKING__URI"
_FREE = "Free space on Docker's disk, then `docker compose restart`"
_FOLDERS = {"postgres": "/var/lib/postgresql/data", "mlflow": "/artifacts"}
_LITTLE_KIB = 5 * 1024
_TOLD = re.compile(r"starterkit: (?P<what>.+): (?P<mend>.+)")  # what the scripts in docker/ say
_BAD = re.compile(r"FATAL|PANIC|ERROR|No space left|Error")


def stack(layers: Layers) -> Iterator[Finding]:
    """Asks Docker only where the server should be on this machine."""
    uri, root = layers.settings.tracking.uri, layers.settings.root
    if urlsplit(uri).hostname not in _HERE or not (root / "docker-compose.yml").exists():
        return
    try:
        ask_version(uri, mask(uri))
    except TrackingError as error:
        if error.hint == START:
            what, hint = _reason(root)
            raise TrackingError(f"{error.what}; {what}", hint) from error
        if failing := _behind(root):  # Docker itself answers for a service that ends again and again
            raise TrackingError(*failing) from error
        raise
    if failing := _behind(root):
        raise TrackingError(*failing)
    yield well("stack", "the server's port answers")


def _behind(root: Path) -> tuple[str, str] | None:
    """What fails behind a port that answers, where this machine's Docker runs the stack."""
    if shutil.which("docker") is None:
        return None
    listed = _compose(root, "ps", "--all", "--format", "json")
    return _failing(root, listed) or (_full(root) if _services(listed) else None)


def _full(root: Path) -> tuple[str, str] | None:
    """A server that has no space left says no more than "internal server error"."""
    for service, folder in _FOLDERS.items():
        said = _compose(root, "exec", "-T", service, "df", "-P", "-k", folder)
        left = said.stdout.splitlines()[-1].split()[3] if not said.returncode and said.stdout else ""
        if left.isdigit() and int(left) < _LITTLE_KIB:
            return f"the service {service} has no space left on its volume: {int(left) / 1024:.0f} MiB", _FREE
    return None


def _reason(root: Path) -> tuple[str, str]:
    if shutil.which("docker") is None:
        return "Docker is not installed here", f"Install it, {_ELSEWHERE}"
    listed = _compose(root, "ps", "--all", "--format", "json")
    if listed.returncode:
        said = (listed.stderr.strip().splitlines() or ["no reason given"])[-1]
        if re.search("not a docker command|unknown (shorthand )?flag|unknown command", listed.stderr):
            return "Docker has no Compose here", f"Install its plugin, `docker compose`, 2.24 or newer, {_ELSEWHERE}"
        if "daemon" in said or "permission denied" in said:
            hint = f"Start Docker (on Linux: `systemctl start docker`), and see that your user may use it, {_ELSEWHERE}"
            return f"Docker does not answer: {said}", hint
        return f"`docker compose` fails: {said}", "See that docker-compose.yml and .env are whole"
    if failing := _failing(root, listed):
        return failing
    if not {"secrets", "postgres", "mlflow"} <= {service["Service"] for service in _services(listed)}:
        return "the stack is not up", _START
    port = "see that KIT_TRACKING__URI names the port of MLFLOW_PORT"
    return "all services run", f"Wait until `docker compose ps` calls mlflow healthy, and {port}"


def _failing(root: Path, listed: "subprocess.CompletedProcess[str]") -> tuple[str, str] | None:
    """The first service that fails, in the order in which they need each other."""
    services = {service["Service"]: service for service in _services(listed)}
    for name in ("secrets", "postgres", "mlflow"):
        if name not in services:
            return None
        state, health = services[name]["State"], services[name].get("Health", "")
        if name == "secrets" and state == "exited" and services[name].get("ExitCode") == 0:
            continue
        if state == "created" and name == "mlflow":
            hint = "Free it, or set MLFLOW_PORT in .env and the same port in KIT_TRACKING__URI, then up again"
            return "the service mlflow was never started: its port may be taken", hint
        failing = state != "running" or health == "unhealthy"
        if failing or (health != "healthy" and _told(root, name)):  # one that ends again and again is starting, too
            return _said(root, name, "failing" if state == "running" else state)
    return None


def _said(root: Path, service: str, state: str) -> tuple[str, str]:
    """A failing service's own reason, the newest one."""
    if told := _told(root, service):
        return f"the service {service} is {state}: {told['what']}", told["mend"]
    bad = [line.strip() for line in _log(root, service) if _BAD.search(line)]
    reason = f": {mask(bad[-1])[:200]}" if bad else ""
    hint = _FREE if "No space" in reason else f"`docker compose logs {service}`; {_START}"
    return f"the service {service} is {state}{reason}", hint


def _told(root: Path, service: str) -> "re.Match[str] | None":
    told = [found for found in map(_TOLD.search, _log(root, service)) if found]
    return told[-1] if told else None


def _log(root: Path, service: str) -> list[str]:
    return _compose(root, "logs", "--no-color", "--no-log-prefix", "--tail", "60", service).stdout.splitlines()


def _services(listed: "subprocess.CompletedProcess[str]") -> list[dict[str, str]]:
    """Older releases of Compose print one array, newer ones a line for each."""
    text = "" if listed.returncode else listed.stdout.strip()
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]


def _compose(root: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = ["docker", "compose", *words]
    try:
        return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"the daemon gave no answer in {_SECONDS} s")
