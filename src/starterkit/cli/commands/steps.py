"""The steps of a model's life, all in one or each by itself."""

from pathlib import Path
from typing import Annotated

import typer

from starterkit.cli.commands.common import (
    Json,
    VersionNumber,
    app,
    end_if_refused,
    open_pipeline,
    print_json,
    require_folder,
)

RunId = Annotated[str | None, typer.Option("--run", help="An MLflow run; the newest finished one if not given.")]


@app.command()
def run(as_json: Json = False) -> None:
    """Do every step: read, train, export, register, pass the gate, score."""
    pipeline = open_pipeline()
    from starterkit.cli.summary import show_summary, summary_as_json

    summary = pipeline.run()
    print_json(summary_as_json(summary)) if as_json else show_summary(summary, pipeline.settings)
    end_if_refused(summary.promotion)


@app.command()
def train(as_json: Json = False) -> None:
    """Train, evaluate on the holdout, and log a run."""
    pipeline = open_pipeline()
    from starterkit.cli.summary import show_scores

    trained = pipeline.train(pipeline.read())
    model, run_id = trained.model, trained.lineage.run
    scores = {"holdout": dict(model.evaluation.scores), "naive": dict(model.baseline.scores)}
    print_json({"run": run_id, **scores}) if as_json else show_scores(model, run_id)


@app.command()
def export(
    run: RunId = None,
    to: Annotated[Path | None, typer.Option("--to", help="Keep a copy of the exported folder here.")] = None,
    as_json: Json = False,
) -> None:
    """Convert a run's estimator to ONNX and prove that both answer alike."""
    pipeline = open_pipeline()
    dataset = pipeline.read()
    exported = pipeline.export(pipeline.trained(dataset, run), dataset, to)
    kept = f"; kept in {to}" if to else ""
    text = f"Run {exported.run} has the exported model {exported.model_id}{kept}."
    print_json({"run": exported.run, "model_id": exported.model_id}) if as_json else typer.echo(text)


@app.command()
def register(run: RunId = None, as_json: Json = False) -> None:
    """Make a version of the model that a run exported."""
    version = open_pipeline().register(run)
    text = f"Registered {version}. `starterkit promote` asks the gate about it."
    print_json({"model": version.model, "version": version.number}) if as_json else typer.echo(text)


@app.command()
def gate(
    version: VersionNumber = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write the decision's page, an HTML file, here.")
    ] = None,
    evidence: Annotated[Path | None, typer.Option("--evidence", help="Write the evidence, a JSON file, here.")] = None,
    as_json: Json = False,
) -> None:
    """Ask the gate about a version and change nothing; exit with 1 if it would be refused."""
    require_folder(report, evidence)
    pipeline = open_pipeline(trains=False)
    from starterkit.cli.summary import judgement_as_json, show_judgement, what_next

    judged = pipeline.judge(pipeline.read(), version)
    if evidence:
        evidence.write_text(judged.record.text, encoding="utf-8", newline="\n")
    if report:
        from starterkit.reports import gate_page

        report.write_text(gate_page(judged.record.content, judged.record.digest), encoding="utf-8")
    print_json(judgement_as_json(judged)) if as_json else show_judgement(judged)
    if not as_json and judged.decision.passed:
        typer.echo(f"\n{what_next(judged, pipeline.settings.stage)}")
    end_if_refused(judged)
