"""`starterkit data prepare`, and the stage that reads what it wrote."""

import json
from pathlib import Path
from typing import Any

import pytest


def test_prepare_then_the_stage_reads_it(run: Any, repository: Path) -> None:
    done = run(repository, "doctor", KIT_STAGE="test")
    assert "Run `KIT_STAGE=local starterkit data prepare --for test`" in done.stdout + done.stderr
    done = run(repository, "data", "prepare", "--for", "test")
    assert done.returncode == 0, done.stderr
    assert "age, sex, progression" in done.stdout
    assert "data/test/diabetes.parquet, 442 rows" in done.stdout
    assert "warning: 8 people are alone with their age, sex, progression" in done.stderr
    done = run(repository, "doctor", KIT_STAGE="test", KIT_TRACKING__URI="http://127.0.0.1:9")
    assert "442 rows, 98 of them held out" in done.stdout


def test_json_is_the_proof(run: Any, repository: Path) -> None:
    done = run(repository, "data", "prepare", "--for", "staging", "--fraction", "0.2", "--json", "--to", "s.parquet")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["stage"], said["fraction"], said["warnings"]) == ("staging", 0.2, [])
    assert said["seal"] == json.loads((repository / "s.proof.json").read_text())["seal"]


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (["--for", "prod"], {}, "no data is prepared for 'prod'. Name one of dev, test, staging with --for"),
        (["--for", "tset"], {}, "no data is prepared for 'tset'"),
        (["--for", "test"], {"KIT_STAGE": "dev"}, "stage dev may not see the source raw"),
        (["--for", "test"], {"KIT_PRIVACY__KEY": "hunter2"}, "privacy.key should have at least 32 characters"),
        (["--for", "test"], {"KIT_PRIVACY__SENSITIVE": "raw"}, "KIT_PRIVACY__SENSITIVE: privacy.sensitive is raw"),
        (["--for", "test"], {"KIT_PRIVACY__COLUMNS": '{"aeg": "drop"}'}, "(did you mean age?)"),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(
    run: Any, repository: Path, arguments: list[str], environ: dict[str, str], words: str
) -> None:
    done = run(repository, "data", "prepare", *arguments, **environ)
    assert done.returncode == 2
    assert words in done.stderr.replace("\n       ", " ")
    assert "Traceback" not in done.stderr
    assert not (repository / "data" / "test").exists()


def test_another_stages_yaml_decides(run: Any, repository: Path) -> None:
    config = repository / "config" / "test.yaml"
    config.write_text(config.read_text() + "\nprivacy:\n  sensitive: mock\n")
    done = run(repository, "data", "prepare", "--for", "test", "--json", KIT_TRACKING__URI="sqlite:///mlflow.db")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["policy"]["bmi"] == "mock"
