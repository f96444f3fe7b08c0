"""Builds the serving image with the stage's champion in it, as docs/serving-image.md says.

python tools/image.py [NAME:TAG]        without a name it is the model's, such as local.diabetes:1
"""

import json
import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path("build/model")  # ignored by git
DOCKERFILE = "docker/serve.Dockerfile"
ARGUMENTS = ("REGISTRY", "PIP_INDEX_URL", "UV_DEFAULT_INDEX")
SECRETS = {"certificates": "BUILD_CERTIFICATES", "netrc": "BUILD_NETRC"}


class CannotBuild(Exception):
    """The image cannot be built; the message is one line and says what to do, empty where all is said already."""


def build(name: str = "") -> str:
    """Fetch the champion and build; the answer says what was built and how to start it."""
    require_docker()
    stage = os.environ.get("KIT_STAGE") or "local"
    champion = fetch()
    name = name or f"{champion['model']}:{champion['version']}"
    labels = {"starterkit.model": champion["model"], "starterkit.version": champion["version"]}
    command = ["docker", "build", "--file", DOCKERFILE, "--target", "baked", "--build-arg", f"STAGE={stage}"]
    command += [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
    command += proxy_and_mirror()
    if subprocess.run([*command, "--tag", name, "."]).returncode:
        raise CannotBuild("docker could not build it, for the reason above")
    size = int(ask("docker", "image", "inspect", "--format", "{{.Size}}", name)) / 1e6
    start = f"docker run --rm --publish 127.0.0.1:8000:8000 {name}"
    return f"{name} holds {champion['model']} version {champion['version']}, {size:.0f} MB. Start it: {start}"


def proxy_and_mirror() -> "list[str]":
    """What docs/stack.md says of proxies and mirrors, where it is set."""
    arguments = [f"--build-arg={name}" for name in ARGUMENTS if os.environ.get(name)]
    secrets = [f"--secret=id={name},env={variable}" for name, variable in SECRETS.items() if os.environ.get(variable)]
    return arguments + secrets


def require_docker() -> None:
    try:
        ask("docker", "version", "--format", "{{.Server.Version}}")
    except FileNotFoundError:
        raise CannotBuild("there is no docker command: install Docker Engine or Docker Desktop") from None
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        raise CannotBuild(f"Docker does not answer: {reason[0]}") from None


def fetch() -> "dict[str, str]":
    """The champion into its folder; the command itself says what is in its way."""
    answer = subprocess.run(
        [sys.executable, "-m", "starterkit", "fetch", str(FOLDER), "--json"], stdout=subprocess.PIPE, text=True
    )
    if answer.returncode:
        raise CannotBuild
    return json.loads(answer.stdout)


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    try:
        print(build(*sys.argv[1:2]))
    except CannotBuild as error:
        if str(error):
            print(f"image: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
