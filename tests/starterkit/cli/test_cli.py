"""The command line as a person meets it: an exit code and two streams.

A process of its own costs seconds of imports, so most commands are called in this one.
"""

import json
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from starterkit.settings import load_settings
from starterkit.tracking.registry import ModelRegistry

pytestmark = pytest.mark.usefixtures("hurried")


def state_of(root: Path) -> dict[str, list[Any]]:
    """Every row of every table of MLflow's."""
    with sqlite3.connect(root / "mlflow.db") as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(map(repr, database.execute(f'SELECT * FROM "{name}"'))) for name in tables}


def test_refused_version_exits_with_1_and_says_by_how_much(run, trained):
    done = run(trained, "run", KIT_TRAINING__PARAMS='{"n_estimators": 5, "learning_rate": 0.03}', code=1)
    for words in ("REFUSE", "local.diabetes version 1 stays", "at most 65 allowed"):
        assert words in done.stdout
    refused = "limit rmse, limit r2, champion, slices"
    assert f"error: the gate refused local.diabetes version 2 ({refused})" in done.stderr
    registry = ModelRegistry.of(load_settings(trained, {}), "diabetes")
    assert (registry.version(2).tags["gate"], registry.champion().number) == ("refused", 1)


def test_gate_shows_the_verdicts_exits_with_1_where_it_would_refuse_and_changes_nothing(run, trained):
    before = state_of(trained)
    done = run(trained, "gate", "--version", "1", code=0)
    header, *rows = [line.split() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert header == ["verdict", "check", "figure", "limit", "reason"]
    assert [row[1] for row in rows][:3] == ["policy", "parity", "estimator"]
    assert done.stdout.endswith("\nIt is champion already.\n")
    assert state_of(trained) == before
    done = run(trained, "gate", "--json", KIT_GATE__LIMITS='{"rmse": {"max": 1}}', code=1)
    refused = [verdict for verdict in json.loads(done.stdout)["verdicts"] if verdict["outcome"] == "refused"]
    assert [(verdict["check"], verdict["limit"]) for verdict in refused] == [("limit rmse", 1)]
    assert state_of(trained) == before


def test_gate_writes_its_page_and_its_evidence_where_it_is_asked_to(run, unchanged, tmp_path):
    page, evidence = tmp_path / "päge.html", tmp_path / "evidence.json"
    run(unchanged, "gate", "--report", str(page), "--evidence", str(evidence), code=0)
    assert "The gate lets it pass" in page.read_text("utf-8")
    assert json.loads(evidence.read_text("utf-8"))["passed"]
    for place, said in (("no/x.html", r"folder no does not exist\.\n +Make it"), (".", r"\. is a folder\.\n +Name")):
        assert re.match(f"error: {said}", run(unchanged, "gate", "--report", place, code=2).stderr)


NOBODY = {"KIT_TRACKING__URI": "http://127.0.0.1:9"}
PREPARE = "data prepare --for test"
PROD = {"KIT_STAGE": "prod", "KIT_SERVING__API_KEY": "a-key-of-sixteen-letters", **NOBODY}
COPIED = "copied, and not read by the model:"
IGNORED = f"{COPIED} patient_id, progression\n"


@pytest.mark.parametrize(
    ("words", "environ", "code", "said"),
    [
        ("run", {"KIT_SERVNG__PORT": "1"}, 2, "KIT_SERVNG__PORT"),
        ("run", {"KIT_DATA__SOURCE": "data/none.csv"}, 2, "data/none.csv"),
        ("run", {"KIT_TRAINING__PARAMS": '{"depth": 3}'}, 2, "training.params.depth"),
        ("export --run nosuchrun", {}, 1, "nosuchrun"),
        ("promote --version 7", {}, 2, "no version 7"),
        ("promote --to production", {}, 2, "--to"),
        ("gate --version 0", {}, 2, "--version"),
        ("train", PROD, 1, "stage prod"),
        ("predict nowhere.csv out.csv", {}, 2, "nowhere.csv"),
        ("predict data/diabetes.csv out.csv --folder nowhere", {}, 1, "nowhere"),
        ("predict data/diabetes.csv data", {}, 2, "data is a folder"),
        ("serve --folder nowhere", {}, 1, "nowhere"),
        ("nonsense", {}, 2, "nonsense"),
        ("rollback", {}, 2, "a rollback needs a reason. Say it with --reason"),
        ("rollback --reason x", {}, 2, "has no earlier champion"),
        ("rollback --reason x --to 7", {}, 2, "version 7 of 'local.diabetes' is no earlier champion"),
        ("rollback --reason x --to 1", {}, 2, "version 1 serves already"),
        ("prune --keep-days -1", {}, 2, "--keep-days"),
        ("serve", {"KIT_STAGE": "prod", **NOBODY}, 2, "serving.api_key is not set"),
        ("serve", {"KIT_SERVING__HOST": "a..b"}, 2, "'a..b' is no host name"),
        ("promote --from x.zip", NOBODY, 2, "a bundle goes to stage prod alone, and this is local"),
        ("promote --from x.zip --to prod --approver A", NOBODY, 2, "there is no file x.zip"),
        ("promote --from x.zip --to prod --approver A --version 1", NOBODY, 2, "a bundle holds one version"),
        ("data prepare --for prod", {}, 2, "no data is prepared for 'prod'. Name one of dev, test, staging with --for"),
        (PREPARE, {"KIT_PRIVACY__KEY": "hunter2"}, 2, "privacy.key should have at least 32 characters"),
        (PREPARE, {"KIT_PRIVACY__COLUMNS": '{"aeg": "drop"}'}, 2, "(did you mean age?)"),
        ("lineage 7", {}, 2, "no version 7"),
        ("lineage 1.5", {}, 2, "'1.5' names no version"),
        ("reproduce 7", {}, 2, "no version 7"),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(run, unchanged, words, environ, code, said):
    before = {*unchanged.rglob("*")}
    done = run(unchanged, *words.split(), **environ, code=code)
    assert said in " ".join(done.stderr.split())
    assert {*unchanged.rglob("*")} == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("gate", 2, "'local.diabetes' has no version. Run `starterkit run` first"),
        ("lineage", 2, "has no champion"),
        ("history", 0, "local.diabetes has no history yet: no version was promoted."),
        pytest.param("fetch build/model", 1, "has no champion", marks=pytest.mark.slow),
        pytest.param(
            "predict data/diabetes.csv out.csv", 1, "error: registered model 'local.diabetes' has no champion. Run",
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_before_the_first_run_it_says_what_comes_first(run, repository, words, code, said):
    done = run(repository, *words.split(), code=code)
    assert said in " ".join((done.stdout + done.stderr).split())
    assert not (repository / "build").exists()


def test_bad_data_gets_a_table_of_everything_and_no_values(run, repository):
    data = repository / "data" / "diabetes.csv"
    lines = data.read_text().splitlines()
    broken = lines[3].split(",")
    broken[1], broken[3] = "777", "heavy"
    lines[3] = ",".join(broken)
    data.write_text("\n".join([*lines, lines[1]]) + "\n")
    done = run(repository, "run", code=2)
    for words in ("age", "bmi", "patient_id", "row numbers", "data/diabetes.csv does not fit the schema"):
        assert words in done.stderr
    assert "777" not in done.stderr
    assert "P001" not in done.stderr


def test_steps_follow_each_other_through_mlflow(run, repository):
    for arguments in (["train"], ["export"], ["register"], ["promote"]):
        done = run(repository, *arguments, code=0)
    assert "local.diabetes version 1 (there was none)" in done.stdout


def test_predict_adds_a_column_and_says_how_many_rows_it_left_out(run, trained, tmp_path, diabetes):
    done = run(trained, "predict", "data/diabetes.csv", "out.csv", code=0)
    assert done.stdout == f"442 rows to out.csv\n{IGNORED}"
    assert "open the model" in done.stderr
    header, first = (trained / "out.csv").read_text().splitlines()[:2]
    assert (header.endswith("progression,prediction"), first.count(",")) == (True, header.count(","))
    assert "out.csv exists already" in run(trained, "predict", "data/diabetes.csv", "out.csv").stderr
    folder = diabetes.export(LinearRegression(), tmp_path / "exported")[0].folder
    lines = (trained / "data" / "diabetes.csv").read_text().splitlines()
    (trained / "in.csv").write_text("\n".join([*lines, lines[5] + ",more"]) + "\n")
    options = ["--folder", str(folder), "--bad-rows", "aside"]
    done = run(trained, "predict", "in.csv", "out.parquet", *options)
    assert done.stdout == f"442 rows to out.parquet\n{IGNORED}1 bad row left out; out.bad.csv says why\n"
    said = json.loads(run(trained, "predict", "in.csv", "out.csv", "--overwrite", "--json", *options).stdout)
    outcome = {"rows": 443, "bad": 1, "destination": "out.csv", "bad_rows": "out.bad.csv"}
    assert said == {**outcome, "ignored": ["patient_id", "progression"]}
    (trained / "in.csv").write_text("\n".join(lines[:2]) + "\n")
    assert run(trained, "predict", "in.csv", "one.csv", *options).stdout == f"1 row to one.csv\n{IGNORED}"


HEAVY = {"sklearn", "pandera", "mlflow", "fastapi", "pandas.core"}


def test_predict_keeps_training_code_mlflow_and_the_api_out_of_its_memory(visits, trained, tmp_path):
    """Texts and gaps of every kind need no pandas either."""
    chosen = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())
    estimator = make_pipeline(make_column_transformer((chosen, ["city"])), LinearRegression())
    folder = visits.export(estimator, tmp_path / "exported")[0].folder
    table = pd.read_parquet(visits.root / "table.parquet")
    table.to_csv(trained / "in.csv", index=False)
    table.to_parquet(trained / "in.parquet", index=False)
    ways = ("in.csv", "out.arrow"), ("in.parquet", "out.csv")
    done = memory_of([f"predict {one} {other} --folder {folder}" for one, other in ways], HEAVY, trained)
    said = [f"400 rows to {other}\n{COPIED} visit, cost\n" for _, other in ways]
    assert done.stdout == "".join([*said, "loaded set()\n"]), done.stderr


def memory_of(commands: list[str], of: set[str], root: Path) -> "subprocess.CompletedProcess[str]":
    """Commands of one process, and which of these modules it has loaded at their end."""
    probe = (
        f"import sys\nfrom starterkit.cli import main\nfor words in {commands}:\n    sys.argv = ['', *words.split()]\n"
        f"    try:\n        main()\n    except SystemExit:\n        pass\nprint('loaded', {of} & set(sys.modules))"
    )
    return subprocess.run([sys.executable, "-c", probe], cwd=root, capture_output=True, text=True, timeout=60)


def test_config_show_names_origins_hides_secrets_and_shows_a_text_as_it_is(run, repository):
    done = run(repository, "config", "show", KIT_SERVING__PORT="8123", KIT_SERVING__API_KEY="a-very-secret-key", code=0)
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert (rows["serving.port"], rows["tracking.uri"][-1]) == (["8123", "KIT_SERVING__PORT"], "config/local.yaml")
    assert "a-very-secret-key" not in done.stdout
    assert run(repository, "config", "schema").stdout == (repository / "config" / "settings.schema.json").read_text()
    assert "data[/old]/x.csv" in run(repository, "doctor", KIT_DATA__SOURCE="data[/old]/x.csv").stdout
    assert "[/red]" in run(repository, "config", "show", KIT_TRAINING__PARAMS='{"a": "[/red]"}').stdout


def test_doctor_names_every_item_and_what_fails(run, trained):
    found = json.loads(run(trained, "doctor", "--json").stdout)
    items = ["settings", "disk", "problem", "data", "MLflow", "runs", "versions", "champion", "promotion", "API"]
    assert {finding["item"]: finding["state"] for finding in found} == dict.fromkeys(items, "well")
    (trained / "data" / "diabetes.csv").unlink()
    done = run(trained, "doctor", "--json", code=1)
    (failing,) = [finding for finding in json.loads(done.stdout) if finding["state"] == "failing"]
    assert (failing["item"], "does not exist" in failing["text"], bool(failing["mend"])) == ("data", True, True)


def test_help_loads_nothing_heavy(tmp_path):
    said = memory_of(["--help"], {"pandas", "sklearn", "mlflow", "pydantic", "fastapi", "onnxruntime"}, tmp_path).stdout
    assert ("From raw data" in said, said.endswith("loaded set()\n")) == (True, True)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(28, "No space left on device", "/x/model.onnx"), 1, "error: No space left on device: /x/model.onnx."),
        (PermissionError(13, "Permission denied", "/x/out.csv"), 1, "error: Permission denied: /x/out.csv."),
        (IsADirectoryError(21, "Is a directory", "/x"), 1, "error: Is a directory: /x.\n       Name a file"),
        (NotADirectoryError(20, "Not a directory", "/x"), 1, "error: Not a directory: /x.\n       Name another place"),
        (MemoryError(), 1, "error: the machine has no memory left"),
        (KeyboardInterrupt(), 130, "Stopped. Finished steps are kept"),
        (FileNotFoundError(2, "No such file", "bug"), 1, ""),  # a fault of the kit's own shows where
    ],
)
def test_what_the_machine_refuses_anywhere_is_one_line(run, repository, monkeypatch, error, code, said):
    def fail(*_):
        raise error

    monkeypatch.setattr("starterkit.settings.read_layers", fail)
    if not said:
        with pytest.raises(type(error)):
            run(repository, "config", "show")
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        assert said in run(repository, "config", "show", code=code).stderr
    finally:
        signal.signal(signal.SIGINT, handler)
