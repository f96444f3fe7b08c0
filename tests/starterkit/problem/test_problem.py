"""A `Problem` that contradicts itself is refused when it is made, by name and with a hint."""

import functools
from typing import Any, Literal

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier

from starterkit.errors import DataError, ProblemError
from starterkit.problem import Holdout, Problem, feature, group, identifier, target, time


class Flats(pa.DataFrameModel):
    flat: str = identifier()
    area: float = feature(sensitivity="plain", unit="m²", ge=0, le=500, description="living area")
    rooms: int = feature(sensitivity="plain", isin=np.arange(1, 9))
    rent: float = target(unit="€", ge=0)


def ridge(*, alpha: float = 1.0, solver: Literal["auto", "svd"] = "auto", random_state: int = 0) -> Ridge:
    return Ridge(alpha=alpha, solver=solver, random_state=random_state)


def make(**changes: Any) -> Problem:
    given = {"name": "rents", "title": "Rents", "task": "regression", "schema": Flats, "estimator": ridge}
    return Problem(**{**given, "metric": "rmse", **changes})


def schema(**fields: tuple[type, Any]) -> type[pa.DataFrameModel]:
    """A schema that differs from `Flats` in a few columns; None leaves one out."""
    columns: dict[str, Any] = {
        "flat": (str, identifier()),
        "area": (float, feature(sensitivity="plain")),
        "rent": (float, target()),
        **fields,
    }
    declared = {name: said for name, said in columns.items() if said is not None}
    body = {name: said[1] for name, said in declared.items()}
    return type("Made", (pa.DataFrameModel,), {**body, "__annotations__": {n: said[0] for n, said in declared.items()}})


def test_the_schema_becomes_plain_columns() -> None:
    flat, area, rooms, rent = make().columns
    assert (flat.role, flat.type, flat.sensitivity) == ("identifier", "string", "identifier")
    assert (area.type, area.unit, area.minimum, area.maximum) == ("float", "m²", 0, 500)
    assert area.expected == "a number in m², 0 to 500"
    assert rooms.categories == (1, 2, 3, 4, 5, 6, 7, 8)
    assert all(type(category) is int for category in rooms.categories)  # numpy's own would not go into JSON
    assert (rent.role, rent.sensitivity) == ("target", "sensitive")


def test_the_length_of_a_text_is_no_bound_of_its_value() -> None:
    street = (str, feature(sensitivity="plain", str_length={"min_value": 2, "max_value": 9}))
    column = make(schema=schema(street=street)).features[-1]
    assert (column.minimum, column.maximum) == (None, None)


def test_an_infinite_bound_is_none() -> None:
    endless = {"ge": float("-inf"), "le": np.float64("inf")}
    made = make(schema=schema(area=(float, feature(sensitivity="plain", **endless))))
    area = next(column for column in made.features if column.name == "area")
    assert (area.minimum, area.maximum) == (None, None)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "Rents in Köln"}, "Rents in Köln"),
        ({"task": "clustering"}, "clustering"),
        ({"metric": "accuracy"}, "'accuracy' is not one for regression"),
        ({"task": "classification"}, "'rmse' is not one for classification"),
        ({"schema": schema(area=(float, pa.Field(ge=0)))}, "'area' of the schema has no role"),
        (
            {"schema": schema(area=(float, feature(sensitivity="plain", gt=0)))},
            "'area' of the schema has an open",
        ),
        (
            {"schema": schema(area=(str, feature(sensitivity="plain", ge=0)))},
            "'area' of the schema is text and has",
        ),
        ({"schema": schema(area=(bool, feature(sensitivity="plain", le=1)))}, "true or false and has a bound"),
        ({"schema": schema(area=(float, 7))}, "the schema cannot be read"),
        ({"schema": schema(area=(list[str], feature(sensitivity="plain")))}, "'area' of the schema has type"),
        ({"schema": Ridge}, "the schema cannot be read"),
        ({"schema": schema(rent=None)}, "one target()"),
        ({"schema": schema(heating=(float, target()))}, "one target()"),
        ({"schema": schema(area=None)}, "at least one feature()"),
        ({"schema": schema(other=(str, identifier()))}, "more than one identifier()"),
        ({"schema": schema(flat=None)}, "column declared with identifier()"),
        ({"schema": schema(flat=(str, identifier(nullable=True)))}, "'flat' is nullable"),
        ({"schema": schema(rent=(float, target(nullable=True)))}, "'rent' is nullable"),
        ({"schema": schema(rent=(str, target()))}, "'rent' of a regression is a text"),
        ({"schema": schema(area=(complex, feature(sensitivity="plain")))}, "'area' of the schema has type complex"),
        ({"schema": schema(area=(pd.Timestamp, feature(sensitivity="plain")))}, "'area' of the schema has type"),
        ({"schema": schema(built=(int, time()))}, "time() column 'built'"),
        ({"holdout": Holdout(cutoff="2026-01-31")}, "column declared with time()"),
    ],
)
def test_a_contradiction_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ProblemError) as refusal:
        make(**changes)
    assert named in refusal.value.what
    assert refusal.value.hint


@pytest.mark.parametrize("wrong", [{"fraction": 0.0}, {"fraction": 1.0}, {"fraction": -1.0}, {"cutoff": "31.1.2026"}])
def test_a_holdout_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ProblemError, match=next(iter(wrong))):
        Holdout(**wrong)


def test_a_group_or_a_time_decides_the_side_where_the_problem_says_so() -> None:
    measures = schema(flat=None, landlord=(str, group()), day=(str, time()))
    assert make(schema=measures).side_column.name == "landlord"
    assert make(schema=measures, holdout=Holdout(cutoff="2026-01-31")).side_column.name == "day"


def test_parameters_are_the_defaults_the_seed_and_what_is_given() -> None:
    assert make().parameters({"alpha": 2.0}, seed=7) == {"alpha": 2.0, "solver": "auto", "random_state": 7}
    assert make().parameters({"random_state": 3}, seed=7)["random_state"] == 3


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"alhpa": 2.0}, "training.params.alhpa"),
        ({"alpha": "two"}, "training.params.alpha should be a valid number"),
        ({"alpha": None}, "training.params.alpha"),
        ({"alpha": True}, "training.params.alpha"),
        ({"random_state": 1.5}, "training.params.random_state"),
        ({"solver": "magic"}, "training.params.solver"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(given: dict[str, Any], named: str) -> None:
    problem = make()
    with pytest.raises(ProblemError) as refusal:
        problem.build(problem.parameters(given, seed=0))
    assert named in refusal.value.what
    assert refusal.value.hint


def test_a_whole_number_is_a_number() -> None:
    problem = make()
    assert problem.build(problem.parameters({"alpha": 2}, seed=0)).get_params()["alpha"] == 2


def test_a_parameter_without_a_value_is_refused() -> None:
    with pytest.raises(ProblemError, match=r"Set training\.params\.alpha"):
        make(estimator=lambda alpha: Ridge(alpha=alpha)).parameters({}, seed=0)


@pytest.mark.parametrize("factory", [Ridge, functools.partial(Ridge, alpha=2.0), lambda: Ridge(), ridge])
def test_whatever_builds_an_estimator_will_do(factory: Any) -> None:
    problem = make(estimator=factory)
    assert isinstance(problem.build(problem.parameters({}, seed=0)), Ridge)


def test_a_result_type_that_only_type_checkers_know_does_no_harm() -> None:
    def build(*, alpha: float = 1.0) -> "Unimported":  # type: ignore[name-defined]  # noqa: F821
        return Ridge(alpha=alpha)

    assert isinstance(make(estimator=build).build({"alpha": 1.0}), Ridge)
    with pytest.raises(ProblemError, match=r"training\.params\.alpha"):
        make(estimator=build).build({"alpha": "one"})


@pytest.mark.parametrize(
    ("task", "metric", "wrong", "named"),
    [
        ("regression", "rmse", None, "NoneType, which has no fit()"),
        ("regression", "rmse", Ridge, "has no fit()"),
        ("classification", "roc_auc", Ridge(), "Ridge, which has no predict_proba()"),
        ("classification", "roc_auc", RidgeClassifier(), "RidgeClassifier, which has no predict_proba()"),
    ],
)
def test_what_is_no_estimator_for_the_task_is_refused(task: str, metric: str, wrong: Any, named: str) -> None:
    with pytest.raises(ProblemError) as refusal:
        make(task=task, metric=metric, estimator=lambda: wrong).build({})
    assert named in refusal.value.what


def test_a_classifier_needs_a_classification() -> None:
    with pytest.raises(ProblemError, match="LogisticRegression"):
        make(estimator=LogisticRegression).build({})


@pytest.mark.parametrize("error", [KeyError("alpha"), ImportError("no xgboost"), ValueError("bad"), RuntimeError("x")])
def test_an_estimator_that_raises_is_refused_with_the_place(error: Exception) -> None:
    def broken() -> Ridge:
        raise error

    with pytest.raises(ProblemError) as refusal:
        make(estimator=broken).build({})
    assert type(error).__name__ in refusal.value.what
    assert f"{__file__}, line" in refusal.value.what


class _Source:
    def read(self) -> pd.DataFrame:
        return pd.DataFrame({"name": ["Miller"]})


@pytest.mark.parametrize(
    ("load", "named"),
    [
        (lambda source: source.read()["rent"], "KeyError"),
        (lambda source: source.read().astype(float), "ValueError"),
        (lambda source: None, "gives a NoneType"),
    ],
)
def test_a_load_that_fails_names_the_place_and_no_value(load: Any, named: str) -> None:
    with pytest.raises(ProblemError) as refusal:
        make(load=load).read(_Source())
    assert named in str(refusal.value)
    assert "Miller" not in str(refusal.value)
    assert f"{__file__}, line" in str(refusal.value) or "NoneType" in named


def test_the_kits_own_errors_pass_through_load() -> None:
    def refuse(source: Any) -> pd.DataFrame:
        raise DataError("no such file")

    with pytest.raises(DataError, match="no such file"):
        make(load=refuse).read(_Source())
