"""`Reproducer`: trains a version again from what it says of itself, and compares the answers."""

import json
import platform
import shutil
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from starterkit.contract import Column, Contract, Lineage
from starterkit.data import ROWS_FILE
from starterkit.errors import KitError, Refused, UserError
from starterkit.inference import CONTRACT_FILE, GRAPH_FILE
from starterkit.lineage.causes import Cause, compare
from starterkit.lineage.checkout import Checkout
from starterkit.lineage.description import hidden
from starterkit.lineage.provenance import UNKNOWN, machine
from starterkit.privacy import require_sight
from starterkit.progress import Progress, silent, step
from starterkit.registry import ModelRegistry, Version
from starterkit.settings import Settings, Stage
from starterkit.tracking import fetch_file


@dataclass(frozen=True)
class Difference:
    """How far two models' answers to the same n rows lie apart. For a classifier it is the probabilities that count."""

    rows: int
    differing: int
    largest: float
    labels: int

    @property
    def identical(self) -> bool:
        return self.differing == 0 and self.labels == 0


@dataclass(frozen=True)
class Reproduction:
    """What came of training a version again.

    Attributes
    ----------
    difference
        The answers' difference; None where the training again did not come that far.
    failure
        Why it did not.
    causes
        Commit, lock, data, parameters: same or not.
    same_graph
        Whether the exported graph is the same file, byte for byte.
    deterministic
        Whether two trainings here give the same answers; None where nobody asked.
    machine
        What is other about Python and the machine, in words; empty if nothing.
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
    """Trains versions of one registered model again.

    Parameters
    ----------
    registry, settings
        Where the versions are, and the stage as it is now.
    columns
        The data's columns as the project declares them today.
    progress
        Called when a step begins and when it ends.

    Raises
    ------
    UserError
        The stage is prod, which trains nothing.
    """

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
        with _scratch(keep) as folder:
            with step(self._progress, "open the version") as note:
                first = folder / "first"
                first.mkdir()
                fetched = self._registry.fetch(version, first / "registered")
                contract = Contract.from_json((fetched / CONTRACT_FILE).read_bytes())
                lineage = contract.lineage
                fetch_file(self._registry.connection, lineage.run, ROWS_FILE, first)
                note.text = f"{version}, from run {lineage.run[:12]}"
            self._require_origin(version, lineage)
            with step(self._progress, "check out") as note:
                checkout = Checkout(self._settings, lineage.commit, folder)
                note.text = f"commit {lineage.commit[:12]}" + (f" in {folder}" if keep else "")
            with step(self._progress, "environment") as note:
                environment = note.text = checkout.make_environment()
            data = checkout.bring_data(lineage.data_source)
            facts = self._train(checkout, first, lineage)
            answers = _answers(first)
            difference = _difference(answers, "registered", answers, "again") if answers else None
            deterministic = None
            if difference is not None and not difference.identical:
                deterministic = self._repeats_itself(checkout, folder / "second", fetched, lineage, answers)
            return Reproduction(
                version=version,
                lineage=lineage,
                environment=environment,
                data=data,
                causes=compare(lineage, facts),
                difference=difference,
                failure=facts.get("error", {}).get("what", ""),
                same_graph=facts.get("graph_digest") == contract.digests[GRAPH_FILE],
                deterministic=deterministic,
                machine=_other_machine(lineage, facts.get("python", platform.python_version())),
            )

    def _require_origin(self, version: Version, lineage: Lineage) -> None:
        if self._settings.stage is Stage.PROD or lineage.stage != self._settings.stage:
            what = (
                f"{version} was trained in stage {lineage.stage}, and stage {self._settings.stage} cannot do that again"
            )
            raise UserError(what, f"Set KIT_STAGE={lineage.stage}, and name the version by its number there")
        if lineage.commit == UNKNOWN:
            what = f"{version} was trained outside of git, so nobody can tell its code"
            raise Refused(what, "Train a new version in a git repository")
        if unknown := hidden(lineage.parameters):
            what = f"{version} was trained with a hidden {unknown[0]}, so nobody can give it that parameter again"
            raise Refused(what, "Rename the parameter if it is no secret, and train a new version")
        # The commit's code would ask its own schema, which may have called a column plain that is sensitive today.
        require_sight(self._settings.stage, self._columns)

    def _train(self, checkout: Checkout, folder: Path, lineage: Lineage, name: str = "train again") -> dict[str, Any]:
        with step(self._progress, name) as note:
            (folder / "parameters.json").write_text(json.dumps(dict(lineage.parameters)), "utf-8")
            code = checkout.train(folder, lineage.data_source)
            found = folder / "facts.json"
            if not found.exists():
                what = f"the code of commit {lineage.commit[:12]} does not run by itself (exit code {code})"
                raise KitError(what, "Add --keep and read log.txt in the folder that is named")
            facts = json.loads(found.read_text("utf-8"))
            if "error" in facts:
                seen = checkout.seen(lineage.data_source)
                facts["error"]["what"] = facts["error"]["what"].replace(seen, lineage.data_source)
            note.text = facts["error"]["what"] if "error" in facts else f"{facts['rows']} rows"
        if not Path(facts.get("code", "")).is_relative_to(checkout.root.resolve()):
            raise KitError("the training again did not run the commit's own code", "Report this with log.txt")
        return facts

    def _repeats_itself(
        self, checkout: Checkout, folder: Path, registered: Path, lineage: Lineage, first: Mapping[str, Any]
    ) -> bool | None:
        folder.mkdir()
        shutil.copytree(registered, folder / "registered")
        self._train(checkout, folder, lineage, "and once more")
        second = _answers(folder)
        return _difference(first, "again", second, "again").identical if second else None


@contextmanager
def _scratch(keep: bool) -> Generator[Path, None, None]:
    folder = Path(mkdtemp(prefix="starterkit-reproduce-")).resolve()
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _answers(folder: Path) -> Mapping[str, Any]:
    file = folder / "answers.npz"
    if not file.exists():
        return {}
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _difference(one: Mapping[str, Any], name: str, other: Mapping[str, Any], other_name: str) -> Difference:
    """Bit for bit: NaN is the same as NaN, and 0.0 is not -0.0."""
    values, others = one[name], other[other_name]
    labels = 0
    if f"{name}_probabilities" in one:
        labels = int((values != others).sum())
        values, others = one[f"{name}_probabilities"], other[f"{other_name}_probabilities"]
    rows = len(values)
    if values.shape != others.shape:  # a class more or less
        return Difference(rows, rows, float("inf"), labels)
    bits = [np.ascontiguousarray(side, dtype=np.float64).view(np.uint64).reshape(rows, -1) for side in (values, others)]
    differing = np.any(bits[0] != bits[1], axis=1)
    largest = float(np.max(np.abs(values[differing] - others[differing]), initial=0))
    return Difference(rows, int(differing.sum()), largest, labels)


def _other_machine(lineage: Lineage, python: str) -> str:
    pairs = [("Python", lineage.python, python), ("machine", lineage.machine, machine())]
    return "; ".join(f"{name} {then} then, {now} here" for name, then, now in pairs if then and then != now)
