"""`Tracker` opens runs of an experiment; `Run` takes what a step has to record."""

import pickle
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from starterkit.errors import TrackingError
from starterkit.machine import PROCESS, State, state_of, this_process
from starterkit.tracking.connection import Connection, explained
from starterkit.tracking.queries import read_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow.data.pandas_dataset import PandasDataset
    from mlflow.entities import Run as MlflowRun
    from mlflow.models import ModelSignature

# --- Which distributions an estimator's parts come from, beyond scikit-learn's.

_HOW_NOT_WHAT = {"builtins", "copyreg"}
"""Their functions say how pickle makes a thing, such as getattr, and are no part of an estimator."""


def types_of(estimator: Any) -> set[str]:
    """The types and functions that a fitted estimator holds: those that skops would not load unasked are among them.

    skops can tell which these are, after it has written the whole estimator as JSON; pickle walks the same parts in a
    hundredth of the time. What it walks is thrown away.
    """
    walk = _Walk()
    try:
        walk.dump(estimator)
    except (pickle.PicklingError, AttributeError, TypeError):  # a lambda, or a class inside a function
        from skops.io import dumps, get_untrusted_types

        return set(get_untrusted_types(data=dumps(estimator)))
    return walk.met


def libraries(types: Iterable[str]) -> list[str]:
    """The distributions beyond scikit-learn's that an estimator's types come from, such as xgboost-cpu."""
    roots = {name.partition(".")[0] for name in types} - {"builtins", "numpy", "sklearn"}
    installed = packages_distributions() if roots else {}
    own = installed.get("starterkit", [])  # on no index, and the project's own types with it
    return sorted({name for root in roots for name in installed.get(root, []) if name not in own})


class _Nowhere:
    def write(self, _: Any) -> None:
        """Keep nothing."""


class _Walk(pickle.Pickler):
    """Notes what it meets, under the names that skops uses."""

    def __init__(self) -> None:
        super().__init__(_Nowhere(), pickle.HIGHEST_PROTOCOL)
        self.met: set[str] = set()

    def reducer_override(self, part: Any) -> Any:
        is_function = isinstance(part, FunctionType | BuiltinFunctionType)
        named = part if is_function or isinstance(part, type | np.ufunc) else type(part)
        module = getattr(named, "__module__", None) or "numpy"
        if not (is_function and module in _HOW_NOT_WHAT):
            self.met.add(f"{module}.{named.__name__}")
        return NotImplemented


# --- The runs.

_STATUS_BEFORE = "status_before"
_ESTIMATOR = "estimator"
_EXPORTED = "exported"


@dataclass(frozen=True)
class Example:
    """Made-up rows of a model's inputs and output. MLflow reads the signature from them and keeps the first."""

    inputs: "pd.DataFrame"
    outputs: "pd.DataFrame"


@dataclass(frozen=True)
class OpenRun:
    """A run that says of itself that it works. `state` says what is known of its process."""

    id: str
    name: str
    state: State
    status_before: str


class Tracker:
    """The runs of one experiment, which is made where it does not exist."""

    def __init__(self, connection: Connection, experiment: str) -> None:
        self._connection = connection
        self._experiment = experiment

    @contextmanager
    def start(self, name: str) -> Generator["Run", None, None]:
        """A new run, finished at the end of the block and marked as failed if the block fails."""
        with self._ended():
            experiment, tags = self._experiment_id(), {PROCESS: this_process()}
            run = self._connection.fluent.start_run(experiment_id=experiment, run_name=name, tags=tags)
            yield Run(self._connection, run.info.run_id)

    @contextmanager
    def resume(self, run_id: str) -> Generator["Run", None, None]:
        """An earlier run, to add to it."""
        client = self._connection.client
        with self._ended(status_of_failure="FINISHED"):  # what it held before is still whole
            # Before the run is open again: who is killed in between leaves it as it was.
            client.set_tag(run_id, _STATUS_BEFORE, "FINISHED")
            client.set_tag(run_id, PROCESS, this_process())
            self._connection.fluent.start_run(run_id=run_id)
            yield Run(self._connection, run_id)

    @contextmanager
    def _ended(self, status_of_failure: str = "FAILED") -> Generator[None, None, None]:
        """End the run that the block opens. Where even that fails, the block's own failure is the one to tell.

        The opening and the ending are inside, too. MLflow counts a run that is open when Python ends as finished, and
        knows nothing of one whose opening or ending was interrupted.
        """
        try:
            yield
            self._connection.fluent.end_run()
        except BaseException:
            if self._connection.answers():
                with suppress(TrackingError):
                    self._connection.fluent.end_run(status_of_failure)
                with suppress(TrackingError), explained(self._connection.name):
                    self._end_own_runs(status_of_failure)
            raise

    def _end_own_runs(self, status: str) -> None:
        own = this_process()
        for run in self._newest("RUNNING"):
            if run.data.tags.get(PROCESS) == own:
                self._connection.client.set_terminated(run.info.run_id, status)

    def open_runs(self) -> list[OpenRun]:
        """The runs that say of themselves that they work."""
        found = [(run.info, run.data.tags) for run in self._newest("RUNNING")]
        return [
            OpenRun(info.run_id, info.run_name, state_of(tags), tags.get(_STATUS_BEFORE, "KILLED"))
            for info, tags in found
        ]

    def _newest(self, status: str, most: int = 1000) -> "list[MlflowRun]":
        found, ask = self._found(), self._connection.client.search_runs
        order = ["start_time DESC"]
        return list(ask([found], f"status = '{status}'", order_by=order, max_results=most)) if found else []

    def end_dead_runs(self) -> list[OpenRun]:
        """Mark the runs whose process was killed. One that was opened again is what it was before, and whole."""
        dead = [run for run in self.open_runs() if run.state == "dead"]
        for run in dead:
            self._connection.client.set_terminated(run.id, run.status_before)
        return dead

    def figures(self, most: int) -> list[tuple[Mapping[str, float], Mapping[str, str]]]:
        """The figures and tags of the newest finished runs, the newest first."""
        return [(run.data.metrics, run.data.tags) for run in self._newest("FINISHED", most)]

    def latest(self) -> str:
        """The id of the newest finished run.

        Raises
        ------
        TrackingError
            There is none.
        """
        runs = self._newest("FINISHED", 1)
        if not runs:
            raise TrackingError(f"experiment '{self._experiment}' has no finished run", "Train first")
        return runs[0].info.run_id

    def tags(self, run_id: str) -> Mapping[str, str]:
        """The tags of a run."""
        return self._connection.client.get_run(run_id).data.tags

    def load_estimator(self, run_id: str) -> Any:
        """The fitted estimator that a run logged.

        Only types that the kit itself recorded when it logged the estimator are loaded.
        """
        import mlflow.sklearn

        model_id = self.tags(run_id).get("estimator_model_id")
        if model_id is None:
            raise TrackingError(f"run {run_id} has no estimator", "Train again, or name another run")
        with explained(self._connection.name):
            return mlflow.sklearn.load_model(f"models:/{model_id}")

    def read_file(self, run_id: str, name: str) -> bytes | None:
        """A file that a run logged with `Run.log_file`; None where it logged none of that name."""
        return read_file(self._connection, run_id, name)

    def _experiment_id(self) -> str:
        client = self._connection.client
        return self._found() or client.create_experiment(self._experiment, self._connection.artifacts)

    def _found(self) -> str | None:
        found = self._connection.client.get_experiment_by_name(self._experiment)
        if found is not None and found.lifecycle_stage == "deleted":
            hint = f"Restore it: `mlflow experiments restore --experiment-id {found.experiment_id}`"
            raise TrackingError(f"experiment '{self._experiment}' is deleted", hint)
        return found.experiment_id if found else None


class Run:
    """One run of MLflow, while it is open."""

    def __init__(self, connection: Connection, run_id: str) -> None:
        self._connection = connection
        self.id = run_id

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        self._connection.fluent.log_params(dict(parameters))

    def tag(self, tags: Mapping[str, str]) -> None:
        self._connection.fluent.set_tags(dict(tags))

    def log_file(self, file: Path) -> None:
        """Keep a file with the run, under its own name."""
        self._connection.client.log_artifact(self.id, str(file))

    def log_rows(self, frame: "pd.DataFrame", *, name: str, context: str, source: str, digest: str, target: str) -> Any:
        """Record rows as an input of the run: their source, digest and columns, not the rows themselves."""
        dataset = _dataset(frame, name=name, source=source, digest=digest, target=target)
        self._connection.fluent.log_input(dataset, context=context)
        return dataset

    def log_scores(self, scores: Mapping[str, float], *, model_id: str | None = None, dataset: Any = None) -> None:
        """Record figures, tied to the model and the rows that they are about."""
        self._connection.fluent.log_metrics(dict(scores), model_id=model_id, dataset=dataset)

    def log_series(self, name: str, points: Iterable[tuple[datetime, float]]) -> None:
        """Record how a figure went over time."""
        from mlflow.entities import Metric

        made = [Metric(name, value, int(when.timestamp() * 1000), step) for step, (when, value) in enumerate(points)]
        self._connection.client.log_batch(self.id, metrics=made)

    def log_figure(self, figure: "Figure", name: str) -> None:
        self._connection.client.log_figure(self.id, figure, f"figures/{name}.png")

    def log_estimator(self, estimator: Any, example: Example) -> str:
        """Log a fitted scikit-learn estimator without pickling it; the id of MLflow's logged model comes back."""
        import mlflow.sklearn

        # skops refuses what it does not know. The estimator was fitted a moment ago, so its own types are trusted.
        types = types_of(estimator)
        with explained(self._connection.name):
            model = mlflow.sklearn.log_model(
                estimator,
                name=_ESTIMATOR,
                serialization_format="skops",
                skops_trusted_types=sorted(types),
                signature=_signature(example),
                input_example=example.inputs.head(1),
                pip_requirements=_pinned("mlflow", "numpy", "pandas", "scikit-learn", "skops", *libraries(types)),
            )
        self.tag({"estimator_model_id": model.model_id})
        return str(model.model_id)

    def log_exported(self, folder: Path, graph: Path, example: Example) -> str:
        """Log an exported folder as an MLflow ONNX model: whoever downloads the model has the folder."""
        import mlflow.onnx

        content = graph.read_bytes()
        with explained(self._connection.name):
            model = mlflow.onnx.log_model(
                content,
                name=_EXPORTED,
                signature=_signature(example),
                input_example=example.inputs.head(1),
                pip_requirements=_pinned("mlflow", "numpy", "onnx", "onnxruntime", "pandas"),
                onnx_execution_providers=["CPUExecutionProvider"],
                save_as_external_data=False,
            )
        for file in folder.iterdir():
            if file != graph:
                self._connection.client.log_model_artifact(model.model_id, str(file))
        self.tag({"exported_model_id": model.model_id})
        return str(model.model_id)


def _dataset(frame: "pd.DataFrame", *, name: str, source: str, digest: str, target: str) -> "PandasDataset":
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.pandas_dataset import from_pandas

    # MLflow keeps at most 36 characters of a digest; the whole one is a tag of the run.
    return from_pandas(
        frame, source=CodeDatasetSource({"source": source}), name=name, digest=digest[:32], targets=target
    )


def _signature(example: Example) -> "ModelSignature":
    from mlflow.models import infer_signature

    return infer_signature(example.inputs, example.outputs)


def _pinned(*names: str) -> list[str]:
    """The installed versions. Letting MLflow infer them would take longer than training."""
    return [f"{name}=={version(name)}" for name in dict.fromkeys(names)]
