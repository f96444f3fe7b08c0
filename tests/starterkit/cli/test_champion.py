"""The copy that the API keeps of its champion: what is opened of it, and what is fetched anew."""

import json
from pathlib import Path

import pytest

from starterkit.cli.champion import VERSION_FILE, Kept, place_of_copy
from starterkit.errors import ContractError
from starterkit.serving.predictor import CONTRACT_FILE, GRAPH_FILE
from starterkit.settings import load_settings

KEY = {"KIT_PROMOTION__VERSION_KEY": "v3rs10n-k3y-" * 4}


@pytest.fixture(autouse=True)
def inside(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fetches is a command of its own: it takes the settings from where it stands."""
    monkeypatch.chdir(trained)


def noted(copy: Path, **changes: str) -> None:
    place = copy / VERSION_FILE
    place.write_text(json.dumps({**json.loads(place.read_text()), **changes}))


SPOILT = {
    "another version": lambda copy: noted(copy, version="2"),
    "unsigned": lambda copy: noted(copy, signature=""),
    "no note": lambda copy: (copy / VERSION_FILE).unlink(),
    "half a note": lambda copy: (copy / VERSION_FILE).write_text('{"mod'),
    "another contract": lambda copy: (copy / CONTRACT_FILE).open("a").write(" "),
    "half a graph": lambda copy: (copy / GRAPH_FILE).write_bytes((copy / GRAPH_FILE).read_bytes()[:999]),
}


def test_a_copy_that_is_not_what_answered_is_not_opened_and_fetched_anew(trained, tmp_path):
    kept = Kept(load_settings(trained, KEY), tmp_path)
    assert kept.last() is None
    assert kept.first()[0].version == "1"
    for what, spoil in SPOILT.items():
        assert kept.last().version == "1"
        spoil(tmp_path / "model")
        assert kept.last() is None, what
        with kept.opened(kept.named()) as found:
            assert found.version == "1"


def test_a_copy_is_of_one_server_one_stage_and_one_key_and_what_is_refused_is_not_kept(trained, tmp_path):
    kept = Kept(load_settings(trained, KEY), tmp_path)
    with pytest.raises(ContractError, match="other columns"), kept.opened(kept.named()):
        raise ContractError("it has other columns")
    assert kept.last() is None
    kept.first()
    (tmp_path / "model").rename(tmp_path / ".model.earlier")  # as `kill -9` leaves it
    assert kept.last().version == "1"
    server = KEY | {"KIT_TRACKING__URI": "http://127.0.0.1:1"}
    for other in ({"KIT_PROMOTION__VERSION_KEY": "an0th3r-k3y-" * 4}, server, server | {"KIT_STAGE": "dev"}):
        assert Kept(load_settings(trained, other), tmp_path).last() is None
    assert Kept(load_settings(trained, {}), tmp_path).last().version == "1"  # who has no key asks for no signature


def test_a_folder_that_others_may_change_holds_no_copy(trained):
    assert place_of_copy(load_settings(trained, {})) is None  # a local store's champion is at hand
    settings = load_settings(trained, {"KIT_TRACKING__URI": "http://127.0.0.1:1"})
    place = place_of_copy(settings)
    assert place == trained / "build" / "champion" / "local.diabetes"
    assert place.stat().st_mode & 0o077 == 0
    place.chmod(0o770)
    assert place_of_copy(settings) is None
