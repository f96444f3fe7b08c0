"""Evidence made of arrays: what a sound version would show, and what a test changes of it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from starterkit.contract import Column, Contract, Lineage, Parity, Prediction
from starterkit.metrics import METRICS, compute_scores, metrics_for
from starterkit.verdict import Candidate, Contamination, Cost, Evidence

NAMES = ("stage", "run", "commit", "lock_digest", "data_source", "data_digest", "holdout_digest")
AGE = Column(name="age", role="feature", type="float", unit="years", sensitivity="plain", minimum=0, maximum=120)
TARGET = Column(name="cost", role="target", type="float", unit="€", sensitivity="plain")
CHEAP = Cost(one_row=1e-5, many_rows=1e-4, rows=90, size=100_000)

Make = Callable[..., Any]


def contract_of(largest: float = 1e-7, **changes: Any) -> Contract:
    given = {
        "problem": "p",
        "title": "t",
        "task": "regression",
        "columns": (AGE,),
        "target": TARGET,
        "layout": "matrix",
        "example": {"age": 40.0},
        "parity": Parity(rows=100_000, measure="relative difference", largest=largest, allowed=1e-5, scale=1.0),
        "lineage": Lineage(**dict.fromkeys(NAMES, "x"), dirty=False),
        "digests": {},
    }
    return Contract(**{**given, **changes})


@pytest.fixture
def contract() -> Make:
    """Makes a contract for one number, with changes."""
    return contract_of


@pytest.fixture
def evidence() -> Make:
    """Makes evidence over 400 rows for a regression by rmse: ``evidence(error=1.5)`` errs by more than its champion.

    `error` and `champion_error` scale the errors, which share half of their spread; `champion_error=None` is a first
    version. Any field of `Evidence` can be given by name.
    """

    def make(error: float = 1.0, champion_error: float | None = 1.0, rows: int = 400, **changes: Any) -> Evidence:
        random = np.random.default_rng(1)
        actual, shared, own, other = random.normal(0, 1, (4, rows)) * np.array([[5.0], [1.0], [1.0], [1.0]])
        contract = changes.pop("contract", contract_of())

        def candidate(name: str, values: Any) -> Candidate:
            answers = Prediction(np.asarray(values))
            scores = compute_scores(metrics_for("regression"), actual, answers, ())
            return Candidate(name=name, prediction=answers, scores=scores)

        first = champion_error is None
        given = {
            "contract": contract,
            "metric": METRICS["rmse"],
            "actual": actual,
            "features": {"age": actual},
            "challenger": candidate("local.p version 2", actual + error * (shared + own)),
            "baseline": candidate("naive guess", np.zeros(rows)),
            "champion": None if first else candidate("local.p version 1", actual + champion_error * (shared + other)),
            "champion_contract": None if first else contract_of(),
            "origin": "x",
            "beside": contract_of().parity,
            "overlap": Contamination(trained_on=0),
            "leaks": {"age": 0.4},
            "cost": None if first else CHEAP,
            "champion_cost": None if first else CHEAP,
        }
        return Evidence(**{**given, **changes})

    return make
