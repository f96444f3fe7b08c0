"""What a training run leaves in MLflow: its origin, its rows, its figures and the estimator."""

from dataclasses import asdict

from starterkit.contract import Lineage
from starterkit.data import Dataset, Rows, typical_row
from starterkit.problem import Problem
from starterkit.tracking import Example, Run
from starterkit.training import TrainedModel, confusion, permutation_importance, roc_curves


def record_training(run: Run, model: TrainedModel, dataset: Dataset, lineage: Lineage) -> None:
    """Log everything that a person or a later step wants to know about a training."""
    problem = model.problem
    run.log_parameters(model.parameters)
    run.tag({name: str(value) for name, value in asdict(lineage).items()})
    recorded = {
        context: run.log_rows(
            rows.features.assign(**{problem.target.name: rows.target}),
            name=f"{problem.name}-{context}",
            context=context,
            source=dataset.source,
            digest=rows.digest,
            target=problem.target.name,
        )
        for context, rows in (("training", dataset.training), ("holdout", dataset.holdout))
    }
    model_id = run.log_estimator(model.estimator, example(model, dataset))
    run.log_scores(model.evaluation.scores, model_id=model_id, dataset=recorded["holdout"])
    run.log_scores({f"baseline_{name}": score for name, score in model.baseline.scores.items()})
    _draw_figures(run, model, dataset.holdout)


def example(model: TrainedModel, dataset: Dataset) -> Example:
    """One made-up row and the model's answer. The inputs have the types of the data's columns."""
    import pandas as pd

    features, target = dataset.training.features, model.problem.target.name
    row = pd.DataFrame([typical_row(model.problem.features, features)]).astype(features.dtypes.to_dict())
    answer = model.evaluation.prediction.values[:1]
    return Example(inputs=row, outputs=pd.DataFrame({target: answer}))


def _draw_figures(run: Run, model: TrainedModel, rows: Rows) -> None:
    from starterkit import reports

    problem: Problem = model.problem
    importances = permutation_importance(model, rows)
    run.log_figure(reports.importance_figure(importances, problem.metric), "importance")
    if problem.task == "regression":
        label = f"{problem.target.name} ({problem.target.unit})" if problem.target.unit else problem.target.name
        figure = reports.residual_figure(rows.target.to_numpy(), model.evaluation.prediction.values, label)
        run.log_figure(figure, "residuals")
    else:
        run.log_figure(reports.roc_figure(roc_curves(model, rows)), "roc")
        run.log_figure(reports.confusion_figure(confusion(model, rows), [str(c) for c in model.classes]), "confusion")
