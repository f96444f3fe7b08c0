"""Where a version comes from, and whether it can be made again."""

from typing import Annotated

import typer

from starterkit.cli.commands.common import Json, VersionName, app, open_registry, print_json
from starterkit.errors import Refused


@app.command()
def lineage(version: VersionName = "champion", as_json: Json = False) -> None:
    """Show where a version comes from, and what is other here and now."""
    registry, settings = open_registry()
    from starterkit.cli.origins import origin_as_json, show_origin
    from starterkit.lineage import trace
    from starterkit.problem import find_problem
    from starterkit.tracking import look_up

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
    from starterkit.cli.origins import reason, reproduction_as_json, show_reproduction
    from starterkit.lineage import Reproducer
    from starterkit.problem import find_problem

    reproducer = Reproducer(registry, settings, find_problem().columns, ProgressView())
    done = reproducer.reproduce(registry.find(version), keep)
    print_json(reproduction_as_json(done)) if as_json else show_reproduction(done)
    if not done.identical:
        raise Refused(*reason(done))
