"""The layers as a whole, over real files: whatever is said validly where, the last word holds and is known by name."""

from collections.abc import Mapping
from pathlib import Path

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from starterkit.settings import read_layers
from starterkit.settings.layers import leaves

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
    import json

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
