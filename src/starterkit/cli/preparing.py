"""What a person is told of a data set that was prepared."""

from pathlib import Path

from rich.markup import escape

from starterkit.cli.console import console, table
from starterkit.errors import UserError
from starterkit.preparation import Prepared, blocks
from starterkit.settings import Stage

_STAGES = (Stage.DEV, Stage.TEST, Stage.STAGING)


def stage_named(name: str) -> Stage:
    """The stage that data is to be prepared for.

    Raises
    ------
    UserError
        There is none of this name, or it takes its source as it is.
    """
    if name not in _STAGES:
        raise UserError(f"no data is prepared for '{name}'", f"Name one of {', '.join(_STAGES)} with --for")
    return Stage(name)


def show_prepared(prepared: Prepared, root: Path) -> None:
    """The report, and what to do next."""
    out, proof = console(), prepared.proof
    for block in blocks(proof):
        if block.rows:
            out.print(f"\n[bold]{block.title}[/]")
            out.print(table(block.rows, header=block.header))
    path = prepared.path.resolve()
    shown = path.relative_to(root.resolve()) if path.is_relative_to(root.resolve()) else path
    rows = proof.rows["training"] + proof.rows["holdout"]
    out.print(f"\n[bold]Written[/]  {escape(str(shown))}, {rows} rows, with its proof and report beside it")
    out.print(f"Stage {proof.stage} reads it where config/{proof.stage}.yaml says: data.source: {escape(str(shown))}")
