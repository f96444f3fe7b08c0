"""`Origin`: everything that is known of where a version comes from, and what is other here and now."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from starterkit.contract import Contract, Lineage, Parity
from starterkit.data import DatasetReader
from starterkit.errors import KitError
from starterkit.inference import CONTRACT_FILE
from starterkit.lineage.causes import in_words, other_parameters
from starterkit.lineage.git import git
from starterkit.lineage.provenance import lock_digest, machine, plain, working_tree
from starterkit.problem import Problem
from starterkit.registry import ModelRegistry, Version
from starterkit.scratch import scratch_folder
from starterkit.settings import Settings, mask
from starterkit.tracking import RunRecord
from starterkit.tracking.local_store import path_of


@dataclass(frozen=True)
class Origin:
    """Where a version comes from.

    `subject` is the first line of the commit's message, and empty where this clone does not have it. `here` says what
    is other in the present working tree, by the name of what it is other than.
    """

    version: Version
    champion: bool
    lineage: Lineage
    parity: Parity
    run: RunRecord | None
    subject: str
    date: datetime | None
    files: str
    here: Mapping[str, str] = field(default_factory=dict)


def trace(
    registry: ModelRegistry, version: Version, run: RunRecord | None, problem: Problem, settings: Settings
) -> Origin:
    """Ask the version's own files, its run and git.

    Raises
    ------
    TrackingError
        The version's files cannot be had.
    ContractError
        They are of another format, or altered.
    """
    with scratch_folder() as folder:
        contract = Contract.from_json((registry.fetch(version, folder) / CONTRACT_FILE).read_bytes())
    lineage = contract.lineage
    said = git(settings.root, "show", "--no-patch", "--format=%cI%n%s", f"{lineage.commit}^{{commit}}") or "\n"
    date, _, subject = said.partition("\n")
    return Origin(
        version=version,
        champion=registry.champion() == version,
        lineage=lineage,
        parity=contract.parity,
        run=run,
        subject=subject.strip(),
        date=datetime.fromisoformat(date) if date else None,
        files=_shown(registry.location(version), settings.root),
        here=_here(lineage, problem, settings),
    )


def _here(lineage: Lineage, problem: Problem, settings: Settings) -> dict[str, str]:
    tree = working_tree(settings.root)
    pairs = {
        "commit": (lineage.commit[:12], tree.commit[:12]),
        "lock": (lineage.lock_digest[:12], lock_digest(settings.root)[:12]),
        "python": (lineage.python, platform.python_version()),
        "machine": (lineage.machine, machine()),
        "stage": (lineage.stage, str(settings.stage)),
    }
    here = {name: now for name, (then, now) in pairs.items() if then and then != now}
    if tree.changed:
        here["files"] = f"{in_words(tree.changed)} changed"
    if "stage" in here:
        return here  # with data and parameters of its own
    now = plain(problem.parameters(settings.training.params, settings.training.seed))
    if lineage.parameters and (other := other_parameters(lineage.parameters, now)):
        here["parameters"] = ", ".join(f"{name} {now.get(name, 'not there')}" for name in other)
    return here | _data_here(lineage, problem, settings)


def _data_here(lineage: Lineage, problem: Problem, settings: Settings) -> dict[str, str]:
    """The rows of a file are compared. A database is left in peace: `reproduce` asks it."""
    source = mask(settings.data.source)
    if source != lineage.data_source:
        return {"data": source}
    if settings.data.is_database:
        return {}
    try:
        place = settings.data, settings.root, settings.stage, settings.privacy
        dataset = DatasetReader(problem, *place, keep_key=False).read()
    except KitError as error:
        return {"data": error.what}
    same = dataset.digest == lineage.data_digest
    return {} if same else {"data": f"{len(dataset)} rows, digest {dataset.digest[:12]}"}


def _shown(address: str, root: Path) -> str:
    """A local store's address as a path, from the repository where it lies there."""
    if not address.startswith("file:"):
        return mask(address)
    path = path_of(address)
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
