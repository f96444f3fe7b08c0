"""What somebody with the files of a stage learns of 601 planted people: real commands, and a table of what was found.

Each attack is carried out on what the commands wrote. `found` counts people, of so many that it was tried on.
"""

import io
import json
import re
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest

REPOSITORY = Path(__file__).parents[2]
PEOPLE = 601
PROJECT = '''
"""Visits to a clinic, made up."""
import os

import pandera.pandas as pa
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline

from starterkit.problem import Holdout, Problem, feature, identifier, target


class Visits(pa.DataFrameModel):
    person: int = identifier()
    illness: str = feature(sensitivity="sensitive", isin=["none", "rare"], nullable=True)
    score: float = feature(sensitivity="sensitive", ge=0, le=11)
    ward: str = feature(sensitivity="plain", isin=list("abcdefgh"))
    note: str = feature(sensitivity="plain")
    glucose: float = feature(sensitivity="plain", ge=0, le=1000)
    file_number: float = feature(sensitivity="plain", ge=0, le=1e9)
    cost: float = target(sensitivity="plain", ge=0, le=1e6)


def estimator(*, n_estimators: int = 1, learning_rate: float = 1, max_depth: int = 1, subsample: float = 1):
    last = KNeighborsRegressor(3) if os.environ.get("NEAREST") else Ridge()
    return make_pipeline(make_column_transformer((SimpleImputer(), ["score", "glucose"])), last)


problem = Problem(
    name="diabetes", title="Visits", task="regression", schema=Visits, estimator=estimator, metric="rmse",
    holdout=Holdout(fraction=0.3), slices=("ward",),
)
'''


def people() -> pd.DataFrame:
    random, number = np.random.default_rng(0), np.arange(PEOPLE)
    score, glucose = random.integers(0, 12, PEOPLE), random.gamma(9, 12, PEOPLE)
    return pd.DataFrame({
        "person": random.permutation(900_000)[:PEOPLE] + 100_000,
        "illness": random.choice(["none", "rare", None], PEOPLE),
        "score": score.astype(float),
        "ward": np.where(number < 14, np.array(list("cdefgh" * 3))[number % 18], random.choice(["a", "b"], PEOPLE)),
        "note": [f"Mrs Q{one:04d}Z came late" for one in number],
        "glucose": glucose,
        "file_number": random.uniform(0, 1e6, PEOPLE),
        "cost": 100 + 20 * score + 3 * glucose + random.normal(0, 9, PEOPLE),
    })  # fmt: skip


class House:
    def __init__(self, root: Path, kit: Any) -> None:
        self.root, self.people, self._kit = root, people(), kit
        self.found: dict[str, tuple[int, int]] = {}
        self.test_yaml = (root / "config" / "test.yaml").read_text("utf-8")

    def kit(self, *words: str, **environ: str) -> tuple[int, str]:
        told = {"PYTHONPATH": str(self.root / "code"), "KIT_DATA__SOURCE": "data/people.csv"}
        done = self._kit(self.root, *words, **told | {"KIT_EXPORT__PARITY_ROWS": "500"} | environ)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def files(self, name: str) -> list[Path]:
        return sorted(self.root.rglob(name))

    def prepared(self, key: str = "one", **said: str) -> pd.DataFrame:
        test = self.root / "config" / "test.yaml"
        words = "".join(f"  {name}: {value}\n" for name, value in said.items())
        test.write_text(self.test_yaml + (f"\nprivacy:\n{words}" if words else ""), "utf-8")
        code, told = self.kit("data", "prepare", "--for", "test", KIT_PRIVACY__KEY=sha256(key.encode()).hexdigest())
        assert code == 0, told
        return pd.read_parquet(self.root / "data" / "test" / "diabetes.parquet")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, kit: Any) -> Iterator[House]:
    root = tmp_path_factory.mktemp("house")
    for name in ("config", "data"):
        shutil.copytree(REPOSITORY / name, root / name)
    code = root / "code" / "example_project"
    code.mkdir(parents=True)
    (code / "__init__.py").write_text("from example_project.problem import problem as problem\n")
    (code / "problem.py").write_text(PROJECT, "utf-8")
    base = root / "config" / "base.yaml"
    base.write_text(re.sub(r"min: [\d.]+", "min: -1e6", re.sub(r"max: [\d.]+", "max: 1e6", base.read_text())))
    made = House(root, kit)
    made.people.to_csv(root / "data" / "people.csv", index=False)
    code, said = made.kit("run", KIT_STAGE="dev", KIT_TRACKING__URI="sqlite:///mlflow.db")
    assert code in (0, 1), said
    assert made.files("evidence.json"), said
    yield made
    print()  # noqa: T201
    for what, (found, tried) in made.found.items():
        print(f"  {what:60} {found:4} of {tried}")  # noqa: T201


def settle(house: House, what: str, found: int, tried: int) -> None:
    house.found[what] = found, tried
    assert found == 0, what


def test_targets_from_the_evidence_of_small_slices(house):
    slices = [json.loads(file.read_text("utf-8"))["slices"] for file in house.files("evidence.json")]
    rows = [one["rows"] for part in slices for one in part.values()]
    assert rows
    assert any("rare" in name for part in slices for name in part)
    settle(house, "targets from slices of one to four rows", sum(count for count in rows if count < 5), 14)


def test_a_hidden_category_from_its_gaps_and_a_hidden_number_from_its_band(house):
    seen = house.prepared()
    settle(house, "a generalised category from its gaps", int(seen.illness.isna().any()) * PEOPLE, PEOPLE)
    by = pd.DataFrame({"band": seen.score, "glucose": seen.glucose}).merge(house.people, on="glucose")
    alone = by.groupby("band").score.transform("nunique") == 1
    settle(house, "a whole number from its band", int(alone.sum()), PEOPLE)
    folder = house.root / "data" / "test"
    said = json.loads((folder / "diabetes.proof.json").read_text("utf-8"))["crowds"][-1]["after"]["alone"]
    settle(house, "people alone with their features, and not named so", PEOPLE - said, PEOPLE)
    line = f"| illness, score, ward, note and 2 more | 1 | 1 | {PEOPLE} | {PEOPLE} |"
    assert line in (folder / "diabetes.report.md").read_text("utf-8")


def test_pseudonyms_under_two_keys_by_place(house):
    tables = [house.prepared(key, identifiers="pseudonymise") for key in ("one", "other")]
    linked = int((tables[0].glucose == tables[1].glucose).sum())
    settle(house, "pseudonyms under two keys, by place", linked if linked > 5 else 0, PEOPLE)


@pytest.mark.parametrize("kept", ["as a number", "within a text"])
def test_an_identifier_that_is_kept_elsewhere(house, kept):
    numbers = house.people.person
    held = {"file_number": numbers * 1.0} if "number" in kept else {"note": [f"file {one}/26" for one in numbers]}
    house.people.assign(**held).to_csv(house.root / "data" / "changed.csv", index=False)
    code, said = house.kit("data", "prepare", "--for", "test", KIT_DATA__SOURCE="data/changed.csv")
    settle(house, f"identifiers {kept}", 0 if code == 1 and "601 values of 'person'" in said else PEOPLE, PEOPLE)
    assert not [number for number in numbers if str(number) in said]


def test_values_in_the_example_and_texts_in_the_sample(house):
    contracts, samples = house.files("contract.json"), house.files("parity.npz")
    assert contracts
    assert samples
    examples = [json.loads(file.read_text("utf-8"))["example"] for file in contracts]
    few = {name: house.people[name].value_counts().loc[lambda n: n < 5].index for name in house.people}
    shown = sum(value in few[name] for one in examples for name, value in one.items())
    settle(house, "one person's values in the contract's example", shown, len(examples) * 7)
    held = 0
    for file in samples:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as sample:
            told = " ".join(sample["column.note"].tolist()).casefold()
            held += len(re.findall(r"q\d{4}z", told)) + int(np.isin(sample["column.glucose"], few["glucose"]).sum())
    settle(house, "people's texts and numbers in parity.npz", held, len(samples) * 64)


def test_rare_categories_and_values_in_made_up_rows(house):
    made = house.prepared(columns="{note: drop, file_number: drop}", sensitive="mock")
    rare = house.people.ward.value_counts().loc[lambda count: count < 5].index
    drawn, there = (int(rows.ward.isin(rare).sum()) for rows in (made, house.people))
    settle(house, "rare categories in made-up rows", drawn, there)


def test_rows_in_a_graph(house):
    before = len(house.files("model.onnx"))
    code, said = house.kit("run", KIT_STAGE="dev", KIT_TRACKING__URI="sqlite:///mlflow.db", NEAREST="yes")
    assert (code, "carries training rows (KNeighborsRegressor)" in said) == (2, True), said
    more = len(house.files("model.onnx")) - before
    settle(house, "rows in the graph of a stage that may not see them", more * PEOPLE, PEOPLE)
    code, said = house.kit("run", NEAREST="yes", KIT_TRACKING__URI="sqlite:///local.db")
    assert "Careful the model carries training rows (KNeighborsRegressor)" in said, said
    said_in = [json.loads(file.read_text("utf-8")).get("keeps_rows") for file in house.files("contract.json")]
    assert ["KNeighborsRegressor"] in said_in
    graphs = [onnx.load(file) for file in house.files("model.onnx")]
    assert any(max(one.dims, default=0) > PEOPLE // 2 for graph in graphs for one in graph.graph.initializer)
