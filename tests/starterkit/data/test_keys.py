"""A stage's key: its own, kept once, and for its owner alone."""

import stat
from pathlib import Path

import pandas as pd
import pytest
from pydantic import SecretStr

from starterkit.data.masking import KEY_FILE, StageKey, find_key, make_key, pseudonyms, row_keys
from starterkit.errors import DataError
from starterkit.settings import Stage

SECRET = "one secret of at least thirty-two characters"
IDS = pd.Series(["P001", "P002", "P001", "007"])


def test_pseudonym_is_stable_within_a_stage_and_links_to_no_other() -> None:
    test, again, staging = (StageKey(SECRET, stage) for stage in (Stage.TEST, Stage.TEST, Stage.STAGING))
    made = pseudonyms(IDS, test)
    assert list(made) == list(pseudonyms(IDS, again))
    assert made[0] == made[2] != made[1]
    assert set(made).isdisjoint(pseudonyms(IDS, staging))
    assert set(made).isdisjoint(pseudonyms(IDS, StageKey(SECRET.upper(), Stage.TEST)))
    assert not made.str.contains("P0").any()
    assert test.fingerprint == again.fingerprint != staging.fingerprint


def test_row_key_is_no_part_of_the_pseudonym() -> None:
    key = StageKey(SECRET, Stage.TEST)
    rows = row_keys(IDS, key)
    assert rows[0] == rows[2] != rows[1]
    assert f"{rows[0]:016x}" not in pseudonyms(IDS, key)[0]
    assert rows[0] != row_keys(IDS, key, "made-up row")[0]


def test_made_key_is_kept_for_its_owner(tmp_path: Path) -> None:
    assert find_key(Stage.TEST, None, tmp_path) is None
    made = make_key(Stage.TEST, None, tmp_path)
    file = tmp_path / KEY_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_text().strip()) == 64
    assert list(file.parent.iterdir()) == [file]
    assert make_key(Stage.TEST, None, tmp_path).fingerprint == made.fingerprint
    assert find_key(Stage.DEV, None, tmp_path).fingerprint != made.fingerprint


def test_given_key_goes_before_the_file(tmp_path: Path) -> None:
    given = make_key(Stage.TEST, SecretStr(SECRET), tmp_path)
    assert given.fingerprint == StageKey(SECRET, Stage.TEST).fingerprint
    assert not (tmp_path / "secrets").exists()


def test_empty_and_unreadable_key_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / KEY_FILE).write_text("\n")
    with pytest.raises(DataError, match="secrets/KIT_PRIVACY__KEY is empty"):
        make_key(Stage.TEST, None, tmp_path)
    (tmp_path / KEY_FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        find_key(Stage.TEST, None, tmp_path)
