"""Builds a wheel for where there is no clone, such as a notebook in a cloud.

    python tools/wheel.py [FOLDER]        build/wheel without one

It holds the kit, the project, and what git tracks of config/ and data/, which `starterkit unpack` writes into a folder:
data that is kept out of git is kept out of the wheel. Its extra `locked` asks for the versions of requirements.txt.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from environment import LOCK, CannotMake, find_uv, say
from lock import PROJECT, requirements

FOLDER = Path("build/wheel")
CODE = (PROJECT, "README.md", "LICENSE", "src")
UNPACKED = ("config", "data")
BROUGHT = "brought"  # in the project's package; `starterkit unpack` looks there


def build(folder: Path) -> Path:
    """The wheel, alone in its folder."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        copy_tracked(CODE, scratch)
        project = tomllib.loads(Path(PROJECT).read_text("utf-8"))["project"]
        (entry,) = project["entry-points"]["starterkit.problem"].values()
        package = scratch.joinpath("src", *entry.partition(":")[0].split("."))
        copy_tracked(UNPACKED, package / BROUGHT)
        declare_locked(scratch / PROJECT)
        command = [str(find_uv()), "build", "--quiet", "--wheel", "--out-dir", str(scratch / "made"), str(scratch)]
        if subprocess.run(command, env={**os.environ, "UV_PYTHON": sys.executable}).returncode:
            raise CannotMake("uv could not build the wheel, for the reason above")
        (wheel,) = (scratch / "made").glob("*.whl")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return Path(shutil.copy(wheel, folder))


def copy_tracked(places: "tuple[str, ...]", to: Path) -> None:
    """What git tracks, as it is in the working tree."""
    answer = subprocess.run(["git", "ls-files", "-z", "--", *places], capture_output=True, text=True)
    if answer.returncode:
        raise CannotMake("git does not say which files it tracks: build the wheel in a clone")
    for name in filter(None, answer.stdout.split("\0")):
        if Path(name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, to / name)


def declare_locked(project: Path) -> None:
    heading, text = "[project.optional-dependencies]\n", project.read_text("utf-8")
    if heading not in text:
        raise CannotMake(f"{PROJECT} has no {heading.strip()}: bring it back")
    pins = json.dumps(requirements(Path(LOCK)))
    project.write_text(text.replace(heading, f"{heading}locked = {pins}\n"), "utf-8")


if __name__ == "__main__":
    try:
        made = build(Path(*sys.argv[1:2]) if sys.argv[1:] else FOLDER)
        print(f'{made}: pip install "{made.name}[locked]", then `starterkit unpack` in the folder to work in')
    except CannotMake as error:
        say(str(error))
        sys.exit(1)
