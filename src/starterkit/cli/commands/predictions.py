"""Answers of a model: over HTTP, over files, and copied for somebody else to give."""

import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Annotated, Literal

import typer

from starterkit.cli.commands import Folder, Json, app, print_json

BadRows = Literal["stop", "aside"]
Beyond = Literal["refuse", "mark"]
_MOST_NAMED = 8


@app.command()
def serve(
    folder: Folder = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            envvar="SAGEMAKER_BIND_TO_PORT",
            show_envvar=False,
            min=1,
            max=65535,
            help="Instead of serving.port.",
        ),
    ] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when src/ or config/ changes.")] = False,
) -> None:
    """Answer requests with the champion: POST /predict, and /docs to try it."""
    from starterkit.cli.console import show_warnings
    from starterkit.settings import read_layers

    layers = read_layers()
    show_warnings(layers.warnings)  # such as an API of stage staging that asks nobody for a key
    settings = layers.settings
    listening = settings.serving.model_copy(update={"port": port} if port else {})
    settings = settings.model_copy(update={"serving": listening})

    from starterkit.cli.server import serve as answer  # loads uvicorn: wrong settings are told before

    answer(settings, folder, reload=reload)


@app.command()
def fetch(
    to: Annotated[Path, typer.Argument(help="The folder to write. An earlier copy is replaced.")], as_json: Json = False
) -> None:
    """Copy the champion's exported folder, for `serve --folder` elsewhere and for an image with the model in it."""
    from starterkit.cli.champion import keep_champion
    from starterkit.cli.console import ProgressView
    from starterkit.progress import step

    with step(ProgressView(), "fetch the champion") as note:
        kept = keep_champion(to)
        note.text = kept.title
    text = f"{kept.title} is in {kept.folder}"
    print_json({"model": kept.model, "version": kept.version, "folder": str(to)}) if as_json else typer.echo(text)


@app.command()
def traffic(
    count: Annotated[int, typer.Option("--count", min=1, help="How many requests.")] = 100,
    rate: Annotated[float, typer.Option("--rate", min=0.1, help="Requests a second, at most.")] = 10,
    url: Annotated[str | None, typer.Option("--url", help="The API's address; as serving says if not given.")] = None,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds in which the API must be ready.")] = 60,
    as_json: Json = False,
) -> None:
    """Send the holdout's rows to a running API, and say how it answers."""
    from starterkit.cli.console import ProgressView
    from starterkit.cli.views import holdout_records, key_of
    from starterkit.serving.loadtest import TrafficSender, address_of
    from starterkit.settings import load_settings

    settings = load_settings()
    view = ProgressView()
    sender = TrafficSender(url or address_of(settings.serving), key_of(settings), view)
    records = holdout_records(settings, view)
    sender.wait_until_ready(wait)
    sent = sender.send(records, count, rate)
    print_json(vars(sent)) if as_json else typer.echo(sent)
    sent.require_answers()


@app.command()
def loadtest(
    url: Annotated[str | None, typer.Option("--url", help="An API that runs; if not given, one is started.")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", min=0.5, max=600, help="Not loadtest.seconds.")] = None,
    connections: Annotated[
        int | None, typer.Option("--connections", min=1, max=256, help="Not loadtest.connections.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Load the API with the holdout's rows, measure it, and hold it against the stage's limits."""
    from starterkit.cli.console import ProgressView
    from starterkit.cli.views import keep_load, load_api, require_held, show_load
    from starterkit.settings import load_settings

    settings = load_settings()
    given = {name: value for name, value in (("seconds", seconds), ("connections", connections)) if value is not None}
    settings = settings.model_copy(update={"loadtest": settings.loadtest.model_copy(update=given)})
    view = ProgressView()
    measured = load_api(settings, url, view)
    held = measured.held_against(settings.loadtest)
    run = keep_load(settings, measured, held, url, view)
    if as_json:
        passed = all(one.passed for one in held)
        print_json({"run": run, "passed": passed, **measured.figures, "limits": [vars(one) for one in held]})
    else:
        show_load(measured, held)
    require_held(measured, held)


@app.command()
def predict(
    source: Annotated[Path, typer.Argument(help="A .csv, .parquet, .arrow, .feather or .arrows file, or a folder.")],
    destination: Annotated[Path, typer.Argument(help="The file or folder to write, with the answers added.")],
    folder: Folder = None,
    bad_rows: Annotated[BadRows, typer.Option("--bad-rows", help="Leave them out and say why, or stop.")] = "stop",
    beyond: Annotated[
        Beyond | None, typer.Option("--beyond", help="Rows further out than the proof; instead of serving.beyond.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a destination that exists.")] = False,
    as_json: Json = False,
) -> None:
    """Score files with the champion. Ended in the middle, the same command goes on."""
    sys.meta_path.insert(0, _WithoutPandas())
    from starterkit.cli.champion import fetched_champion
    from starterkit.cli.console import ProgressView
    from starterkit.progress import step
    from starterkit.serving.batch.plan import plan_files
    from starterkit.serving.batch.scorer import BatchScorer
    from starterkit.serving.predictor import Predictor
    from starterkit.settings import load_settings

    plan_files(source, destination, overwrite=overwrite)  # seen before the model is fetched
    view = ProgressView()
    with step(view, "open the model") as note:
        if folder is not None:
            predictor, note.text = Predictor(folder, beyond=beyond or "refuse"), f"folder {folder.name}"
        else:
            with fetched_champion() as fetched:
                predictor = Predictor(fetched.folder, beyond=beyond or load_settings().serving.beyond)
                note.text = fetched.title
    outcome = BatchScorer(predictor, view).score(source, destination, bad_rows=bad_rows, overwrite=overwrite)
    if as_json:
        print_json(vars(outcome))
        return
    typer.echo(f"{_rows(outcome.rows - outcome.bad)} to {outcome.destination}")
    if outcome.ignored:
        more = f" and {len(outcome.ignored) - _MOST_NAMED} more" if len(outcome.ignored) > _MOST_NAMED else ""
        typer.echo(f"ignored: {', '.join(outcome.ignored[:_MOST_NAMED])}{more}")
    if outcome.bad_rows is not None:
        typer.echo(f"{_rows(outcome.bad, 'bad ')} left out; {outcome.bad_rows} says why")


def _rows(count: int, kind: str = "") -> str:
    return f"{count:,} {kind}{'row' if count == 1 else 'rows'}"


class _WithoutPandas(MetaPathFinder):
    """Lets pyarrow find no pandas. It loads it where it can, which costs a third of a second and 30 MB for nothing."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)
