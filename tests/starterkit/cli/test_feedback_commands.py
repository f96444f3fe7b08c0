"""`monitor`, `retrain` and `feedback`: what a scheduler gets of them, and one line where something is wrong."""

import json

import pandas as pd
import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from example_project import problem
from starterkit.feedback.predictions import PredictionLog
from starterkit.feedback.writer import Writer
from starterkit.pipeline import Pipeline
from starterkit.serving.http import create_app
from starterkit.serving.predictor import ServedModel
from starterkit.settings import ServingSettings

BROKEN = {"KIT_MONITORING__RULES": '[{"figure": "rows", "below": 1000, "then": "retrain"}]'}
MISNAMED = {"KIT_MONITORING__RULES": '[{"figure": "rsme", "above": 1}]'}


@pytest.fixture
def asked(after_a_run):
    """A champion that was asked for sixty patients; the ids of its predictions."""
    registry = Pipeline(problem, after_a_run).registry
    champion, log = registry.champion(), PredictionLog(after_a_run)
    table = pd.read_csv(after_a_run.root / "data" / "diabetes.csv", nrows=60)
    records = table[[column.name for column in problem.features]].to_dict("records")
    writer = Writer(log, int)
    served = ServedModel(champion.model, str(champion.number), registry.open(champion))
    with TestClient(create_app(served, ServingSettings.model_validate({}), log=writer)) as client:
        answer = client.post("/predict", json={"records": records, "keys": table["patient_id"].tolist()})
    writer.close()
    assert answer.status_code == 200, answer.text
    return [answer.headers["x-prediction-id"] + f"-{row}" for row in range(60)], table["patient_id"][0]


def test_a_window_its_labels_and_one_who_wants_to_be_forgotten(run, after_a_run, asked):
    root, (ids, key) = after_a_run.root, asked
    labels = root / "labels.csv"
    labels.write_text("id,label\n" + "".join(f"{one},{150 + place}\n" for place, one in enumerate(ids)))
    counts = [json.loads(run(root, "feedback", "import", str(labels), "--json", code=0).stdout) for _ in range(2)]
    assert [list(one.values()) for one in counts] == [[60, 0, 0], [0, 0, 60]]
    page = root / "page.html"
    told = json.loads(run(root, "monitor", "--json", "--page", str(page), code=0).stdout)
    assert (told["rows"], told["labelled"], told["figures"]["labelled_share"], told["acted"]) == (60, 60, 1, None)
    assert told["figures"].keys() >= {"rmse", "quality_loss", "latency_p95_ms", "drift.bmi"}
    assert page.read_text().startswith("<!DOCTYPE html>")
    done = run(root, "monitor", code=3, **BROKEN)  # and it asks for a retraining, for which labels are too few
    assert "error: local.diabetes version 1: rows below 1000: 60." in done.stderr
    assert "too few to train on" in done.stderr
    assert run(root, "monitor", "--no-act", code=3, **BROKEN).stderr.count("error:") == 1
    assert PredictionLog(after_a_run).last_window("local.diabetes")["broken"] == 1
    assert json.loads(run(root, "feedback", "prune", "--json", code=0).stdout)["rows"] == 0
    erased = json.loads(run(root, "feedback", "erase", key, "--json", code=0).stdout)
    assert (erased["predictions"], erased["labels"]) == (1, 1)
    assert json.loads(run(root, "monitor", "--json", code=0).stdout)["rows"] == 59


def test_what_is_wrong_is_one_line(run, after_a_run):
    root = after_a_run.root
    (root / "other.csv").write_text("who,what\n1,2\n")
    (root / "unknown.csv").write_text(f"id,label\n{'0' * 32},5\n")
    for words, environ, code, line in (
        (["feedback", "import", "none.csv"], {}, 2, "none.csv cannot be read as CSV"),
        (["feedback", "import", "other.csv"], {}, 2, "has not the columns label and id, or key"),
        (["feedback", "import", "unknown.csv"], {}, 2, "has an id of no prediction"),
        (["feedback", "erase", "nobody"], {}, 2, "no prediction has this key"),
        (["feedback", "prune"], {"KIT_FEEDBACK__DATABASE": "postgresql://kit@127.0.0.1:9/none"}, 1, "cannot be used"),
        (["feedback", "prune"], {"KIT_FEEDBACK__DATABASE": "mysql://here"}, 2, "feedback.database"),
        (["monitor", "--every", "1", "--until", "2026-11-01"], {}, 2, "--every looks at now"),
        (["monitor", "--version", "99"], {}, 2, "no version 99"),
        (["monitor"], MISNAMED, 2, "did you mean rmse"),
        (["retrain"], {}, 1, "0 labelled rows: too few to train on"),
    ):
        done = run(root, *words, **environ)
        assert (done.returncode, line in done.stderr) == (code, True), (words, done)
        assert done.stderr.count("error:") == 1, (words, done.stderr)
    assert "no prediction of version 1" in run(root, "monitor", "--page", "page.html", code=0).stdout
    assert "All is well" not in (root / "page.html").read_text()
    with PredictionLog(after_a_run).connection() as connection:
        connection.execute(text("UPDATE prediction_log_version SET version_num = '9999'"))
    for words in (["monitor"], ["feedback", "prune"], ["serve"]):
        assert "which a newer version of the kit made" in run(root, *words, code=1).stderr
