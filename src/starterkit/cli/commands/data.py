"""The stages' data sets."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from starterkit.cli.commands.common import Json, app, print_json

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
    """Turn the source into a stage's data set: sampled, treated by its policy, with a proof and a report."""
    from starterkit.cli.console import ProgressView, show_warnings
    from starterkit.cli.preparing import show_prepared, stage_named
    from starterkit.progress import step
    from starterkit.settings import load_settings

    settings, asked = load_settings(), stage_named(stage)
    # The other stage's own variables are not here, and what this one's say of MLflow does not concern it.
    of_people = {name: text for name, text in os.environ.items() if name.upper().startswith("KIT_PRIVACY__")}
    privacy = load_settings(settings.root, of_people | {"KIT_STAGE": asked}).privacy
    view = ProgressView()
    with step(view, "load libraries") as note:
        from starterkit.data import usual_place
        from starterkit.preparation import Preparer
        from starterkit.preparation.quality import compare_quality
        from starterkit.problem import find_problem

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
