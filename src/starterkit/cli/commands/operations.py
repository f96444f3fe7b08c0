"""A model in use: answers over HTTP and over files, where a version comes from, and the installation around it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from starterkit.cli.commands import Folder, Json, VersionName, app, open_registry, print_json
from starterkit.errors import Refused, UserError

if TYPE_CHECKING:
    from starterkit.serving.batch import Outcome

BadRows = Literal["stop", "aside"]
Beyond = Literal["refuse", "mark"]
# <spark>
Engine = Literal["local", "spark"]
# </spark>
_MOST_NAMED = 8


@app.command()
def serve(
    folder: Folder = None,
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Instead of serving.port.")] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when src/ or config/ changes.")] = False,
) -> None:
    """Answer requests with the champion: POST /predict, and a page to try it."""
    from starterkit.cli.console import show_warnings
    from starterkit.serving.http import Platform
    from starterkit.settings import read_layers

    platform, layers = Platform.of(os.environ), read_layers()
    folder, port = folder or platform.folder, port or platform.port
    show_warnings(layers.warnings)  # such as an API of stage staging that asks nobody for a key
    settings = layers.settings
    listening = settings.serving.model_copy(update={"port": port} if port else {})
    settings = settings.model_copy(update={"serving": listening})

    from starterkit.cli.server import serve as answer  # loads uvicorn: wrong settings are told before

    answer(settings, folder, reload=reload)


@app.command(name="api-key")
def api_key(name: Annotated[str, typer.Argument(help="Whose it is, in the API's file of keys.")]) -> None:
    """Make a key for a client of the API: the key goes to the client, the line to the file `serving.api_keys_file`."""
    import hashlib
    import re
    import secrets

    if not re.fullmatch(r"[\w.@-]{1,64}", name):
        raise UserError(f"'{name[:64]}' is no name of a key", "Give letters, digits, '.', '@', '_' and '-'")
    key = secrets.token_urlsafe(32)
    typer.echo(f"The key, which is kept nowhere: {key}", err=True)
    typer.echo(f"{name} {hashlib.sha256(key.encode()).hexdigest()}")


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
    # <spark>
    engine: Annotated[Engine, typer.Option("--engine", help="This machine's cores, or a Spark cluster's.")] = "local",
    master: Annotated[str, typer.Option("--master", help="Spark's, such as spark://host:7077.")] = "local[*]",
    # </spark>
    as_json: Json = False,
) -> None:
    """Score files with the champion. Ended in the middle, the same command goes on."""
    # <spark>
    if engine == "spark":
        outcome = _score_by_spark(source, destination, folder, beyond, master, bad_rows, overwrite)
        _show_outcome(outcome, as_json)
        return
    if master != "local[*]":
        raise UserError(f"--master {master} is Spark's", "Add --engine spark")
    # </spark>
    sys.meta_path.insert(0, _WithoutPandas())
    from starterkit.cli.console import ProgressView
    from starterkit.progress import step
    from starterkit.serving.batch import BatchScorer
    from starterkit.serving.batch.plan import plan_files
    from starterkit.serving.predictor import Predictor

    plan_files(source, destination, overwrite=overwrite)  # seen before the model is fetched
    view = ProgressView()
    with step(view, "open the model") as note, _exported(folder, beyond) as (exported, rule, note.text):
        predictor = Predictor(exported, beyond=rule)
    outcome = BatchScorer(predictor, view).score(source, destination, bad_rows=bad_rows, overwrite=overwrite)
    _show_outcome(outcome, as_json)


# <spark>
def _score_by_spark(
    source: Path,
    destination: Path,
    folder: Path | None,
    beyond: Beyond | None,
    master: str,
    bad_rows: BadRows,
    overwrite: bool,
) -> "Outcome":
    from starterkit.cli.console import ProgressView
    from starterkit.serving.batch.cluster import require_spark
    from starterkit.serving.batch.plan import plan_files
    from starterkit.serving.batch.spark import SparkScorer

    plan_files(source, destination, overwrite=overwrite)
    require_spark()  # before the model is fetched
    with _exported(folder, beyond) as (exported, rule, _):
        scorer = SparkScorer(exported, rule, master, ProgressView())
    return scorer.score(source, destination, bad_rows=bad_rows, overwrite=overwrite)


# </spark>
@contextmanager
def _exported(folder: Path | None, beyond: Beyond | None) -> Iterator[tuple[Path, Beyond, str]]:
    """The model's exported folder, what is done with rows beyond its proof, and what the model is called."""
    if folder is not None:
        yield folder, beyond or "refuse", f"folder {folder.name}"
        return
    from starterkit.cli.champion import fetched_champion
    from starterkit.settings import load_settings  # a folder needs none, and they take a tenth of a second

    with fetched_champion() as fetched:
        yield fetched.folder, beyond or load_settings().serving.beyond, fetched.title


def _show_outcome(outcome: "Outcome", as_json: bool) -> None:
    if as_json:
        print_json(vars(outcome))
        return
    typer.echo(f"{_rows(outcome.rows - outcome.bad)} to {outcome.destination}")
    if outcome.ignored:
        more = f" and {len(outcome.ignored) - _MOST_NAMED} more" if len(outcome.ignored) > _MOST_NAMED else ""
        typer.echo(f"copied, and not read by the model: {', '.join(outcome.ignored[:_MOST_NAMED])}{more}")
    if outcome.bad_rows is not None:
        typer.echo(f"{_rows(outcome.bad, 'bad ')} left out; {outcome.bad_rows} says why")


def _rows(count: int, kind: str = "") -> str:
    return f"{count:,} {kind}{'row' if count == 1 else 'rows'}"


class _WithoutPandas(MetaPathFinder):
    """Lets pyarrow find no pandas. It loads it where it can, which costs a third of a second and 30 MB for nothing."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


# --- Where a version comes from, and whether it can be made again.


@app.command()
def lineage(version: VersionName = "champion", as_json: Json = False) -> None:
    """Show where a version comes from, and what is other here and now."""
    registry, settings = open_registry()
    from starterkit.cli.views import origin_as_json, show_origin
    from starterkit.problem import find_problem
    from starterkit.release.provenance import trace
    from starterkit.tracking.queries import look_up

    found = registry.find(version)
    run = look_up(registry.connection, found.run)
    origin = trace(registry, found, run, find_problem(), settings)
    print_json(origin_as_json(origin)) if as_json else show_origin(origin)


@app.command()
def reproduce(
    version: Annotated[str, typer.Argument(help="A version's number, or champion.")],
    keep: Annotated[bool, typer.Option("--keep", help="Keep the scratch folder and name it.")] = False,
    as_json: Json = False,
) -> None:
    """Train a version again from its own commit, lock, data and parameters, and compare the predictions."""
    registry, settings = open_registry()
    from starterkit.cli.console import ProgressView
    from starterkit.cli.views import reason, reproduction_as_json, show_reproduction
    from starterkit.problem import find_problem
    from starterkit.release.reproducer import Reproducer

    reproducer = Reproducer(registry, settings, find_problem().columns, ProgressView())
    done = reproducer.reproduce(registry.find(version), keep)
    print_json(reproduction_as_json(done)) if as_json else show_reproduction(done)
    if not done.identical:
        raise Refused(*reason(done))


# --- The installation: its settings, its health, and MLflow's own pages.

config = typer.Typer(help="What the stage's settings say, and where each value comes from.", no_args_is_help=True)
app.add_typer(config, name="config")


@app.command()
def unpack(folder: Annotated[Path, typer.Argument(help="Where nothing of it stands yet.")] = Path()) -> None:
    """Write the config/ and data/ that a wheel brings into a folder, where there is no clone."""
    from starterkit.files import write_together
    from starterkit.problem import brought_folder

    brought = brought_folder()
    if brought is None:
        raise UserError("the kit here brings no files: it is no wheel of `make wheel`", "Work in the clone instead")
    files = {folder / one.relative_to(brought): one for one in sorted(brought.rglob("*")) if one.is_file()}
    if standing := [path for path in files if path.exists()]:
        raise UserError(f"{standing[0]} exists already", "Name another folder, or go on with what is there")
    write_together(files)
    typer.echo(f"{len(files)} files are in {folder.resolve()}")


@app.command()
def ui(port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The port on 127.0.0.1.")] = 5000) -> None:
    """Look at runs and versions: start MLflow's UI for a local store, or say where the stage's server is."""
    from starterkit.cli.server import open_ui
    from starterkit.settings import load_settings

    open_ui(load_settings(), port)


@config.command("show")
def config_show(as_json: Json = False) -> None:
    """Print every setting with where its value comes from, and what weakens the stage; secrets stay hidden."""
    from starterkit.cli.console import console, show_warnings, table
    from starterkit.settings import read_layers, show, weakening

    layers = read_layers()
    shown, weak = show(layers), weakening(layers)
    if as_json:
        weaker = {key: {"weaker": words} for key, words in weak.items()}
        print_json({i.key: {"value": i.value, "origin": i.origin} | weaker.get(i.key, {}) for i in shown})
        return
    rows = [(i.key, i.value, i.origin, f"weaker: {weak[i.key]}" if i.key in weak else "") for i in shown]
    console().print(table(rows, header=("setting", "value", "from", "")))
    show_warnings(layers.warnings)


@config.command("schema")
def config_schema() -> None:
    """Print the JSON schema of the YAML files, as config/settings.schema.json holds it."""
    from starterkit.settings import schema_text

    typer.echo(schema_text(), nl=False)


@app.command()
def doctor(
    mend: Annotated[bool, typer.Option("--mend", help="First settle a promotion that was killed half-way.")] = False,
    as_json: Json = False,
) -> None:
    """Check the whole installation and name what fails, with its hint."""
    from starterkit.cli.console import ProgressView, console, table
    from starterkit.progress import step

    view = ProgressView()
    with step(view, "load libraries"):
        from rich.text import Text

        from starterkit.cli import doctor as examiner
    if mend:
        examiner.mend(progress=view)
    findings = examiner.examine(progress=view)
    if as_json:
        print_json([finding.content for finding in findings])
    else:
        words = {"well": Text("well", "green"), "warning": Text("look", "yellow"), "failing": Text("fails", "red")}
        rows = [(words[f.state], f.item, f.text if f.state == "well" else f"{f.text}. {f.hint}.") for f in findings]
        console().print(table(rows))
    if any(finding.state == "failing" for finding in findings):
        raise typer.Exit(1)
