"""What `config show` is given: every value with its origin, and no secret."""

import pytest

from starterkit.settings import show
from starterkit.settings.layers import has_password, mask
from starterkit.settings.model import fields, is_secret

SECRET = "hunter2-hunter2-hunter2"


def test_every_value_is_shown_with_its_origin(repository):
    shown = {line.key: line for line in show(repository.read(KIT_SERVING__PORT="9000"))}

    assert shown["serving.port"] == ("serving.port", "9000", "KIT_SERVING__PORT")
    assert shown["data.source"] == ("data.source", "data/example.csv", "config/base.yaml")
    assert shown["data.query"] == ("data.query", "null", "default")
    assert shown["debug"] == ("debug", "false", "default")
    assert shown["stage"] == ("stage", "local", "default")
    assert set(shown) == set(repository.read(KIT_SERVING__PORT="9000").origins)


def test_a_secret_is_only_said_to_be_set(repository):
    repository.write("secrets/KIT_SERVING__API_KEY", SECRET)

    lines = show(repository.read(KIT_TRACKING__URI=f"http://me:{SECRET}@host"))
    shown = {line.key: (line.value, line.origin) for line in lines}

    assert shown["serving.api_key"] == ("(set)", "secrets/KIT_SERVING__API_KEY")
    assert shown["tracking.token"] == ("(not set)", "default")
    assert shown["tracking.uri"] == ("http://me:***@host", "KIT_TRACKING__URI")
    assert "hunter2" not in str(lines)


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        ("postgresql+psycopg2://me:secret@host:5432/name", "postgresql+psycopg2://me:***@host:5432/name"),
        ("http://me:se@cr/et@host", "http://me:***@host"),
        ("http://:secret@host", "http://:***@host"),
        ("db://host/name?user=me&password=secret&x=1", "db://host/name?user=me&password=***&x=1"),
        ("db://host/name?PWD=secret", "db://host/name?PWD=***"),
    ],
)
def test_a_password_in_an_address_is_found_and_masked(address, masked):
    assert has_password(address)
    assert mask(address) == masked


@pytest.mark.parametrize(
    "address", ["http://localhost:5000", "postgresql://me@host:5432/name", "sqlite:///a.db", "data/a.csv", "me@host"]
)
def test_an_address_without_a_password_stays_as_it_is(address):
    assert not has_password(address)
    assert mask(address) == address


def test_every_secret_is_known():
    names = {".".join(key) for key, field in fields().items() if is_secret(field)}
    assert {"serving.api_key", "tracking.token", "tracking.password", "data.password"} <= names
    assert not names & {"serving.port", "data.source", "stage"}
