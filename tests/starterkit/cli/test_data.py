"""`starterkit data prepare`, and the stage that reads what it wrote."""

import json


def test_prepare_then_the_stage_reads_it(run, repository):
    done = run(repository, "doctor", KIT_STAGE="test")
    assert "Run `KIT_STAGE=local starterkit data prepare --for test`" in done.stdout + done.stderr
    done = run(repository, "data", "prepare", "--for", "test")
    assert done.returncode == 0, done.stderr
    assert "age, sex, progression" in done.stdout
    assert "data/test/diabetes.parquet, 442 rows" in done.stdout
    assert "warning: 8 people are alone with their age, sex, progression" in done.stderr
    done = run(repository, "doctor", KIT_STAGE="test", KIT_TRACKING__URI="http://127.0.0.1:9")
    assert "442 rows, 98 of them held out" in done.stdout


def test_json_is_the_proof(run, repository):
    done = run(repository, "data", "prepare", "--for", "staging", "--fraction", "0.2", "--json", "--to", "s.parquet")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["stage"], said["fraction"], said["warnings"]) == ("staging", 0.2, [])
    assert said["seal"] == json.loads((repository / "s.proof.json").read_text())["seal"]


def test_another_stages_yaml_decides(run, repository):
    config = repository / "config" / "test.yaml"
    config.write_text(config.read_text() + "\nprivacy:\n  sensitive: mock\n")
    done = run(repository, "data", "prepare", "--for", "test", "--json", KIT_TRACKING__URI="sqlite:///mlflow.db")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["policy"]["bmi"] == "mock"
