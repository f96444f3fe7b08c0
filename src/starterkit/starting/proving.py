"""The tests that come with the written problem. They are the user's from then on."""

from starterkit.starting.expressions import WIDTH, listed, literal, whole
from starterkit.starting.planning import Plan

_SOURCE = '''\
"""What must stay true of the problem and its data. Written by `starterkit init-problem`; add what you know."""

from pathlib import Path

import pytest

{imports}

ROOT = Path(__file__).parents[{up}]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
{reading}


def test_the_kit_finds_the_problem() -> None:
    assert find_problem() is {attribute}


def test_every_row_fits_the_schema(dataset: Dataset) -> None:
    assert len(dataset) == {rows}


def test_what_is_sensitive_was_decided() -> None:
    sensitive = [column.name for column in {attribute}.columns if column.sensitivity == "sensitive"]
{sensitive}


def test_no_row_of_the_holdout_was_trained_on(dataset: Dataset) -> None:
    key = {attribute}.side_column.name
    assert not set(dataset.training.keys[key]) & set(dataset.holdout.keys[key])


def test_the_model_beats_a_naive_guess(dataset: Dataset) -> None:
    model = Trainer({attribute}, load_settings(ROOT, {{}}).training).fit(dataset)
    assert model.evaluation.scores["{metric}"] < model.baseline.scores["{metric}"]
'''


_OF_THE_KIT = (
    "from starterkit.data import Dataset, DatasetReader",
    "from starterkit.problem import find_problem",
    "from starterkit.settings import DataSettings, Stage, load_settings",
    "from starterkit.training import Trainer",
)


def source_of_tests(plan: Plan, module: str, attribute: str, source: str, depth: int) -> str:
    """The test module. `depth` says how many folders it is below the repository's root."""
    names = [one.name for one in plan.fields if one.role != "identifier" and one.role != "group" and one.sensitive]
    first, *rest = listed("assert sensitive == ", names, 4)
    return _SOURCE.format(
        imports="\n".join(sorted([f"from {module} import {attribute}", *_OF_THE_KIT])),
        attribute=attribute,
        reading="\n".join(_reading(attribute, source)),
        rows=plan.rows,
        sensitive="\n".join([first, *rest]),
        metric=plan.metric,
        up=depth,
    )


def _reading(attribute: str, source: str) -> list[str]:
    """On one line, or as ruff breaks it: the file's name may be long."""
    given = [attribute, f"DataSettings(source={literal(source)})", "ROOT", "Stage.LOCAL"]
    line = f"    return DatasetReader({', '.join(given)}).read()"
    if len(line) <= WIDTH:
        return [line]
    inner = f"        {', '.join(given)}"
    lines = [inner]
    if len(inner) > WIDTH:
        lines = [f"        {one}," for one in given]
        if len(lines[1]) > WIDTH:
            lines[1:2] = ["        DataSettings(", whole(f"            source={literal(source)}"), "        ),"]
    return ["    return DatasetReader(", *lines, "    ).read()"]
