"""The serving image on a platform: what would be done, or doing it."""

from pathlib import Path
from typing import Annotated

import typer

from starterkit.cli.commands import Json, app, open_registry, print_json
from starterkit.errors import UserError
from starterkit.release.deployment import Order, platforms, target_of


@app.command()
def deploy(
    target: Annotated[str, typer.Argument(help=f"One of: {', '.join(platforms())}.")],
    image: Annotated[str, typer.Option("--image", help="The serving image, as the platform pulls it.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done; needs no rights.")] = False,
    to: Annotated[Path | None, typer.Option("--to", help="A folder for the files, instead of printing them.")] = None,
    given: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE, which the platform asks for.")] = None,
    as_json: Json = False,
) -> None:
    """Run the serving image on a platform, with the stage's settings."""
    values = dict(_pair(one) for one in given or ())
    registry, settings = open_registry()
    from starterkit.files import write_together

    champion = registry.find("champion")
    chosen = target_of(target, Order(settings, image, champion.model, str(champion.number), values))
    plan = chosen.plan()
    if not dry_run:
        chosen.check()
    if to:
        to.mkdir(parents=True, exist_ok=True)
        write_together({to / name: text.encode() for name, text in plan.files.items()})
    done = "" if dry_run else chosen.apply(plan)
    if as_json:
        about = {"target": target, "image": image, "model": champion.model, "version": champion.number}
        print_json(about | {"steps": plan.steps, "files": plan.files, "done": done or None})
    elif done:
        typer.echo(done)
    else:
        for number, step in enumerate(plan.steps, 1):
            typer.echo(f"# {number}. {step}")
        for name, text in plan.files.items():
            typer.echo(f"# {to / name}" if to else f"# --- {name}\n{text.rstrip()}")


def _pair(said: str) -> tuple[str, str]:
    name, sign, value = said.partition("=")
    if not (name and sign):
        raise UserError(f"--set {said} is no NAME=VALUE", "Write it as in --set role=arn:aws:iam::1:role/api")
    return name, value
