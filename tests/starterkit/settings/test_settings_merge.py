"""The deep merge, held to its promise with whatever mappings hypothesis can think of."""

import json
from collections.abc import Mapping
from pathlib import Path

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from starterkit.settings import read_layers
from starterkit.settings.layers import Layer, leaves, merge

NAMES = st.sampled_from("abc")
TREES = st.recursive(
    st.dictionaries(NAMES, st.integers(), max_size=3),
    lambda trees: st.dictionaries(NAMES, trees | st.integers(), max_size=3),
    max_leaves=8,
)


def layer(name: str, values: dict[str, object]) -> Layer:
    return Layer(lambda _: name, values)


LAYERS = st.lists(TREES, max_size=4).map(
    lambda trees: [layer(f"layer {number}", tree) for number, tree in enumerate(trees)]
)


def said(layer: Layer) -> dict[tuple[str, ...], object]:
    return {key: value for key, value in leaves(layer.values) if value != {}}


def touches(key: tuple[str, ...], other: tuple[str, ...]) -> bool:
    shared = min(len(key), len(other))
    return key[:shared] == other[:shared]


@given(LAYERS)
def test_each_value_is_the_last_that_was_said_and_names_who_said_it(layers):
    values, origins = merge(layers)
    for key, value in leaves(values):
        if value != {}:
            winner = [layer for layer in layers if key in said(layer)][-1]
            assert said(winner)[key] == value
            assert origins[key] == winner.origin(key)


@given(LAYERS)
def test_no_value_is_lost_unless_a_later_layer_replaces_it(layers):
    kept = dict(leaves(merge(layers)[0]))
    for position, layer in enumerate(layers):
        for key in said(layer):
            later = [other for above in layers[position + 1 :] for other, _ in leaves(above.values)]
            assert key in kept or any(touches(key, other) for other in later)


@given(LAYERS)
def test_origins_name_exactly_the_keys_that_are_there(layers):
    values, origins = merge(layers)
    there = {key[:length] for key, _ in leaves(values) for length in range(1, len(key) + 1)}
    assert set(origins) == there


@given(LAYERS)
def test_the_layers_themselves_stay_as_they_were(layers):
    before = [repr(layer.values) for layer in layers]
    merge(layers)
    assert [repr(layer.values) for layer in layers] == before


def test_an_empty_mapping_is_a_value_of_its_own():
    assert list(leaves({"a": {}, "b": {"c": {}, "d": 1}})) == [(("a",), {}), (("b", "c"), {}), (("b", "d"), 1)]


# --- The layers as a whole, over real files: the last word holds and is known by name.

VALUES: dict[tuple[str, ...], st.SearchStrategy[object]] = {
    ("serving", "port"): st.integers(1, 65535),
    ("serving", "threads"): st.integers(1, 64),
    ("serving", "host"): st.sampled_from(["127.0.0.1", "0.0.0.0", "localhost", "ü.example"]),
    ("export", "tolerance"): st.floats(1e-9, 1),
    ("training", "seed"): st.integers(0, 2**32 - 1),
    ("debug",): st.booleans(),
    ("training", "params", "depth"): st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.none(),
    ("training", "params", "ra te"): st.booleans() | st.integers(),
    ("gate", "limits", "rmse", "min"): st.floats(-1e6, 0),
    ("gate", "limits", "rmse", "max"): st.floats(1, 1e6),
}
SAID = st.fixed_dictionaries({}, optional=VALUES)


class Quoting(yaml.SafeDumper):
    """Writes every text in quotes. PyYAML's own writer leaves 0E0 without, which the kit, as YAML 1.2, reads as 0."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def nested(said: Mapping[tuple[str, ...], object]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for key, value in said.items():
        branch: dict = tree
        for name in key[:-1]:
            branch = branch.setdefault(name, {})
        branch[key[-1]] = value
    return tree


def variables(said: Mapping[tuple[str, ...], object]) -> dict[str, str]:
    """The same as environment variables or secret files; what is deeper than a section is JSON."""
    given: dict[tuple[str, ...], object] = {}
    for key, value in said.items():
        if len(key) <= 2:
            given[key] = value
        else:
            inner = given.setdefault(key[:2], {})
            for name in key[2:-1]:
                inner = inner.setdefault(name, {})  # type: ignore[attr-defined]
            inner[key[-1]] = value  # type: ignore[index]
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}
    return {"KIT_" + "__".join(key).upper(): text for key, text in texts.items()}


@settings(max_examples=60, deadline=None)
@example(base={}, stage={("training", "params", "depth"): "0E0"}, secret={}, environ={})
@given(base=SAID, stage=SAID, secret=SAID, environ=SAID)
def test_the_last_word_holds_and_is_known_by_name(tmp_path_factory, base, stage, secret, environ):
    root: Path = tmp_path_factory.mktemp("layers")
    for name, said, always in (
        ("base", base, {"data": {"source": "data/x.csv"}}),
        ("local", stage, {"tracking": {"uri": "sqlite:///mlflow.db"}}),
    ):
        (root / "config").mkdir(exist_ok=True)
        text = yaml.dump({**nested(said), **always}, Dumper=Quoting, allow_unicode=True)
        (root / "config" / f"{name}.yaml").write_text(text)
    (root / "secrets").mkdir()
    for name, text in variables(secret).items():
        (root / "secrets" / name).write_text(text)

    layers = read_layers(root, variables(environ))

    found = dict(leaves(layers.settings.model_dump()))
    origins = (("config/base.yaml", base), ("config/local.yaml", stage), ("secrets/", secret), ("KIT_", environ))
    for key in VALUES:
        said_by = [(origin, said[key]) for origin, said in origins if key in said]
        if said_by:
            origin, value = said_by[-1]
            assert found[key] == value
            assert layers.origins[".".join(key)].startswith(origin)
        elif key in found:
            assert layers.origins[".".join(key)] == "default"
