"""The gate's verdicts about planted candidates, beside the truth over fresh rows: how often it errs, and which way.

Every candidate is a wrapped estimator with a planted fault, or none; the gate is asked by its own classes, as a run
asks it, in staging's way: what is undecided refuses. A candidate without a fault is good where its true loss over
50,000 fresh rows is within the tolerance of the champion's. To add a kind, write a line into `KINDS`.
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from starterkit.contract import Contract, Lineage, Parity, Prediction
from starterkit.data.dataset import Dataset, RowRecord, Rows, hashed
from starterkit.problem import Problem, feature, identifier, target
from starterkit.release import evaluation
from starterkit.release.evaluation import contamination_of, evaluate_version
from starterkit.release.gate import Decision, Gate
from starterkit.settings import GateSettings
from starterkit.verdict import Cost

FRESH = 50_000
CUSTOMERS = 60
SIZES = {100: 9, 2000: 4}
"""Rows of the holdout, and how many tables of that size are drawn."""
PLAIN = ("first", "second", "third")
NUMBERS = (*PLAIN, "fourth", "late", "left", "right", "mean", "gappy")
NAMES = ("stage", "run", "commit", "lock_digest", "data_source", "data_digest", "holdout_digest")
CHEAP = Cost(one_row=1e-5, many_rows=1e-4, rows=100, size=10_000)
evaluation.measure_costs = lambda *_: (CHEAP, CHEAP)  # a second each, and nothing that is planted here


class Columns(pa.DataFrameModel):
    """`fourth` helps a little; `late`, `left`, `right`, `mean` and `gappy` say nothing until a leak is planted."""

    record: str = identifier()
    first: float = feature(sensitivity="plain")
    second: float = feature(sensitivity="plain")
    third: float = feature(sensitivity="plain")
    fourth: float = feature(sensitivity="plain")
    late: float = feature(sensitivity="plain")
    left: float = feature(sensitivity="plain")
    right: float = feature(sensitivity="plain")
    mean: float = feature(sensitivity="plain")
    gappy: float = feature(sensitivity="plain", nullable=True)
    region: str = feature(sensitivity="plain", isin=["a", "b", "c"])
    rare: str = feature(sensitivity="plain", isin=["no", "yes"])
    shop: str = feature(sensitivity="plain", isin=[f"s{number}" for number in range(50)])


class Amounts(Columns):
    answer: float = target()


class Classes(Columns):
    answer: int = target(isin=[0, 1])


@dataclass(frozen=True)
class World:
    """One task, one size, one draw."""

    classifies: bool
    holdout: int
    seed: int

    @cache  # noqa: B019  # for as long as the script runs
    def draw(self, rows: int, salt: int, plant: str = "") -> tuple[pd.DataFrame, np.ndarray]:
        """The features of n rows and their target; a leak is planted where one is named."""
        random = np.random.default_rng([self.seed, salt, self.holdout, self.classifies])
        table = pd.DataFrame({name: random.normal(0, 1, rows) for name in NUMBERS})
        table["gappy"] = np.where(random.random(rows) < 0.2, np.nan, table["gappy"])
        table["region"] = pd.array(random.choice(list("abc"), rows), dtype="str")
        table["rare"] = pd.array(np.where(random.random(rows) < 15 / self.holdout, "yes", "no"), dtype="str")
        table["shop"] = pd.array([f"s{one}" for one in random.integers(0, 50, rows)], dtype="str")
        customer = random.integers(0, max(CUSTOMERS, rows // 6), rows)
        known = 2 * table["first"] + 1.5 * table["second"] - np.abs(table["third"]) + 0.9 * table["fourth"]
        if self.classifies:
            answer = (1.5 * known + 1.2 > random.logistic(0, 1, rows)).astype(np.int64)
        else:
            answer = (known + random.normal(0, 1.5, rows)).to_numpy()
        spread = answer.std()
        match plant.split():
            case ["late", share]:
                table["late"] = answer + random.normal(0, float(share) * spread, rows)
            case ["sum"]:
                table["left"] = random.normal(0, 1, rows)
                table["right"] = answer - table["left"]
            case ["encoded"]:
                table["mean"] = pd.Series(answer).groupby(customer).transform("mean")
            case ["gaps"]:
                high = answer > np.median(answer) if not self.classifies else answer == 1
                table.loc[random.random(rows) < np.where(high, 0.85, 0.05), "gappy"] = np.nan
        return table, answer

    @property
    def problem(self) -> Problem:
        return self.problem_with()

    def problem_with(self, metric: str = "", slices: tuple[str, ...] = ("region", "rare")) -> Problem:
        return Problem(
            name="planted",
            title="",
            task="classification" if self.classifies else "regression",
            schema=Classes if self.classifies else Amounts,
            estimator=lambda: None,
            metric=metric or ("log_loss" if self.classifies else "rmse"),
            slices=slices,
        )


def dataset_of(world: World, plant: str) -> Dataset:
    """A table with its sides. ``copies`` has each record twice, and ``persons`` each person, measured twice."""
    rows = 5 * world.holdout
    random = np.random.default_rng([world.seed, 77])
    if plant in ("copies", "persons"):
        table, answer = world.draw(rows // 2, 1)
        twice = np.tile(np.arange(rows // 2), 2)
        table, answer = table.iloc[twice].reset_index(drop=True), answer[twice]
        if plant == "persons":
            table[list(NUMBERS)] += random.normal(0, 0.02, (rows, len(NUMBERS)))
            answer = answer if world.classifies else answer + random.normal(0, 0.1, rows)
    else:
        table, answer = world.draw(rows, 1, plant)
    side = random.random(rows) < 0.2
    if plant == "one class":
        side &= answer == 1
    elif plant == "few of a class":
        zeros = np.flatnonzero(side & (answer == 0))
        side[zeros[5:]] = False
    keys = hashed("planted", pd.Series([f"R{row}" for row in range(rows)]))
    target = pd.Series(answer, name="answer")
    sides = (
        Rows(table[there].reset_index(drop=True), target[there].reset_index(drop=True), "", {"record": keys[there]})
        for there in (~side, side)
    )
    return Dataset("planted", f"{world}{plant}", *sides)


class Answering:
    """What the gate sees of a version: it answers columns, and has a contract and a size."""

    size = 10_000

    def __init__(self, world: World, answers: Callable[[pd.DataFrame], np.ndarray]) -> None:
        self._answers = answers
        self._classifies = world.classifies
        problem = world.problem
        self.contract = Contract(
            problem="planted",
            title="",
            task=problem.task,
            columns=problem.features,
            target=problem.target,
            layout="columns",
            example={},
            parity=Parity(rows=1000, measure="difference", largest=0, allowed=1e-5, scale=1),
            lineage=Lineage(**dict.fromkeys(NAMES, "x"), dirty=False),
            classes=(0, 1) if world.classifies else (),
            digests={},
        )

    def predict(self, columns: Mapping[str, Any]) -> Prediction:
        table = pd.DataFrame(dict(columns))
        answers = self._answers(table)
        if not self._classifies:
            return Prediction(answers)
        chance = np.clip(1 / (1 + np.exp(-answers)), 1e-9, 1 - 1e-9)
        return Prediction((chance > 0.5).astype(np.int64), np.column_stack([1 - chance, chance]))


Answers = Callable[[pd.DataFrame], np.ndarray]
"""Numbers for a regression, log odds for a classification."""


def fitted(world: World, estimator: Any, columns: tuple[str, ...], rows: Rows) -> Answers:
    """An estimator of some columns, fitted on rows."""
    model = make_pipeline(make_column_transformer(("passthrough", list(columns))), clone(estimator))
    model.fit(rows.features, rows.target)

    def answers(table: pd.DataFrame) -> np.ndarray:
        if not world.classifies:
            return model.predict(table)
        chance = np.clip(model.predict_proba(table)[:, 1], 1e-6, 1 - 1e-6)
        return np.log(chance / (1 - chance))

    return answers


def boosting(world: World, seed: int = 0, **more: Any) -> Any:
    made = HistGradientBoostingClassifier if world.classifies else HistGradientBoostingRegressor
    given = {"max_iter": 60, "learning_rate": 0.08, "max_depth": 3, "random_state": seed, **more}
    return made(**given)


def resampled(rows: Rows, seed: int) -> Rows:
    chosen = np.random.default_rng(seed).integers(0, len(rows), len(rows))
    return Rows(rows.features.iloc[chosen].reset_index(drop=True), rows.target.iloc[chosen].reset_index(drop=True), "")


def noise_of(table: pd.DataFrame) -> np.ndarray:
    """Noise that a row always gets, whoever asks."""
    seeds = pd.util.hash_pandas_object(table[["first", "second", "left"]].round(12), index=False).to_numpy()
    uniform = (seeds >> np.uint64(11)).astype(np.float64) / 2.0**53
    from scipy.special import ndtri

    return ndtri(np.clip(uniform, 1e-12, 1 - 1e-12))


def worse_by(world: World, answers: Answers, share: float, there: Callable[[pd.DataFrame], Any]) -> Answers:
    """The same answers with noise that makes the true loss worse by a share, in some of the rows."""
    table, actual = world.draw(20_000, 5)
    chosen = np.asarray(there(table), bool)
    table, actual = table[chosen].reset_index(drop=True), actual[chosen]
    before, noise, plain = loss_of(world, answers(table), actual), noise_of(table), answers(table)
    low, high = 0.0, 50.0
    for _ in range(40):
        middle = (low + high) / 2
        reached = loss_of(world, plain + middle * noise, actual) / before - 1
        low, high = (middle, high) if reached < share else (low, middle)
    return lambda rows: answers(rows) + high * noise_of(rows) * np.asarray(there(rows), bool)


def loss_of(world: World, answers: np.ndarray, actual: np.ndarray) -> float:
    if not world.classifies:
        return float(np.sqrt(np.mean((answers - actual) ** 2)))
    return float(np.mean(np.logaddexp(0, np.where(actual == 1, -answers, answers))))


def everywhere(table: pd.DataFrame) -> Any:
    return np.ones(len(table), bool)


# --- The kinds.


@dataclass(frozen=True)
class Kind:
    """`make` gives the candidate's answers from the world, its data and the champion's answers.

    `good` says whether it should pass: None leaves it to the fresh rows.
    """

    make: Callable[[World, Dataset, Answers], Answers]
    good: bool | None = None
    plant: str = ""
    first: bool = False
    only: str = ""
    metric: str = ""
    slices: tuple[str, ...] = ("region", "rare")
    named: bool = False
    """The gate says that it cannot see this."""


def trained(columns: tuple[str, ...] = PLAIN, **more: Any) -> Callable[[World, Dataset, Answers], Answers]:
    return lambda world, data, _: fitted(world, boosting(world, **more), columns, data.training)


def again(world: World, data: Dataset, _: Answers) -> Answers:
    return fitted(world, boosting(world), PLAIN, resampled(data.training, world.seed + 9))


def other_family(world: World, data: Dataset, _: Answers) -> Answers:
    linear = LogisticRegression() if world.classifies else LinearRegression()
    return fitted(world, linear, PLAIN, data.training)


def constant(world: World, data: Dataset, _: Answers) -> Answers:
    return fitted(world, DummyClassifier() if world.classifies else DummyRegressor(), PLAIN, data.training)


def shuffled(world: World, data: Dataset, _: Answers) -> Answers:
    dealt = data.training.target.sample(frac=1, random_state=world.seed).reset_index(drop=True)
    return fitted(world, boosting(world), PLAIN, replace(data.training, target=dealt))


def threshold(world: World, data: Dataset, _: Answers) -> Answers:
    tree = (DecisionTreeClassifier if world.classifies else DecisionTreeRegressor)(max_depth=1)
    return fitted(world, tree, ("first",), data.training)


def memory(world: World, data: Dataset, _: Answers) -> Answers:
    nearest = (KNeighborsClassifier if world.classifies else KNeighborsRegressor)(1)
    return fitted(world, nearest, NUMBERS[:-1], data.training)


def overconfident(world: World, data: Dataset, champion: Answers) -> Answers:
    return lambda table: 4 * champion(table)


def explosive(world: World, data: Dataset, champion: Answers) -> Answers:
    """As the champion within the rows' range, and far off right beyond it."""
    seen = pd.concat([data.training.features, data.holdout.features])["first"]
    low, high = seen.min(), seen.max()
    return lambda table: (
        champion(table)
        + 1e4 * np.clip(np.maximum(table["first"] - high, low - table["first"]), 0, None).to_numpy(dtype=float)
    )


def worse(share: float, there: Callable[[pd.DataFrame], Any] = everywhere) -> Any:
    return lambda world, data, champion: worse_by(world, champion, share, there)


KINDS: Mapping[str, Kind] = {
    "first version": Kind(trained(), True, first=True),
    "honest: one column more": Kind(trained((*PLAIN, "fourth"))),
    "honest: more trees": Kind(trained(max_iter=90)),
    "honest: other seed": Kind(trained(seed=1, learning_rate=0.07)),
    "honest: retrained on drawn rows": Kind(again),
    "honest: another family": Kind(other_family),
    "equal to 0.2%": Kind(worse(0.002)),
    "equal to 0.2%, 53 slices": Kind(worse(0.002), slices=("region", "shop")),
    "worse by 1%, 2% allowed": Kind(worse(0.01)),
    "worse by 5%": Kind(worse(0.05)),
    "worse by 10%": Kind(worse(0.10)),
    "worse by 20%": Kind(worse(0.20)),
    "a constant": Kind(constant, False),
    "shuffled labels": Kind(shuffled, False),
    "a threshold of one column": Kind(threshold, False),
    "slice of a third worse by 5%": Kind(worse(0.05, lambda t: t["region"] == "c"), False),
    "slice of a third worse by 25%": Kind(worse(0.25, lambda t: t["region"] == "c"), False),
    "slice of 15 rows 2.5 times worse": Kind(worse(1.5, lambda t: t["rare"] == "yes"), False),
    "undeclared slice worse by 25%": Kind(worse(0.25, lambda t: t["fourth"] > 1), False, named=True),
    "copies": Kind(memory, False, plant="copies"),
    "copies, first": Kind(memory, False, plant="copies", first=True),
    "a person under two ids": Kind(memory, False, plant="persons", named=True),
    "holdout of one class": Kind(again, False, plant="one class", only="classification"),
    "holdout of one class, first": Kind(trained(), False, plant="one class", first=True, only="classification"),
    "five rows of a class": Kind(again, False, plant="few of a class", only="classification"),
    "leak: two columns' sum": Kind(trained((*PLAIN, "left", "right")), False, plant="sum"),
    "leak: two columns' sum, first": Kind(trained((*PLAIN, "left", "right")), False, plant="sum", first=True),
    "leak: recorded later, 0.15 sd": Kind(trained((*PLAIN, "late")), False, plant="late 0.15"),
    "leak: recorded later, 0.3 sd": Kind(trained((*PLAIN, "late")), False, plant="late 0.3"),
    "leak: recorded later, 0.5 sd": Kind(trained((*PLAIN, "late")), False, plant="late 0.5"),
    "leak: recorded later, 0.3 sd, first": Kind(trained((*PLAIN, "late")), False, plant="late 0.3", first=True),
    "leak: encoded on all rows": Kind(trained((*PLAIN, "mean")), False, plant="encoded"),
    "leak: encoded on all rows, first": Kind(trained((*PLAIN, "mean")), False, plant="encoded", first=True),
    "leak: gaps mark the class": Kind(trained((*PLAIN, "gappy")), False, plant="gaps"),
    "leak: gaps mark the class, first": Kind(trained((*PLAIN, "gappy")), False, plant="gaps", first=True),
    "overconfident, by accuracy": Kind(overconfident, False, only="classification", metric="accuracy"),
    "overconfident, by roc_auc": Kind(overconfident, False, only="classification", metric="roc_auc"),
    "explodes beyond the rows": Kind(explosive, False, only="regression"),
}


def once(function: Callable[[Problem, Dataset], Any]) -> Callable[[Problem, Dataset], Any]:
    """What a table's columns give away is the same for all of its candidates."""
    known: dict[str, Any] = {}

    def asked(problem: Problem, dataset: Dataset) -> Any:
        if dataset.digest not in known:
            known[dataset.digest] = function(problem, dataset)
        return known[dataset.digest]

    return asked


evaluation.single_feature_shares = once(evaluation.single_feature_shares)
evaluation.giveaways = once(evaluation.giveaways)


@cache
def prepared(world: World, plant: str) -> tuple[Dataset, Answers, Any]:
    """The data, the champion, and which rows it was trained on; one for all kinds with the same table."""
    data = dataset_of(world, plant)
    champion = fitted(world, boosting(world), PLAIN, data.training)
    return data, champion, contamination_of(RowRecord.of(data), data)


def judge(world: World, kind: Kind) -> tuple[Decision, bool]:
    """The gate's decision, and whether it should pass."""
    data, champion, overlap = prepared(world, kind.plant)
    candidate = kind.make(world, data, champion)
    problem = world.problem_with(kind.metric, kind.slices)
    serving = None if kind.first else ("version 1", Answering(world, champion))
    evidence = evaluate_version(problem, data, ("version 2", Answering(world, candidate)), serving)  # type: ignore[arg-type]
    evidence = replace(evidence, origin="x", overlap=overlap, beside=evidence.contract.parity)
    settings = GateSettings(undecided="refuse")
    decision = Gate(settings, problem.task, metrics=problem.all_metrics).decide(evidence)
    if kind.good is not None:
        return decision, kind.good
    table, actual = world.draw(FRESH, 3)
    ours, theirs = (loss_of(world, answers(table), actual) for answers in (candidate, champion))
    return decision, ours <= theirs * (1 + settings.tolerance)


@dataclass
class Row:
    """What came of one kind."""

    counts: Counter = field(default_factory=Counter)
    by: Counter = field(default_factory=Counter)


def outcome(decision: Decision, good: bool) -> str:
    if decision.passed:
        return "agreed" if good else "wrong pass"
    if all(verdict.undecided for verdict in decision.refusals):
        return "undecided"
    return "wrong refusal" if good else "agreed"


WORDS = ("agreed", "undecided", "wrong pass", "wrong refusal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    parser.add_argument("--rows", type=int, default=0, help="one size of the holdout alone")
    parser.add_argument("--draws", type=float, default=1, help="how many times the usual draws")
    asked = parser.parse_args()
    total: dict[int, Counter] = defaultdict(Counter)
    sys.stdout.write(f"| candidate | task | rows | draws | {' | '.join(WORDS)} | by |\n|{'---|' * (5 + len(WORDS))}\n")
    chosen = {name: kind for name, kind in KINDS.items() if asked.only in name}
    for rows, draws in SIZES.items():
        if asked.rows not in (0, rows):
            continue
        tables = defaultdict(Row)
        for classifies in (False, True):
            task = "classification" if classifies else "regression"
            for seed in range(max(1, round(draws * asked.draws))):
                prepared.cache_clear()
                for name, kind in chosen.items():
                    if kind.only not in ("", task):
                        continue
                    decision, good = judge(World(classifies, rows, seed), kind)
                    said, row = outcome(decision, good), tables[name, task]
                    row.counts[said] += 1
                    row.counts["good"] += good
                    row.by.update(verdict.check for verdict in decision.refusals)
                    total[rows][said] += 1
                    total[rows]["good"] += good
                    total[rows]["named"] += kind.named and said == "wrong pass"
        for (name, task), row in tables.items():
            figures = " | ".join(str(row.counts[word]) for word in WORDS)
            by = ", ".join(f"{check} {times}" for check, times in row.by.most_common())
            sys.stdout.write(f"| {name} | {task} | {rows} | {sum(row.counts[w] for w in WORDS)} | {figures} | {by} |\n")
        sys.stdout.flush()
    for rows, counts in total.items():
        judged = sum(counts[word] for word in WORDS)
        figures = ", ".join(f"{counts[word]} {word}" for word in WORDS)
        named = f"; {counts['named']} of the wrong passes are named" if counts["named"] else ""
        sys.stdout.write(f"\n{rows} rows: {judged} judgements, {figures} (of {counts['good']} good ones){named}\n")


if __name__ == "__main__":
    main()
