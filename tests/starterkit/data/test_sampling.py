"""A sample looks like the whole, and lies in every larger one."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from sklearn.linear_model import LinearRegression

from example_project import problem
from starterkit.data.dataset import held_out
from starterkit.data.prepare import sampled
from starterkit.problem import Holdout, Problem, feature, group, target, time


def test_smaller_sample_is_part_of_a_larger_one_and_of_both_sides(house):
    frame = pd.read_csv(house.root / "data" / "diabetes.csv")
    parts = [sampled(problem, frame, fraction) for fraction in (0.05, 0.2, 0.5, 1)]
    assert [part.sum() for part in parts] == [22, 89, 221, 442]
    for smaller, larger in pairwise(parts):
        assert (larger | ~smaller).all()
    side = held_out(problem, frame)
    assert 0.15 < side[parts[1]].mean() < 0.27  # not the holdout itself, and not none of it
    narrower = held_out(replace(problem, holdout=Holdout(fraction=0.1)), frame)
    assert 0.2 < narrower[parts[1] & side].mean() < 0.8  # the order is none of the holdout's
    assert abs(frame.progression[parts[1]].mean() - frame.progression.mean()) < 10


def test_order_of_the_rows_does_not_matter(house):
    frame = pd.read_csv(house.root / "data" / "diabetes.csv")
    turned = frame.sample(frac=1, random_state=1).reset_index(drop=True)
    some, others = (set(one.patient_id[sampled(problem, one, 0.2)]) for one in (frame, turned))
    # Rows with equal targets may change their fifth with the order; nobody else may.
    assert len(some ^ others) <= 4


def test_classes_keep_their_shares(iris, breast_cancer):
    for sample in (iris, breast_cancer):
        one = sample.problem(lambda: None)
        frame = pd.read_csv(sample.root / "table.csv")
        shares = [t.diagnosis.value_counts(normalize=True) for t in (frame, frame[sampled(one, frame, 0.2)])]
        assert (shares[0] - shares[1]).abs().max() < 0.05


def problem_of(column: str, field: Any, **said: Any) -> Problem:
    """A problem whose rows have no id, and that."""
    fields = {column: field, "age": feature(sensitivity="sensitive"), "cost": target(sensitivity="plain")}
    types = {column: str, "age": int, "cost": float}
    schema = type("Rows", (pa.DataFrameModel,), {**fields, "__annotations__": types})
    given = {"name": "m", "title": "M", "task": "regression", "schema": schema, "metric": "rmse"}
    return Problem(**given, estimator=LinearRegression, **said)


def test_whole_groups_are_taken():
    number = np.arange(300)
    frame = pd.DataFrame({"person": [f"p{n // 3}" for n in number], "age": 1, "cost": number / 7})
    taken = sampled(problem_of("person", group()), frame, 0.3)
    assert set(frame.person[taken]).isdisjoint(frame.person[~taken])
    assert 80 <= taken.sum() <= 100


def test_rows_in_time_need_no_id():
    days = pd.date_range("2026-01-01", periods=100).strftime("%Y-%m-%d")
    frame = pd.DataFrame({"day": days, "age": 1, "cost": np.arange(100) / 7})
    one = problem_of("day", time(), holdout=Holdout(cutoff="2026-03-01"))
    assert 15 <= sampled(one, frame, 0.2).sum() <= 25
