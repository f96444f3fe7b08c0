"""What `data prepare` writes: treated rows, their sides, a proof and a report; and samples."""

import hashlib
import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LinearRegression

from example_project import problem
from starterkit.data import DatasetReader
from starterkit.data.dataset import held_out
from starterkit.data.prepare import sampled
from starterkit.errors import Refused, UserError
from starterkit.problem import Holdout, Problem, feature, group, identifier, target, time
from starterkit.settings import DataSettings, PrivacySettings, Stage

TREATED = {"age": "generalise", "sex": "generalise", "progression": "generalise"}


def test_test_sees_what_dev_sees_on_the_same_sides(prepared):
    test, dev, raw = prepared.read(), *(prepared.read(stage, "data/diabetes.csv") for stage in ("dev", "local"))
    assert test.policy == dev.policy == TREATED
    for side in ("training", "holdout"):
        seen, masked, known = (getattr(dataset, side) for dataset in (test, dev, raw))
        order = [rows.table.sort_values([*rows.table], ignore_index=True) for rows in (seen, masked)]
        pd.testing.assert_frame_equal(*order)
        assert sorted(seen.features.bmi) == sorted(known.features.bmi)


def test_ids_are_gone_rows_are_known_again_and_the_proof_says_what_was_done(prepared):
    table = prepared.table()
    assert "patient_id" not in table
    ids = pd.read_csv(prepared.root / "data" / "diabetes.csv").patient_id
    told = f"{table.to_csv()}{pq.read_schema(prepared.file).metadata}"  # packed bytes may hold four letters by chance
    assert not any(one in told for one in ids)
    (name,) = prepared.read().holdout.keys
    assert name == f"patient_id@{json.loads(prepared.proof.read_text())['key'][:8]}"
    keys = np.concatenate([prepared.read().training.keys[name], prepared.read().holdout.keys[name]])
    assert len(np.unique(keys)) == 442
    said = json.loads(prepared.proof.read_text())
    told = {"rows": {"source": 442, "training": 344, "holdout": 98}, "overlap": {"patient_id": 0}}
    told["file_digest"] = hashlib.sha256(prepared.file.read_bytes()).hexdigest()
    told["policy"] = {"patient_id": "drop"} | dict.fromkeys(prepared.read().training.features, "raw") | TREATED
    assert said.items() >= told.items()
    features, with_target, every = said["crowds"]
    assert [one["columns"] for one in (features, with_target)] == [["age", "sex"], ["age", "sex", "progression"]]
    assert (len(every["columns"]), every["after"]["alone"]) == (10, 442)  # plain measurements single everybody out
    assert (features["before"]["smallest"], features["after"]["smallest"]) == (1, 3)
    assert said["shifts"]["bmi"] == {"measure": "Kolmogorov-Smirnov", "value": 0}
    assert 0 < said["shifts"]["age"]["value"] < 0.3
    quality = said["quality"]
    assert quality["raw"] < quality["treated"] < quality["naive_treated"]
    assert prepared.key.read_text().strip() not in prepared.proof.read_text()
    report = prepared.file.with_name("diabetes.report.md").read_text("utf-8")
    for line in (
        "Made for stage test from 442 rows of data/diabetes.csv", "| age, sex | 1 | 3 | 13 | 0 |",
        "| age, sex, bmi, blood_pressure and 6 more | 1 | 1 | 442 | 442 |", "| patient_id | drop |  |  | 0 |",
    ):  # fmt: skip
        assert line in report


def test_pseudonyms_under_two_keys_do_not_link_by_place(house):
    """Neither to the source nor to each other; the same key gives the same order."""
    source = pd.read_csv(house.root / "data" / "diabetes.csv").bmi
    tables = []
    for key in (*"ab", "a"):
        made = house.prepare(key=(key * 40), identifiers="pseudonymise", columns={"bmi": "raw"})
        tables.append(house.table())
    one, other, again = tables
    pd.testing.assert_frame_equal(one, again)
    for first, second in ((one.bmi, other.bmi), (one.bmi, source), (other.bmi, source)):
        assert sorted(first) == sorted(second)
        assert (first == second).mean() < 0.05
        assert abs(first.corr(second)) < 0.2
    assert set(one.patient_id).isdisjoint(other.patient_id)
    assert one.patient_id.str.fullmatch("[0-9a-f]{32}").all()
    assert one.patient_id.is_unique
    assert made.proof.overlap == {"patient_id": 0}


def test_mock_rows_are_nobodys(house):
    made = house.prepare(sensitive="mock")
    raw = house.read("local", "data/diabetes.csv")
    table = house.table()
    known = pd.read_csv(house.root / "data" / "diabetes.csv").drop(columns="patient_id")
    assert table.merge(known.astype(table[list(known)].dtypes.to_dict())).empty
    seen = house.read(KIT_PRIVACY__SENSITIVE="mock")
    assert set(seen.policy.values()) == {"mock"}
    assert (len(seen.training), len(seen.holdout)) == (len(raw.training), len(raw.holdout))
    assert made.proof.quality["treated"] < made.proof.quality["naive_treated"]
    assert made.warnings == []
    assert house.read().policy == seen.policy  # more than the stage asks for is fine


def test_a_person_alone_is_warned_of(house):
    made = house.prepare()
    warning, every = made.warnings
    assert warning.startswith("8 people are alone with their age, sex, progression")
    assert "drop one of these in privacy.columns of config/test.yaml, or set privacy.sensitive to mock" in warning
    assert re.match("442 people are alone with their age, sex, bmi, .* and 6 more.*drop or generalise one", every)
    assert house.prepare(columns={"age": "drop"}).proof.crowds[0]["after"]["smallest"] == 442


def test_staging_gets_a_sample_as_it_is(house):
    house.prepare("staging", 0.2)
    seen = house.read("staging", "data/staging/diabetes.parquet")
    raw = house.read("local", "data/diabetes.csv")
    assert 85 <= len(seen) <= 92
    assert seen.policy == {}
    assert seen.holdout.features.merge(raw.holdout.features).shape == seen.holdout.features.shape
    assert np.isin(seen.training.keys["patient_id"], raw.training.keys["patient_id"]).all()
    assert not (house.root / "secrets").exists()  # nothing is hidden, so nothing needs a key


def test_what_cannot_be_prepared_is_refused_before_anything_is_read(house):
    (house.root / "data" / "diabetes.csv").unlink()
    for given, words in (
        ({"now": "dev"}, "stage dev may not see the source raw"),
        ({"now": "test"}, "stage test may not see the source raw"),
        *(({"fraction": none}, f"a fraction of {none} is none") for none in (0, 1.5, float("nan"))),
    ):
        with pytest.raises(UserError, match=words) as raised:
            house.prepare(**given)
        assert raised.value.hint


def test_neither_the_source_is_overwritten_nor_prepared_twice(prepared):
    pd.read_csv(prepared.root / "data" / "diabetes.csv").to_parquet(prepared.root / "data" / "source.parquet")
    for source, path, words in (
        ("data/source.parquet", "data/../data/source.parquet", r"'source\.parquet' is the source itself"),
        ("data/source.parquet", "data/rows.csv", r"'rows\.csv' is no Parquet file"),
        ("data/test/diabetes.parquet", "more.parquet", "'data/test/diabetes.parquet' was prepared itself"),
    ):
        with pytest.raises(UserError, match=words):
            prepared.prepare(source=source, path=path)


class Measures(pa.DataFrameModel):
    """Repeated measures, an id that hides in a feature, and every kind of key."""

    measure: int = identifier()
    person: str = group()
    note: str = feature(sensitivity="plain")
    age: int = feature(sensitivity="sensitive", ge=0, le=120)
    cost: float = target(sensitivity="plain")


def line(*, n_estimators: int = 1, learning_rate: float = 1, max_depth: int = 1, subsample: float = 1) -> Any:
    return LinearRegression()


MEASURES = Problem(name="measures", title="M", task="regression", schema=Measures, estimator=line, metric="rmse")


def measures(note: str) -> pd.DataFrame:
    number = np.arange(120)
    given = {"measure": number, "person": [f"person {n // 3}" for n in number], "note": note, "age": 20 + number // 3}
    return pd.DataFrame({**given, "cost": number / 7})


def prepare_measures(house, frame, problem=MEASURES):
    frame.to_csv(house.root / "data" / "measures.csv", index=False)
    return type(house)(house.root, problem).prepare(source="data/measures.csv")


def test_groups_stay_together_without_their_names(house):
    made = prepare_measures(house, measures("a"))
    place = DataSettings(source="data/test/measures.parquet"), house.root, Stage.TEST
    seen = DatasetReader(MEASURES, *place, PrivacySettings()).read()
    raw = DatasetReader(MEASURES, DataSettings(source="data/measures.csv"), house.root, Stage.LOCAL).read()
    assert len(np.unique(seen.holdout.groups)) == len(np.unique(raw.holdout.groups))
    assert not np.isin(seen.holdout.groups, raw.holdout.groups).any()
    assert made.proof.crowds[0]["before"]["alone"] == 40  # people, not measures
    assert "not_measured" in made.proof.quality  # a text is nothing for this estimator


def test_identifier_in_another_column_and_the_kits_own_names_are_refused(house):
    frame = measures("a")
    frame.loc[7, "note"] = "person 30"
    with pytest.raises(Refused, match="1 values of 'person' are still in the data") as raised:
        prepare_measures(house, frame)
    assert "person 30" not in str(raised.value)
    assert not (house.root / "data" / "test").exists()

    class Split(Measures):
        split: float = feature(sensitivity="plain")

    with pytest.raises(UserError, match="column 'split', which is the kit's own name"):
        prepare_measures(house, measures("a").assign(split=1.0), replace(MEASURES, schema=Split))


STOPPED = """
import os, sys, time
from pathlib import Path
def stop(_): print('there', flush=True); time.sleep(60)
os.fsync, sys.argv = stop, ['starterkit', 'data', 'prepare', '--for', 'test']
from starterkit.cli import main; main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_kill_while_preparing_leaves_the_earlier_files(prepared, number, code):
    before = {file.name: file.read_bytes() for file in prepared.file.parent.iterdir()}
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", STOPPED], cwd=prepared.root, **quiet) as process:
        assert process.stdout.readline() == "there\n"
        process.send_signal(number)
        assert process.wait(30) == code
    left = [file for file in prepared.file.parent.iterdir() if not file.name.startswith(".")]
    assert {file.name: file.read_bytes() for file in left} == before
    assert len(prepared.read()) == 442


def test_smaller_sample_is_part_of_a_larger_one_and_of_both_sides_whatever_the_order_of_the_rows(house):
    frame = pd.read_csv(house.root / "data" / "diabetes.csv")
    parts = [sampled(problem, frame, fraction) for fraction in (0.05, 0.2, 0.5, 1)]
    assert [part.sum() for part in parts] == [22, 89, 221, 442]
    for smaller, larger in pairwise(parts):
        assert (larger | ~smaller).all()
    side = held_out(problem, frame)
    assert 0.15 < side[parts[1]].mean() < 0.27  # not the holdout itself, and not none of it
    narrower = held_out(replace(problem, holdout=Holdout(fraction=0.1)), frame)
    assert 0.2 < narrower[parts[1] & side].mean() < 0.8  # the order is none of the holdout's
    assert abs(frame.progression[parts[1]].mean() - frame.progression.mean()) < 10
    turned = frame.sample(frac=1, random_state=1).reset_index(drop=True)
    some, others = (set(one.patient_id[sampled(problem, one, 0.2)]) for one in (frame, turned))
    # Rows with equal targets may change their fifth with the order; nobody else may.
    assert len(some ^ others) <= 4


def test_classes_keep_their_shares_whole_groups_are_taken_and_rows_in_time_need_no_id(iris, breast_cancer):
    for sample in (iris, breast_cancer):
        one = sample.problem(lambda: None)
        frame = pd.read_csv(sample.root / "table.csv")
        shares = [t.diagnosis.value_counts(normalize=True) for t in (frame, frame[sampled(one, frame, 0.2)])]
        assert (shares[0] - shares[1]).abs().max() < 0.05
    number = np.arange(300)
    frame = pd.DataFrame({"person": [f"p{n // 3}" for n in number], "age": 1, "cost": number / 7})
    taken = sampled(problem_of("person", group()), frame, 0.3)
    assert set(frame.person[taken]).isdisjoint(frame.person[~taken])
    assert 80 <= taken.sum() <= 100
    days = pd.date_range("2026-01-01", periods=100).strftime("%Y-%m-%d")
    frame = pd.DataFrame({"day": days, "age": 1, "cost": np.arange(100) / 7})
    one = problem_of("day", time(), holdout=Holdout(cutoff="2026-03-01"))
    assert 15 <= sampled(one, frame, 0.2).sum() <= 25


def problem_of(column: str, field: Any, **said: Any) -> Problem:
    fields = {column: field, "age": feature(sensitivity="sensitive"), "cost": target(sensitivity="plain")}
    types = {column: str, "age": int, "cost": float}
    schema = type("Rows", (pa.DataFrameModel,), {**fields, "__annotations__": types})
    given = {"name": "m", "title": "M", "task": "regression", "schema": schema, "metric": "rmse"}
    return Problem(**given, estimator=LinearRegression, **said)
