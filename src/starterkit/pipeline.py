"""`Pipeline`: train, export, register, promote. The table of contents of the kit.

Each step can be run by itself on what the one before left in MLflow. How a champion is moved, `Promoter` knows.
Nothing here prints.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from starterkit.contract import Contract, Lineage, Scalar, by_treatment
from starterkit.data import DatasetReader
from starterkit.data.dataset import ROWS_FILE, Dataset, RowRecord, Rows
from starterkit.data.synthetic import typical_row
from starterkit.errors import DataError, Refused, TrackingError
from starterkit.feedback.reference import REFERENCE_FILE, Reference
from starterkit.files import scratch_folder
from starterkit.problem import Problem
from starterkit.progress import Progress, silent, step
from starterkit.release.descriptions import KEEPS_ROWS, UNSTABLE, Describer, Subject
from starterkit.release.gate import Gate
from starterkit.release.importer import Opened, opened, require_prod
from starterkit.release.judgement import Judge, Judgement, Promotion
from starterkit.release.promoter import Promoter
from starterkit.release.provenance import LOCK, beside_lock, describe
from starterkit.serving.predictor import GRAPH_FILE, Predictor
from starterkit.settings import Settings, Stage
from starterkit.tracking.registry import ModelRegistry, Version
from starterkit.tracking.runs import Example, Run, Tracker
from starterkit.training import TrainedModel, Trainer, evaluate
from starterkit.verdict import LEAST_OF_A_CLASS, Candidate, has_contrast

if TYPE_CHECKING:
    from starterkit.training.export import ExportedModel

# --- What training and export leave in MLflow: the origin, the rows, the figures and the models.


def record_training(run: Run, model: TrainedModel, dataset: Dataset, lineage: Lineage) -> None:
    """Log everything that a person or a later step wants to know about a training."""
    problem = model.problem
    run.log_parameters(lineage.parameters)  # without what may be a secret
    run.tag(lineage.to_tags())
    metric = problem.deciding_metric
    run.tag({"task": problem.task, "metric": metric.name, "greater_is_better": str(metric.greater_is_better)})
    run.tag({"holdout_rows": str(len(dataset.holdout))})
    with scratch_folder() as scratch:
        kept = scratch / ROWS_FILE
        kept.write_bytes(RowRecord.of(dataset).to_bytes())
        run.log_file(kept)
    _record_rows(run, problem, dataset.source, "training", dataset.training)
    holdout = _record_rows(run, problem, dataset.source, "holdout", dataset.holdout)
    model_id = run.log_estimator(model.estimator, example(model, dataset))
    run.log_scores(model.evaluation.scores, model_id=model_id, dataset=holdout)
    run.log_scores({f"baseline_{name}": score for name, score in model.baseline.scores.items()})
    from starterkit.release.pages import figures_of  # loads matplotlib

    for name, figure in figures_of(model, dataset.holdout):
        run.log_figure(figure, name)


def record_export(run: Run, model: TrainedModel, dataset: Dataset, exported: "ExportedModel") -> str:
    """Log the exported folder with figures of its own, and give back the id of MLflow's logged model."""
    problem, contract = model.problem, exported.contract
    model_id = run.log_exported(exported.folder, exported.folder / GRAPH_FILE, example(model, dataset))
    if contract.parity.unstable:
        run.tag({UNSTABLE: contract.parity.on_instability})
    if contract.keeps_rows:
        run.tag({KEEPS_ROWS: contract.on_rows})
    answers = Predictor(exported.folder).predict(dataset.holdout.columns)
    evaluated = evaluate("exported", problem.all_metrics, dataset.holdout, answers, contract.classes)
    holdout = _record_rows(run, problem, dataset.source, "holdout", dataset.holdout)
    run.log_scores(evaluated.scores, model_id=model_id, dataset=holdout)
    record_reference(run, problem, dataset, contract, evaluated)
    return model_id


def record_reference(run: Run, problem: Problem, dataset: Dataset, contract: Contract, evaluated: Candidate) -> None:
    """Log how the inputs and the answers are distributed, for who watches the version without its data."""
    training = dataset.recent or dataset.training
    told = {"slices": problem.slices, "people": training.groups, "hidden": dataset.policy}
    reference = Reference.of(contract, training.columns, evaluated.prediction, evaluated.scores, **told)
    with scratch_folder() as scratch:
        (scratch / REFERENCE_FILE).write_text(reference.to_json(), "utf-8")
        run.log_file(scratch / REFERENCE_FILE)


def example(model: TrainedModel, dataset: Dataset) -> Example:
    """One made-up row and an answer of the model's kind. The inputs have the types of the data's columns."""
    import pandas as pd

    features, target = dataset.training.features, model.problem.target.name
    typical = typical_row(model.problem.features, features, dataset.training.groups)
    row = pd.DataFrame([typical]).astype(features.dtypes.to_dict())
    answer = model.baseline.prediction.values[:1]  # the naive guess: the model's own answer would be a person's
    return Example(inputs=row, outputs=pd.DataFrame({target: answer}))


def _record_rows(run: Run, problem: Problem, source: str, context: str, rows: Rows) -> Any:
    return run.log_rows(
        rows.table,
        name=f"{problem.name}-{context}",
        context=context,
        source=source,
        digest=rows.digest,
        target=problem.target.name,
    )


# --- The steps.

Need = Literal["training", "gate"]
"""What a step uses of the settings beside the data and MLflow."""

_SAMPLES = 3
_PATIENCE_SECONDS = 120
"""Who has trained for minutes waits for another one's promotion, which takes seconds."""


@dataclass(frozen=True)
class TrainedRun:
    """A fitted model and the MLflow run that holds it."""

    model: TrainedModel
    lineage: Lineage


@dataclass(frozen=True)
class ExportedRun:
    """A proven exported folder, as MLflow's logged model `model_id`."""

    run: str
    model_id: str
    contract: Contract


@dataclass(frozen=True)
class Summary:
    """All that one run of the pipeline came to, with no row of its data.

    `samples` are a new champion's first answers for some of the rows that were held out.
    """

    trained: TrainedRun
    exported: ExportedRun
    promotion: Promotion
    samples: Sequence[Scalar]


class Pipeline:
    """A problem's way through one stage.

    What a step needs of problem and settings is built when it is first asked for; `check` asks before any work.
    """

    def __init__(self, problem: Problem, settings: Settings, progress: Progress = silent) -> None:
        self.problem = problem
        self.settings = settings
        self.progress = progress

    def check(self, *needs: Need) -> None:
        """See before any work that problem and settings fit each other.

        Raises
        ------
        KitError
            They do not: a parameter that the estimator does not have, a limit on a metric that is not there.
        Refused
            The stage is prod, which trains nothing.
        """
        if "training" in needs:
            self.require_own_models()
            _ = self._trainer
        if "gate" in needs:
            _ = self._gate

    @cached_property
    def registry(self) -> ModelRegistry:
        return ModelRegistry.of(self.settings, self.problem.name)

    @cached_property
    def promoter(self) -> Promoter:
        """Makes champions in this stage."""
        return Promoter(self.problem, self.settings, self.registry, self._judge, self.progress)

    def open_bundle(self, file: Path) -> AbstractContextManager[Opened]:
        """A bundle of this problem, after every check that needs no server. Prod alone takes one."""
        require_prod(self.settings)
        return opened(file, self.problem.name, self.settings.promotion.trusted_keys, self.progress)

    def require_own_models(self) -> None:
        """See that the stage trains.

        Raises
        ------
        Refused
            It is prod.
        """
        if self.settings.stage is Stage.PROD:
            what = "stage prod trains nothing of its own: it gets the version that staging's gate passed"
            raise Refused(what, "Train in another stage; `starterkit promote --to prod` brings staging's champion")

    def read(self) -> Dataset:
        """Read the stage's data, check it and take the holdout apart."""
        with step(self.progress, "read data") as note:
            dataset = DatasetReader.of(self.problem, self.settings).read()
            note.text = f"{len(dataset)} rows, {len(dataset.holdout)} of them held out"
            note.text += "".join(
                f"; {words}: {', '.join(names)}" for words, names in by_treatment(dataset.policy).items()
            )
        return dataset

    def train(self, dataset: Dataset) -> TrainedRun:
        """Fit, evaluate, and leave a run in MLflow.

        Raises
        ------
        Refused
            The stage is prod.
        """
        self.check("training")
        with step(self.progress, "connect to MLflow") as note:
            tracker = self._tracker
            note.text = self.registry.connection.name
        with step(self.progress, "train") as note:
            began = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
            with tracker.start(f"{self.problem.name} {began}") as run:
                # Before the tree changes.
                lineage = describe(self.settings, run.id, dataset.identity, self._trainer.parameters)
                model = self._trainer.fit(dataset)
                lock = self.settings.root / LOCK
                trained = TrainedRun(model, replace(lineage, beside_lock=beside_lock(lock, model.estimator)))
                record_training(run, model, dataset, trained.lineage)
                self._describer.run(run.id)
            metric = self.problem.deciding_metric.name
            note.text = f"{metric} {model.evaluation.scores[metric]:.4g}, naive {model.baseline.scores[metric]:.4g}"
            if not has_contrast(self.problem.task == "classification", dataset.holdout.target.to_numpy()):
                note.text += f"; the holdout has fewer than {LEAST_OF_A_CLASS} rows of each of two classes: too few"
        return trained

    def trained(self, dataset: Dataset, run: str | None = None) -> TrainedRun:
        """An earlier run (the newest finished one, if none is named) with its fitted model.

        Raises
        ------
        DataError
            The data has changed since that run.
        """
        self.require_own_models()
        run = run or self._tracker.latest()
        lineage = _lineage_of(self._tracker, run)
        if lineage.data_digest != dataset.digest:
            raise DataError(f"the data has changed since run {run}", "Train again, or bring the earlier data back")
        return TrainedRun(self._trainer.evaluate(self._tracker.load_estimator(run), dataset), lineage)

    def export(self, trained: TrainedRun, dataset: Dataset, keep: Path | None = None) -> ExportedRun:
        """Write and prove the exported folder and log it with the run; `keep` names a folder for a copy."""
        self.require_own_models()
        run_id = trained.lineage.run
        with step(self.progress, "export to ONNX") as note, scratch_folder() as scratch:
            # Slow, and not needed where the data or the training fail.
            from starterkit.training.export import OnnxExporter

            exporter = OnnxExporter(self.settings.export)
            exported = exporter.export(trained.model, dataset, keep or scratch / "exported", trained.lineage)
            with self._tracker.resume(run_id) as run:
                model_id = record_export(run, trained.model, dataset, exported)
                self._describer.run(run_id)
            parity = exported.contract.parity
            note.text = f"parity over {parity.rows:,} rows: {parity.measure} {parity.largest:.2g}"
            note.text += f"; {parity.on_instability}" if parity.unstable else ""
        return ExportedRun(run_id, model_id, exported.contract)

    def register(self, run: str | None = None) -> Version:
        """Make a version of the model that a run exported (the newest finished run, if none is named)."""
        self.require_own_models()
        with step(self.progress, "register") as note:
            run = run or self._tracker.latest()
            model_id = self._tracker.tags(run).get("exported_model_id")
            if model_id is None:
                raise TrackingError(f"run {run} has no exported model", f"Run `starterkit export --run {run}` first")
            tags = _lineage_of(self._tracker, run).to_tags()
            version = self.registry.register(run, model_id, tags, self.problem.title)
            self._describer.run(run)
            self._describer.version(version)
            self._describer.model()
            note.text = str(version)
        return version

    def judge(self, dataset: Dataset, number: int | None = None, against_estimator: bool = False) -> Judgement:
        """Ask the gate about a version (the newest, if none is named) and change nothing."""
        return self._judge.judge(dataset, number, against_estimator)

    def promote(self, dataset: Dataset, number: int | None = None) -> Promotion:
        """Ask the gate about a version and make it champion if all checks pass."""
        return self.promoter.promote(dataset, number)

    def run(self, explanation: str = "") -> Summary:
        """Every step in order, up to a champion that answers; `explanation` says why odd figures are true."""
        self.check("training", "gate")
        dataset = self.read()
        trained = self.train(dataset)
        exported = self.export(trained, dataset)
        version = self.register(exported.run)
        # By its number: somebody else may have registered a newer one.
        promotion = self.promoter.promote(dataset, version.number, explanation=explanation, patience=_PATIENCE_SECONDS)
        samples = self._score(version, dataset) if promotion.decision.passed else ()
        return Summary(trained, exported, promotion, samples)

    def _score(self, version: Version, dataset: Dataset) -> Sequence[Scalar]:
        """A few of the version's answers, got as the API gets them."""
        with step(self.progress, "score") as note:
            answers = self.registry.open(version).predict(dataset.holdout.columns).values.tolist()
            note.text = f"{version} answered {len(answers)} rows"
        return answers[:_SAMPLES]

    @cached_property
    def _trainer(self) -> Trainer:
        return Trainer(self.problem, self.settings.training)

    @cached_property
    def _gate(self) -> Gate:
        problem, export = self.problem, self.settings.export
        tolerance = export.tolerance if problem.task == "regression" else export.probability_tolerance
        return Gate(self.settings.gate, problem.task, problem.checks, problem.all_metrics, tolerance)

    @cached_property
    def _judge(self) -> Judge:
        return Judge(self.problem, self.settings, self._gate, self.registry, self._tracker, self.progress)

    @cached_property
    def _describer(self) -> Describer:
        return Describer(Subject.of(self.problem), self.registry)

    @cached_property
    def _tracker(self) -> Tracker:
        tracker = Tracker(self.registry.connection, f"{self.settings.stage}.{self.problem.name}")
        for dead in tracker.end_dead_runs():
            with step(self.progress, "mend a run") as note:
                note.text = f"run {dead.id} was killed half-way; it counts as {dead.status_before.lower()} now"
        return tracker


def _lineage_of(tracker: Tracker, run: str) -> Lineage:
    try:
        return Lineage.from_tags(tracker.tags(run))
    except KeyError as error:
        raise TrackingError(f"run {run} was not made by this kit: it has no tag {error}", "Name another run") from None
    except ValueError:
        raise TrackingError(f"run {run} has a tag that was altered or cut short", "Train again") from None
