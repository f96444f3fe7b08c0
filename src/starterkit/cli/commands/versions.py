"""Which version serves: moved on by the gate, moved back by a person, written down, cleared away, sent elsewhere."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from starterkit.cli.commands import (
    Explanation,
    Json,
    VersionNumber,
    app,
    end_if_refused,
    open_pipeline,
    open_registry,
    print_json,
)
from starterkit.errors import UserError

# As `Stage` has them. Importing it would make --help slower.
To = Annotated[
    Literal["local", "dev", "test", "staging", "prod"] | None,
    typer.Option("--to", help="The stage; the one that KIT_STAGE names if not given. prod takes staging's champion."),
]
Approver = Annotated[str, typer.Option("--approver", help="Who approves; prod asks for somebody.")]
Bundle = Annotated[
    Path | None, typer.Option("--from", help="What `starterkit bundle` wrote, where staging is on another server.")
]


@app.command()
def promote(
    version: VersionNumber = None,
    to: To = None,
    bundle: Bundle = None,
    approver: Approver = "",
    reason: Explanation = "",
    shadow: Annotated[bool, typer.Option("--shadow", help="Make it the challenger that is scored unheard.")] = False,
    as_json: Json = False,
) -> None:
    """Ask the gate about a version and make it champion if every check passes; to prod, copy staging's first."""
    if bundle and version is not None:
        raise UserError("--from and --version are one too many: a bundle holds one version", "Leave --version out")
    pipeline = open_pipeline("gate", stage=to)
    from starterkit.cli.summary import judgement_as_json, show_promotion
    from starterkit.release.alias import approval_by

    with pipeline.open_bundle(bundle) if bundle else nullcontext() as found:  # before the server hears of it
        promoter = pipeline.promoter
        approval_by(pipeline.settings, approver)  # before anything else is done
        if found:
            promotion = promoter.bring_from(
                pipeline.read(), found, approver=approver, explanation=reason, shadow=shadow
            )
        else:
            move = promoter.bring if pipeline.settings.stage == "prod" else promoter.promote
            promotion = move(pipeline.read(), version, approver=approver, explanation=reason, shadow=shadow)
    print_json(judgement_as_json(promotion)) if as_json else show_promotion(promotion)
    end_if_refused(promotion)


@app.command()
def rollback(
    to: Annotated[int | None, typer.Option("--to", min=1, help="The champion before if not given.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, which has to be said; it stands in the history.")] = "",
    approver: Approver = "",
    as_json: Json = False,
) -> None:
    """Let an earlier champion serve again, after a look at whether it answers."""
    if not reason.strip():
        raise UserError("a rollback needs a reason", "Say it with --reason")
    registry, settings = open_registry()
    from starterkit.cli.console import ProgressView
    from starterkit.release.alias import ChampionAlias

    done = ChampionAlias(registry, settings, ProgressView()).rollback(to, reason=reason, approver=approver)
    before = f"was {done.earlier}" if done.earlier else "there was none"
    earlier = done.earlier.number if done.earlier else None
    document = {"model": done.version.model, "version": done.version.number, "earlier_champion": earlier}
    print_json(document) if as_json else typer.echo(f"Champion: {done.version} ({before}).")


@app.command()
def history(
    settle: Annotated[str, typer.Option("--settle", help="Go on after a broken history, for this reason.")] = "",
    approver: Approver = "",
    as_json: Json = False,
) -> None:
    """Show who made which version champion, the newest first; exit with 1 if the record or the champion was changed."""
    registry, settings = open_registry()
    from starterkit.cli.views import history_as_json, show_history
    from starterkit.errors import Refused
    from starterkit.release.alias import ChampionAlias
    from starterkit.release.history import Ledger
    from starterkit.release.trust import history_doubts

    if settle:
        ChampionAlias(registry, settings).settle(reason=settle, approver=approver)
    ledger = Ledger(registry)
    entries, broken = ledger.entries(), ledger.find_break()
    doubts = history_doubts(registry)
    if as_json:
        print_json(history_as_json(registry.model, entries, broken, doubts))
    else:
        show_history(registry.model, entries)
    for doubt in doubts:
        if doubt.before:
            typer.echo(f"note: {doubt.what}. {doubt.hint}", err=True)
    if broken:
        hint = "Find out who changed MLflow's tags; docs/promotion.md says what can be told and what cannot. Then"
        raise Refused(
            f"the history of {registry.model} is broken: {broken}",
            f"{hint} `starterkit history --settle REASON` goes on with what is left",
        )
    if failing := [doubt for doubt in doubts if not doubt.before]:
        more = f", and {len(failing) - 1} more: `starterkit doctor` names all" if len(failing) > 1 else ""
        raise Refused(failing[0].what + more, failing[0].hint)


@app.command()
def prune(
    keep_days: Annotated[int | None, typer.Option("--keep-days", min=0, help="Instead of promotion.keep_days.")] = None,
    keep: Annotated[int | None, typer.Option("--keep", min=0, help="Newest that stay; 5 if not given.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Say which old versions may go and why the others stay; delete them with --yes."""
    registry, settings = open_registry()
    from starterkit.cli.console import ProgressView
    from starterkit.cli.views import pruning_as_json, show_pruning
    from starterkit.release.prune import KEEP, Pruner

    pruner = Pruner(settings, registry, keep_days, KEEP if keep is None else keep, ProgressView())
    kept, leaving = pruner.look(), pruner.leaving()
    pruned = pruner.prune() if yes else None
    print_json(pruning_as_json(kept, leaving, pruned)) if as_json else show_pruning(kept, leaving, pruned)


# <image>
# --- A version's way to a platform, in the serving image: what would be done, or doing it.

from starterkit.release.deployment import PLATFORMS, Order, target_of  # noqa: E402  # goes with its part


@app.command()
def deploy(
    target: Annotated[str, typer.Argument(help=f"One of: {', '.join(PLATFORMS)}.")],
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


# </image>
# --- A version's way to prod on another server, in one signed file. See docs/promotion-two-servers.md.


@app.command()
def keys(
    new: Annotated[bool, typer.Option("--new", help="Make another key. The earlier one signs no more.")] = False,
    as_json: Json = False,
) -> None:
    """Print the public half of the key that signs bundles; the first call makes the key."""
    from starterkit.release.bundle import KEY_FILE, SigningKey, make_key
    from starterkit.settings import read_layers

    layers = read_layers()
    given = layers.settings.promotion.signing_key
    origin = layers.origins["promotion.signing_key"]
    if new and given and origin != KEY_FILE:
        raise UserError(f"the key comes from {origin}, and one in {KEY_FILE} would not be read", "Renew it there")
    made = new or given is None
    key = make_key(layers.settings.root, renew=new) if made or given is None else SigningKey(given.get_secret_value())
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
    from starterkit.settings import load_settings

    key = load_settings().promotion.signing_key
    if key is None:
        what = "promotion.signing_key is not set, and prod takes signed bundles alone"
        raise UserError(what, "Run `starterkit keys`")
    registry, _ = open_registry()
    from starterkit.cli.console import ProgressView
    from starterkit.release.bundle import SigningKey, write_bundle

    signing = SigningKey(key.get_secret_value())
    written = write_bundle(registry, registry.find(version), signing, file, ProgressView())
    if as_json:
        said = {"file": str(file), "digest": written.digest, "key": written.key}
        print_json(said | {"model": written.manifest.model, "version": written.manifest.version})
        return
    typer.echo(f"{file} holds {written.manifest}, signed with key {written.key}.")
    if written.manifest.stage == "staging":
        typer.echo(f"Where prod's server is: `starterkit promote --to prod --from {file.name} --approver NAME`")
    else:
        typer.echo(f"Prod will not take it: it takes staging's versions alone, and this is {written.manifest.stage}'s.")
