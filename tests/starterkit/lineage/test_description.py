"""What is written down of parameters holds no secret."""

from functools import partial

from starterkit.lineage.description import hidden, plain


def test_scalars_are_kept_and_the_rest_is_its_type() -> None:
    given = {"depth": 2, "kind": None, "share": 0.5, "how": "fast", "call": partial(print, token="hunter2")}
    assert plain(given) == {"depth": 2, "kind": None, "share": 0.5, "how": "fast", "call": "functools.partial"}


def test_secrets_are_hidden_by_their_name() -> None:
    given = {"db_password": "a", "TOKEN": "b", "clientSecret": "c", "api_key": 4, "no_token": None, "layer": "hidden"}
    shown = plain(given)
    assert [name for name, value in shown.items() if value == "hidden"] == [*list(given)[:4], "layer"]
    assert shown["no_token"] is None
    assert hidden(shown) == list(given)[:4]
