"""The scripts behind the Makefile. What they do with uv and a network, .ci/run shows."""

import re
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return import_module("environment")


@pytest.fixture
def lock(environment: ModuleType) -> ModuleType:
    return import_module("lock")


@pytest.fixture
def mutants(environment: ModuleType) -> ModuleType:
    return import_module("mutants")


@pytest.fixture
def measure(environment: ModuleType) -> ModuleType:
    return import_module("measure")


@pytest.fixture
def project(environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project, in a folder with a space and an umlaut, whose uv only notes what it is asked for."""
    folder = tmp_path / "my prøject ü"
    folder.mkdir()
    for name in ("requirements.txt", "requirements-test.txt", "pyproject.toml"):
        (folder / name).write_text(name)
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(UV)
    uv.chmod(0o755)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{uv.parent}:/usr/bin:/bin")
    return folder


UV = """#!/bin/sh
case "$1 $2" in
  --version*) echo "uv 0.13.9" ;;
  venv*) for venv; do :; done; rm -rf "$venv"; mkdir -p "$venv/bin"; touch "$venv/pyvenv.cfg"
         ln -s /bin/sh "$venv/bin/python"; echo venv >> calls ;;
  "pip sync") for lock; do :; done; echo "sync $lock" >> calls; test ! -e offline ;;
  "pip install") echo install >> calls ;;
esac
"""


def calls(project: Path) -> list[str]:
    """What uv was asked for since the last look."""
    path = project / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


RUN, TEST = ["sync requirements.txt", "install"], ["sync requirements-test.txt", "install"]


def test_the_environment_is_made_once(environment: ModuleType, project: Path) -> None:
    venv = Path(".venv")
    environment.make(venv, with_tests=False)
    assert calls(project) == ["venv", *RUN]
    environment.make(venv, with_tests=False)
    assert calls(project) == []


def test_running_after_testing_installs_nothing(environment: ModuleType, project: Path) -> None:
    venv = Path(".venv")
    environment.make(venv, with_tests=False)
    environment.make(venv, with_tests=True)
    assert calls(project) == ["venv", *RUN, *TEST]
    environment.make(venv, with_tests=False)
    assert calls(project) == []


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_a_changed_file_is_followed(environment: ModuleType, project: Path, name: str) -> None:
    environment.make(Path(".venv"), with_tests=False)
    calls(project)
    (project / name).write_text("changed")
    environment.make(Path(".venv"), with_tests=False)
    assert calls(project) == RUN


def test_a_moved_project_gets_a_new_environment(
    environment: ModuleType, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.make(Path(".venv"), with_tests=True)
    calls(project)
    monkeypatch.chdir(project.rename(project.parent / "moved"))
    environment.make(Path(".venv"), with_tests=False)
    assert calls(Path.cwd()) == ["venv", *TEST]


def test_an_install_cut_short_is_begun_afresh(
    environment: ModuleType, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(*_: str) -> None:
        raise KeyboardInterrupt

    environment.make(Path(".venv"), with_tests=False)
    calls(project)
    with monkeypatch.context() as patch:
        patch.setattr(environment, "call", cut_short)
        with pytest.raises(KeyboardInterrupt):
            environment.make(Path(".venv"), with_tests=True)
    environment.make(Path(".venv"), with_tests=False)
    assert calls(project) == ["venv", *TEST]


def test_a_failed_install_leaves_what_was_there(environment: ModuleType, project: Path) -> None:
    environment.make(Path(".venv"), with_tests=False)
    (project / "offline").touch()
    with pytest.raises(environment.CannotMake, match="no network"):
        environment.make(Path(".venv"), with_tests=True)
    calls(project)
    environment.make(Path(".venv"), with_tests=False)
    assert calls(project) == []


def test_a_project_that_cannot_be_built_is_not_taken_for_installed(
    environment: ModuleType, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_build(*words: object) -> None:
        if "install" in words:
            raise environment.CannotMake("it cannot be built")

    environment.make(Path(".venv"), with_tests=False)
    written = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text("wrong")
    with monkeypatch.context() as patch:
        patch.setattr(environment, "call", no_build)
        with pytest.raises(environment.CannotMake):
            environment.make(Path(".venv"), with_tests=False)
    (project / "pyproject.toml").write_text(written)
    calls(project)
    environment.make(Path(".venv"), with_tests=False)
    assert calls(project) == ["venv", *RUN]


def test_a_failed_install_into_a_new_environment_is_begun_afresh(environment: ModuleType, project: Path) -> None:
    environment.make(Path(".venv"), with_tests=False)
    (project / ".venv" / "bin" / "python").unlink()
    (project / "offline").touch()
    with pytest.raises(environment.CannotMake):
        environment.make(Path(".venv"), with_tests=False)
    (project / "offline").unlink()
    calls(project)
    environment.make(Path(".venv"), with_tests=False)
    assert calls(project) == ["venv", *RUN]


def test_a_folder_that_is_no_environment_stays(environment: ModuleType, project: Path) -> None:
    (project / "work").mkdir()
    (project / "work" / "thesis.txt").touch()
    with pytest.raises(environment.CannotMake, match="work is no virtual environment"):
        environment.make(Path("work"), with_tests=False)
    assert (project / "work" / "thesis.txt").exists()


def test_a_full_disk_is_told_from_a_network_that_fails(
    environment: ModuleType, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "offline").touch()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 7_000_000))
    with pytest.raises(environment.CannotMake, match=r"is full, 7 MB are free: .* free that much"):
        environment.make(Path(".venv"), with_tests=False)


def test_all_locks_are_replaced_or_none(lock: ModuleType, project: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    for name in lock.FILES[:-1]:  # the last one cannot be copied
        (made / name).write_text("new")
    with pytest.raises(FileNotFoundError):
        lock.replace_all(made)
    assert (project / "pyproject.toml").read_text() == "pyproject.toml"
    (made / lock.FILES[-1]).write_text("new")
    lock.replace_all(made)
    assert {(project / name).read_text() for name in lock.FILES} == {"new"}
    assert not list(project.glob("*.new"))


@pytest.mark.parametrize("version", ["(2, 7)", "(3, 10)", "(3, 14)"])
def test_the_makefile_refuses_other_pythons_in_one_line(tmp_path: Path, version: str) -> None:
    """Old ones cannot even read the tools. This one says of itself that it is another."""
    python = tmp_path / "python"
    words = 'case "$1" in -V) echo Python X;; *) exec "$REAL" "$1" "$2" "${3/sys.version_info[:2]/$CLAIMED}";; esac'
    python.write_text(f"#!/bin/bash\n{words}\n".replace("[:2]", "\\[:2\\]"))
    python.chmod(0o755)
    environ = {"PATH": "/usr/bin:/bin", "REAL": sys.executable, "CLAIMED": version}
    done = subprocess.run(["make", "env", f"PYTHON={python}"], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 2
    assert "the kit needs 3.11, 3.12 or 3.13" in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr


def test_an_old_uv_is_passed_over(environment: ModuleType, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.parent / "bin" / "uv").write_text("#!/bin/sh\necho uv 0.8.24\n")
    (project / "requirements-uv.txt").touch()
    fetched = []
    monkeypatch.setattr(environment, "fetch_uv", lambda: (Path(".cache/uv").mkdir(parents=True), fetched.append(True)))
    assert environment.find_uv() == Path(".cache/uv/bin/uv")
    assert fetched


def test_fetched_uv_leaves_no_environment(
    environment: ModuleType, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor would take it for the project's."""
    asked: list[list[str]] = []
    monkeypatch.setattr(venv, "create", lambda folder, **_: Path(folder, "pyvenv.cfg").touch())
    monkeypatch.setattr(subprocess, "run", lambda words, **_: asked.append(words) or subprocess.CompletedProcess([], 0))
    environment.fetch_uv()
    assert ["--target", ".cache/uv"] in [asked[0][at : at + 2] for at in range(len(asked[0]))]
    assert list(project.rglob("pyvenv.cfg")) == []


@pytest.mark.parametrize("place", [".venv", "mine", "/elsewhere"])
def test_the_editors_python_is_the_environments(tmp_path: Path, place: str) -> None:
    """From any folder, and where VENV says, as in the dev container."""
    project, named = tmp_path / "my prøject ü", place.replace("/elsewhere", str(tmp_path / "elsewhere"))
    (project / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "python", project / "tools")
    environ = {"PATH": "/usr/bin:/bin"} | ({} if place == ".venv" else {"VENV": named})
    words = [project / "tools" / "python", "-m", "starterkit", "a b"]
    done = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"there is no environment in {project / named}: give `make env-test` first\n"
    python = project / named / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "%s|" "$0" "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.stdout == f"{python}|-m|starterkit|a b|"


def test_a_python_that_is_too_old_is_named(environment: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(environment.CannotMake, match=r"Python 3\.9 found; .* PYTHON=python3\.12"):
        environment.check_python()


def test_the_supported_pythons_are_those_of_the_project(environment: ModuleType) -> None:
    (first, *_, last), project = environment.SUPPORTED, tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    expected = f">={first[0]}.{first[1]},<{last[0]}.{last[1] + 1}"
    assert project["project"]["requires-python"] == expected


def test_moves_are_shown(lock: ModuleType) -> None:
    old = {"gone": {"1"}, "same": {"1"}, "up": {"1.0"}}
    new = {"came": {"3"}, "same": {"1"}, "up": {"1.1", "2.0"}}
    assert lock.moves(old, new) == ["came (not there) -> 3", "gone 1 -> (gone)", "up 1.0 -> 1.1, 2.0"]


def test_pins_are_read_from_a_lock(lock: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "lock.txt"
    path.write_text(
        "Jinja2==3.1.6 \\\n    --hash=sha256:00\n    # via mlflow\n"
        "numpy==2.4.6 ; python_full_version < '3.12' \\\n    --hash=sha256:00\n"
        "numpy==2.5.5 ; python_full_version >= '3.12'\n"
    )
    assert lock.read_pins(path) == {"jinja2": {"3.1.6"}, "numpy": {"2.4.6", "2.5.5"}}


def test_adding_nothing_is_refused_in_one_line() -> None:
    command = [sys.executable, "tools/lock.py", "add", " "]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr.count("\n")) == (1, 1)
    assert "make add PKG=" in answer.stderr


@pytest.mark.parametrize("arguments", [[""], ["serving"], ["gate", "everything"]])
def test_what_is_not_broken_is_refused_in_one_line(arguments: list[str]) -> None:
    command = [sys.executable, "tools/mutants.py", *arguments]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    asked = "gate has no module everything" if "everything" in arguments else "name a room with ROOM=…: gate"
    assert (answer.returncode, answer.stderr.count("\n")) == (1, 1)
    assert answer.stderr.startswith(asked)


def test_the_rooms_that_are_broken_are_there(mutants: ModuleType) -> None:
    for name, room in mutants.ROOMS.items():
        folder = ROOT / "src" / "starterkit" / room.folder
        assert [module for module in room.modules if not list(folder.glob(f"{module}.py"))] == []
        table = tomllib.loads(mutants.configuration(name))["tool"]["mutmut"]
        assert all(
            (ROOT / path).is_dir() for path in table["source_paths"] + table["pytest_add_cli_args_test_selection"]
        )


@pytest.mark.parametrize(
    ("changed", "in_words"),
    [
        (['-  raise Refused("Not here")', '+  raise Refused("XXNot hereXX")'], True),
        (['-  raise Refused("Not here")', '+  raise Refused("not here")'], True),
        (['-  raise Refused("Not here")', '+  raise Refused("NOT HERE")'], True),
        (['-  raise Refused("Not here")', "+  raise Refused(None)"], False),
        (['-  if kind == "NaN":', '+  if kind == "XXNaNXX":'], False),
        (['-  if kind == "NaN":', '+  if kind == "nan":'], False),
        (["-  if low < 0:", "+  if low <= 0:"], False),
        (["-  one,", "-  two)", "+  one, )"], False),
    ],
)
def test_a_mutant_in_words_alone_is_told_apart(mutants: ModuleType, changed: list[str], in_words: bool) -> None:
    assert mutants.is_in_words(changed) == in_words


def test_every_figure_of_the_house_is_measured() -> None:
    command = [sys.executable, "tools/measure.py", "--quick"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    table = dict(re.findall(r"^(\S.*?)  +(\S[^≤≥\n]*?)  ", said.partition("\n\n")[0], re.MULTILINE))
    assert [*table] == [
        "what", "folders", "modules", "their lines", "median lines of a module", "lines of the longest module",
        "names that stand twice", "imports that run back up", "circles of modules",
        "files that hold a row, from CSV to answer", "files of the afternoon's path", "lines of tests",
    ]  # fmt: skip
    assert int(table["modules"]) == len(list((ROOT / "src" / "starterkit").rglob("*.py")))
    assert table["imports that run back up"] == "0"
    assert table["files that hold a row, from CSV to answer"] == "not run"


def test_what_holds_a_row_is_found(measure: ModuleType) -> None:
    row, frame = measure.Row(["27.182818"]), pd.DataFrame({"a": [1, 2], "b": [3.0, 27.182818]})
    texts = frame.astype(str)
    for held in (
        frame, frame.b, frame.to_numpy(), frame.to_numpy("float32"), frame.to_dict("records"), frame.to_csv(),
        texts, texts.to_numpy(), frame.to_csv().encode(), frame.b.to_numpy().tobytes(), measure.Figure("", 27.182818),
    ):  # fmt: skip
        assert row.is_in(held), held
    for other in (None, 27, frame.a, frame.b.to_numpy() + 1, {"a": [b"27.18"]}, object()):
        assert not row.is_in(other), other


def test_imports_that_lead_up_or_back_are_found(measure: ModuleType) -> None:
    layers = {"type": "layers", "containers": ["starterkit"], "layers": ["cli", "gate | serving", "errors"]}
    floors = measure.floors_of({"tool": {"importlinter": {"contracts": [layers]}}})
    rooms = ("cli", "gate", "serving", "errors")
    up = [(one, other) for one in rooms for other in rooms if measure.is_up(floors, one, other)]
    assert up == [
        ("gate", "cli"), ("gate", "serving"), ("serving", "cli"), ("serving", "gate"),
        ("errors", "cli"), ("errors", "gate"), ("errors", "serving"),
    ]  # fmt: skip
    assert measure.is_up(floors, "cli", "nowhere")
    imports = {"a": ["b", "e"], "b": ["c"], "c": ["b", "d"], "d": ["b"], "e": ["e"]}
    assert measure.circles_of(imports) == [{"b", "c", "d"}]


def test_the_makefile_lists_its_targets() -> None:
    answer = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("run", "test", "add", "update-deps", "clean"):
        assert f"make {target} " in answer.stdout


def test_an_image_is_built_with_what_is_set_for_a_mirror(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = import_module("image")
    for name in (*image.ARGUMENTS, *image.SECRETS.values()):
        monkeypatch.delenv(name, raising=False)
    assert image.proxy_and_mirror() == []
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mirror.example/simple")
    monkeypatch.setenv("BUILD_CERTIFICATES", "-----BEGIN CERTIFICATE-----")
    assert image.proxy_and_mirror() == [
        "--build-arg=UV_DEFAULT_INDEX",
        "--secret=id=certificates,env=BUILD_CERTIFICATES",
    ]


def test_an_image_without_docker_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "tools/image.py"], cwd=ROOT, env={"PATH": "/nowhere"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "image: there is no docker command: install Docker Engine or Docker Desktop\n"
