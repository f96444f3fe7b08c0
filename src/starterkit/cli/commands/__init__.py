"""The commands, and what they share: the application, words for options, and what most of them open first.

Each imports what it needs when it is called, so that ``--help`` answers at once.
"""

import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starterkit.errors import UserError

if TYPE_CHECKING:
    from starterkit.pipeline import Judgement, Need, Pipeline
    from starterkit.settings import Settings
    from starterkit.tracking.registry import ModelRegistry

app = typer.Typer(
    help="From raw data to a registered, gated model that answers. KIT_STAGE picks the stage; unset means local.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for scripts.")]
Folder = Annotated[Path | None, typer.Option("--folder", help="An exported folder instead of the champion.")]
Explanation = Annotated[str, typer.Option("--reason", help="Why figures that the gate finds odd are true.")]
VersionNumber = Annotated[int | None, typer.Option("--version", min=1, help="The newest version if not given.")]
VersionName = Annotated[str, typer.Argument(help="A version's number; the champion if not given.")]


def open_pipeline(*needs: "Need", stage: str | None = None) -> "Pipeline":
    """The pipeline of a stage, by default of the one that KIT_STAGE names; what the command needs of it is checked."""
    from starterkit.cli.console import ProgressView, show_warnings
    from starterkit.progress import step
    from starterkit.settings import read_layers

    layers = read_layers(environ=os.environ if stage is None else os.environ | {"KIT_STAGE": stage})
    show_warnings(layers.warnings)
    view = ProgressView()
    with step(view, "load libraries") as note:
        from starterkit.pipeline import Pipeline
        from starterkit.problem import find_problem

        problem = find_problem()
        note.text = f"{problem.title}, stage {layers.settings.stage}"
    pipeline = Pipeline(problem, layers.settings, view)
    pipeline.check(*needs)
    return pipeline


def open_registry() -> "tuple[ModelRegistry, Settings]":
    """The stage's versions, without the project's code where its entry point bears the problem's name."""
    from starterkit.cli.console import ProgressView
    from starterkit.progress import step
    from starterkit.settings import load_settings

    settings = load_settings()
    with step(ProgressView(), "connect to MLflow") as note:
        from starterkit.cli.champion import name_of_problem
        from starterkit.tracking.registry import ModelRegistry

        registry = ModelRegistry.of(settings, name_of_problem())
        note.text = registry.connection.name
    return registry, settings


def require_folder(*files: Path | None) -> None:
    """Refuse before any work what could not be written after it."""
    for file in files:
        if file is not None and file.is_dir():
            raise UserError(f"{file} is a folder", "Name the file to write")
        if file is not None and not file.parent.is_dir():
            raise UserError(f"folder {file.parent} does not exist", "Make it, or name another file")


def print_json(document: object) -> None:
    """One document. A figure that is not a number is null, for JSON has none; a script's pipe may not take UTF-8."""
    escaped = not (sys.stdout.encoding or "").lower().startswith("utf")
    typer.echo(json.dumps(_finite(document), indent=2, ensure_ascii=escaped, allow_nan=False, default=str))


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def end_if_refused(judged: "Judgement") -> None:
    from starterkit.cli.summary import refusal

    if not judged.decision.passed:
        raise refusal(judged)
