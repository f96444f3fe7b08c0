"""The champion opened for serving, and kept in a folder for elsewhere."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from starterkit.cli.champion import VERSION_FILE, find_champion, name_of_problem
from starterkit.errors import ContractError, ProblemError
from starterkit.serving.predictor import CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE
from starterkit.settings import load_settings

HEAVY = ("mlflow", "onnx", "pandas", "pandera", "pyarrow", "skl2onnx", "sklearn")


@pytest.fixture
def kept(run, trained: Path) -> Path:
    done = run(trained, "fetch", "build/model")
    assert (done.returncode, done.stdout) == (0, "local.diabetes version 1 is in build/model\n")
    return trained / "build" / "model"


def test_a_kept_folder_serves_as_the_version_that_it_is(run, trained, kept):
    assert {file.name for file in kept.iterdir()} == {CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE, VERSION_FILE}
    assert [file.name for file in kept.parent.iterdir()] == ["model"]
    served = find_champion(load_settings(trained, {}), kept)
    assert (served.name, served.version) == ("local.diabetes", "1")
    for note in ("{", "[]", '{"model": "local.diabetes"}', "\udcff"):
        (kept / VERSION_FILE).write_bytes(note.encode("utf-8", "surrogateescape"))
        with pytest.raises(ContractError, match="does not say which version it is"):
            find_champion(load_settings(trained, {}), kept)
    (kept / VERSION_FILE).unlink()
    served = find_champion(load_settings(trained, {}), kept)
    assert (served.name, served.version) == ("diabetes", "folder model")


def test_an_earlier_copy_is_replaced_and_nothing_else_is(run, trained, kept):
    (kept / GRAPH_FILE).write_bytes(b"an earlier one")
    done = run(trained, "fetch", "build/model", "--json")
    assert json.loads(done.stdout) == {"model": "local.diabetes", "version": "1", "folder": "build/model"}
    assert find_champion(load_settings(trained, {}), kept).contract.problem == "diabetes"

    (kept / "thesis.txt").touch()
    done = run(trained, "fetch", "build/model", code=2)
    assert "build/model holds something else than a model's exported folder. Name" in done.stderr.replace(
        "\n      ", ""
    )
    assert (kept / "thesis.txt").exists()


@pytest.mark.parametrize("folder", [None, "build/model"], ids=["champion", "folder"])
def test_serving_loads_nothing_heavy(trained, kept, folder):
    code = f"""
import sys
from pathlib import Path
import starterkit.cli.commands
from starterkit.cli.champion import find_champion
from starterkit.serving.http.app import create_app
from starterkit.settings import load_settings
settings = load_settings()
served = find_champion(settings, {f"Path({folder!r})" if folder else None})
create_app(served, settings.serving)
print(served.name, served.version, sorted({set(HEAVY)!r} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=trained, capture_output=True, text=True, timeout=120)
    assert done.stdout == "local.diabetes 1 []\n", done.stderr


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("pandas", "error: this command needs the package 'pandas', which is not installed here."),
        ("starterkit.data", "Traceback"),  # the kit's own fault, which nobody may hide
    ],
)
def test_a_command_without_its_packages_says_so(repository, missing, says):
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['', 'train']; import starterkit.cli as c; c.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith(says)


def test_an_older_project_s_name_needs_its_packages(monkeypatch):
    monkeypatch.setattr("starterkit.machine.stated_name", lambda: None)
    assert name_of_problem() == "diabetes"
    monkeypatch.setitem(sys.modules, "starterkit.problem", None)
    with pytest.raises(ProblemError, match=r"importing it needs starterkit\.problem\. Call the entry point in"):
        name_of_problem()
