"""The scripts behind the Makefile. What they do with uv and a network, .ci/run shows."""

import re
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]


with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(ROOT / "tools"))
    import environment
    import image
    import lock
    import measure
    import mutants
    import wheel


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
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


@pytest.fixture
def make(project: Path) -> Callable[..., list[str]]:
    def call(*, with_tests: bool = False) -> list[str]:
        Path("calls").write_text("")
        environment.make(Path(".venv"), with_tests=with_tests)
        return Path("calls").read_text().splitlines()

    return call


RUN, TEST = ["sync requirements.txt", "install"], ["sync requirements-test.txt", "install"]


def test_the_environment_is_made_once_and_again_where_a_file_changed_or_the_project_moved(make, project, monkeypatch):
    assert make() == ["venv", *RUN]
    assert make() == []
    for name in ("requirements.txt", "pyproject.toml"):
        (project / name).write_text("changed")
        assert make() == RUN
    assert make(with_tests=True) == TEST
    assert make() == []
    monkeypatch.chdir(project.rename(project.parent / "moved"))
    assert make(with_tests=True) == ["venv", *TEST]


def test_a_failed_install_leaves_what_was_there_and_is_begun_afresh(make, project, monkeypatch):
    def cut_short(*_):
        raise KeyboardInterrupt

    make()
    (project / "offline").touch()
    with pytest.raises(environment.CannotMake, match="no network"):
        make(with_tests=True)
    assert make() == []
    (project / ".venv" / "bin" / "python").unlink()
    with pytest.raises(environment.CannotMake):
        make()
    (project / "offline").unlink()
    assert make() == ["venv", *RUN]
    with monkeypatch.context() as patch:
        patch.setattr(environment, "call", cut_short)
        with pytest.raises(KeyboardInterrupt):
            make(with_tests=True)
    assert make(with_tests=True) == ["venv", *TEST]


def test_what_cannot_be_built_is_not_installed_and_no_other_folder_is_touched(make, project, monkeypatch):
    def no_build(*words):
        if "install" in words:
            raise environment.CannotMake("it cannot be built")

    make()
    written = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text("wrong")
    with monkeypatch.context() as patch:
        patch.setattr(environment, "call", no_build)
        with pytest.raises(environment.CannotMake):
            make()
    (project / "pyproject.toml").write_text(written)
    assert make() == ["venv", *RUN]
    (project / "work").mkdir()
    (project / "work" / "thesis.txt").touch()
    with pytest.raises(environment.CannotMake, match="work is no virtual environment"):
        environment.make(Path("work"), with_tests=False)
    assert (project / "work" / "thesis.txt").exists()
    (project / "offline").touch()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 7_000_000))
    with pytest.raises(environment.CannotMake, match=r"is full, 7 MB are free: .* free that much"):
        environment.make(Path("other"), with_tests=False)


def test_all_locks_are_replaced_or_none(project, tmp_path):
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


@pytest.mark.parametrize("version", ["(2, 7)", "(3, 14)"])
def test_the_makefile_refuses_other_pythons_in_one_line(tmp_path, version):
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


def test_an_old_uv_is_passed_over(project, monkeypatch):
    (project.parent / "bin" / "uv").write_text("#!/bin/sh\necho uv 0.8.24\n")
    (project / "requirements-uv.txt").touch()
    monkeypatch.setattr(environment, "fetch_uv", lambda: Path(".cache/uv").mkdir(parents=True))
    assert environment.find_uv() == Path(".cache/uv/bin/uv")
    assert Path(".cache/uv").is_dir()


def test_fetched_uv_leaves_no_environment(project, monkeypatch):
    """An editor would take it for the project's."""
    asked: list[list[str]] = []
    monkeypatch.setattr(venv, "create", lambda folder, **_: Path(folder, "pyvenv.cfg").touch())
    monkeypatch.setattr(subprocess, "run", lambda words, **_: asked.append(words) or subprocess.CompletedProcess([], 0))
    environment.fetch_uv()
    assert ["--target", ".cache/uv"] in [asked[0][at : at + 2] for at in range(len(asked[0]))]
    assert list(project.rglob("pyvenv.cfg")) == []


@pytest.mark.parametrize("place", [".venv", "mine", "/elsewhere"])
def test_the_editors_python_is_the_environments(tmp_path, place):
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


def test_a_python_that_is_too_old_is_named_and_the_others_are_those_of_the_project(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(environment.CannotMake, match=r"Python 3\.9 found; .* PYTHON=python3\.12"):
        environment.check_python()
    monkeypatch.undo()
    (first, *_, last), project = environment.SUPPORTED, tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    expected = f">={first[0]}.{first[1]},<{last[0]}.{last[1] + 1}"
    assert project["project"]["requires-python"] == expected


def test_moves_are_shown_pins_are_read_and_condas_file_is_in_step_with_the_lock(tmp_path):
    old = {"gone": {"1"}, "same": {"1"}, "up": {"1.0"}}
    new = {"came": {"3"}, "same": {"1"}, "up": {"1.1", "2.0"}}
    assert lock.moves(old, new) == ["came (not there) -> 3", "gone 1 -> (gone)", "up 1.0 -> 1.1, 2.0"]
    path = tmp_path / "lock.txt"
    path.write_text(
        "Jinja2==3.1.6 \\\n    --hash=sha256:00\n    # via mlflow\n"
        "numpy==2.4.6 ; python_full_version < '3.12' \\\n    --hash=sha256:00\n"
        "numpy==2.5.5 ; python_full_version >= '3.12'\n"
    )
    assert lock.read_pins(path) == {"jinja2": {"3.1.6"}, "numpy": {"2.4.6", "2.5.5"}}
    assert (ROOT / "conda.yaml").read_text("utf-8") == lock.conda_environment(ROOT), "run make lock"
    pins = {(lock.normalise(pin.partition("==")[0])) for pin in lock.requirements(ROOT / lock.LOCK)}
    assert pins == lock.read_pins(ROOT / lock.LOCK).keys()


def test_a_wheel_takes_what_git_tracks_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("shared", "private", "deleted"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_text(name)
    with pytest.raises(environment.CannotMake, match="build the wheel in a clone"):
        wheel.copy_tracked(("data",), tmp_path / "made")
    for words in (("init", "-q"), ("add", "data/shared", "data/deleted")):
        subprocess.run(["git", *words], check=True)
    (tmp_path / "data" / "deleted").unlink()
    wheel.copy_tracked(("data",), tmp_path / "made")
    assert [path.name for path in (tmp_path / "made").rglob("*") if path.is_file()] == ["shared"]


def test_what_cannot_be_done_is_refused_in_one_line():
    for words, said in (
        (["lock.py", "add", " "], "make add PKG="),
        (["mutants.py", "serving"], "name a room with ROOM=…: gate"),
        (["mutants.py", "gate", "everything"], "gate has no module everything"),
        (["image.py"], "image: there is no docker command: install Docker Engine or Docker Desktop"),
    ):
        command = [sys.executable, f"tools/{words[0]}", *words[1:]]
        done = subprocess.run(command, cwd=ROOT, env={"PATH": "/nowhere"}, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr.count("\n"), said in done.stderr) == (1, "", 1, True)


def test_the_rooms_that_are_broken_are_there():
    for name, room in mutants.ROOMS.items():
        folder = ROOT / "src" / "starterkit" / room.folder
        assert [module for module in room.modules if not list(folder.glob(f"{module}.py"))] == []
        table = tomllib.loads(mutants.configuration(name))["tool"]["mutmut"]
        paths = table["source_paths"] + table["pytest_add_cli_args_test_selection"]
        assert [path for path in paths if not (ROOT / path).is_dir()] == []


def test_a_mutant_in_words_alone_is_told_apart():
    raised = '-  raise Refused("Not here")'
    for words in ("XXNot hereXX", "NOT HERE"):
        assert mutants.is_in_words([raised, f'+  raise Refused("{words}")'])
    for changed in (
        [raised, "+  raise Refused(None)"], ['-  if kind == "NaN":', '+  if kind == "XXNaNXX":'],
        ["-  if low < 0:", "+  if low <= 0:"], ["-  one,", "-  two)", "+  one, )"],
    ):  # fmt: skip
        assert not mutants.is_in_words(changed)


def test_every_figure_of_the_house_is_measured():
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


def test_what_holds_a_row_is_found():
    row, frame = measure.Row(["27.182818"]), pd.DataFrame({"a": [1, 2], "b": [3.0, 27.182818]})
    texts = frame.astype(str)
    for held in (
        frame, frame.b, frame.to_numpy(), frame.to_numpy("float32"), frame.to_dict("records"), frame.to_csv(),
        texts, texts.to_numpy(), frame.to_csv().encode(), frame.b.to_numpy().tobytes(), measure.Figure("", 27.182818),
    ):  # fmt: skip
        assert row.is_in(held), held
    for other in (None, 27, frame.a, frame.b.to_numpy() + 1, {"a": [b"27.18"]}, object()):
        assert not row.is_in(other), other


def test_imports_that_lead_up_or_back_are_found():
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


def test_an_image_is_built_with_what_is_set_for_a_mirror(monkeypatch):
    for name in (*image.ARGUMENTS, *image.SECRETS.values()):
        monkeypatch.delenv(name, raising=False)
    assert image.proxy_and_mirror() == []
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mirror.example/simple")
    monkeypatch.setenv("BUILD_CERTIFICATES", "-----BEGIN CERTIFICATE-----")
    told = ["--build-arg=UV_DEFAULT_INDEX", "--secret=id=certificates,env=BUILD_CERTIFICATES"]
    assert image.proxy_and_mirror() == told
