"""Parts of the holdout that are looked at by themselves."""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge

from starterkit.data.split import slices_of


def test_a_category_is_a_part_and_a_number_has_three(visits: Any) -> None:
    problem = visits.problem(lambda: Ridge(), slices=("ward", "insured", "income", "smoker"))
    dataset = visits.dataset(problem)
    features, parts = dataset.holdout.features, slices_of(problem, dataset)
    assert set(parts) == {
        "ward=a", "ward=b", "ward=c", "ward missing", "insured=False", "insured=True", "income low", "income middle",
        "income high", "income missing", "smoker=False", "smoker=True", "smoker missing",
    }  # fmt: skip
    for column in ("ward", "insured", "income", "smoker"):
        once = np.sum([rows for name, rows in parts.items() if name.startswith(column)], axis=0)
        assert (once == 1).all(), column
    assert (parts["ward=b"] == (features.ward == "b")).all()
    assert (parts["smoker=True"] == (features.smoker == 1)).all()
    assert features.income[parts["income low"]].max() < features.income[parts["income middle"]].min()


def test_the_cuts_are_those_of_the_training_side(visits: Any) -> None:
    problem = visits.problem(lambda: Ridge(), slices=("income",))
    dataset = visits.dataset(problem)
    few = replace(dataset, holdout=replace(dataset.holdout, features=dataset.holdout.features.head(7)))
    whole = slices_of(problem, dataset)
    for name, rows in slices_of(problem, few).items():
        assert (rows == whole[name][:7]).all()


def test_a_part_without_rows_is_left_out(visits: Any) -> None:
    problem = visits.problem(lambda: Ridge(), slices=("city",))
    dataset = visits.dataset(problem)
    kept = dataset.holdout.features[dataset.holdout.features.city == "Bonn"]
    only_bonn = replace(dataset, holdout=replace(dataset.holdout, features=kept))
    assert list(slices_of(problem, only_bonn)) == ["city=Bonn"]
    assert slices_of(visits.problem(lambda: Ridge()), dataset) == {}
