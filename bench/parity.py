"""Which estimators the kit exports, and how closely the graphs answer; beside them skl2onnx used plainly.

    make bench-parity                 a million rows for each combination; writes docs/parity.md
    make bench-parity ROWS=100000     faster, and writes nothing

A combination is an estimator, a task, and what stands in front of the estimator. Each is fitted on made-up rows,
exported by the kit, and proven over ROWS raw rows and over as many in the trees' own input, a third of them right at a
threshold. "Plainly" is `skl2onnx.to_onnx` with float32 inputs, as most tutorials show it, over the same raw rows.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import sklearn
from lightgbm import LGBMClassifier, LGBMRegressor
from skl2onnx import to_onnx
from skl2onnx.common.exceptions import MissingShapeCalculator
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

from starterkit.contract import Lineage, Parity
from starterkit.data.dataset import Dataset
from starterkit.data.reader import DatasetReader
from starterkit.data.synthetic import draw_rows
from starterkit.errors import KitError
from starterkit.machine import send_nothing
from starterkit.problem import Problem, feature, identifier, target
from starterkit.serving.graph import Session, as_prediction
from starterkit.serving.predictor import compare
from starterkit.settings import DataSettings, ExportSettings, Stage, TrainingSettings
from starterkit.training.export.exporter import OnnxExporter
from starterkit.training.trainer import TrainedModel, Trainer, predict

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "parity.md"
FITTED_ON = 3000
NUMBERS = ["height", "weight", "pressure", "count", "share", "level"]
GAPS = ["weight", "level"]
LINEAGE = Lineage(
    stage="local", run="", commit="", dirty=True, lock_digest="", data_source="", data_digest="", holdout_digest=""
)

SMALL = {"n_estimators": 50, "random_state": 0}
BOOSTED = {"n_estimators": 50, "n_jobs": 1, "random_state": 0}
ESTIMATORS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "Ridge, LogisticRegression": (Ridge, lambda: LogisticRegression(max_iter=2000)),
    "DecisionTree": (lambda: DecisionTreeRegressor(random_state=0), lambda: DecisionTreeClassifier(random_state=0)),
    "RandomForest": (lambda: RandomForestRegressor(**SMALL), lambda: RandomForestClassifier(**SMALL)),
    "GradientBoosting": (lambda: GradientBoostingRegressor(**SMALL), lambda: GradientBoostingClassifier(**SMALL)),
    "HistGradientBoosting": (
        lambda: HistGradientBoostingRegressor(max_iter=50, random_state=0),
        lambda: HistGradientBoostingClassifier(max_iter=50, random_state=0),
    ),
    "XGB": (lambda: XGBRegressor(**BOOSTED), lambda: XGBClassifier(**BOOSTED)),
    "LGBM": (lambda: LGBMRegressor(verbose=-1, **BOOSTED), lambda: LGBMClassifier(verbose=-1, **BOOSTED)),
}
TASKS = {"regression": 0, "2 classes": 2, "3 classes": 3}
FRONTS: dict[str, Callable[[], list[Any]]] = {
    "alone": list,
    "StandardScaler": lambda: [StandardScaler()],
    "SimpleImputer, StandardScaler": lambda: [SimpleImputer(), StandardScaler()],
    "ColumnTransformer with OneHotEncoder": lambda: [
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["site"]),
            (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
        )
    ],
    "alone, values missing": list,
}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    estimator: str
    task: str
    front: str
    parity: Parity | None = None
    refusal: str = ""
    plainly: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        first = (self.estimator, self.task, self.front)
        if self.parity is None:
            return (*first, self.refusal, *[""] * 4, self.plainly)
        found = self.parity
        leaves = f"{found.flipped_leaves:,} of {found.probed:,}" if found.probed else "no trees"
        splits = f"{found.splits_met / found.splits:.0%} of {found.splits:,}" if found.splits else ""
        return (
            *first,
            f"{found.largest:.1e}",
            leaves,
            splits,
            f"{found.flipped_labels:,}",
            f"{found.ties:,}",
            self.plainly,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="combinations whose name holds this")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    rows = []
    for row in _measured(arguments.rows, arguments.only):
        rows.append(row)
        print(" | ".join(row.cells), flush=True)
    if arguments.write:
        PAGE.write_text(_page(rows, arguments.rows), "utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}", file=sys.stderr)
    wrong = [row for row in rows if row.parity is None and not row.refusal.startswith("scikit-learn")]
    if wrong:
        sys.exit(f"{len(wrong)} of {len(rows)} combinations were not exported")


def _measured(rows: int, only: str) -> Iterator[Row]:
    """In the table's order, as many at once as there are cores."""
    asked = [names for names in product(ESTIMATORS, TASKS, FRONTS) if only in ", ".join(names)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(_measure, rows), asked)


def _measure(rows: int, names: tuple[str, str, str]) -> Row:
    send_nothing()
    warnings.simplefilter("ignore")
    with TemporaryDirectory() as folder:
        return _measured_in(Path(folder), *names, rows)


def _measured_in(folder: Path, estimator: str, task: str, front: str, rows: int) -> Row:
    problem, dataset = _problem(folder, estimator, task, front)
    try:
        model = Trainer(problem, TrainingSettings()).fit(dataset)
    except KitError as error:
        if "NaN" not in error.what:
            raise
        return Row(estimator, task, front, refusal="scikit-learn takes no missing values here", plainly="—")
    plainly = _plainly(model, dataset, rows)
    try:
        exporter = OnnxExporter(ExportSettings(parity_rows=rows))
        exported = exporter.export(model, dataset, folder / "exported", LINEAGE)
    except KitError as error:
        return Row(estimator, task, front, refusal=str(error), plainly=plainly)
    return Row(estimator, task, front, parity=exported.contract.parity, plainly=plainly)


def _problem(folder: Path, estimator: str, task: str, front: str) -> tuple[Problem, Dataset]:
    classes, gaps = TASKS[task], front not in ("alone", "StandardScaler")
    names = [*NUMBERS, "site"] if "OneHot" in front else NUMBERS
    _table(classes, gaps)[["row", *names, "answer"]].to_parquet(folder / "table.parquet")
    build = ESTIMATORS[estimator][classes > 0]
    problem = Problem(
        name="readings",
        title="Readings",
        task="classification" if classes else "regression",
        schema=_schema(names, classes, gaps),
        estimator=lambda: make_pipeline(*FRONTS[front](), build()),
        metric="log_loss" if classes else "rmse",
    )
    return problem, DatasetReader(problem, DataSettings(source="table.parquet"), folder, Stage.LOCAL).read()


def _table(classes: int, gaps: bool) -> pd.DataFrame:
    """Numbers of unlike size, two of which repeat themselves; a text; and an answer that depends on all."""
    random = np.random.default_rng(7)
    table = pd.DataFrame(
        {
            "row": [f"R{number:05}" for number in range(FITTED_ON)],
            "height": random.normal(1.7, 0.1, FITTED_ON),
            "weight": random.normal(70_000, 9_000, FITTED_ON),
            "pressure": random.normal(120, 15, FITTED_ON).round(1),
            "count": random.poisson(3, FITTED_ON).astype(float),
            "share": random.beta(2, 5, FITTED_ON),
            "level": random.exponential(1e-4, FITTED_ON),
            "site": random.choice(["north", "south", "east", "west"], FITTED_ON),
        }
    )
    scaled = StandardScaler().fit_transform(table[NUMBERS])
    score = scaled @ [1, -1, 2, 1, 1, -2] + 3 * scaled[:, 0] * scaled[:, 2] + 2 * (table.site == "north")
    score = score.to_numpy() + random.normal(0, 1, FITTED_ON)
    table["answer"] = 100 + 10 * score
    if classes:
        edges = np.quantile(score, np.linspace(0, 1, classes + 1)[1:-1])
        table["answer"] = np.searchsorted(edges, score)  # XGBoost takes no texts for labels
    for name in GAPS if gaps else ():
        table[name] = table[name].where(random.random(FITTED_ON) > 0.1)
    return table


def _schema(names: list[str], classes: int, gaps: bool) -> type[pa.DataFrameModel]:
    fields: dict[str, Any] = {name: feature(sensitivity="plain", nullable=gaps and name in GAPS) for name in names}
    fields |= {"row": identifier(), "answer": target()}
    types = {name: str if name == "site" else float for name in names}
    types |= {"row": str, "answer": int if classes else float}
    return type("Readings", (pa.DataFrameModel,), {**fields, "__annotations__": types})


def _plainly(model: TrainedModel, dataset: Dataset, rows: int) -> str:
    """How many rows skl2onnx's plain conversion answers otherwise, by the same measure."""
    problem, features = model.problem, dataset.training.features
    drawn = draw_rows(problem.features, features, rows, 20041)
    numbers = all(column.type == "float" for column in problem.features)
    single = dict.fromkeys(NUMBERS, np.float32)
    try:
        given = features.head(1).to_numpy(np.float32) if numbers else features.head(1).astype(single)
        graph = to_onnx(_unwrapped(model), given, options=_as_arrays(model), target_opset={"": 18, "ai.onnx.ml": 3})
        session = Session(graph.SerializeToString())
        answers = session.run(_plain_feed(session, drawn.astype(single), numbers))
    except MissingShapeCalculator:
        return "no converter"
    except Exception as error:  # it fails in many ways, and that is what is reported
        return f"fails: {type(error).__name__}"
    if problem.task == "classification":
        answers = [answers[0], *answers[1].T]
    expected = predict(model.estimator, problem.task, drawn)
    answered = as_prediction(answers, problem.task)
    measured: Any = (expected.values, answered.values)
    limit = float(dataset.training.target.std()) if problem.task == "regression" else 1.0
    allowed = 1e-5 if problem.task == "regression" else 1e-6
    found = compare(expected, answered, allowed=allowed, scale=limit)
    if expected.probabilities is not None and answered.probabilities is not None:
        off = np.abs(answered.probabilities - expected.probabilities).max(axis=1) > allowed
    else:
        off = np.abs(measured[1] - measured[0]) > allowed * np.maximum(np.abs(measured[0]), limit)
    labels = f", {found.flipped_labels:,} labels" if problem.task == "classification" else ""
    return f"{int(off.sum()):,} rows off, by up to {found.largest:.1e}{labels}"


def _plain_feed(session: Session, rows: pd.DataFrame, numbers: bool) -> dict[str, Any]:
    if numbers:
        return {session.inputs[0]: rows.to_numpy()}
    return {name: rows[[name]].to_numpy(object if name == "site" else None) for name in rows}


def _unwrapped(model: TrainedModel) -> Any:
    """The estimator itself where it stands alone."""
    fitted: Any = model.estimator
    return fitted.steps[0][1] if len(fitted.steps) == 1 else fitted


def _as_arrays(model: TrainedModel) -> Any:
    fitted: Any = model.estimator
    return {id(fitted.steps[-1][1]): {"zipmap": False}} if model.classes else None


def _page(rows: list[Row], count: int) -> str:
    head = (
        "estimator",
        "task",
        "in front",
        "largest difference",
        "leaves changed",
        "splits met",
        "labels changed",
        "ties",
        "plainly",
    )
    lines = [" | ".join(cells) for cells in (head, ("---",) * len(head), *(row.cells for row in rows))]
    table = "\n".join(f"| {line} |" for line in lines)
    return f"""# Which estimators are exported, and how closely

Written by `make bench-parity` with scikit-learn {sklearn.__version__}: {count:,} raw rows for each line, and as many in
the trees' own input, a third of them with a value right at a threshold or at a neighbouring number. Missing values and
unknown categories are among the raw rows where the line allows them.

- *Largest difference*: |a − b| / max(|b|, the target's standard deviation) for regression, 1e-05 allowed; |p − q| for
  classification, 1e-06 allowed. It covers the raw rows and the planted ones.
- *Leaves changed*: planted rows that end in another leaf than the library itself says.
- *Splits met*: how many of the trees' splits a planted row came to, right at its threshold.
- *Labels changed*: outside exact ties, at which two classes are equally probable; these are counted.
- *Plainly*: `skl2onnx.to_onnx` with float32 inputs, over the same raw rows: rows that are off by more than is allowed.

What an estimator that is not here would do, its own export says: it is proven in the same way, or refused.

{table}
"""


if __name__ == "__main__":
    main()
