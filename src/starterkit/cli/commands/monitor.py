"""A model in the feedback loop: a window of its predictions watched, what follows where a rule is broken, and the log.

The log's: labels that came as a file, what is too old, and what somebody wants to have erased.
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starterkit.cli.commands import (
    Json,
    app,
    end_if_refused,
    open_pipeline,
    open_registry,
    print_json,
    require_folder,
)
from starterkit.errors import KitError, UserError

if TYPE_CHECKING:
    from starterkit.feedback.observation import Window
    from starterkit.feedback.predictions import PredictionLog
    from starterkit.feedback.watcher import PredictionReader, Watch
    from starterkit.pipeline import Pipeline
    from starterkit.settings import Settings

_Minutes = Annotated[
    float | None, typer.Option("--minutes", min=0.01, help="How long the window is, instead of what monitoring says.")
]
_Until = Annotated[
    datetime | None, typer.Option("--until", help="The window's end in UTC; now if not given.", show_default=False)
]


@app.command()
def monitor(
    minutes: _Minutes = None,
    until: _Until = None,
    version: Annotated[int | None, typer.Option("--version", min=1, help="The champion if not given.")] = None,
    page: Annotated[Path | None, typer.Option("--page", help="Keep the page here, too.")] = None,
    act: Annotated[bool, typer.Option("--act/--no-act", help="Retrain where a broken rule asks for it.")] = True,
    every: Annotated[
        float | None, typer.Option("--every", min=1, help="Look again after so many minutes, until it is ended.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Watch the champion's predictions: drift, quality, latency. Ends with 3 where a rule is broken."""
    require_folder(page)
    if every is not None and until is not None:
        raise UserError("--every looks at now, and --until says when", "Give one of them")
    pipeline = open_pipeline()
    from starterkit.feedback.predictions import PredictionLog
    from starterkit.feedback.watcher import write_page

    reader = PredictionLog(pipeline.settings)
    while True:
        watched = _look(pipeline, reader, _window(pipeline.settings, minutes, until), version, act)
        if page is not None:
            write_page(watched.page, page)
        print_json(watched.content) if as_json else _show(watched)
        if every is None:
            watched.require_kept()
            return
        time.sleep(every * 60)


@app.command()
def retrain(
    minutes: _Minutes = None,
    until: _Until = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "somebody asked for it",
    as_json: Json = False,
) -> None:
    """Train on the labelled predictions of a window as well; the gate decides on rows that it never saw."""
    pipeline = open_pipeline("training", "gate")
    from starterkit.feedback.predictions import PredictionLog
    from starterkit.feedback.retraining import Retrainer

    window = _window(pipeline.settings, minutes, until)
    done = Retrainer(pipeline, PredictionLog(pipeline.settings)).retrain(window, reason)
    told = done.content
    print_json(told) if as_json else typer.echo("\n".join([f"{told['title']}.", *told["lines"]]))
    end_if_refused(done.promotion)


@app.command()
def shadow(
    minutes: _Minutes = None,
    until: _Until = None,
    page: Annotated[Path | None, typer.Option("--page", help="The page; build/shadow.html if not given.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the challenger out of the shadow.")] = False,
    as_json: Json = False,
) -> None:
    """Compare the challenger in the shadow with the champion, on the requests that both have scored."""
    require_folder(page)
    from starterkit.feedback.predictions import PredictionLog
    from starterkit.feedback.shadowing import PAGE_FILE, compare_shadow, shadow_page
    from starterkit.feedback.watcher import write_page
    from starterkit.settings import load_settings

    settings = load_settings()
    if remove:
        _remove_challenger(settings)
        return
    found = compare_shadow(PredictionLog(settings), _window(settings, minutes, until))
    by_alias = settings.serving.shadow == "challenger"
    ends = {
        "promotion": _promotion(found[0].model, int(found[0].shadow)) if found else "",
        "removal": "starterkit shadow --remove" if by_alias else "serving.shadow: null, and start the API again",
    }
    file = page or settings.root / "build" / PAGE_FILE
    if found:
        file.parent.mkdir(exist_ok=True)
        write_page(shadow_page(found[0], **ends), file)
    if as_json:
        print_json({"compared": [one.content for one in found], "page": str(file) if found else None, **ends})
        return
    for one in found:
        seen = f"{one.rows:,} rows, {one.requests:,} of {one.answered:,} requests"
        typer.echo(f"version {one.shadow} in the shadow of {one.champion}: {seen}")
        typer.echo(f"  {one.verdict[1]}")
        same = f"the same answer for {one.agreement:.1%}"
        typer.echo(f"  {same if one.difference is None else f'{one.difference:.4g} apart on average'}")
        was = f"error {one.errors[1]:.4g}, the champion's {one.errors[0]:.4g}" if one.errors else "error not known"
        typer.echo(f"  {was}, over {one.labelled:,} labelled rows")
        typer.echo(f"  95% in {one.latency[1][1]:.2f} ms; the champion's whole answer in {one.latency[0][1]:.2f} ms")
    if not found:
        hint = "`starterkit promote --shadow` makes a challenger, which serving.shadow: challenger lets the API score"
        typer.echo(f"No request of this window was scored in the shadow. {hint}.")
        return
    typer.echo(f"page {file}\nlet it answer: {ends['promotion']}\nlet it go: {ends['removal']}")


def _promotion(model: str, number: int) -> str:
    """The command that asks the gate about it, and makes it champion. In prod --version means one of staging's."""
    if not model.startswith("prod."):
        return f"starterkit promote --version {number}"
    from starterkit.release.trust import again

    return again(open_registry()[0].version(number)).strip("`")


def _remove_challenger(settings: "Settings") -> None:
    if isinstance(settings.serving.shadow, int):
        what = f"serving.shadow names version {settings.serving.shadow}, and no alias is asked"
        raise UserError(what, "Take serving.shadow out of the settings, and start the API again")
    from starterkit.tracking.registry import CHALLENGER

    registry, _ = open_registry()
    number = registry.aliases().get(CHALLENGER)
    if number is None:
        raise UserError(f"{registry.model} has no challenger", "`starterkit promote --shadow` makes one")
    registry.set_challenger(None)
    typer.echo(f"{registry.model} version {number} is no challenger any more; its answers stay in the log.")


def _look(
    pipeline: "Pipeline", reader: "PredictionReader", window: "Window", version: int | None, act: bool
) -> "Watch":
    from starterkit.cli.console import show_error
    from starterkit.feedback.observation import Window
    from starterkit.feedback.retraining import Retrainer
    from starterkit.feedback.watcher import Watcher

    watcher = Watcher(pipeline, reader)
    watched = watcher.watch(window, version)
    if not (act and watched.asks_for_retraining):
        return watched
    asking = [one for one in watched.broken if one.rule.then == "retrain"]
    start = window.end - (window.end - window.start) * max(one.streak for one in asking)
    why = "; ".join(one.text for one in asking)
    try:
        acted = Retrainer(pipeline, reader).retrain(Window(start, window.end), why).content
    except KitError as error:  # it was broken before, and is told as such; the next look tries again
        show_error(error)
        acted = {"title": "No retraining", "state": "unsure", "lines": [f"{error.what}. {error.hint}."]}
    return watcher.add(watched, acted)


def _window(settings: "Settings", minutes: float | None, until: datetime | None) -> "Window":
    from starterkit.feedback.observation import Window

    end = until.replace(tzinfo=UTC) if until is not None else None
    return Window.before(end, minutes or settings.monitoring.window_minutes)


def _show(watched: "Watch") -> None:
    from rich.text import Text

    from starterkit.cli.console import console, table
    from starterkit.feedback.watcher import PAGE_FILE

    observed = watched.observation
    out = console()
    out.print(
        f"{observed.model} version {observed.version}: {observed.rows:,} predictions, {observed.labelled:,} labels"
    )
    for note in observed.notes:
        out.print(f"  {note}", markup=False)
    colours = {"broken": "red", "kept": "green", "unknown": "yellow"}
    out.print(table([(Text(one.state, colours[one.state]), one.text) for one in watched.rules]))
    if moved := [one for one in observed.drifts if one.drifted]:
        words = [(one.column, f"{one.distance:.2f}", f"{one.chance:.2g}", f"{one.psi:+.2f}") for one in moved]
        out.print(table(words, header=("drifted", "distance", "p", "PSI"), right=(1, 2, 3)))
    out.print(f"run {watched.run}, whose {PAGE_FILE} is the page", markup=False)


# --- The log of predictions.

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

    told = Labels(_log()).import_csv(labels)
    words = f"{told.added} new, {told.corrected} corrected, {told.unchanged} known before"
    print_json(told._asdict()) if as_json else typer.echo(words)


@feedback.command()
def prune(as_json: Json = False) -> None:
    """Move predictions that are older than feedback.keep_days to Parquet; remove such files after archive_days."""
    from starterkit.feedback.retention import Retention

    done = Retention(_log()).prune()
    files = {"written": [str(one) for one in done.written], "removed": [str(one) for one in done.removed]}
    words = f"{done.rows} predictions moved to {len(done.written)} files, {len(done.removed)} files removed"
    print_json({"rows": done.rows, **files}) if as_json else typer.echo(words)


@feedback.command()
def erase(
    key: Annotated[str, typer.Argument(help="The record's key, as it was sent to /predict.")], as_json: Json = False
) -> None:
    """Erase one record from the log and its archive, and prove that it is gone."""
    from starterkit.feedback.retention import Retention

    done = Retention(_log()).erase(key)
    words = f"{done.predictions} predictions and {done.labels} labels erased, {done.archived} in the archive; "
    print_json(done._asdict()) if as_json else typer.echo(words + f"looked for in {', '.join(done.searched)}: gone")


def _log() -> "PredictionLog":
    from starterkit.feedback.predictions import PredictionLog
    from starterkit.settings import load_settings

    return PredictionLog(load_settings())
