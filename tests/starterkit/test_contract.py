"""`contract.json` comes back as it was written, or not at all."""

import json
from dataclasses import fields, replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starterkit.contract import TREATED, Column, Contract, Lineage, Parity, Treatment, Written, by_treatment
from starterkit.errors import ContractError

LINEAGE = ("stage", "run", "commit", "lock_digest", "data_source", "data_digest", "holdout_digest")

texts, numbers = st.text(max_size=8), st.floats(allow_nan=False, allow_infinity=False)
some = st.lists(st.booleans() | st.integers() | numbers | texts, max_size=3).map(tuple)


def built(kind: Any, **told: Any) -> st.SearchStrategy[Any]:
    """Any instance of a dataclass: what is not told follows from its types, and numbers are JSON's."""
    known = {float: numbers, float | None: st.none() | numbers}
    return st.builds(kind, **{one.name: known.get(one.type, ...) for one in fields(kind)} | told)


written = built(Written, flags=st.dictionaries(texts, st.booleans(), max_size=2))
columns = built(Column, categories=some, proven=st.none(), written=written)
contracts = built(
    Contract,
    columns=st.lists(columns, max_size=3).map(tuple),
    target=columns,
    example=st.dictionaries(texts, texts | numbers, max_size=3),
    parity=built(Parity, alone=st.just(0)),
    lineage=st.builds(Lineage),
    classes=some,
    digests=st.dictionaries(texts, texts, max_size=3),
    scores=st.dictionaries(texts, st.tuples(numbers, st.none() | numbers), max_size=2),
    format=st.just(1),
)


@settings(max_examples=40, deadline=None)
@given(contract=contracts)
def test_a_contract_comes_back_as_it_was(contract):
    assert Contract.from_json(contract.to_json()) == contract
    assert Contract.from_json(contract.to_json().encode()) == contract
    assert Contract.from_json(json.dumps(json.loads(contract.to_json()), sort_keys=True)) == contract  # spaces, order


@pytest.fixture
def contract() -> Contract:
    column = Column(name="age", role="feature", type="integer", unit="years", sensitivity="sensitive", minimum=0)
    return Contract(
        problem="p", title="t", task="regression", layout="matrix", columns=(column,), example={"age": 40},
        target=replace(column, name="score", role="target"),
        parity=Parity(rows=1, measure="m", largest=0.0, allowed=1e-5, scale=1.0),
        lineage=Lineage(**dict.fromkeys(LINEAGE, "x"), dirty=False),
        digests={"model.onnx": "0"},
    )  # fmt: skip


def alter(text: str, **changes: Any) -> str:
    return json.dumps(json.loads(text) | changes)


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (lambda text: text[: len(text) // 2], "cannot be read"),
        *((lambda _, none=none: none, "cannot be read") for none in ("", "[]", "7", "[" * 200_000, b"\xff\xfe\x00")),
        (lambda text: "{}", "has format None, this kit reads 1"),
        (lambda text: alter(text, format=2), "has format 2, this kit reads 1"),
        (lambda text: alter(text, title="Another"), "was altered"),
        (lambda text: text.replace('"minimum": 0', '"minimum": -9'), "was altered"),
        (lambda text: text.replace('"allowed": 1e-05', '"allowed": 1.0'), "was altered"),
        (lambda text: alter(text, seal=None), "was altered"),
    ],
)
def test_a_broken_contract_is_refused(contract, broken, named):
    with pytest.raises(ContractError, match=named) as refusal:
        Contract.from_json(broken(contract.to_json()))
    assert "Export the model again" in refusal.value.hint


def test_a_column_says_what_it_expects(contract):
    for changes, words in (
        ({}, "a whole number in years, at least 0"),
        ({"maximum": 120.0}, "a whole number in years, 0 to 120"),
        ({"minimum": None, "maximum": 120.0, "unit": ""}, "a whole number, at most 120"),
        ({"type": "string", "categories": ("a", "b"), "unit": "", "minimum": None}, "one of 'a', 'b'"),
    ):
        assert replace(contract.columns[0], **changes).expected == words
    told = by_treatment({"age": "generalise", "id": "drop", "sex": "generalise"})
    assert told == {"in bands": ["age", "sex"], "dropped": ["id"]}
    assert {*TREATED} == {*get_args(Treatment)}


def test_lineage_comes_back_from_tags_with_its_types_also_of_an_earlier_kit():
    more = {"parameters": {"a": None, "b": 1.5, "c": "1", "d": True}, "changed_files": {"ü.py": "gone"}}
    lineage = Lineage(**dict.fromkeys(LINEAGE, "x"), dirty=True, rows=7, **more)
    tags = lineage.to_tags()
    assert all(isinstance(value, str) for value in tags.values())
    assert Lineage.from_tags({**tags, "mlflow.user": "somebody"}) == lineage
    earlier = {**dict.fromkeys(LINEAGE, "x"), "dirty": "False"}
    assert Lineage.from_tags(earlier) == Lineage(**dict.fromkeys(LINEAGE, "x"), dirty=False)
    with pytest.raises(KeyError):
        Lineage.from_tags({"dirty": "False"})
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        Lineage.from_tags({**earlier, "parameters": '{"a": '})
