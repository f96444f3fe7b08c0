"""What training and export leave in MLflow: the origin, the rows, the figures and the models."""

from typing import TYPE_CHECKING, Any

from starterkit.contract import Lineage
from starterkit.data import ROWS_FILE, Dataset, RowRecord, Rows, typical_row
from starterkit.inference import GRAPH_FILE, Predictor
from starterkit.problem import Problem
from starterkit.scratch import scratch_folder
from starterkit.tracking import Example, Run
from starterkit.training import TrainedModel, evaluate

if TYPE_CHECKING:
    from starterkit.export import ExportedModel


def record_training(run: Run, model: TrainedModel, dataset: Dataset, lineage: Lineage) -> None:
    """Log everything that a person or a later step wants to know about a training."""
    problem = model.problem
    run.log_parameters(lineage.parameters)  # without what may be a secret
    run.tag(lineage.to_tags())
    run.tag({"task": problem.task, "metric": problem.metric, "holdout_rows": str(len(dataset.holdout))})
    with scratch_folder() as scratch:
        kept = scratch / ROWS_FILE
        kept.write_bytes(RowRecord.of(dataset).to_bytes())
        run.log_file(kept)
    _record_rows(run, problem, dataset.source, "training", dataset.training)
    holdout = _record_rows(run, problem, dataset.source, "holdout", dataset.holdout)
    model_id = run.log_estimator(model.estimator, example(model, dataset))
    run.log_scores(model.evaluation.scores, model_id=model_id, dataset=holdout)
    run.log_scores({f"baseline_{name}": score for name, score in model.baseline.scores.items()})
    _draw_figures(run, model, dataset.holdout)


def record_export(run: Run, model: TrainedModel, dataset: Dataset, exported: "ExportedModel") -> str:
    """Log the exported folder with figures of its own, and give back the id of MLflow's logged model."""
    problem, contract = model.problem, exported.contract
    model_id = run.log_exported(exported.folder, exported.folder / GRAPH_FILE, example(model, dataset))
    answers = Predictor(exported.folder).predict(dataset.holdout.columns)
    evaluated = evaluate("exported", problem.task, dataset.holdout, answers, contract.classes)
    holdout = _record_rows(run, problem, dataset.source, "holdout", dataset.holdout)
    run.log_scores(evaluated.scores, model_id=model_id, dataset=holdout)
    return model_id


def example(model: TrainedModel, dataset: Dataset) -> Example:
    """One made-up row and the model's answer. The inputs have the types of the data's columns."""
    import pandas as pd

    features, target = dataset.training.features, model.problem.target.name
    row = pd.DataFrame([typical_row(model.problem.features, features)]).astype(features.dtypes.to_dict())
    answer = model.evaluation.prediction.values[:1]
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


def _draw_figures(run: Run, model: TrainedModel, rows: Rows) -> None:
    from starterkit.reports.figures import confusion_figure, importance_figure, residual_figure, roc_figure
    from starterkit.training.explanation import confusion, permutation_importance, roc_curves

    problem: Problem = model.problem
    importances = permutation_importance(model, rows)
    run.log_figure(importance_figure(importances, problem.metric), "importance")
    if problem.task == "regression":
        label = f"{problem.target.name} ({problem.target.unit})" if problem.target.unit else problem.target.name
        figure = residual_figure(rows.target.to_numpy(), model.evaluation.prediction.values, label)
        run.log_figure(figure, "residuals")
    else:
        run.log_figure(roc_figure(roc_curves(model, rows)), "roc")
        run.log_figure(confusion_figure(confusion(model, rows), [str(c) for c in model.classes]), "confusion")
