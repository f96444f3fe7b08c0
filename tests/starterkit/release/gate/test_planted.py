"""The planted set: no candidate with a fault passes, none without one is refused, and each for its own reason only.

The candidates are really fitted and really exported, and judged on the evidence that a run collects. To add a kind,
write a line into `KINDS`: how its challenger differs from a sound one, and which checks have to refuse it. A kind of
`CLASS_KINDS` has the same rows, and is asked for a class instead of a number.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from starterkit.contract import Lineage
from starterkit.data import DatasetReader
from starterkit.data.dataset import Dataset, RowRecord
from starterkit.problem import Holdout, Invariance, Problem, feature, identifier, target
from starterkit.release.evaluation import contamination_of, evaluate_version
from starterkit.release.gate import Decision, Gate
from starterkit.serving.predictor import CONTRACT_FILE, Predictor, compare
from starterkit.settings import DataSettings, ExportSettings, GateSettings, Stage, TrainingSettings
from starterkit.training import TrainedModel, Trainer, predict
from starterkit.training.export import OnnxExporter

ROWS = 4000
SOUND = ("sun", "rain", "rare")
NAMES = ("stage", "run", "commit", "lock_digest", "data_source", "data_digest", "holdout_digest")
LINEAGE = Lineage(**dict.fromkeys(NAMES, "x"), dirty=False)


class Plots(pa.DataFrameModel):
    """`rare` is zero but for the plots on soil 2, three in ten. `weight` says nothing, unless a fault is planted."""

    plot: str = identifier()
    sun: float = feature(sensitivity="plain", ge=-50, le=50)
    rain: float = feature(sensitivity="plain", ge=-50, le=50)
    wind: float = feature(sensitivity="plain", ge=-50, le=50)
    rare: float = feature(sensitivity="plain", ge=-50, le=50)
    lime: float = feature(sensitivity="plain", ge=-50, le=50)
    weight: float = feature(sensitivity="plain", ge=-50, le=50)
    soil: int = feature(sensitivity="plain", isin=[1, 2])


class Harvests(Plots):
    harvest: float = target()


class Narrower(Harvests):
    sun: float = feature(sensitivity="plain", ge=-20, le=20)


class Ripeness(Plots):
    ripe: str = target(isin=["no", "yes"])


@dataclass(frozen=True)
class Kind:
    """How a challenger differs from the champion, and the checks that must refuse it: those and no other."""

    refused_by: tuple[str, ...] = ()
    columns: tuple[str, ...] = SOUND
    alpha: float = 3.0
    scalers: int = 1
    schema: type[pa.DataFrameModel] = Harvests
    salt: str = ""
    rows: int = ROWS
    copied_target: bool = False
    twice: bool = False
    other_graph: bool = False
    first: bool = False
    origin: str = "x"
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def classifies(self) -> bool:
        return issubclass(self.schema, Ripeness)


CHAMPION = Kind(alpha=1.0)
KINDS = {
    "first ever": Kind(first=True),
    "the same": CHAMPION,
    "tie": Kind(),
    "slightly better": Kind(columns=(*SOUND, "lime")),
    "better than knowledge gets, till somebody says why": Kind(("gain",), columns=(*SOUND, "lime", "wind")),
    "worse": Kind(("champion", "slices"), columns=("sun", "rare")),
    "too few rows": Kind(("baseline", "champion", "gain"), columns=(*SOUND, "wind"), rows=150),
    "slice regressed": Kind(("slices",), columns=("sun", "rain", "wind")),
    "leaky by id": Kind(("holdout",), salt="another"),
    "leaky by feature": Kind(("leak", "gain"), columns=(*SOUND, "weight"), copied_target=True),
    "each record twice": Kind(("holdout",), twice=True),
    "wrong signature": Kind(("signature",), schema=Narrower),
    "out of parity": Kind(("parity",), other_graph=True),
    "slow": Kind(("latency",), scalers=150, settings={"size_floor_mb": 5}),
    "large": Kind(("size",), scalers=30, settings={"latency_floor_ms": 50}),
    "unfair": Kind(("robustness",), columns=(*SOUND, "soil")),
    "of another stage": Kind(("policy",), origin="staging"),
}
of_class = partial(Kind, schema=Ripeness)
CLASS_KINDS = {
    "first ever": of_class(first=True),
    "the same": of_class(alpha=1.0),
    "tie": of_class(),
    "worse": of_class(("champion", "slices"), columns=("sun", "rare")),
    "unsure of itself": of_class(("champion", "slices"), alpha=3000.0),
    "too few rows": of_class(("baseline", "champion"), columns=(*SOUND, "wind"), rows=150),
    "slice regressed": of_class(("slices",), columns=("sun", "rain", "wind")),
    "leaky by feature": of_class(("leak", "gain"), columns=(*SOUND, "weight"), copied_target=True),
    "out of parity": of_class(("parity",), other_graph=True),
    "unfair": of_class(("gain", "robustness"), columns=(*SOUND, "wind", "soil")),
}


QUICK = {
    "number": ("tie", "worse", "too few rows", "leaky by feature", "each record twice", "out of parity", "unfair"),
    "class": ("tie", "unsure of itself"),
}


@dataclass(frozen=True)
class Served:
    """What stands before a challenger comes: the rows, and a champion."""

    root: Path
    dataset: Dataset
    champion: Predictor


def serve(seed: int, rows: int, copied_target: bool, classifies: bool, twice: bool, root: Path) -> Served:
    write_table(root / "table.parquet", seed, rows, copied_target, classifies, twice)
    problem = problem_of(replace(CHAMPION, schema=Ripeness) if classifies else CHAMPION)
    dataset = read(problem, root)
    return Served(root, dataset, export(Trainer(problem, TrainingSettings()).fit(dataset), dataset, root / "champion"))


def judge(kind: Kind, served: Served, root: Path) -> Decision:
    """The gate's decision in its strictest setting. Every answer comes from an exported folder."""
    problem, dataset = problem_of(kind), served.dataset
    own_split = read(replace(problem, holdout=Holdout(salt=kind.salt)), served.root) if kind.salt else dataset
    challenger = export(Trainer(problem, TrainingSettings()).fit(own_split), own_split, root / "challenger")
    if kind.other_graph:
        challenger = claim_anothers_parity(kind, root / "challenger", dataset)
    champion = None if kind.first else ("version 1", served.champion)
    overlap = contamination_of(RowRecord.of(own_split), dataset)
    evidence = evaluate_version(problem, dataset, ("version 2", challenger), champion)
    evidence = replace(evidence, overlap=overlap, origin=kind.origin)
    settings = {"undecided": "refuse", "undecided_slices": "pass", "size_floor_mb": 0.004, "latency_floor_ms": 1}
    return Gate(GateSettings(**{**settings, **kind.settings}), problem.task).decide(evidence)


def write_table(path: Path, seed: int, count: int, copied_target: bool, classifies: bool, twice: bool) -> None:
    random = np.random.default_rng(seed)
    table = pd.DataFrame(random.normal(0, 1, (count, 6)), columns=["sun", "rain", "wind", "rare", "lime", "weight"])
    table["soil"] = np.where(random.random(count) < 0.3, 2, 1)
    table["rare"] *= table["soil"] == 2
    known = 3 * table.sun + 2 * table.rain + 4 * table.wind + 6 * table.rare + 0.4 * table.lime + 1.5 * table.soil
    if classifies:
        sharper = known + 2 * table.rare + table.soil  # a class says less of a row than a number does
        answer = sharper > random.logistic(sharper.mean(), 1, count)
        table["ripe"] = np.where(answer, "yes", "no")
    else:
        answer = table["harvest"] = known + random.normal(0, 2, count)
    if copied_target:
        table["weight"] = answer + random.normal(0, 0.02, count)
    table = pd.concat([table, table], ignore_index=True) if twice else table
    table["plot"] = [f"P{row:05}" for row in range(len(table))]
    table.to_parquet(path)


def problem_of(kind: Kind) -> Problem:
    chosen = make_column_transformer(("passthrough", list(kind.columns)))
    last = LogisticRegression(C=1 / kind.alpha) if kind.classifies else Ridge(kind.alpha)
    task, metric = ("classification", "log_loss") if kind.classifies else ("regression", "rmse")
    return Problem(
        name="plots", title="", task=task, schema=kind.schema, metric=metric, slices=("soil",),
        estimator=lambda: make_pipeline(chosen, *(StandardScaler() for _ in range(kind.scalers)), last),
        robustness=(Invariance(column="soil", change=0.02),),
    )  # fmt: skip


def read(problem: Problem, root: Path) -> Dataset:
    return DatasetReader(problem, DataSettings(source="table.parquet"), root, Stage.LOCAL).read()


def export(model: TrainedModel, dataset: Dataset, folder: Path) -> Predictor:
    OnnxExporter(ExportSettings(parity_rows=200)).export(model, dataset, folder, LINEAGE)
    return Predictor(folder)


def claim_anothers_parity(kind: Kind, folder: Path, dataset: Dataset) -> Predictor:
    """Write what the exporter finds where the graph is not the estimator's own, as if it had not refused to."""
    predictor, problem = Predictor(folder), problem_of(replace(kind, alpha=30.0))
    other = Trainer(problem, TrainingSettings()).fit(dataset)
    expected = predict(other.estimator, problem.task, dataset.holdout.features)
    answered = predictor.predict(dataset.holdout.columns)
    parity = compare(expected, answered, allowed=1e-5, scale=predictor.contract.parity.scale)
    (folder / CONTRACT_FILE).write_text(replace(predictor.contract, parity=parity).to_json(), "utf-8")
    return Predictor(folder)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, Kind], Served]:
    """The same champion for every kind that has the same rows."""

    @cache
    def made(*table: Any) -> Served:
        return serve(*table, tmp_path_factory.mktemp("served"))

    return lambda seed, kind: made(seed, kind.rows, kind.copied_target, kind.classifies, kind.twice)


SOMETIMES = {"worse": "slices", "too few rows": "gain"}
"""A check that a draw may leave out, or ask: the other ones decide."""


def planted() -> Iterator[Any]:
    """Five draws of each kind. The first alone is quick, and of the kinds that differ the most."""
    for answer, kinds in (("number", KINDS), ("class", CLASS_KINDS)):
        for (name, kind), seed in product(kinds.items(), range(5)):
            quick = seed == 0 and name in QUICK[answer]
            marks = () if quick else pytest.mark.slow
            yield pytest.param(name, kind, seed, id=f"{name}, {answer}, {seed}", marks=marks)


@pytest.mark.parametrize(("name", "kind", "seed"), [*planted()])
def test_planted_candidate_gets_its_verdict(name, kind, seed, standing, tmp_path):
    decision = judge(kind, standing(seed, kind), tmp_path)
    refusals = {verdict.check: verdict.reason for verdict in decision.refusals}
    assert {*refusals} ^ {*kind.refused_by} <= {SOMETIMES.get(name)}, refusals
    assert decision.passed == (not kind.refused_by)
    undecided = [verdict.check for verdict in decision.verdicts if verdict.undecided]
    assert ("champion" in undecided) == (name == "too few rows")
