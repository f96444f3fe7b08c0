"""Copies of the repository itself, as its working tree stands, in three combinations of parts.

The first is run and tested in full; `make test-template ARGS=--whole` does so with each.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from workshop import OLD_NAMES, REPOSITORY, Folder

# The longest name there may be, too, whose place among the imports is behind the kit's.
COMBINATIONS = {
    "all parts": ("churn", ""),
    "no containers": ("zebra_crossings_where_somebody_has_to_wait"[:40].rstrip("_"), "stack projects image"),
    "no parts": ("x", "devcontainer image notebooks projects stack vscode workflows"),
}
OF_THIS_RUN = ("KIT_", "VENV", "VIRTUAL_ENV", "MAKE")
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith(OF_THIS_RUN)}


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The working tree as a repository of its own, so that nothing here touches the real one."""
    folder = Folder(tmp_path_factory.mktemp("repository") / "the tëmplate")
    for path in Folder(REPOSITORY).git("ls-files", "-co", "--exclude-standard").splitlines():
        if (REPOSITORY / path).is_file():
            (folder.root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / path, folder.root / path)
    folder.git("init", "-q")
    folder.git("add", "-A")
    folder.git("-c", "user.name=A Person", "-c", "user.email=a@example.org", "commit", "-q", "-m", "As it stands")
    return folder


@pytest.fixture(scope="session", params=COMBINATIONS)
def copy(request: pytest.FixtureRequest, repository: Folder, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Made by `make new`, with no environment to help it."""
    name, without = COMBINATIONS[request.param]
    place = tmp_path_factory.mktemp("copies") / f"my prøject ü {name[:5]}"
    dest = os.path.relpath(place, repository.root)  # as somebody says it who stands in the template
    told = make(repository.root, "new", f"NAME={name}", f"DEST={dest}", f"WITHOUT={without}", "PYTHON=python3")
    assert told.returncode == 0, told.stdout
    return Folder(place)


def make(root: Path, *words: str) -> subprocess.CompletedProcess:
    command = ["make", *words]
    return subprocess.run(
        command, cwd=root, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def name_of(copy: Folder) -> str:
    return json.loads(copy.read(".starterkit.json"))["name"]


def texts(folder: Folder) -> dict[str, str]:
    """Whatever a person would read, and all that a program does: not the locks."""
    contents = {path: (folder.root / path).read_bytes() for path in folder.files if not path.startswith("requirements")}
    return {path: content.decode() for path, content in contents.items() if b"\0" not in content}


def test_no_trace_of_the_old_name_is_left(copy: Folder) -> None:
    found = copy.run("git", "grep", "-inE", OLD_NAMES, "--", ".", ":!LICENSE", ":!.starterkit.json")
    assert found.said == ""
    assert not [path for path in copy.files if re.search(OLD_NAMES, path)]
    assert copy.read("README.md").startswith(f"# {name_of(copy)}\n")


def test_every_command_that_is_named_is_there(copy: Folder) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", copy.read("Makefile"), re.MULTILINE))
    for path, text in texts(copy).items():
        if not path.startswith("tools/template"):  # it speaks of `make new`, too
            named = re.findall(r'(?:`|\$ |")make ([a-z][a-z0-9-]+)', text)
            assert {*named} <= targets, path


def test_no_file_speaks_of_one_that_was_left_out_or_behind(copy: Folder, repository: Folder) -> None:
    folders = r"bench|config|data|docker|docs|notebooks|src|tests|tools|\.ci|\.devcontainer|\.github|\.vscode"
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


def test_what_programs_read_is_sound(copy: Folder) -> None:
    for path in copy.files:
        if path.endswith((".yml", ".yaml")):
            assert yaml.safe_load(copy.read(path).replace("!reset ", "")), path
        if path.endswith((".json", ".ipynb")):
            assert json.loads(re.sub(r"^\s*//.*$", "", copy.read(path), flags=re.MULTILINE)), path
    assert [line for line in copy.git("ls-files", "-s").splitlines() if line.startswith("120000")] == []


def test_the_linters_find_nothing(copy: Folder) -> None:
    """With the template's environment, before the copy has one."""
    tools = Path(sys.executable).parent
    environ = {**ENVIRON, "PYTHONPATH": str(copy.root / "src")}
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["lint-imports"]):
        done = subprocess.run(
            [tools / command[0], *command[1:]], cwd=copy.root, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_parts_that_are_left_out_are_not_there(copy: Folder) -> None:
    without = json.loads(copy.read(".starterkit.json"))["without"]
    for part, paths in {
        "stack": ("docker-compose.yml", "docs/stack.md", "requirements-server.txt", ".devcontainer/devcontainer.json"),
        "image": ("docker/serve.Dockerfile", "requirements-serve.txt"),
        "projects": ("MLproject", "docker/train.Dockerfile"),
        "notebooks": ("notebooks/first-look.ipynb",),
        "vscode": (".vscode/launch.json",),
    }.items():
        assert [(copy.root / path).exists() for path in paths] == [part not in without] * len(paths), part


def test_it_runs_and_passes_its_own_tests_at_once(
    copy: Folder, request: pytest.FixtureRequest, record_property: Callable[[str, str], None]
) -> None:
    if name_of(copy) != "churn" and not request.config.getoption("--whole"):
        pytest.skip("--whole runs this one, too")
    for target in ("run", "test"):
        began = time.monotonic()
        told = make(copy.root, target)
        record_property(f"make {target} in {name_of(copy)}", f"{time.monotonic() - began:.0f} s")
        assert told.returncode == 0, told.stdout
    assert copy.changes == ""
    assert not (copy.root / ".git" / "shallow").exists()


def test_a_project_of_the_oldest_version_takes_todays(
    repository: Folder, tmp_path: Path, record_property: Callable[[str, str], None]
) -> None:
    """The changelog names that version by its commit. What comes of the update passes its own tests."""
    named = re.search(r"from commit ([0-9a-f]{7,40})", (REPOSITORY / "CHANGELOG.md").read_text("utf-8"))
    assert named
    oldest = Folder(tmp_path / "oldest")
    Folder(REPOSITORY).git("clone", "-q", "--no-checkout", f"file://{REPOSITORY}", str(oldest.root))
    oldest.git("checkout", "-q", named[1])
    began = time.monotonic()
    told = oldest.new("churn", tmp_path / "my prøject ü")
    record_property("copy", f"{time.monotonic() - began:.1f} s")
    assert told.code == 0, told.said
    project = Folder(tmp_path / "my prøject ü")
    assert named[1] in project.read(".starterkit.json")
    project.edit("src/churn/problem.py", "n_estimators: int = 200", "n_estimators: int = 150")
    project.edit("tools/stack.py", "The database first: what", "The database first. What")
    project.git("-c", "user.name=A Person", "-c", "user.email=a@example.org", "commit", "-qam", "Mine")
    began = time.monotonic()
    told = make(project.root, "update", f"TEMPLATE={repository.root}", "PYTHON=python3")
    record_property("update", f"{time.monotonic() - began:.1f} s")
    assert told.returncode == 0, told.stdout
    assert "n_estimators: int = 150" in project.read("src/churn/problem.py")
    assert "The database first. What" in project.read("tools/stack.py")
    told = make(project.root, "test")
    assert told.returncode == 0, told.stdout
