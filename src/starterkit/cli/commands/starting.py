"""The first step of a project of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from starterkit.cli.commands.common import app

if TYPE_CHECKING:
    from starterkit.starting import Started


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
        from starterkit.starting import Placing, ProblemStarter, Undecided
    try:
        started = ProblemStarter(Placing.of(settings.root), view).start(data, target, name, task, force)
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
    typer.echo("\nReview")
    for line in started.review:
        typer.echo(f"  {line}")
    tests = next(path for path in started.written if path.startswith("tests/")).rpartition("/")[0]
    typer.echo(f"\nThen `make run`, and `make unit ARGS={tests}` for the tests that were written.")
