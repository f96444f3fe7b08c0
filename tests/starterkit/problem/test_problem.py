"""A `Problem` that contradicts itself is refused when it is made, by name and with a hint; and how it is found."""

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from starterkit.errors import DataError, ProblemError
from starterkit.machine import GROUP, project_entry, stated_name
from starterkit.problem import (
    Direction,
    Holdout,
    Invariance,
    Jitter,
    Problem,
    feature,
    find_problem,
    group,
    identifier,
    target,
    time,
)


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
    known: dict[str, Any] = {"flat": (str, identifier()), "area": (float, feature(sensitivity="plain"))}
    known |= {"rent": (float, target()), **fields}
    types, roles = ({name: said[at] for name, said in known.items() if said is not None} for at in (0, 1))
    return type("Made", (pa.DataFrameModel,), {**roles, "__annotations__": types})


TEXT = schema(area=(str, feature(sensitivity="plain", isin=["large", "small"])))


def test_the_schema_becomes_plain_columns():
    flat, area, rooms, rent = make().columns
    assert (flat.role, flat.type, flat.sensitivity) == ("identifier", "string", "identifier")
    assert (area.type, area.unit, area.minimum, area.maximum) == ("float", "m²", 0, 500)
    assert area.expected == "a number in m², 0 to 500"
    assert rooms.categories == (1, 2, 3, 4, 5, 6, 7, 8)
    assert all(type(category) is int for category in rooms.categories)  # numpy's own would not go into JSON
    assert (rent.role, rent.sensitivity) == ("target", "sensitive")
    text = feature(sensitivity="plain", str_length={"min_value": 2, "max_value": 9})  # its length is none of its value
    number = feature(sensitivity="plain", ge=float("-inf"), le=np.float64("inf"))
    for column in make(schema=schema(text=(str, text), number=(float, number))).features[-2:]:
        assert (column.minimum, column.maximum) == (None, None)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "Rents in Köln"}, "Rents in Köln"),
        ({"task": "clustering"}, "clustering"),
        ({"metric": "accuracy"}, "'accuracy' is not one for regression"),
        ({"task": "classification"}, "'rmse' is not one for classification"),
        ({"schema": schema(area=(float, pa.Field(ge=0)))}, "'area' of the schema has no role"),
        ({"schema": schema(area=(float, feature(sensitivity="plain", gt=0)))}, "'area' of the schema has an open"),
        ({"schema": schema(area=(str, feature(sensitivity="plain", ge=0)))}, "'area' of the schema is text and has"),
        ({"schema": schema(area=(bool, feature(sensitivity="plain", le=1)))}, "true or false and has a bound"),
        ({"schema": schema(area=(float, 7))}, "the schema cannot be read"),
        ({"schema": schema(area=(list[str], feature(sensitivity="plain")))}, "'area' of the schema has type"),
        ({"schema": Ridge}, "the schema cannot be read"),
        ({"schema": schema(rent=None)}, "one target()"),
        ({"schema": schema(heating=(float, target()))}, "one target()"),
        ({"schema": schema(city=(str, feature(sensitivity="plain"))), "slices": ("city",)}, "'city', a text without"),
        ({"schema": schema(area=None)}, "at least one feature()"),
        ({"schema": schema(other=(str, identifier()))}, "more than one identifier()"),
        ({"schema": schema(flat=None)}, "column declared with identifier()"),
        ({"schema": schema(flat=(str, identifier(nullable=True)))}, "'flat' is nullable"),
        ({"schema": schema(rent=(float, target(nullable=True)))}, "'rent' is nullable"),
        ({"schema": schema(rent=(str, target()))}, "'rent' of a regression is a text"),
        ({"schema": schema(area=(pd.Timestamp, feature(sensitivity="plain")))}, "'area' of the schema has type"),
        ({"schema": schema(built=(int, time()))}, "time() column 'built'"),
        ({"holdout": Holdout(cutoff="2026-01-31")}, "column declared with time()"),
        ({"slices": ("nowhere",)}, "slices names 'nowhere', which is no feature. Use one of area"),
        ({"slices": ("rent",)}, "slices names 'rent', which is no feature"),
        ({"strong": ("flat",)}, "strong names 'flat'"),
        ({"robustness": (Direction(column="nowhere", answer="up"),)}, "Direction names 'nowhere'"),
        ({"schema": TEXT, "robustness": (Direction(column="area", answer="up"),)}, "names 'area', which is a text"),
        ({"robustness": (Invariance(column="nowhere"),)}, "Invariance names 'nowhere'"),
    ],
)
def test_a_contradiction_is_refused_by_name(changes, named):
    with pytest.raises(ProblemError) as refusal:
        make(**changes)
    assert named in str(refusal.value)
    assert refusal.value.hint


def test_a_group_or_a_time_decides_the_side_where_the_problem_says_so():
    measures = schema(flat=None, landlord=(str, group()), day=(str, time()))
    assert make(schema=measures).side_column.name == "landlord"
    assert make(schema=measures, holdout=Holdout(cutoff="2026-01-31")).side_column.name == "day"


def test_parameters_are_the_defaults_the_seed_and_what_is_given():
    assert make().parameters({"alpha": 2.0}, seed=7) == {"alpha": 2.0, "solver": "auto", "random_state": 7}
    assert make().parameters({"random_state": 3}, seed=7)["random_state"] == 3
    assert make().build(make().parameters({"alpha": 2}, seed=0)).get_params()["alpha"] == 2  # a whole one is a number
    with pytest.raises(ProblemError, match=r"Set training\.params\.alpha"):
        make(estimator=lambda alpha: Ridge(alpha=alpha)).parameters({}, seed=0)


def test_a_wrong_parameter_is_refused_by_name():
    problem = make()
    for name, value, said in (
        ("alhpa", 2.0, ""), ("alpha", "two", " should be a valid number"), ("alpha", None, ""), ("alpha", True, ""),
        ("random_state", 1.5, ""), ("solver", "magic", ""),
    ):  # fmt: skip
        with pytest.raises(ProblemError, match=rf"training\.params\.{name}{said}") as refusal:
            problem.build(problem.parameters({name: value}, seed=0))
        assert refusal.value.hint


def typed(*, alpha: float = 1.0) -> "Unimported":  # noqa: F821
    """Its result's type is known to type checkers alone."""
    return Ridge(alpha=alpha)


@pytest.mark.parametrize("factory", [Ridge, functools.partial(Ridge, alpha=2.0), lambda: Ridge(), ridge, typed])
def test_whatever_builds_an_estimator_will_do_but_none_that_raises(factory):
    problem = make(estimator=factory)
    assert isinstance(problem.build(problem.parameters({}, seed=0)), Ridge)
    with pytest.raises(ProblemError, match=rf"ZeroDivisionError.*{__file__}, line.*KIT_TRAINING__PARAMS"):
        make(estimator=lambda: 1 / 0).build({})


def test_what_is_no_estimator_for_the_task_is_refused():
    for task, metric, wrong, named in (
        ("regression", "rmse", None, r"NoneType, which has no fit\(\)"),
        ("regression", "rmse", Ridge, r"has no fit\(\)"),
        ("classification", "roc_auc", Ridge(), "Ridge, which is not for classification"),
        ("regression", "rmse", LogisticRegression(), "LogisticRegression"),
    ):
        with pytest.raises(ProblemError, match=named):
            make(task=task, metric=metric, estimator=lambda wrong=wrong: wrong).build({})


def test_a_load_that_fails_names_the_place_and_no_value():
    def refuse(_):
        raise DataError("no such file")

    source = SimpleNamespace(read=lambda: pd.DataFrame({"name": ["Miller"]}))
    for load, named in (
        (lambda source: source.read()["rent"], f"KeyError .{__file__}, line"),
        (lambda source: source.read().astype(float), f"ValueError.*{__file__}, line"),
        (lambda source: None, "gives a NoneType"),
        (refuse, "^no such file"),  # the kit's own errors pass through
    ):
        with pytest.raises((ProblemError, DataError), match=named) as refusal:
            make(load=load).read(source)
        assert "Miller" not in str(refusal.value)


def test_nonsense_is_refused():
    for kind, wrong in (
        *((Holdout, {"fraction": fraction}) for fraction in (0.0, 1.0, -1.0)),
        (Holdout, {"cutoff": "31.1.2026"}), (Jitter, {"share": -1}), (Jitter, {"worse": float("nan")}),
        (Direction, {"answer": "sideways", "column": "a"}), (Invariance, {"change": -0.1, "column": "a"}),
        (Direction, {"broken": -0.1, "column": "a", "answer": "up"}),
    ):  # fmt: skip
        with pytest.raises(ProblemError, match=next(iter(wrong))):
            kind(**wrong)


Declare = Callable[..., None]
PROBLEM = """
import pandera.pandas as pa
from starterkit.problem import Problem, feature, identifier, target

class Houses(pa.DataFrameModel):
    id: str = identifier()
    rooms: int = feature(sensitivity="plain")
    price: float = target()

problem = Problem(title="Houses", task="regression", schema=Houses, estimator=lambda: None, metric="rmse"{said})
"""


CHURN = '[project.entry-points."starterkit.problem"]\nchurn = "kit:problem"\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def declare(project: Path, monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Make the only project one of this code, whose entry point has this name."""

    def call(code: str, name: str = "default", module: str | None = None) -> None:
        module = module or f"declared_{abs(hash(code))}"
        (project / f"{module}.py").write_text(f"{code}\n")
        entry = EntryPoint(name, f"{module}:problem", GROUP)
        monkeypatch.setattr("starterkit.machine._installed", lambda path: [entry])

    return call


def test_no_project_and_a_second_one_are_refused(project, monkeypatch):
    installed = project / "second-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: second\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[{GROUP}]\nsecond = second:problem\n")
    with pytest.raises(ProblemError, match="second:problem"):
        find_problem()
    monkeypatch.setattr("starterkit.machine._installed", lambda path: [])
    with pytest.raises(ProblemError, match=r'finds none.*entry-points\."starterkit\.problem"'):
        find_problem()


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("problem = 7", "is a int"),
        ("problem = 1 / 0", "ZeroDivisionError"),
        ("import nowhere_at_all.inside", "there is no module 'nowhere_at_all'"),
        ("x = 1\ny = x.nothing", "AttributeError"),
        ("x = 1\nproblem = (", "SyntaxError"),
        ("other = 1", "no attribute"),
        ("from starterkit.problem import feature\nage = feature(ge=0)", "argument: 'sensitivity'"),
    ],
)
def test_code_that_fails_is_named_with_its_line(declare, code, named):
    declare(code)
    module = f"declared_{abs(hash(code))}"
    with pytest.raises(ProblemError) as refusal:
        find_problem()
    assert named in refusal.value.what
    assert ("make add PKG=nowhere_at_all" in refusal.value.hint) == ("nowhere" in code)
    if named not in ("is a int", "no attribute"):
        assert f"{module}.py, line" in refusal.value.what
        assert refusal.value.what.count(f"{module}.py") == 1


def test_the_name_is_known_without_importing_the_project():
    code = "import sys, starterkit.machine as e; print(e.stated_name(), {'pandas', 'example_project'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "diabetes set()\n"


@pytest.mark.parametrize(
    ("entry", "said", "found", "stated"),
    [
        ("houses", "", "houses", "houses"),
        ("default", ', name="flats"', "flats", None),  # a project from before says its name itself
        ("flats", ', name="flats"', "flats", "flats"),
        ("houses", ', name="flats"', r"the problem 'houses', and named_houses1:problem says name='flats'\. Leave", ""),
        ("House prices", "", "'House prices' has other signs", ""),
    ],
)
def test_a_problem_has_the_entry_point_s_name_or_says_its_own(declare, entry, said, found, stated):
    declare(PROBLEM.format(said=said), entry, module=f"named_{entry.split()[0]}{len(said) // 14}")
    if stated == "":
        with pytest.raises(ProblemError, match=found):
            find_problem()
    else:
        assert (find_problem().name, stated_name()) == (found, stated)


@pytest.mark.parametrize(
    ("written", "editable", "name"),
    [
        (CHURN, True, "churn"), (CHURN, False, "installed"), ("[project", True, "installed"),
        ("[project]\n", True, "installed"), (None, True, "installed"),
    ],
)  # fmt: skip
def test_a_renamed_problem_is_known_before_the_environment_is_made_anew(project, monkeypatch, written, editable, name):
    root, installed = project / "my prøject", project / "kit-1.dist-info"
    for folder in (root, installed):
        folder.mkdir()
    if written is not None:
        (root / "pyproject.toml").write_text(written)
    (installed / "entry_points.txt").write_text(f"[{GROUP}]\ninstalled = kit:problem\n")
    (installed / "direct_url.json").write_text(json.dumps({"url": root.as_uri(), "dir_info": {"editable": editable}}))
    entries = Distribution.at(installed).entry_points
    monkeypatch.setattr("starterkit.machine._installed", lambda path: entries)
    assert project_entry().name == name
