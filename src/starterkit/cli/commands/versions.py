"""Which version serves: moved on by the gate, moved back by a person, written down, and old ones cleared away."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from starterkit.cli.commands.common import (
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
    version: VersionNumber = None, to: To = None, bundle: Bundle = None, approver: Approver = "", as_json: Json = False
) -> None:
    """Ask the gate about a version and make it champion if every check passes; to prod, copy staging's first."""
    if bundle and version is not None:
        raise UserError("--from and --version are one too many: a bundle holds one version", "Leave --version out")
    pipeline = open_pipeline(to, trains=False)
    from starterkit.cli.summary import judgement_as_json, show_promotion

    with pipeline.open_bundle(bundle) if bundle else nullcontext() as found:  # before the server hears of it
        promoter = pipeline.promoter
        promoter.require_approver(approver)
        if found:
            promotion = promoter.bring_from(pipeline.read(), found, approver=approver)
        else:
            move = promoter.bring if pipeline.settings.stage == "prod" else promoter.promote
            promotion = move(pipeline.read(), version, approver=approver)
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
    pipeline = open_pipeline(trains=False)
    done = pipeline.promoter.rollback(to, reason=reason, approver=approver)
    before = f"was {done.earlier}" if done.earlier else "there was none"
    earlier = done.earlier.number if done.earlier else None
    document = {"model": done.version.model, "version": done.version.number, "earlier_champion": earlier}
    print_json(document) if as_json else typer.echo(f"Champion: {done.version} ({before}).")


@app.command()
def history(as_json: Json = False) -> None:
    """Show who made which version champion, the newest first; exit with 1 if the record was changed."""
    registry, _ = open_registry()
    from starterkit.cli.moves import history_as_json, show_history
    from starterkit.errors import Refused
    from starterkit.registry import Ledger

    ledger = Ledger(registry)
    entries, broken = ledger.entries(), ledger.find_break()
    print_json(history_as_json(registry.model, entries, broken)) if as_json else show_history(registry.model, entries)
    if broken:
        mend = "Find out who changed MLflow's tags; docs/promotion.md says what can be told and what cannot"
        raise Refused(f"the history of {registry.model} is broken: {broken.text}", mend)


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
    from starterkit.cli.moves import pruning_as_json, show_pruning
    from starterkit.promotion import KEEP, Pruner

    pruner = Pruner(settings, registry, keep_days, KEEP if keep is None else keep, ProgressView())
    kept, leaving = pruner.look(), pruner.leaving()
    pruned = pruner.prune() if yes else None
    print_json(pruning_as_json(kept, leaving, pruned)) if as_json else show_pruning(kept, leaving, pruned)
