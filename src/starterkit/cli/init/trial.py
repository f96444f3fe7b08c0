"""A problem of which nothing is written yet: imported, read, asked about leaks, fitted once."""

import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pandas as pd

from starterkit.cli.init.draft import Plan
from starterkit.cli.init.rendering import Limits, problem_source
from starterkit.data.dataset import Dataset, held_out
from starterkit.data.reader import DatasetReader, read_raw
from starterkit.files import scratch_folder
from starterkit.problem import Problem
from starterkit.settings import DataSettings, Stage, TrainingSettings
from starterkit.training.figures import permutation_importance
from starterkit.training.leakage import formula_of, single_feature_shares
from starterkit.training.trainer import TrainedModel, Trainer

_LIMITED = {"regression": ("rmse", "r2"), "classification": ("log_loss", "roc_auc")}


@dataclass(frozen=True)
class Trial:
    """What the first fit came to.

    `limits` lie between its figures and the naive guess's, at a third of the way. `suspects` are the features that make
    the target nearly perfectly together; `formula` says that a sum or a product of them is the target.
    """

    figure: float
    naive: float
    limits: Limits
    suspects: tuple[str, ...] = ()
    formula: bool = False

    @property
    def learnt(self) -> bool:
        return self.figure < self.naive


def _between(figure: float, guess: float) -> float:
    """A third of the way from the figure to the guess, in as few digits as stay between the two."""
    limit = (2 * figure + guess) / 3
    rounded = (float(f"{limit:.{digits}g}") for digits in range(2, 12))
    return next((one for one in rounded if abs(one - limit) < abs(guess - figure) / 10), limit)


@contextmanager
def imported(plan: Plan) -> Iterator[Problem]:
    """The problem of a plan, of which nothing is written yet."""
    with scratch_folder("starting") as folder:
        path = folder / "problem.py"
        path.write_text(problem_source(plan), "utf-8")
        spec = spec_from_file_location(f"starterkit_starting_{folder.name.rpartition('-')[2]}", path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[spec.name] = module  # pandera looks the annotations up there
        try:
            spec.loader.exec_module(module)
            yield replace(module.problem, name=plan.name)
        finally:
            del sys.modules[spec.name]


def read(problem: Problem, data: Path) -> Dataset:
    """
    Raises
    ------
    DataError
        The rows do not fit, or a side of the holdout is empty.
    """
    return DatasetReader(problem, _settings(data), data.resolve().parent, Stage.LOCAL, keep_key=False).read()


def _settings(data: Path) -> DataSettings:
    return DataSettings.model_construct(source=data.name)  # unchecked: its name may be one that no YAML could carry


def times_of(problem: Problem, data: Path) -> pd.Series | None:
    """When each row of the training side was, where the holdout is what comes later."""
    if not problem.holdout.cutoff:
        return None
    frame = read_raw(problem, _settings(data), data.resolve().parent)
    return frame.loc[~held_out(problem, frame), problem.side_column.name]


def leaking(problem: Problem, dataset: Dataset, limit: float) -> dict[str, str]:
    """The features that the gate would take for the target in disguise, each with what it gives away."""
    shares = single_feature_shares(problem, dataset)
    reason = "alone removes {:.1%} of the naive guess's loss, as the target in disguise does"
    return {name: reason.format(share) for name, share in shares.items() if not share <= limit}


def try_out(problem: Problem, dataset: Dataset) -> Trial:
    """Fit once, as the first run will, and derive limits that a later version has to keep.

    Raises
    ------
    DataError
        The holdout has a class that the training side lacks, or the estimator refuses the rows.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Trainer(problem, TrainingSettings()).fit(dataset)
    scores, naive = model.evaluation.scores, model.baseline.scores
    metric = problem.deciding_metric.name
    limits = {}
    for name in _LIMITED[problem.task]:
        figure, guess = scores[name], naive[name]
        if math.isfinite(figure) and math.isfinite(guess):
            limits[name] = ("max" if name in ("rmse", "log_loss") else "min", _between(figure, guess))
    terms = formula_of(problem, dataset)
    suspects = terms or (_leaned_on(model, dataset) if _is_nearly_perfect(model, dataset) else ())
    return Trial(scores[metric], naive[metric], limits, suspects, bool(terms))


_NEARLY_PERFECT = 0.02
"""So small a share of the naive guess's squared error, log loss or mistakes is left."""
_LEAST_LEANED_ON = 0.1


def _is_nearly_perfect(model: TrainedModel, dataset: Dataset) -> bool:
    scores, naive = model.evaluation.scores, model.baseline.scores
    if model.problem.task == "regression":
        return bool(scores["r2"] > 1 - _NEARLY_PERFECT)
    actual = dataset.holdout.target.to_numpy()
    wrong, guessed = (np.mean(one.prediction.values != actual) for one in (model.evaluation, model.baseline))
    return bool(scores["log_loss"] < _NEARLY_PERFECT * naive["log_loss"] or wrong < _NEARLY_PERFECT * guessed)


def _leaned_on(model: TrainedModel, dataset: Dataset) -> tuple[str, ...]:
    """The features without which most of the figure goes, the strongest first; at most four."""
    losses = {name: loss for name, (loss, _) in permutation_importance(model, dataset.holdout).items()}
    strongest = sorted(losses, key=losses.__getitem__, reverse=True)[:4]
    return tuple(name for name in strongest if losses[name] > _LEAST_LEANED_ON * losses[strongest[0]])
