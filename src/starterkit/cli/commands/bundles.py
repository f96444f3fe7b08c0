"""A version's way to prod on another server, in one signed file. See docs/promotion-two-servers.md."""

from pathlib import Path
from typing import Annotated

import typer

from starterkit.cli.commands.common import Json, app, open_registry, print_json
from starterkit.errors import UserError


@app.command()
def keys(
    new: Annotated[bool, typer.Option("--new", help="Make another key. The earlier one signs no more.")] = False,
    as_json: Json = False,
) -> None:
    """Print the public half of the key that signs bundles; the first call makes the key."""
    from starterkit.promotion.bundle.keys import KEY_FILE, SigningKey, make_key
    from starterkit.settings import read_layers

    layers = read_layers()
    given = layers.settings.promotion.signing_key
    origin = layers.origins["promotion.signing_key"]
    if new and given and origin != KEY_FILE:
        raise UserError(f"the key comes from {origin}, and one in {KEY_FILE} would not be read", "Renew it there")
    made = new or given is None
    key = make_key(layers.settings.root) if made or given is None else SigningKey(given.get_secret_value())
    if as_json:
        print_json({"key": key.id, "public": key.public, "made": made})
        return
    typer.echo(f"Key {key.id}, " + (f"made now and kept in {KEY_FILE}." if made else f"from {origin}."))
    typer.echo("Prod takes its bundles when config/prod.yaml says so; keep keys there whose bundles are still to come:")
    typer.echo(f"\npromotion:\n  trusted_keys:\n    - {key.public} # {key.id}")


@app.command()
def bundle(
    file: Annotated[Path, typer.Argument(help="The file to write, as staging.zip. An earlier bundle is replaced.")],
    version: Annotated[str, typer.Option("--version", help="A version's number; the champion if not given.")] = (
        "champion"
    ),
    as_json: Json = False,
) -> None:
    """Write a version that its gate passed into one signed file, for prod on another server."""
    key = _signing_key()
    registry, _ = open_registry()
    from starterkit.cli.console import ProgressView
    from starterkit.promotion.bundle import SigningKey, write_bundle

    written = write_bundle(registry, registry.find(version), SigningKey(key), file, ProgressView())
    if as_json:
        said = {"file": str(file), "digest": written.digest, "key": written.key}
        print_json(said | {"model": written.manifest.model, "version": written.manifest.version})
        return
    typer.echo(f"{file} holds {written.manifest}, signed with key {written.key}.")
    if written.manifest.stage == "staging":
        typer.echo(f"Where prod's server is: `starterkit promote --to prod --from {file.name} --approver NAME`")
    else:
        typer.echo(f"Prod will not take it: it takes staging's versions alone, and this is {written.manifest.stage}'s.")


def _signing_key() -> str:
    from starterkit.settings import load_settings

    key = load_settings().promotion.signing_key
    if key is None:
        what = "promotion.signing_key is not set, and prod takes signed bundles alone"
        raise UserError(what, "Run `starterkit keys`")
    return key.get_secret_value()
