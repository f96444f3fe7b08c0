"""Renews the locks and says what moved.

    python tools/lock.py                 follow pyproject.toml, keep what still fits
    python tools/lock.py upgrade         the newest of everything
    python tools/lock.py add NAME[>=1]   a new dependency, with a lower bound

All is worked out in a scratch folder. Only a resolution that succeeded reaches the project.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from environment import BOOTSTRAP_LOCK, LOCK, TEST_LOCK, CannotMake, check_python, find_uv, say

PROJECT = "pyproject.toml"
# An image's lock, and the group of dependencies in pyproject.toml that it is made of.
IMAGES: dict[str, str] = {}
# <stack>
IMAGES["requirements-server.txt"] = "server"
# </stack>
# <image>
IMAGES["requirements-serve.txt"] = "serve"
# </image>
# What an extra adds to the lock, or to the test tools' one.
EXTRAS = {"requirements-tensorflow.txt": "tensorflow", "requirements-torch.txt": "torch"}
# <spark>
EXTRAS["requirements-spark.txt"] = "spark"
# </spark>
OF_A_BUILD = r"torch|triton|(cuda|nvidia)-.*"  # PyTorch for the CPU or for which cards: the machine decides
# The files of packages that nobody imports: without what the packages need.
ALONE: dict[str, str] = {}
# <template>
ALONE["requirements-tables.txt"] = "tables"
# </template>
# The lock as MLflow's conda manager reads it, with the project's own Python and pip's part without hashes.
CONDA: tuple[str, ...] = ()
# <projects>
CONDA = ("conda.yaml",)
# </projects>
LOCKS = (LOCK, TEST_LOCK, *EXTRAS, *IMAGES, *ALONE, BOOTSTRAP_LOCK)
FILES = (PROJECT, *LOCKS, *CONDA)
# Hashes and no address: a lock says what is installed, the machine's settings say from where.
COMPILE = "--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header"

Pins = "dict[str, set[str]]"  # in quotes for the Pythons that check_python() refuses


class Resolver:
    """Resolves in `folder`, which holds copies of the project's files."""

    def __init__(self, uv: Path, folder: Path) -> None:
        self.uv = uv
        self.folder = folder

    def lock(self, *flags: str) -> None:
        """Resolve with the test tools first. What runs alone then starts from those versions.

        The other way round the test tools may not fit. So both locks agree by construction.
        """
        self.compile(PROJECT, TEST_LOCK, "--extra", "test", *flags)
        shutil.copy(self.folder / TEST_LOCK, self.folder / LOCK)
        self.compile(PROJECT, LOCK)
        for lock, extra in EXTRAS.items():
            self.compile(PROJECT, lock, "--extra", extra, "--constraint", TEST_LOCK, *flags)
            self.leave_out(lock, read_pins(self.folder / LOCK))
        # boto3 wants older packages than the kit does; the two sides of MLflow have to be the same.
        mlflow = "".join(
            f"{name}=={min(read_pins(self.folder / LOCK)[name])}\n" for name in ("mlflow", "mlflow-skinny")
        )
        (self.folder / "mlflow.txt").write_text(mlflow)
        for lock, group in IMAGES.items():
            self.compile(f"--group={group}", lock, "--constraint", "mlflow.txt", *flags)
        for lock, group in ALONE.items():
            self.compile(f"--group={group}", lock, "--no-deps", *flags)
        for name in CONDA:
            (self.folder / name).write_text(conda_environment(self.folder), "utf-8")

    def leave_out(self, lock: str, has: Pins) -> None:
        """Leave out of a lock what another has, and what is a build's."""
        entries = re.split(r"(?m)^(?=\S)", (self.folder / lock).read_text("utf-8"))
        named = [(normalise(re.split(r"[\[=]", entry)[0]), entry) for entry in entries]
        kept = [entry for name, entry in named if name not in has and not re.fullmatch(OF_A_BUILD, name)]
        (self.folder / lock).write_text("".join(kept), "utf-8")

    def lock_uv(self) -> None:
        self.compile("-", BOOTSTRAP_LOCK, "--upgrade", "--no-annotate", given="uv>=0.9,<1")

    def add(self, requirement: str) -> None:
        """Add to pyproject.toml and lock; a bare name gets the locked version as lower bound."""
        bare = re.fullmatch(r"([\w.-]+)(\[[^]]*\])?\s*(;.*)?", requirement)
        if bare and normalise(bare[1]) in self.dependencies():
            raise CannotMake(f"{bare[1]} is a dependency already: nothing was changed")
        self.declare(requirement)
        self.lock()
        if bare:
            name, extras, marker = bare.groups(default="")
            lowest = min(read_pins(self.folder / LOCK)[normalise(name)], key=as_numbers)
            self.declare(f"{name}{extras}>={lowest} {marker}")

    def dependencies(self) -> set[str]:
        import tomllib  # not there in the Pythons that check_python() refuses

        project = tomllib.loads((self.folder / PROJECT).read_text("utf-8"))["project"]
        return {normalise(re.split(r"[^\w.-]", text)[0]) for text in project["dependencies"]}

    def declare(self, requirement: str) -> None:
        # uv writes an index named in the environment into pyproject.toml: hide it for this step.
        hidden = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
        environ = {name: value for name, value in os.environ.items() if name not in hidden}
        self.run("add", "--frozen", "--", requirement, environ=environ)

    def compile(self, source: str, lock: str, *flags: str, given: str | None = None) -> None:
        command = ["pip", "compile", source, *COMPILE.split(), *flags, "--output-file", lock]
        self.run(*command, given=given)

    def run(self, *arguments: str, environ: dict[str, str] | None = None, given: str | None = None) -> None:
        environ = {**(environ or os.environ), "UV_PYTHON": sys.executable}
        command = [str(self.uv), "--quiet", *arguments]
        answer = subprocess.run(command, cwd=self.folder, env=environ, input=given, text=True)
        if answer.returncode:
            raise CannotMake("uv could not resolve, for the reason above: nothing was changed")


def main(task: str = "", requirement: str = "") -> None:
    check_python()
    if task == "add" and not requirement.strip():
        raise CannotMake('name a package: make add PKG=orjson, or PKG="orjson>=3.11"')
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in (PROJECT, *LOCKS):
            shutil.copy(file, folder)
        resolver = Resolver(find_uv().absolute(), folder)
        if task == "add":
            resolver.add(requirement.strip())
        elif task == "upgrade":
            resolver.lock("--upgrade")
            resolver.lock_uv()
        else:
            resolver.lock()
        for lock in LOCKS[1:]:
            print_moves(read_pins(Path(lock)), read_pins(folder / lock), lock)
        replace_all(folder)


def replace_all(folder: Path) -> None:
    """All files or none: a disk can be full."""
    try:
        for file in FILES:
            shutil.copyfile(folder / file, f"{file}.new")
        for file in FILES:
            Path(f"{file}.new").replace(file)
    finally:
        for file in FILES:
            Path(f"{file}.new").unlink(missing_ok=True)


def read_pins(lock: Path) -> Pins:
    """Each distribution's pinned versions; there can be several, for several Pythons."""
    pins: Pins = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock.read_text("utf-8"), re.MULTILINE):
        pins.setdefault(normalise(name), set()).add(version)
    return pins


def requirements(lock: Path) -> list[str]:
    """Each pin with its marker, without hashes: for what pip installs beside a folder or a wheel."""
    pins = re.findall(r"^([\w.-]+(?:\[[^]]*\])?==[^\\\n]+?) *\\?$", lock.read_text("utf-8"), re.MULTILINE)
    return sorted(pins)


def conda_environment(folder: Path) -> str:
    """Conda brings Python and pip, pip the lock's versions: MLflow names the environment by what this says."""
    import tomllib

    project = tomllib.loads((folder / PROJECT).read_text("utf-8"))["project"]
    oldest = re.findall(r">=\s*([\d.]+)", project["requires-python"])[0]
    lines = [
        f"# Made of {LOCK} by `make lock`. Without hashes: pip takes none beside a folder, which the project is.",
        f"name: {project['name']}",
        "channels:\n  - conda-forge\n  - nodefaults\ndependencies:",
        f"  - python={oldest}\n  - pip\n  - pip:",
        *(f"      - {json.dumps(pin)}" for pin in (*requirements(folder / LOCK), ".")),
    ]
    return "\n".join(lines) + "\n"


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def as_numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def moves(old: Pins, new: Pins) -> list[str]:
    """One line for each distribution that moved, came or went."""
    lines = []
    for name in sorted(old.keys() | new.keys()):
        before, after = (", ".join(sorted(pins.get(name, ()))) for pins in (old, new))
        if before != after:
            lines.append(f"{name} {before or '(not there)'} -> {after or '(gone)'}")
    return lines


def print_moves(old: Pins, new: Pins, lock: str) -> None:
    lines = moves(old, new)
    print(f"{lock}: {len(lines)} moved" if lines else f"{lock}: nothing moved")
    for line in lines:
        print(f"  {line}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except CannotMake as error:
        say(str(error))
        sys.exit(1)
    except OSError as error:
        say(f"{error.strerror}: {error.filename}; the locks are as they were")
        sys.exit(1)
    except KeyboardInterrupt:
        say("stopped; the locks are as they were")
        sys.exit(130)
