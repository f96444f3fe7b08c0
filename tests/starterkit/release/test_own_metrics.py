"""A metric that the project names or brings decides, is limited, and is shown like the kit's own."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from example_project import problem
from starterkit.errors import ProblemError
from starterkit.pipeline import Pipeline
from starterkit.problem import Metric
from starterkit.release.judgement import EVIDENCE_FILE
from starterkit.settings import Limit
from starterkit.tracking.queries import fetch_file, look_up

pytestmark = pytest.mark.usefixtures("hurried")
SCORER = "neg_mean_absolute_percentage_error"


def cost(actual: Any, answers: Any) -> float:
    """Too low an answer costs twice what too high a one does."""
    return float(np.where(answers < actual, 2, 1) @ np.abs(actual - answers) / len(actual))


OWN = Metric("cost", cost, greater_is_better=False)


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function is asked for each of them: 2,000 of a scorer take longer than a whole run."""
    monkeypatch.setattr(Metric, "resamples", lambda *_: 100)


@pytest.mark.slow
def test_it_decides_up_to_a_champion(settings, tmp_path):
    pipeline = Pipeline(replace(problem, metric=SCORER, metrics=(OWN,)), settings)
    summary = pipeline.run()
    assert summary.promotion.decision.passed
    run, connection = summary.promotion.version.run, pipeline.registry.connection
    place = pipeline.registry.version(summary.promotion.version.number).tags["evidence_place"]
    files = (fetch_file(connection, run, f"{place}/{name}", tmp_path) for name in (EVIDENCE_FILE, "gate.html"))
    text, page = (file.read_text() for file in files)
    evidence = json.loads(text)
    assert evidence["metric"] == {"name": SCORER, "greater_is_better": True}
    assert set(evidence["scores"]["naive guess"]) == {"rmse", "mae", "r2", "cost", SCORER}
    assert f"<td>{SCORER} (decides)</td>" in page
    record = look_up(connection, run)
    assert (record.tags["metric"], record.tags["greater_is_better"]) == (SCORER, "True")
    assert record.metrics[SCORER] == pytest.approx(evidence["scores"]["version"][SCORER])
    assert record.metrics[f"baseline_{SCORER}"] == pytest.approx(evidence["scores"]["naive guess"][SCORER])
    assert f"**{SCORER}** (decides;" in record.tags["mlflow.note.content"]
    again = pipeline.judge(pipeline.read(), 1)  # beside a champion, itself, judged by the same metric
    reasons = {one.check: one.reason for one in (*summary.promotion.decision.verdicts, *again.decision.verdicts)}
    assert [reasons[check].split()[0] for check in ("baseline", "champion")] == [SCORER, SCORER]
    assert "the same answers" in reasons["champion"]


def test_a_worse_version_is_refused_by_it_and_by_a_limit_of_its_name(after_a_run):
    """Judged by a metric that rewards error, a better model is a worse one."""
    wrong = Metric("error", lambda actual, answers: float(np.abs(actual - answers).mean()), greater_is_better=True)
    pipeline = Pipeline(replace(problem, metric=wrong, checks=()), after_a_run)
    decision = pipeline.judge(pipeline.read(), 1).decision
    assert "baseline" in [verdict.check for verdict in decision.refusals]
    limited = after_a_run.gate.model_copy(update={"limits": {"cost": Limit(max=1)}})
    pipeline = Pipeline(replace(problem, metrics=(OWN, SCORER)), after_a_run.model_copy(update={"gate": limited}))
    decision = pipeline.judge(pipeline.read(), 1).decision
    assert [verdict.check for verdict in decision.refusals] == ["limit cost"]


def test_a_function_that_fails_for_some_rows_refuses_with_its_place(after_a_run):
    whole: list[float] = []

    def fragile(actual: Any, answers: Any) -> float:
        if len(np.unique(actual)) < len(whole):
            raise ZeroDivisionError("a patient")
        return float(np.abs(actual - answers).mean())

    pipeline = Pipeline(replace(problem, metric=Metric("own", fragile, greater_is_better=False)), after_a_run)
    dataset = pipeline.read()
    whole[:] = np.unique(dataset.holdout.target).tolist()
    refusals = pipeline.judge(dataset, 1).decision.refusals
    told = next(verdict.told for verdict in refusals if verdict.check == "baseline")
    assert ("metric 'own' fails with ZeroDivisionError" in told, f"{__file__}, line " in told) == (True, True)
    assert "a patient" not in told


def test_a_function_that_fails_stops_the_training_in_one_line(settings):
    broken = Metric("own", lambda *_: 1 / 0, greater_is_better=False)
    with pytest.raises(ProblemError, match=r"metric 'own' fails with ZeroDivisionError \(.*test_own_metrics.py, line"):
        Pipeline(replace(problem, metrics=[broken]), settings).run()
