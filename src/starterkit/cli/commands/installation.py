"""Where a version comes from, and the installation: its settings, its health, and MLflow's own pages."""

from typing import Annotated

import typer

from starterkit.cli.commands import Json, VersionName, app, open_registry, print_json
from starterkit.errors import Refused

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

        from starterkit.cli.doctor import Doctor
    examiner = Doctor(progress=view)
    if mend:
        examiner.mend()
    findings = examiner.examine()
    if as_json:
        print_json([finding.content for finding in findings])
    else:
        words = {"well": Text("well", "green"), "warning": Text("look", "yellow"), "failing": Text("fails", "red")}
        rows = [(words[f.state], f.item, f.text if f.state == "well" else f"{f.text}. {f.hint}.") for f in findings]
        console().print(table(rows))
    if any(finding.state == "failing" for finding in findings):
        raise typer.Exit(1)
