"""The deep merge, held to its promise with whatever mappings hypothesis can think of."""

from hypothesis import given
from hypothesis import strategies as st

from starterkit.settings.layers import Layer, leaves, merge

NAMES = st.sampled_from("abc")
TREES = st.recursive(
    st.dictionaries(NAMES, st.integers(), max_size=3),
    lambda trees: st.dictionaries(NAMES, trees | st.integers(), max_size=3),
    max_leaves=8,
)
LAYERS = st.lists(TREES, max_size=4).map(
    lambda trees: [Layer(f"layer {number}", tree) for number, tree in enumerate(trees)]
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
            assert origins[key] == winner.origin


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


def test_a_mapping_is_merged_and_anything_else_is_replaced():
    lower = Layer("lower", {"a": {"x": 1, "y": 1}, "b": 1, "c": {"x": 1}})
    upper = Layer("upper", {"a": {"y": 2}, "b": {"x": 2}, "c": None})

    values, origins = merge([lower, upper])

    assert values == {"a": {"x": 1, "y": 2}, "b": {"x": 2}, "c": None}
    assert origins == {
        ("a",): "upper",
        ("a", "x"): "lower",
        ("a", "y"): "upper",
        ("b",): "upper",
        ("b", "x"): "upper",
        ("c",): "upper",
    }
