"""`Reproducer`: trains a version again from what it says of itself, and compares the answers."""

import json
import platform
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starterkit.contract import Column, Contract, Lineage
from starterkit.data import ROWS_FILE
from starterkit.errors import KitError, Refused, UserError
from starterkit.inference import CONTRACT_FILE, GRAPH_FILE
from starterkit.lineage import answers
from starterkit.lineage.answers import Difference, difference
from starterkit.lineage.causes import Cause, compare
from starterkit.lineage.checkout import Checkout
from starterkit.lineage.provenance import UNKNOWN, hidden, machine
from starterkit.privacy import require_sight
from starterkit.progress import Progress, silent, step
from starterkit.registry import ModelRegistry, Version
from starterkit.scratch import scratch_folder
from starterkit.settings import Settings, Stage
from starterkit.tracking import fetch_file


@dataclass(frozen=True)
class Reproduction:
    """What came of training a version again.

    `causes` are commit, lock, data and parameters: same or not. `difference` is None where the training again did not
    come to answers, and `failure` says why. `same_graph` is byte for byte. `deterministic` says whether two trainings
    here give the same answers; None where nobody asked. `machine` says what is other about Python and the machine.
    """

    version: Version
    lineage: Lineage
    environment: str
    data: str
    causes: tuple[Cause, ...]
    difference: Difference | None
    failure: str = ""
    same_graph: bool = False
    deterministic: bool | None = None
    machine: str = ""

    @property
    def identical(self) -> bool:
        return self.difference is not None and self.difference.identical

    @property
    def differing(self) -> tuple[Cause, ...]:
        return tuple(cause for cause in self.causes if cause.same is False)


class Reproducer:
    """Trains versions of one registered model again. `columns` are the data's as the project declares them today."""

    def __init__(
        self, registry: ModelRegistry, settings: Settings, columns: Iterable[Column], progress: Progress = silent
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._columns = columns
        self._progress = progress

    def reproduce(self, version: Version, keep: bool = False) -> Reproduction:
        """Train again in a scratch folder, which is removed afterwards unless it is to be kept.

        Raises
        ------
        UserError
            The version was trained in another stage, or its commit is not here.
        DataError
            The stage may not see a column that is sensitive today, whatever the commit's schema says of it.
        KitError
            The commit's environment cannot be made, or its code does not run.
        """
        with scratch_folder("reproduce", keep) as folder:
            with step(self._progress, "open the version") as note:
                first = folder / "first"
                first.mkdir()
                registered = self._registry.fetch(version, first / "registered")
                contract = Contract.from_json((registered / CONTRACT_FILE).read_bytes())
                lineage = contract.lineage
                fetch_file(self._registry.connection, lineage.run, ROWS_FILE, first)
                note.text = f"{version}, from run {lineage.run[:12]}"
            self._require_origin(version, contract)
            with step(self._progress, "check out") as note:
                checkout = Checkout(self._settings, lineage.commit, folder)
                note.text = f"commit {lineage.commit[:12]}" + (f" in {folder}" if keep else "")
            with step(self._progress, "environment") as note:
                environment = note.text = checkout.make_environment()
            data = checkout.bring_data(lineage.data_source)
            facts = self._train(checkout, first, lineage)
            given = answers.read(first)
            found = difference(*given) if given else None
            deterministic = None
            if given and found and not found.identical:
                second = shutil.copytree(registered, folder / "second" / "registered").parent
                self._train(checkout, second, lineage, "and once more")
                if once_more := answers.read(second):
                    deterministic = difference(given[1], once_more[1]).identical
            return Reproduction(
                version=version,
                lineage=lineage,
                environment=environment,
                data=data,
                causes=compare(lineage, facts),
                difference=found,
                failure=facts.get("error", {}).get("what", ""),
                same_graph=facts.get("graph_digest") == contract.digests[GRAPH_FILE],
                deterministic=deterministic,
                machine=_other_machine(lineage, facts.get("python", platform.python_version())),
            )

    def _require_origin(self, version: Version, contract: Contract) -> None:
        settings, lineage = self._settings, contract.lineage
        if settings.stage is Stage.PROD or lineage.stage != settings.stage:
            what = f"{version} was trained in stage {lineage.stage}, and stage {settings.stage} cannot do that again"
            raise UserError(what, f"Set KIT_STAGE={lineage.stage}, and name the version by its number there")
        if lineage.commit == UNKNOWN:
            what = f"{version} was trained outside of git, so nobody can tell its code"
            raise Refused(what, "Train a new version in a git repository")
        if unknown := hidden(lineage.parameters):
            what = f"{version} was trained with a hidden {unknown[0]}, so nobody can give it that parameter again"
            raise Refused(what, "Rename the parameter if it is no secret, and train a new version")
        # The commit's code asks its own schema, which may have called a column plain that is sensitive today.
        masked = {column.name for column in (*contract.columns, contract.target) if column.sensitivity == "sensitive"}
        require_sight(settings.stage, [column for column in self._columns if column.name not in masked])

    def _train(self, checkout: Checkout, folder: Path, lineage: Lineage, name: str = "train again") -> dict[str, Any]:
        with step(self._progress, name) as note:
            (folder / "parameters.json").write_text(json.dumps(dict(lineage.parameters)), "utf-8")
            code, found = checkout.train(folder, lineage.data_source), folder / "facts.json"
            if not found.exists():
                what = f"the code of commit {lineage.commit[:12]} does not run by itself (exit code {code})"
                raise KitError(what, "Add --keep and read log.txt in the folder that is named")
            facts = json.loads(found.read_text("utf-8"))
            if error := facts.get("error"):
                error["what"] = error["what"].replace(checkout.seen(lineage.data_source), lineage.data_source)
            note.text = error["what"] if error else f"{facts['rows']} rows"
        if not Path(facts.get("code", "")).is_relative_to(checkout.root.resolve()):
            raise KitError("the training again did not run the commit's own code", "Report this with log.txt")
        return facts


def _other_machine(lineage: Lineage, python: str) -> str:
    pairs = [("Python", lineage.python, python), ("machine", lineage.machine, machine())]
    return "; ".join(f"{name} {then} then, {now} here" for name, then, now in pairs if then and then != now)
