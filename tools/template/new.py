"""Makes a project of this template, beside it or in its place: new.py NAME [DEST] [WITHOUT]."""

import keyword
import re
import sys
import tempfile
import tomllib
from importlib.machinery import PathFinder
from pathlib import Path

from rendering import MANIFEST, SECRET, Files, Git, Refused, render, run, take

ROOT = Path(__file__).resolve().parents[2]


def new(name: str = "", dest: str = "", without: str = "") -> None:
    parts, target, here = without.replace(",", " ").split(), Path(dest or ROOT).expanduser().resolve(), Git(ROOT)
    check(name, parts)
    if not dest and here("rev-list", "--count", "-n", "2", "HEAD").strip() != "1":
        raise Refused(f"this is the template with its history: DEST=../{name} makes a project beside it, DEST=. here")
    if dest in ("", "."):
        if here("status", "--porcelain"):
            raise Refused("there are changes: commit them first, or name another folder with DEST=…")
        here("reset", "-q", "--keep", project(here, name, parts, "-p", "HEAD"))
    elif ROOT in [target, *target.parents] or (target.exists() and (target.is_file() or any(target.iterdir()))):
        raise Refused(f"{target} is the template's or not empty: name a new folder with DEST=…")
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as folder:
            Git(Path(folder))("init", "-q", "project")
            git = Git(Path(folder) / "project")
            git("reset", "-q", "--hard", project(git, name, parts))
            git.root.replace(target)  # whole or not at all
    print(f"{name} is in {target}. Next, in that folder: make env")
    print("Then .venv/bin/starterkit init-problem yours.csv --target y, or make run for the example")


def project(git: Git, name: str, without: list[str], *parents: str) -> str:
    """The commit that holds the project. Its record names the template's address where that has the same version."""
    record, here = take(git, str(ROOT), name=name, without=without), Git(ROOT)
    address = here("config", "remote.origin.url", may_fail=True)
    if address and not here("diff", "HEAD", "--name-only") and here("branch", "-r", "--contains", "HEAD"):
        record["template"] = SECRET.sub("", address)
    return git.commit(
        git.tree(named(git, render(git, record)[0], name)), f"{name}, from the template's {record['version']}", *parents
    )


def named(git: Git, files: Files, name: str) -> Files:
    """The problem is called as the project. Not by the manifest: an update would rename an older project's."""
    problem = name.replace("_", "-")
    changes = {
        "pyproject.toml": (f'default = "{name}', f'{problem} = "{name}'),
        "config/test.yaml": ("diabetes", problem),
    }
    for path, words in changes.items():
        text = git("show", files[path][1]).replace(*words) + "\n"
        files[path] = (files[path][0], git("hash-object", "-w", "--stdin", given=text))
    return files


def check(name: str, without: list[str]) -> None:
    manifest = tomllib.loads((ROOT / MANIFEST).read_text("utf-8"))
    known = {*manifest["taken"].split(), *sys.stdlib_module_names, *keyword.kwlist, *keyword.softkwlist}
    for lock in ROOT.glob("requirements*.txt"):
        known |= {pin.replace("-", "_") for pin in re.findall("(?m)^([a-z0-9-]+)==", lock.read_text("utf-8"))}
    if not re.fullmatch("[a-z](_?[a-z0-9]){0,39}", name):
        raise Refused(f"NAME={name!r}: letters a to z, digits, single _ between them, as in NAME=churn")
    if name in known or "example_project" in name or PathFinder.find_spec(name, sys.path[1:]):
        raise Refused(f"NAME={name}: a word of Python's or a module that is there already, take another")
    if unknown := {*without} - {*manifest["parts"]}:
        raise Refused(f"WITHOUT={' '.join(sorted(unknown))}: the parts are {', '.join(manifest['parts'])}")


if __name__ == "__main__":
    run(new, *sys.argv[1:])
