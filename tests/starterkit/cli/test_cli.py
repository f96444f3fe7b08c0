"""The command line as a person meets it: an exit code and two streams.

A process of its own costs seconds of imports, so most commands are called in this one.
"""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from starterkit.pipeline import Summary
from starterkit.serving.batch.scorer import BatchScorer
from starterkit.serving.predictor import Predictor
from starterkit.settings import load_settings
from starterkit.tracking.connection import connect

COMMAND = [sys.executable, "-m", "starterkit"]


Run = Callable[..., Any]


@pytest.fixture
def trained(first_run: tuple[Path, Summary], tmp_path: Path) -> Path:
    """A repository with a champion, whose artifacts are its own."""
    root = Path(shutil.copytree(first_run[0], tmp_path / "copy"))
    connect(load_settings(root, {}).tracking, root)
    return root


@pytest.mark.slow
def test_run_ends_with_a_summary_on_stdout_and_steps_on_stderr(repository: Path) -> None:
    done = subprocess.run([*COMMAND, "run"], cwd=repository, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for words in (
        "rmse (decides)", "naive guess", "Parity", "passed", "local.diabetes version 1", "make serve", "curl"
    ):  # fmt: skip
        assert words in done.stdout
    assert "export to ONNX" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr


def test_refused_version_exits_with_1_and_says_by_how_much(run: Run, trained: Path) -> None:
    done = run(trained, "run", KIT_TRAINING__PARAMS='{"n_estimators": 5, "learning_rate": 0.03}')
    assert done.returncode == 1
    assert "REFUSE" in done.stdout
    assert "local.diabetes version 1 stays" in done.stdout
    assert "at most 65 allowed" in done.stdout
    refused = "limit rmse, limit r2, champion, slices"
    assert f"error: the gate refused local.diabetes version 2 ({refused})" in done.stderr
    assert "Traceback" not in done.stderr


def test_champion_whose_files_are_gone_is_named_in_the_last_line(run: Run, trained: Path) -> None:
    shutil.rmtree(trained / "mlartifacts")
    done = run(trained, "run")
    assert done.returncode == 1
    what, hint = done.stderr.splitlines()[-2:]
    assert what.startswith("error: the gate refused local.diabetes version 2 (champion): ")
    assert "the files of local.diabetes version 1 are gone" in what
    assert "Bring them back" in hint


def test_gate_shows_the_verdicts_and_changes_nothing(run: Run, trained: Path) -> None:
    before = state_of(trained)
    done = run(trained, "gate", "--version", "1")
    assert done.returncode == 0, done.stderr
    header, *rows = [line.split() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert header == ["verdict", "check", "figure", "limit", "reason"]
    assert [row[1] for row in rows][:3] == ["policy", "parity", "holdout"]
    assert done.stdout.endswith("\nIt is champion already.\n")
    assert state_of(trained) == before


def test_gate_writes_its_page_and_its_evidence_where_it_is_asked_to(run: Run, trained: Path, tmp_path: Path) -> None:
    page, evidence = tmp_path / "päge.html", tmp_path / "evidence.json"
    done = run(trained, "gate", "--report", str(page), "--evidence", str(evidence))
    assert done.returncode == 0, done.stderr
    assert "The gate lets it pass" in page.read_text("utf-8")
    assert json.loads(evidence.read_text("utf-8"))["passed"]
    done = run(trained, "gate", "--report", str(tmp_path / "no" / "folder.html"))
    assert done.returncode == 2
    assert re.fullmatch(r"error: folder .*no does not exist\.\n +Make it, or name another file\.\n", done.stderr)
    done = run(trained, "gate", "--report", str(tmp_path))
    assert done.returncode == 2
    assert re.fullmatch(r"error: .* is a folder\.\n +Name the file to write\.\n", done.stderr)


def test_gate_exits_with_1_where_it_would_refuse(run: Run, trained: Path) -> None:
    before = state_of(trained)
    done = run(trained, "gate", "--json", KIT_GATE__LIMITS='{"rmse": {"max": 1}}')
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert not found["passed"]
    refused = [verdict for verdict in found["verdicts"] if verdict["outcome"] == "refused"]
    assert [(verdict["check"], verdict["limit"]) for verdict in refused] == [("limit rmse", 1)]
    assert "Traceback" not in done.stderr
    assert state_of(trained) == before


def test_gate_without_a_version_says_what_comes_first(run: Run, repository: Path) -> None:
    done = run(repository, "gate")
    assert done.returncode == 2
    assert "'local.diabetes' has no version. Run `starterkit run` first" in done.stderr.replace("\n      ", "")


def state_of(root: Path) -> dict[str, list[Any]]:
    """Every row of every table of MLflow's."""
    with sqlite3.connect(root / "mlflow.db") as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(map(repr, database.execute(f'SELECT * FROM "{name}"'))) for name in tables}


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (["run"], {"KIT_STAGE": "produktion"}, "KIT_STAGE"),
        (["run"], {"KIT_SERVNG__PORT": "1"}, "KIT_SERVNG__PORT"),
        (["run"], {"KIT_DATA__SOURCE": "data/none.csv"}, "data/none.csv"),
        (["run"], {"KIT_TRAINING__PARAMS": '{"depth": 3}'}, "training.params.depth"),
        (["export", "--run", "nosuchrun"], {}, "nosuchrun"),
        (["promote", "--version", "7"], {}, "no version 7"),
        (["gate", "--version", "7"], {}, "no version 7"),
        (["gate", "--version", "0"], {}, "--version"),
        (["train"], {"KIT_STAGE": "prod", "KIT_SERVING__API_KEY": "a-key-of-sixteen-letters"}, "stage prod"),
        (["predict", "nowhere.csv", "out.csv"], {}, "nowhere.csv"),
        (["predict", "data/diabetes.csv", "out.csv", "--folder", "nowhere"], {}, "nowhere"),
        (["predict", "data/diabetes.csv", "data"], {}, "data is a folder"),
        (["serve", "--folder", "nowhere"], {}, "nowhere"),
        (["nonsense"], {}, "nonsense"),
    ],
)
def test_mistakes_get_one_line_and_no_traceback(
    run: Run, trained: Path, arguments: list[str], environ: dict[str, str], said: str
) -> None:
    done = run(trained, *arguments, **environ)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_outside_a_repository_it_says_so(run: Run, tmp_path: Path) -> None:
    done = run(tmp_path, "run")
    assert done.returncode == 2
    assert "config/base.yaml" in done.stderr


def test_bad_data_gets_a_table_of_everything_and_no_values(run: Run, repository: Path) -> None:
    data = repository / "data" / "diabetes.csv"
    lines = data.read_text().splitlines()
    broken = lines[3].split(",")
    broken[1], broken[3] = "777", "heavy"
    lines[3] = ",".join(broken)
    data.write_text("\n".join([*lines, lines[1]]) + "\n")
    done = run(repository, "run")
    assert done.returncode == 2
    for words in ("age", "bmi", "patient_id", "row numbers", "data/diabetes.csv does not fit the schema"):
        assert words in done.stderr
    assert "777" not in done.stderr
    assert "P001" not in done.stderr


def test_broken_project_code_is_named_with_its_line(tmp_path: Path) -> None:
    package = tmp_path / "broken_project"
    package.mkdir()
    (package / "__init__.py").write_text("x = 1\ny = x.nothing\n")
    metadata = tmp_path / "broken_project-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-project\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[starterkit.problem]\nother = broken_project:problem\n")
    done = subprocess.run(
        [sys.executable, "-c", "from starterkit.problem.problem import _load; from importlib.metadata import *;"
         "_load(next(e for e in entry_points(group='starterkit.problem') if e.name == 'other'))"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "cannot be imported: AttributeError" in done.stderr
    assert "line 2" in done.stderr


def test_steps_follow_each_other_through_mlflow(run: Run, repository: Path) -> None:
    for arguments in (["train"], ["export"], ["register"], ["promote"]):
        done = run(repository, *arguments)
        assert done.returncode == 0, done.stderr
    assert "local.diabetes version 1 (there was none)" in done.stdout


def test_predict_adds_a_column(run: Run, trained: Path) -> None:
    done = run(trained, "predict", "data/diabetes.csv", "out.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "442 rows to out.csv\n"
    assert "open the model" in done.stderr
    header, first = (trained / "out.csv").read_text().splitlines()[:2]
    assert header.endswith("progression,prediction")
    assert first.count(",") == header.count(",")
    assert "out.csv exists already" in run(trained, "predict", "data/diabetes.csv", "out.csv").stderr


def test_predict_says_how_many_rows_it_left_out(run: Run, trained: Path, tmp_path: Path, diabetes: Any) -> None:
    folder = diabetes.export(LinearRegression(), tmp_path / "exported")[0].folder
    lines = (trained / "data" / "diabetes.csv").read_text().splitlines()
    (trained / "in.csv").write_text("\n".join([*lines, lines[5] + ",more"]) + "\n")
    options = ["--folder", str(folder), "--bad-rows", "aside"]
    done = run(trained, "predict", "in.csv", "out.parquet", *options)
    assert done.stdout == "442 rows to out.parquet\n1 bad row left out; out.bad.csv says why\n"
    said = json.loads(run(trained, "predict", "in.csv", "out.csv", "--overwrite", "--json", *options).stdout)
    assert said == {"rows": 443, "bad": 1, "destination": "out.csv", "bad_rows": "out.bad.csv"}
    (trained / "in.csv").write_text("\n".join(lines[:2]) + "\n")
    assert run(trained, "predict", "in.csv", "one.csv", *options).stdout == "1 row to one.csv\n"


@pytest.mark.slow
def test_predict_without_a_champion_says_what_the_process_that_fetches_it_says(run: Run, repository: Path) -> None:
    done = run(repository, "predict", "data/diabetes.csv", "out.csv")
    assert done.returncode == 1
    assert (
        "error: registered model 'local.diabetes' has no champion.\n       Run `starterkit run` first." in done.stderr
    )
    done = run(repository, "predict", "data/diabetes.csv", "out.csv", KIT_SERVING__PRT="1")
    assert done.returncode == 2
    assert "KIT_SERVING__PRT" in done.stderr


def test_predict_keeps_training_code_mlflow_and_the_api_out_of_its_memory(
    diabetes: Any, trained: Path, tmp_path: Path
) -> None:
    folder = diabetes.export(LinearRegression(), tmp_path / "exported")[0].folder
    arguments = ["starterkit", "predict", "data/diabetes.csv", "out.csv", "--folder", str(folder)]
    probe = (
        f"import sys\nfrom starterkit.cli import main\nsys.argv = {arguments}\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('loaded', {'sklearn', 'pandera', 'mlflow', 'fastapi', 'pandas.core'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=trained, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("442 rows to out.csv\nloaded set()\n")


@pytest.mark.parametrize("kinds", [("csv", "parquet"), ("parquet", "csv"), ("parquet", "arrow")])
def test_predict_needs_no_pandas_for_texts_and_gaps_either(
    visits: Any, trained: Path, tmp_path: Path, kinds: tuple[str, str]
) -> None:
    chosen = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), ["city"])
    )
    folder = visits.export(make_pipeline(chosen, LinearRegression()), tmp_path / "exported")[0].folder
    table = pd.read_parquet(visits.root / "table.parquet")
    table.to_csv(trained / "in.csv", index=False)
    table.to_parquet(trained / "in.parquet", index=False)
    source, destination = (f"{name}.{kind}" for name, kind in zip(("in", "out"), kinds, strict=True))
    arguments = [*COMMAND, "predict", source, destination, "--folder", str(folder)]
    done = subprocess.run(arguments, cwd=trained, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    BatchScorer(Predictor(folder)).score(trained / source, trained / f"again.{kinds[1]}")
    assert (trained / destination).read_bytes() == (trained / f"again.{kinds[1]}").read_bytes()


def test_a_message_is_shown_as_it_is(run: Run, repository: Path) -> None:
    done = run(repository, "doctor", KIT_DATA__SOURCE="data[/old]/x.csv")
    assert "data[/old]/x.csv" in done.stdout
    done = run(repository, "config", "show", KIT_TRAINING__PARAMS='{"a": "[/red]"}')
    assert "[/red]" in done.stdout


def test_a_taken_port_is_named_before_serving(run: Run, trained: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run(trained, "serve", "--port", port)
    assert done.returncode == 2
    assert f"127.0.0.1 port {port} cannot be had: Address already in use" in done.stderr
    assert "Answering" not in done.stdout


def test_config_show_names_origins_and_hides_secrets(run: Run, repository: Path) -> None:
    done = run(repository, "config", "show", KIT_SERVING__PORT="8123", KIT_SERVING__API_KEY="a-very-secret-key")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "8123" in rows["serving.port"]
    assert "KIT_SERVING__PORT" in rows["serving.port"]
    assert "config/local.yaml" in rows["tracking.uri"]
    assert "a-very-secret-key" not in done.stdout


def test_config_schema_is_the_file(run: Run, repository: Path) -> None:
    assert run(repository, "config", "schema").stdout == (repository / "config" / "settings.schema.json").read_text()


def test_doctor_finds_a_sound_installation(run: Run, trained: Path) -> None:
    done = run(trained, "doctor", "--json")
    found = {finding["item"]: finding["state"] for finding in json.loads(done.stdout)}
    assert found == dict.fromkeys(
        ["settings", "disk", "problem", "data", "MLflow", "runs", "versions", "champion", "promotion", "API"], "well"
    )


def test_doctor_names_what_fails_and_goes_on(run: Run, repository: Path) -> None:
    (repository / "data" / "diabetes.csv").unlink()
    (repository / "mlflow.db").write_bytes(b"no database" * 100)
    done = run(repository, "doctor", "--json")
    assert done.returncode == 1
    findings = {finding["item"]: finding for finding in json.loads(done.stdout)}
    assert findings["data"]["state"] == "failing"
    assert "does not exist" in findings["data"]["text"]
    assert "not a database" in findings["MLflow"]["text"]
    assert findings["problem"]["state"] == "well"
    assert all(finding["mend"] for finding in findings.values() if finding["state"] == "failing")


def test_help_loads_nothing_heavy() -> None:
    probe = (
        "import sys\nfrom starterkit.cli import main\nsys.argv = ['starterkit', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('loaded', {'pandas', 'sklearn', 'mlflow', 'pydantic', 'fastapi', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("loaded set()\n")
    assert "From raw data" in done.stdout


@pytest.mark.slow
def test_interrupted_run_ends_clean_and_the_next_one_works(run: Run, repository: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "run"], cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "connect to MLflow" in line:
                break
        time.sleep(0.5)  # somewhere inside the training step
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert "Stopped." in said
    assert "Traceback" not in said
    said = json.loads(run(repository, "run", "--json").stdout)
    assert said["champion"] == 1
    assert said["promotion"]["passed"] is True
    assert said["holdout"]["rmse"] < said["naive"]["rmse"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(28, "No space left on device", "/x/model.onnx"), 1, "error: No space left on device: /x/model.onnx."),
        (PermissionError(13, "Permission denied", "/x/out.csv"), 1, "error: Permission denied: /x/out.csv."),
        (IsADirectoryError(21, "Is a directory", "/x"), 1, "error: Is a directory: /x.\n       Name a file"),
        (
            NotADirectoryError(20, "Not a directory", "/x/y"),
            1,
            "error: Not a directory: /x/y.\n       Name another place",
        ),
        (MemoryError(), 1, "error: the machine has no memory left"),
        (KeyboardInterrupt(), 130, "Stopped. Finished steps are kept"),
    ],
)
def test_what_the_machine_refuses_anywhere_is_one_line(
    run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("starterkit.settings.read_layers", fail)
    handler = signal.getsignal(signal.SIGINT)
    try:
        done = run(repository, "config", "show")
    finally:
        signal.signal(signal.SIGINT, handler)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fault_of_the_kits_own_shows_where(run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise FileNotFoundError(2, "No such file", "bug")

    monkeypatch.setattr("starterkit.settings.read_layers", fail)
    with pytest.raises(FileNotFoundError):
        run(repository, "config", "show")
