"""The commands. Each imports what it needs when it is called, so that ``--help`` answers at once."""

import json
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from starterkit.errors import Refused

if TYPE_CHECKING:
    from starterkit.pipeline import Judgement, Pipeline
    from starterkit.registry import ModelRegistry
    from starterkit.settings import Settings

app = typer.Typer(
    help="From raw data to a registered, gated model that answers. KIT_STAGE picks the stage; unset means local.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config = typer.Typer(help="What the stage's settings say, and where each value comes from.", no_args_is_help=True)
app.add_typer(config, name="config")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for scripts.")]
RunId = Annotated[str | None, typer.Option("--run", help="An MLflow run; the newest finished one if not given.")]
VersionName = Annotated[str, typer.Argument(help="A version's number; the champion if not given.")]
VersionNumber = Annotated[int | None, typer.Option("--version", min=1, help="The newest version if not given.")]
Folder = Annotated[Path | None, typer.Option("--folder", help="An exported folder instead of the champion.")]

BadRows = Literal["stop", "aside"]


@app.command()
def run(as_json: Json = False) -> None:
    """Do every step: read, train, export, register, pass the gate, score."""
    pipeline = _pipeline()
    from starterkit.cli.summary import show_summary, summary_as_json

    summary = pipeline.run()
    _print_json(summary_as_json(summary)) if as_json else show_summary(summary, pipeline.settings)
    _end_if_refused(summary.promotion)


@app.command()
def train(as_json: Json = False) -> None:
    """Train, evaluate on the holdout, and log a run."""
    pipeline = _pipeline()
    from starterkit.cli.summary import show_scores

    trained = pipeline.train(pipeline.read())
    model, run_id = trained.model, trained.lineage.run
    scores = {"holdout": dict(model.evaluation.scores), "naive": dict(model.baseline.scores)}
    _print_json({"run": run_id, **scores}) if as_json else show_scores(model, run_id)


@app.command()
def export(
    run: RunId = None,
    to: Annotated[Path | None, typer.Option("--to", help="Keep a copy of the exported folder here.")] = None,
    as_json: Json = False,
) -> None:
    """Convert a run's estimator to ONNX and prove that both answer alike."""
    pipeline = _pipeline()
    dataset = pipeline.read()
    exported = pipeline.export(pipeline.trained(dataset, run), dataset, to)
    kept = f"; kept in {to}" if to else ""
    text = f"Run {exported.run} has the exported model {exported.model_id}{kept}."
    _print_json({"run": exported.run, "model_id": exported.model_id}) if as_json else typer.echo(text)


@app.command()
def register(run: RunId = None, as_json: Json = False) -> None:
    """Make a version of the model that a run exported."""
    version = _pipeline().register(run)
    text = f"Registered {version}. `starterkit promote` asks the gate about it."
    _print_json({"model": version.model, "version": version.number}) if as_json else typer.echo(text)


@app.command()
def gate(version: VersionNumber = None, as_json: Json = False) -> None:
    """Ask the gate about a version and change nothing; exit with 1 if it would be refused."""
    pipeline = _pipeline()
    from starterkit.cli.summary import judgement_as_json, show_judgement

    judged = pipeline.judge(pipeline.read(), version)
    _print_json(judgement_as_json(judged)) if as_json else show_judgement(judged)
    if not as_json and judged.decision.passed:
        typer.echo(f"\n`starterkit promote --version {judged.version.number}` makes it champion.")
    _end_if_refused(judged)


@app.command()
def promote(version: VersionNumber = None, as_json: Json = False) -> None:
    """Ask the gate about a version and make it champion if every check passes."""
    pipeline = _pipeline()
    from starterkit.cli.summary import judgement_as_json, show_promotion

    promotion = pipeline.promote(pipeline.read(), version)
    _print_json(judgement_as_json(promotion)) if as_json else show_promotion(promotion)
    _end_if_refused(promotion)


@app.command()
def serve(
    folder: Folder = None,
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Instead of serving.port.")] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when src/ or config/ changes.")] = False,
) -> None:
    """Answer requests with the champion: POST /predict, and /docs to try it."""
    from starterkit.settings import load_settings

    settings = load_settings()
    listening = settings.serving.model_copy(update={"port": port} if port else {})
    settings = settings.model_copy(update={"serving": listening})
    if reload:
        from starterkit.cli.reloading import Reloader

        Reloader(settings, folder).run()
    else:
        from starterkit.cli.answering import answer

        answer(settings, folder)


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
    _print_json({"model": kept.model, "version": kept.version, "folder": str(to)}) if as_json else typer.echo(text)


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
    from starterkit.progress import step
    from starterkit.settings import load_settings
    from starterkit.traffic import TrafficSender, address_of

    settings = load_settings()
    view = ProgressView()
    secret = settings.serving.api_key if settings.serving.require_api_key else None
    key = secret.get_secret_value() if secret else None
    sender = TrafficSender(url or address_of(settings.serving), key, view)
    with step(view, "read the data") as note:
        from starterkit.data import DatasetReader, as_records
        from starterkit.problem import find_problem

        dataset = DatasetReader(find_problem(), settings.data, settings.root, settings.stage).read()
        records = as_records(dataset.holdout.features)
        note.text = f"{len(records)} rows of the holdout"
    sender.wait_until_ready(wait)
    sent = sender.send(records, count, rate)
    _print_json(vars(sent)) if as_json else typer.echo(sent)
    sent.require_answers()


@app.command()
def predict(
    source: Annotated[Path, typer.Argument(help="A .csv, .parquet, .arrow, .feather or .arrows file, or a folder.")],
    destination: Annotated[Path, typer.Argument(help="The file or folder to write, with the answers added.")],
    folder: Folder = None,
    bad_rows: Annotated[BadRows, typer.Option("--bad-rows", help="Leave them out and say why, or stop.")] = "stop",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a destination that exists.")] = False,
    as_json: Json = False,
) -> None:
    """Score files with the champion. Ended in the middle, the same command goes on."""
    sys.meta_path.insert(0, _WithoutPandas())
    from starterkit.batch import BatchScorer, plan_files
    from starterkit.cli.champion import fetched_champion
    from starterkit.cli.console import ProgressView
    from starterkit.inference import Predictor
    from starterkit.progress import step

    plan_files(source, destination, overwrite=overwrite)  # seen before the model is fetched
    view = ProgressView()
    with step(view, "open the model") as note:
        if folder is not None:
            predictor, note.text = Predictor(folder), f"folder {folder.name}"
        else:
            with fetched_champion() as fetched:
                predictor, note.text = Predictor(fetched.folder), fetched.title
    outcome = BatchScorer(predictor, view).score(source, destination, bad_rows=bad_rows, overwrite=overwrite)
    if as_json:
        _print_json(vars(outcome))
        return
    typer.echo(f"{outcome.rows - outcome.bad:,} rows to {outcome.destination}")
    if outcome.bad_rows is not None:
        rows = "row" if outcome.bad == 1 else "rows"
        typer.echo(f"{outcome.bad:,} bad {rows} left out; {outcome.bad_rows} says why")


@app.command()
def lineage(version: VersionName = "champion", as_json: Json = False) -> None:
    """Show where a version comes from, and what is other here and now."""
    registry, settings = _registry()
    from starterkit.cli.origins import origin_as_json, show_origin
    from starterkit.lineage import trace
    from starterkit.problem import find_problem
    from starterkit.tracking import look_up

    found = registry.find(version)
    run = look_up(registry.connection, found.run)
    origin = trace(registry, found, run, find_problem(), settings)
    _print_json(origin_as_json(origin)) if as_json else show_origin(origin)


@app.command()
def reproduce(
    version: Annotated[str, typer.Argument(help="A version's number, or champion.")],
    keep: Annotated[bool, typer.Option("--keep", help="Keep the scratch folder and name it.")] = False,
    as_json: Json = False,
) -> None:
    """Train a version again from its own commit, lock, data and parameters, and compare the predictions."""
    registry, settings = _registry()
    from starterkit.cli.console import ProgressView
    from starterkit.cli.origins import reason, reproduction_as_json, show_reproduction
    from starterkit.lineage import Reproducer
    from starterkit.problem import find_problem

    reproducer = Reproducer(registry, settings, find_problem().columns, ProgressView())
    done = reproducer.reproduce(registry.find(version), keep)
    _print_json(reproduction_as_json(done)) if as_json else show_reproduction(done)
    if not done.identical:
        raise Refused(*reason(done))


@app.command()
def ui(port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The port on 127.0.0.1.")] = 5000) -> None:
    """Look at runs and versions: start MLflow's UI for a local store, or say where the stage's server is."""
    from starterkit.cli.ui import open_ui
    from starterkit.settings import load_settings

    open_ui(load_settings(), port)


@config.command("show")
def config_show(as_json: Json = False) -> None:
    """Print every setting with where its value comes from; secrets stay hidden."""
    from starterkit.cli.console import console, show_warnings, table
    from starterkit.settings import read_layers, show

    layers = read_layers()
    shown = show(layers)
    if as_json:
        _print_json({item.key: {"value": item.value, "origin": item.origin} for item in shown})
        return
    console().print(table([(i.key, i.value, i.origin) for i in shown], header=("setting", "value", "from")))
    show_warnings(layers.warnings)


@config.command("schema")
def config_schema() -> None:
    """Print the JSON schema of the YAML files, as config/settings.schema.json holds it."""
    from starterkit.settings import schema_text

    typer.echo(schema_text(), nl=False)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check the whole installation and name what fails, with its mend."""
    from starterkit.cli.console import ProgressView, console, table
    from starterkit.progress import step

    view = ProgressView()
    with step(view, "load libraries"):
        from rich.text import Text

        from starterkit.doctor import Doctor
    findings = Doctor(progress=view).examine()
    if as_json:
        _print_json([vars(finding) for finding in findings])
    else:
        words = {"well": Text("well", "green"), "warning": Text("look", "yellow"), "failing": Text("fails", "red")}
        rows = [(words[f.state], f.item, f.text if f.state == "well" else f"{f.text}. {f.mend}.") for f in findings]
        console().print(table(rows))
    if any(finding.state == "failing" for finding in findings):
        raise typer.Exit(1)


def _pipeline() -> "Pipeline":
    from starterkit.cli.console import ProgressView, show_warnings
    from starterkit.progress import step
    from starterkit.settings import read_layers

    layers = read_layers()
    show_warnings(layers.warnings)
    view = ProgressView()
    with step(view, "load libraries") as note:
        from starterkit.pipeline import Pipeline
        from starterkit.problem import find_problem

        problem = find_problem()
        note.text = f"{problem.title}, stage {layers.settings.stage}"
    return Pipeline(problem, layers.settings, view)


def _registry() -> "tuple[ModelRegistry, Settings]":
    from starterkit.cli.console import ProgressView
    from starterkit.progress import step
    from starterkit.settings import load_settings

    settings = load_settings()
    with step(ProgressView(), "connect to MLflow") as note:
        from starterkit.problem import find_problem
        from starterkit.registry import ModelRegistry
        from starterkit.tracking import connect

        registry = ModelRegistry(connect(settings.tracking, settings.root), settings.stage, find_problem().name)
        note.text = registry.connection.name
    return registry, settings


class _WithoutPandas(MetaPathFinder):
    """Lets pyarrow find no pandas. It loads it where it can, which costs a third of a second and 30 MB for nothing."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def _print_json(document: object) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))


def _end_if_refused(judged: "Judgement") -> None:
    from starterkit.cli.summary import refusal

    if not judged.decision.passed:
        raise refusal(judged)
