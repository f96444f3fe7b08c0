"""The log of predictions: labels that came as a file, what is too old, and what somebody wants to have erased."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starterkit.cli.commands import Json, app, print_json

if TYPE_CHECKING:
    from starterkit.feedback.predictions import PredictionLog

feedback = typer.Typer(
    help="Predictions as they were answered, and the labels that came for them.", no_args_is_help=True
)
app.add_typer(feedback, name="feedback")


@feedback.command("import")
def import_labels(
    labels: Annotated[Path, typer.Argument(help="A .csv file with the columns label, and id or key.")],
    as_json: Json = False,
) -> None:
    """Keep labels of predictions, all of a file or none: by the prediction's id, or by its record's key."""
    from starterkit.feedback.labels import Labels

    told = Labels(_open()).import_csv(labels)
    words = f"{told.added} new, {told.corrected} corrected, {told.unchanged} known before"
    print_json(told._asdict()) if as_json else typer.echo(words)


@feedback.command()
def prune(as_json: Json = False) -> None:
    """Move predictions that are older than feedback.keep_days to Parquet; remove such files after archive_days."""
    from starterkit.feedback.retention import Retention

    done = Retention(_open()).prune()
    files = {"written": [str(one) for one in done.written], "removed": [str(one) for one in done.removed]}
    words = f"{done.rows} predictions moved to {len(done.written)} files, {len(done.removed)} files removed"
    print_json({"rows": done.rows, **files}) if as_json else typer.echo(words)


@feedback.command()
def erase(
    key: Annotated[str, typer.Argument(help="The record's key, as it was sent to /predict.")], as_json: Json = False
) -> None:
    """Erase one record from the log and its archive, and prove that it is gone."""
    from starterkit.feedback.retention import Retention

    done = Retention(_open()).erase(key)
    words = f"{done.predictions} predictions and {done.labels} labels erased, {done.archived} in the archive; "
    print_json(done._asdict()) if as_json else typer.echo(words + f"looked for in {', '.join(done.searched)}: gone")


def _open() -> "PredictionLog":
    from starterkit.feedback.predictions import PredictionLog
    from starterkit.settings import load_settings

    return PredictionLog(load_settings())
