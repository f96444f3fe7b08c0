"""Copies of the repository itself, as its working tree stands, in three combinations of parts: what they say."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from workshop import COMBINATIONS, ENVIRON, OF_THE_KIT, OLD_NAMES, Folder


@pytest.fixture(scope="session", params=COMBINATIONS)
def copy(request: pytest.FixtureRequest, repository: Folder, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Made by `make new`, with no environment to help it."""
    return repository.copy(request.param, tmp_path_factory.mktemp("copies") / "my prøject ü")


def name_of(copy: Folder) -> str:
    return json.loads(copy.read(".starterkit.json"))["name"]


def texts(folder: Folder) -> dict[str, str]:
    """Whatever a person would read, and all that a program does: not the locks."""
    contents = {path: (folder.root / path).read_bytes() for path in folder.files if not path.startswith("requirements")}
    return {path: content.decode() for path, content in contents.items() if b"\0" not in content}


def test_no_trace_of_the_old_name_is_left(copy):
    found = copy.run("git", "grep", "-inE", OLD_NAMES, "--", ".", ":!LICENSE", ":!.starterkit.json")
    assert found.said == ""
    assert not [path for path in copy.files if re.search(OLD_NAMES, path)]
    assert copy.read("README.md").startswith(f"# {name_of(copy)}\n")


def test_every_command_that_is_named_is_there(copy):
    targets = set(re.findall(r"^([a-z0-9-]+):", copy.read("Makefile"), re.MULTILINE))
    for path, text in texts(copy).items():
        if not path.startswith("tools/template"):  # it speaks of `make new`, too
            named = re.findall(r'(?:`|\$ |")make ([a-z][a-z0-9-]+)', text)
            assert {*named} <= targets, path


def test_no_file_speaks_of_one_that_was_left_out_or_behind(copy, repository):
    folders = r"bench|config|data|deploy|docker|docs|notebooks|src|tests|tools|\.ci|\.devcontainer|\.github|\.vscode"
    gone = [path for path in repository.files if "/" not in path and path not in copy.files]
    missing = set()
    for path, text in texts(copy).items():
        named = re.findall(rf"(?<![\w./-])(?:{folders})/[\w./-]*\w", text)
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text) if path.endswith(".md") else []
        for one in (*named, *(os.path.normpath(Path(path).parent / link) for link in links)):
            if (repository.root / one).exists() and not (copy.root / one).exists():
                missing.add((path, one))
        if not path.startswith("src/starterkit"):  # doctor looks for the stack, and finds none
            missing |= {(path, one) for one in gone if re.search(rf"(?<![\w/.-]){re.escape(one)}(?!\w)", text)}
    # What an update reads is the template's.
    assert {one for one in missing if not one[0].startswith("tools/template/")} == set()


def test_what_programs_read_is_sound(copy):
    for path in copy.files:
        if path.endswith((".yml", ".yaml")):
            assert [*yaml.safe_load_all(copy.read(path).replace("!reset ", ""))], path
        if path.endswith((".json", ".ipynb")):
            assert json.loads(re.sub(r"^\s*//.*$", "", copy.read(path), flags=re.MULTILINE)), path
    assert [line for line in copy.git("ls-files", "-s").splitlines() if line.startswith("120000")] == []


def test_the_linters_find_nothing(copy):
    """With the template's environment, before the copy has one."""
    tools = Path(sys.executable).parent
    environ = {**ENVIRON, "PYTHONPATH": str(copy.root / "src")}
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["lint-imports"]):
        call = [tools / command[0], *command[1:]]
        done = subprocess.run(call, cwd=copy.root, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_project_from_before_the_move_becomes_one_of_today(before_the_move, repository, tmp_path):
    """Nothing conflicts, what is its user's is as it was, an edit moved on with its lines, and all else is today's."""
    project, today = before_the_move(tmp_path / "my prøject ü"), Folder(tmp_path / "today")
    repository.make("new", "NAME=churn", f"DEST={today.root}")
    project.make("update")
    assert project.git("diff", "--name-only", "--diff-filter=U") == ""
    own = ("README.md", "config/*.yaml", "data/*", "notebooks/*", "src/churn/*", "tests/churn/*")
    assert project.git("diff", "--name-only", "HEAD", "--", *own) == ""
    others = [f":!{pattern}" for pattern in (*own, ".starterkit.json")]
    kept, new = (
        {path: folder.read(path) for path in folder.git("ls-files", *others).splitlines()}
        for folder in (project, today)
    )
    # What the entry point was called while the problem said its own name goes on working.
    new["pyproject.toml"] = new["pyproject.toml"].replace('churn = "churn:problem"', 'default = "churn:problem"')
    (edited,) = (path for path in kept.keys() | new.keys() if kept.get(path) != new.get(path))
    assert kept[edited] == new[edited].replace(*OF_THE_KIT[1:])
    assert OF_THE_KIT[2] in kept[edited]


def test_parts_that_are_left_out_are_not_there(copy):
    without = json.loads(copy.read(".starterkit.json"))["without"]
    for part, paths in {
        "stack": ("docker-compose.yml", "docs/stack.md", "requirements-server.txt", ".devcontainer/devcontainer.json"),
        "image": ("docker/serve.Dockerfile", "requirements-serve.txt"),
        "projects": ("MLproject", "docker/train.Dockerfile"),
        "notebooks": ("notebooks/first-look.ipynb",),
        "vscode": (".vscode/launch.json",),
    }.items():
        assert [(copy.root / path).exists() for path in paths] == [part not in without] * len(paths), part
