"""From a file to a champion: the first step of a project of one's own, the steps of a model's life, stages' data."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from starterkit.cli.commands import (
    Explanation,
    Json,
    VersionNumber,
    app,
    end_if_refused,
    open_pipeline,
    print_json,
    require_folder,
)

if TYPE_CHECKING:
    from starterkit.cli.init import Started

# --- The first step of a project of one's own.


@app.command("init-problem")
def init_problem(
    data: Annotated[Path, typer.Argument(help="A .csv or .parquet file.")],
    target: Annotated[str, typer.Option("--target", help="The column to predict.")],
    name: Annotated[str, typer.Option("--name", help="The problem's name; the file's if not given.")] = "",
    task: Annotated[
        Literal["regression", "classification"] | None, typer.Option("--task", help="Guessed if not given.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite what is not committed; it stays as <name>.before.")
    ] = False,
) -> None:
    """Write problem.py, its tests and settings from a file of your own."""
    from starterkit.cli.console import ProgressView, show_error
    from starterkit.errors import UserError
    from starterkit.progress import step
    from starterkit.settings import Stage, load_settings

    settings = load_settings()
    if settings.stage != Stage.LOCAL:
        what = f"init-problem reads rows as they are, and this is stage {settings.stage}"
        raise UserError(what, "Give it with KIT_STAGE=local, and data that everyone here may see")
    view = ProgressView()
    with step(view, "load libraries"):
        from starterkit.cli.init import Project, start_problem
        from starterkit.cli.init.draft import Undecided
    try:
        started = start_problem(Project.of(settings.root), data, target, name, task, force=force, progress=view)
    except Undecided as error:
        for decision in error.decisions:
            typer.echo(f"decide: {decision}", err=True)
        show_error(error)
        raise typer.Exit(1) from None
    _show(started)


def _show(started: "Started") -> None:
    plan, tried = started.plan, started.trial
    typer.echo("Wrote")
    for path in started.written:
        typer.echo(f"  {path}")
    columns = f"{len(plan.features)} columns, {plan.rows} rows"
    typer.echo(f"\n{plan.task.capitalize()} of {plan.target.name} from {columns}: a first fit on most of them has")
    typer.echo(f"  {plan.metric} {tried.figure:.4g}, a naive guess {tried.naive:.4g}")
    typer.echo(f"  {started.estimator}")
    typer.echo("\nReview")
    for line in started.review:
        typer.echo(f"  {line}")
    tests = next(path for path in started.written if path.startswith("tests/")).rpartition("/")[0]
    typer.echo(f"\nThen `make run`, and `make unit ARGS={tests}` for the tests that were written.")


# --- The steps of a model's life, all in one or each by itself.

RunId = Annotated[str | None, typer.Option("--run", help="An MLflow run; the newest finished one if not given.")]


@app.command()
def run(reason: Explanation = "", as_json: Json = False) -> None:
    """Do every step: read, train, export, register, pass the gate, score."""
    pipeline = open_pipeline("training", "gate")
    from starterkit.cli.summary import show_summary, summary_as_json

    summary = pipeline.run(reason)
    print_json(summary_as_json(summary)) if as_json else show_summary(summary, pipeline.settings)
    end_if_refused(summary.promotion)


@app.command()
def train(as_json: Json = False) -> None:
    """Train, evaluate on the holdout, and log a run."""
    pipeline = open_pipeline("training")
    from starterkit.cli.summary import show_scores

    trained = pipeline.train(pipeline.read())
    model, run_id = trained.model, trained.lineage.run
    scores = {"holdout": dict(model.evaluation.scores), "naive": dict(model.baseline.scores)}
    if as_json:
        print_json({"run": run_id, **scores})
        return
    show_scores(model)
    typer.echo(f"\nRun {run_id}. `starterkit export` converts it.")


@app.command()
def export(
    run: RunId = None,
    to: Annotated[Path | None, typer.Option("--to", help="Keep a copy of the exported folder here.")] = None,
    as_json: Json = False,
) -> None:
    """Convert a run's estimator to ONNX and prove that both answer alike."""
    pipeline = open_pipeline("training")
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
    against_estimator: Annotated[
        bool, typer.Option("--against-estimator", help="Ask its estimator, too, also in prod.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask the gate about a version and change nothing; exit with 1 if it would be refused."""
    require_folder(report, evidence)
    pipeline = open_pipeline("gate")
    from starterkit.cli.summary import judgement_as_json, show_judgement, what_next

    judged = pipeline.judge(pipeline.read(), version, against_estimator)
    if evidence:
        evidence.write_text(judged.record.text, encoding="utf-8", newline="\n")
    if report:
        from starterkit.release.pages import gate_page

        report.write_text(gate_page(judged.record.content, judged.record.digest), encoding="utf-8")
    print_json(judgement_as_json(judged)) if as_json else show_judgement(judged)
    if not as_json and judged.decision.passed:
        typer.echo(f"\n{what_next(judged, pipeline.settings.stage)}")
    end_if_refused(judged)


# --- The stages' data sets.

data = typer.Typer(help="Data sets for the stages that may not see the source.", no_args_is_help=True)
app.add_typer(data, name="data")


@data.callback()
def _data() -> None:
    """Keeps `prepare` a command of its own while it is the only one."""


@data.command()
def prepare(
    stage: Annotated[str, typer.Option("--for", help="The stage that is to use it: dev, test or staging.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="A .parquet file; data/STAGE/NAME.parquet if left out.")
    ] = None,
    fraction: Annotated[float, typer.Option("--fraction", help="The share of the rows, above 0, up to 1.")] = 1.0,
    as_json: Json = False,
) -> None:
    """Turn the source into a stage's data set: sampled, masked by its policy, with a proof and a report."""
    from starterkit.cli.console import ProgressView, show_warnings
    from starterkit.cli.summary import show_prepared, stage_named
    from starterkit.progress import step
    from starterkit.settings import load_settings

    settings, asked = load_settings(), stage_named(stage)
    # The other stage's own variables are not here, and what this one's say of MLflow does not concern it.
    of_people = {name: text for name, text in os.environ.items() if name.upper().startswith("KIT_PRIVACY__")}
    privacy = load_settings(settings.root, of_people | {"KIT_STAGE": asked}).privacy
    view = ProgressView()
    with step(view, "load libraries") as note:
        from starterkit.data import usual_place
        from starterkit.data.prepare import Preparer
        from starterkit.problem import find_problem
        from starterkit.training import compare_quality

        problem = find_problem()
        note.text = f"{problem.title}, for stage {asked}"
    path = to or settings.root / usual_place(problem, asked)
    quality = partial(compare_quality, problem, settings.training)
    prepared = Preparer(problem, settings, asked, privacy, quality, view).prepare(path, fraction)
    if as_json:
        print_json({"file": str(prepared.path), **vars(prepared.proof), "warnings": prepared.warnings})
    else:
        show_prepared(prepared, settings.root)
    show_warnings(prepared.warnings)
