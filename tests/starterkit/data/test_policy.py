"""A stage that may not see a column raw cannot load it raw; its key; and how well hidden people are."""

import stat
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr

from example_project import problem
from starterkit.contract import Column
from starterkit.data import DatasetReader
from starterkit.data.dataset import Dataset
from starterkit.data.masking import KEY_FILE, StageKey, find_key, make_key, mask_rows, pseudonyms, row_keys
from starterkit.data.policy import Policy, k_anonymity, overlap, shift
from starterkit.errors import DataError, SettingsError
from starterkit.settings import PrivacySettings, Settings, Stage


def column(**changes: Any) -> Column:
    given = {"name": "age", "role": "feature", "type": "integer", "unit": "years", "sensitivity": "sensitive"}
    return Column(**{**given, **changes})


AGE = column(minimum=0, maximum=120)
PLAIN = column(name="bmi", type="float", sensitivity="plain")


def read(settings: Settings, stage: Stage) -> Dataset:
    return DatasetReader(problem, settings.data, settings.root, stage).read()


def test_dev_sees_bands_on_the_same_sides(settings):
    raw, seen = read(settings, Stage.LOCAL), read(settings, Stage.DEV)
    assert [(len(one), one.policy) for one in (raw, read(settings, Stage.PROD))] == [(442, {})] * 2
    assert seen.policy == {"age": "generalise", "sex": "generalise", "progression": "generalise"}
    assert set(seen.training.features.age) <= {*range(5, 120, 10)}
    assert set(seen.training.features.sex) == {1}
    assert seen.training.target.nunique() <= 12
    assert abs(seen.training.target - raw.training.target).max() <= 500 / 24
    assert seen.training.features.dtypes.equals(raw.training.features.dtypes)
    assert seen.holdout.features.bmi.equals(raw.holdout.features.bmi)  # plain, and the same rows
    (name,) = seen.holdout.keys  # keyed, and named after the key
    assert name.startswith("patient_id@")
    assert len(np.unique(seen.holdout.keys[name])) == len(raw.holdout)
    assert not np.isin(seen.holdout.keys[name], raw.holdout.keys["patient_id"]).any()
    assert seen.digest != raw.digest


@pytest.mark.parametrize(
    ("kept", "dtype", "given", "expected"),
    [
        (AGE, "int64", [0, 9, 10, 119, 120], [5, 5, 15, 115, 115]),
        (AGE, "Int64", [3, 4, 5, None, 47], [5, 5, 5, None, 45]),
        (column(type="float", minimum=0, maximum=2), "float64", [0, 0.1, 0.3, 1.9, None], [0.2, 0.2, 0.2, 1.8, None]),
        (column(minimum=1, maximum=3), "int64", [1, 2, 3], [2, 2, 2]),  # narrower than twelve bands
        (column(minimum=0, maximum=5), "int64", [0, 1, 2, 3, 4, 5], [1, 1, 1, 3, 3, 3]),
        (column(minimum=7, maximum=7), "int64", [7], [7]),
        (column(categories=(1, 2)), "int64", [2, 1], [1, 1]),
        (column(type="string", categories=("f", "m")), "str", ["m", None, "f"], ["f", "f", "f"]),
        (column(type="boolean"), "boolean", [True, None, False], [False, False, False]),
    ],
)
def test_value_becomes_its_bands_middle(kept, dtype, given, expected):
    raw = pd.DataFrame({"age": pd.Series(given, dtype=dtype), "bmi": 1.0})
    policy = Policy.of(Stage.DEV, [kept, PLAIN])
    seen = mask_rows(policy, raw, None)
    assert policy.named == {"age": "generalise"}
    assert seen.age.dtype == raw.age.dtype
    pd.testing.assert_series_equal(seen.age, pd.Series(expected, dtype=dtype, name="age"))
    assert list(raw.age.dropna()) == [value for value in given if value is not None]


WHOLE = np.repeat(np.arange(12.0), 20)


def test_no_band_holds_one_number_alone():
    for values, kind, maximum in (
        (WHOLE, "float", 11),
        (np.r_[WHOLE, 3.5, 7.25], "float", 11),  # hardly a row is not whole
        (WHOLE / 2 + 0.25, "float", 6),
        (WHOLE * 10, "integer", 110),
        (np.repeat([0.0, 1.0], 50), "float", 1),
    ):
        raw, policy = pd.Series(values), Policy.of(Stage.DEV, [column(type=kind, minimum=0, maximum=maximum)])
        seen = mask_rows(policy, pd.DataFrame({"age": raw}), None).age
        assert raw.groupby(seen).nunique().min() >= 2


def test_what_cannot_be_generalised_is_refused_before_it_is_read():
    for without, hint in (
        (column(minimum=0), "`ge` and `le`"),
        (column(type="string"), "`isin`"),
        (column(role="target", categories=("ill", "well"), type="string"), "local"),
        (column(role="target", type="boolean"), "local"),
    ):
        with pytest.raises(DataError, match="stage dev may not see 'age' raw") as raised:
            Policy.of(Stage.DEV, [PLAIN, without]).require_possible()
        assert hint in raised.value.hint


ID = column(name="patient", role="identifier", type="string", sensitivity="identifier", unit="")
TARGET = column(name="cost", role="target", type="float", minimum=0, maximum=500)
SCHEMA = (ID, AGE, PLAIN, TARGET)
RAW, BANDS = ["raw"] * 4, ["generalise", "raw", "generalise"]


@pytest.mark.parametrize(
    ("stage", "said", "expected"),
    [
        ("local", {}, RAW), ("staging", {}, RAW), ("prod", {}, RAW),
        ("dev", {}, ["drop", *BANDS]), ("test", {}, ["drop", *BANDS]),
        ("test", {"identifiers": "pseudonymise"}, ["pseudonymise", *BANDS]),
        ("test", {"sensitive": "drop"}, ["drop", "drop", "raw", "generalise"]),  # without a target there is no model
        ("test", {"sensitive": "mock", "identifiers": "pseudonymise"}, ["drop", "mock", "mock", "mock"]),
        ("test", {"columns": {"age": "drop", "bmi": "drop"}}, ["drop", "drop", "drop", "generalise"]),
        ("test", {"columns": {"patient": "pseudonymise"}}, ["pseudonymise", *BANDS]),
    ],
)  # fmt: skip
def test_each_stage_has_a_policy_without_a_word_in_yaml_and_settings_may_hide_more(stage, said, expected):
    assert list(Policy.of(Stage(stage), SCHEMA, PrivacySettings(**said)).treatments.values()) == expected


@pytest.mark.parametrize(
    ("stage", "said", "words"),
    [
        ("test", {"columns": {"agee": "drop"}}, r"'agee', which the schema lacks \(did you mean age\?\)"),
        ("test", {"columns": {"age": "pseudonymise"}}, "age is pseudonymise, and pseudonyms are for identifiers"),
        ("test", {"columns": {"patient": "generalise"}}, "an identifier has no bands"),
        ("test", {"columns": {"cost": "drop"}}, "'cost' is the target and cannot be dropped"),
        ("local", {"sensitive": "mock", "columns": {"age": "raw"}}, "made-up rows have no raw column"),
        # What the settings' own floor refuses before: a notebook can make settings by hand.
        ("dev", {"sensitive": "raw"}, "privacy.columns.age is raw, which dev does not allow"),
        ("dev", {"identifiers": "pseudonymise"}, "patient is pseudonymise, which dev does not allow"),
        ("test", {"columns": {"patient": "raw"}}, "patient is raw, which test does not allow"),
    ],
)
def test_policy_that_cannot_be_is_refused_by_name(stage, said, words):
    with pytest.raises(SettingsError, match=words) as raised:
        Policy.of(Stage(stage), SCHEMA, PrivacySettings(**said))
    assert raised.value.hint


def test_dropped_feature_is_there_and_says_nothing():
    columns = [
        column(type="integer", minimum=0, maximum=5),
        column(name="self", type="string"),
        column(name="b", type="boolean"),
        column(name="c", type="float", minimum=3),
        column(name="d", type="string", categories=("x", "y"), nullable=True),
        column(name="e", type="float", nullable=True),
    ]
    raw = pd.DataFrame({"age": [1, 5], "self": ["q", "r"], "b": [True, False], "c": [3.5, 9.0], "d": ["y", None]})
    raw["e"] = [None, 0.25]
    seen = mask_rows(Policy.of(Stage.DEV, columns, PrivacySettings(sensitive="drop")), raw, None)
    assert seen.iloc[0].to_dict() == {"age": 2, "self": "dropped", "b": False, "c": 3.0, "d": "x", "e": 0.0}
    assert (seen.nunique(dropna=False) == 1).all()
    assert seen.dtypes.equals(raw.dtypes)


def test_local_may_try_what_another_stage_will_see_and_who_only_looks_leaves_no_key(settings):
    DatasetReader(problem, settings.data, settings.root, Stage.DEV, keep_key=False).read()
    assert not (settings.root / "secrets").exists()
    read(settings, Stage.DEV)
    assert (settings.root / "secrets" / "KIT_PRIVACY__KEY").exists()
    tried = PrivacySettings(sensitive="generalise", identifiers="drop")
    seen = DatasetReader(problem, settings.data, settings.root, Stage.LOCAL, tried).read()
    assert seen.digest == read(settings, Stage.DEV).digest
    assert seen.policy == read(settings, Stage.DEV).policy


SECRET = "one secret of at least thirty-two characters"
IDS = pd.Series(["P001", "P002", "P001", "007"])


def test_pseudonym_is_stable_within_a_stage_links_to_no_other_and_a_row_key_is_no_part_of_it():
    test, again, staging = (StageKey(SECRET, stage) for stage in (Stage.TEST, Stage.TEST, Stage.STAGING))
    made, rows = pseudonyms(IDS, test), row_keys(IDS, test)
    assert list(made) == list(pseudonyms(IDS, again))
    for key in (staging, StageKey(SECRET.upper(), Stage.TEST)):
        assert set(made).isdisjoint(pseudonyms(IDS, key))
    assert not made.str.contains("P0").any()
    assert test.fingerprint == again.fingerprint != staging.fingerprint
    for one in (made, rows):
        assert one[0] == one[2] != one[1]
    assert f"{rows[0]:016x}" not in made[0]
    assert rows[0] != row_keys(IDS, test, "made-up row")[0]


def test_a_made_key_is_kept_for_its_owner_and_a_given_one_goes_before_it(tmp_path):
    given, file = make_key(Stage.TEST, SecretStr(SECRET), tmp_path), tmp_path / KEY_FILE
    assert (given.fingerprint, file.parent.exists()) == (StageKey(SECRET, Stage.TEST).fingerprint, False)
    assert find_key(Stage.TEST, None, tmp_path) is None
    made = make_key(Stage.TEST, None, tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_text().strip()) == 64
    assert list(file.parent.iterdir()) == [file]
    assert make_key(Stage.TEST, None, tmp_path).fingerprint == made.fingerprint
    assert find_key(Stage.DEV, None, tmp_path).fingerprint != made.fingerprint
    for content, find, said in ((b"\n", make_key, "KIT_PRIVACY__KEY is empty"), (b"\xff", find_key, "cannot be read")):
        file.write_bytes(content)
        with pytest.raises(DataError, match=said):
            find(Stage.TEST, None, tmp_path)


NUMBER = Column(name="x", role="feature", type="float", unit="", sensitivity="plain")
WORD = Column(name="x", role="feature", type="string", unit="", sensitivity="plain", categories=("a", "b"))


def test_smallest_group_is_found():
    rows = pd.DataFrame({"age": [40, 40, 40, 50, 50, 60], "sex": ["f", "f", "f", "m", "m", None]})
    assert vars(k_anonymity(rows, ["age", "sex"])) == {"smallest": 1, "groups": 3, "alone": 1}
    assert vars(k_anonymity(rows.head(5), ["age", "sex"])) == {"smallest": 2, "groups": 2, "alone": 0}
    assert k_anonymity(rows, ["sex"]).alone == 1  # whose value is missing is known by that
    assert k_anonymity(rows, []).smallest == 6
    people = pd.Series(["Ada", "Ada", "Ada", "Bo", "Cy"])  # rows of one person are no crowd
    assert vars(k_anonymity(rows.head(5), ["age"], people)) == {"smallest": 1, "groups": 2, "alone": 1}


@pytest.mark.parametrize(
    ("column", "before", "after", "expected"),
    [
        (NUMBER, [1.0, 2.0, 3.0], [3.0, 1.0, 2.0], 0), (NUMBER, [1.0, 2.0, None], [8.0, 9.0, None], 1),
        (NUMBER, [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 4.5, 5.0], 0.5), (NUMBER, [None, None], [None, None], 0),
        (WORD, ["a", "a", "b", "b"], ["a", "b", "b", "b"], 0.25), (WORD, ["a", None], ["a", "a"], 0.5),
    ],
)  # fmt: skip
def test_shift_has_a_scale_from_0_to_1(column, before, after, expected):
    assert shift(column, pd.Series(before), pd.Series(after)).value == pytest.approx(expected)


ROWS = np.arange(601)
LONG = pd.Series([f"PN-{n:06d}" for n in ROWS])
NUMBERED = pd.Series(ROWS * 7919 % 90_000 + 100_000)
SHORT = pd.Series(ROWS + 1)
FEET = pd.Series(np.random.default_rng(0).integers(0, 100, len(ROWS)))


@pytest.mark.parametrize(
    ("ids", "cells", "expected"),
    [
        (pd.Series(["P1", "P2", "P3"]), ["P1", "x", "P2"], 2),
        (LONG, "seen " + LONG + ", again", 601),
        (LONG, ["told by PN-000007"] + ["nobody"] * 600, 1),  # of another row
        (NUMBERED, NUMBERED, 601),
        (NUMBERED, NUMBERED.astype(float), 601),
        (NUMBERED, NUMBERED.where(ROWS == 5).astype("Int64"), 1),
        (NUMBERED, NUMBERED * 10 + 3, 601),
        (NUMBERED.astype(str), NUMBERED, 601),
        (SHORT, SHORT * 1.0, 601),
        (SHORT, "ward 3, bed " + SHORT.astype(str), 601),
        # By chance: an age is somebody's number, and a digit stands in any text.
        (SHORT, FEET, 0),
        (SHORT, "room " + FEET.astype(str), 0),
        (SHORT, FEET / 7, 0),
        (NUMBERED, FEET * 1000, 0),
        (LONG, [None] * 601, 0),
    ],
)
def test_identifier_that_is_still_there_is_counted(ids, cells, expected):
    assert overlap(ids, pd.DataFrame({"cells": cells, "age": FEET[: len(ids)]})) == expected
