"""`Reproducer`: trains a version again in a checkout of its commit, and compares the answers.

See docs/decisions/0013-reproduce.md.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from starterkit.contract import Column, Contract, Lineage, Prediction
from starterkit.data import proof_of
from starterkit.data.dataset import ROWS_FILE
from starterkit.data.policy import require_visible
from starterkit.errors import KitError, Refused, UserError
from starterkit.files import scratch_folder
from starterkit.machine import running
from starterkit.progress import Progress, silent, step
from starterkit.release.provenance import LOCK, UNKNOWN, Cause, compare, git, hidden, machine, off_lock
from starterkit.serving.predictor import CONTRACT_FILE, GRAPH_FILE
from starterkit.settings import Settings, Stage
from starterkit.tracking.queries import fetch_file
from starterkit.tracking.registry import ModelRegistry, Version

# --- `Checkout`: an earlier commit in a scratch folder, with an environment that holds its lock.

_RETRAIN = ("starterkit.release.retrain", "starterkit.release.lineage.retrain", "starterkit.lineage.again")
"""Where commits of now, and those of earlier rooms, train by themselves."""
_VENV = ".venv"


class Checkout:
    """The repository at a commit, under `folder`. The user's own is only read.

    Raises
    ------
    UserError
        There is no repository here, or it lacks the commit.
    Refused
        The commit cannot train again.
    """

    def __init__(self, settings: Settings, commit: str, folder: Path) -> None:
        self._settings = settings
        self._log = folder / "log.txt"
        top, prefix = (git(settings.root, "rev-parse", what) for what in ("--show-toplevel", "--show-prefix"))
        if top is None or prefix is None:
            what = "the folder is no git repository, or git is not there, so no commit can be checked out"
            raise UserError(what, "Install git, and work in a clone of the repository")
        shallow = (git(settings.root, "rev-parse", "--is-shallow-repository") or "").strip() == "true"
        if git(settings.root, "cat-file", "-e", f"{commit}^{{commit}}") is None:
            hint = f"Run `git fetch {'--unshallow' if shallow else '--all'}`, or ask whoever trained it to push it"
            raise UserError(f"commit {commit[:12]} is not in this clone", hint)
        code = self._code = folder / "code"
        quiet = ("-c", f"core.hooksPath={os.devnull}", "-c", "advice.detachedHead=false")
        # A shared clone finds all objects of the other, also those that no branch leads to, and writes nothing there.
        cloned = git(folder, *quiet, "clone", "--quiet", "--shared", "--no-checkout", top.rstrip("\n"), str(code))
        if cloned is None or git(code, *quiet, "checkout", "--quiet", "--detach", commit) is None:
            # git clones nothing of a shallow repository but what a branch leads to.
            hint = "Run `git fetch --unshallow`" if shallow else "Look for room on the disk"
            raise Refused(f"git cannot check out commit {commit[:12]} in {folder}", hint)
        self.root = code / prefix.rstrip("\n")
        there = (name for name in _RETRAIN if (self.root / "src" / f"{name.replace('.', '/')}.py").is_file())
        retrain = next(there, None)
        if retrain is None:
            what = f"commit {commit[:12]} is older than `starterkit reproduce`, and its code cannot train by itself"
            raise Refused(what, "Train a new version")
        self._retrain = retrain
        self.python = Path(sys.executable)

    def make_environment(self) -> str:
        """See to an environment that holds the commit's lock, and say which it is.

        Raises
        ------
        KitError
            The commit's lock cannot be installed.
        """
        lock = self.root / LOCK
        if lock.is_file() and not off_lock(lock) and _project(self.root) == _project(self._settings.root):
            return "this one, which holds the commit's lock"
        bootstrap = self._settings.root / ".cache" / "uv" / "bin"
        environ = os.environ | {"PATH": f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{bootstrap}"}
        base = getattr(sys, "_base_executable", sys.executable)
        if self._call([base, "tools/environment.py", _VENV], environ):
            lines = self._log.read_text("utf-8", "replace").splitlines()
            said = [line.removeprefix("environment: ") for line in lines if line.startswith("environment: ")]
            reason = (said or lines or ["tools/environment.py failed"])[-1]
            raise KitError(f"the environment of that commit cannot be made: {reason}", "Mend that and try again")
        self.python = self.root / _VENV / "bin" / "python"
        return "made from the commit's lock"

    def bring_data(self, source: str) -> str:
        """Give the checkout the data file that git does not keep, and say where the rows come from."""
        name = source.removeprefix("sqlite:///")
        if "://" in name:
            return "the database as it is now"
        here, there, inside = self._settings.root / name, self.root / name, self._holds(name)
        if inside and there.exists():
            return "the commit"
        if not here.is_file():
            return "nowhere: the file is neither in the commit nor here"
        if inside:
            there.parent.mkdir(parents=True, exist_ok=True)
            there.symlink_to(here)
            if proof_of(here).is_file():
                proof_of(there).symlink_to(proof_of(here))
        return "outside of git, as it is now"

    def seen(self, source: str) -> str:
        """The source as the checkout has to name it: where it leads out of the repository, the user's own file."""
        name = source.removeprefix("sqlite:///")
        if "://" in name or self._holds(name):
            return source
        return source.removesuffix(name) + str((self._settings.root / name).resolve())

    def _holds(self, name: str) -> bool:
        return (self.root / name).parent.resolve().is_relative_to(self._code.resolve())

    def train(self, folder: Path, source: str) -> int:
        """Let the commit's own code train and answer in `folder`; its exit code comes back."""
        return self._call([self.python, "-m", self._retrain, folder], self._environ(source))

    def _call(self, command: Sequence[str | Path], environ: Mapping[str, str]) -> int:
        """Run a program to its end, with what it says in the log; its exit code comes back."""
        quiet = subprocess.DEVNULL
        with (
            self._log.open("ab") as said,
            # In a session of its own, so that whatever it starts ends with it.
            running(
                [*map(str, command)], session=True, cwd=self.root, env=environ, stdin=quiet, stdout=said, stderr=said
            ) as process,
        ):
            return process.wait()

    def _environ(self, source: str) -> dict[str, str]:
        """Nothing of this process's settings but the way to the data. The parameters come in a file."""
        settings = self._settings
        foreign = ("KIT_", "MLFLOW_", "PYTHON", "GIT_", "VIRTUAL_ENV")
        environ = {name: value for name, value in os.environ.items() if not name.upper().startswith(foreign)}
        environ |= {"KIT_STAGE": settings.stage, "PYTHONPATH": str(self.root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        passed = ("KIT_DATA__SOURCE", "KIT_DATA__QUERY") if "://" in source else ("KIT_DATA__SOURCE",)
        environ |= {name: os.environ[name] for name in passed if name in os.environ}
        if "***" not in source:
            environ["KIT_DATA__SOURCE"] = self.seen(source)
        if settings.data.password is not None:
            environ["KIT_DATA__PASSWORD"] = settings.data.password.get_secret_value()
        # A commit that knows no prepared data knows no key either, and would refuse it.
        if settings.privacy.key is not None and proof_of(settings.root / source).is_file():
            environ["KIT_PRIVACY__KEY"] = settings.privacy.key.get_secret_value()
        return environ


def _project(root: Path) -> tuple[Any, ...]:
    """What an installed project is called and where its `Problem` is."""
    try:
        said = tomllib.loads((root / "pyproject.toml").read_text("utf-8")).get("project", {})
    except (OSError, ValueError):
        return ()
    return said.get("name"), said.get("entry-points")


# --- What the registered model and the one made again answer to the same rows, in a file and bit for bit.

_FILE = "answers.npz"
_NAMES = ("registered", "again")


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


def write_answers(folder: Path, registered: Prediction, again: Prediction) -> None:
    """Leave both in the folder, each under its name."""
    arrays = {}
    for name, answers in zip(_NAMES, (registered, again), strict=True):
        arrays[name] = answers.values.astype(str) if answers.values.dtype == object else answers.values
        if answers.probabilities is not None:
            arrays[f"{name}_probabilities"] = answers.probabilities
    np.savez(folder / _FILE, allow_pickle=False, **arrays)


def read_answers(folder: Path) -> tuple[Prediction, Prediction] | None:
    """Both again, the registered one's first; None where nobody came that far."""
    if not (folder / _FILE).exists():
        return None
    with np.load(folder / _FILE, allow_pickle=False) as arrays:
        registered, again = (Prediction(arrays[name], arrays.get(f"{name}_probabilities")) for name in _NAMES)
    return registered, again


def difference(one: Prediction, other: Prediction) -> Difference:
    """Bit for bit: NaN is the same as NaN, and 0.0 is not -0.0."""
    sides, labels, rows = (one.values, other.values), 0, len(one.values)
    if one.probabilities is not None and other.probabilities is not None:
        labels = int((one.values != other.values).sum())
        sides = one.probabilities, other.probabilities
    values, others = (np.ascontiguousarray(side, dtype=np.float64).reshape(rows, -1) for side in sides)
    if values.shape != others.shape:  # a class more or less
        return Difference(rows, rows, float("inf"), labels)
    differing = np.any(values.view(np.uint64) != others.view(np.uint64), axis=1)
    largest = float(np.max(np.abs(values[differing] - others[differing]), initial=0))
    return Difference(rows, int(differing.sum()), largest, labels)


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


@dataclass(frozen=True)
class Reproducer:
    """Trains versions of one registered model again. `columns` are the data's as the project declares them today."""

    registry: ModelRegistry
    settings: Settings
    columns: Iterable[Column]
    progress: Progress = silent

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
            with step(self.progress, "open the version") as note:
                first = folder / "first"
                first.mkdir()
                registered = self.registry.fetch(version, first / "registered")
                contract = Contract.from_json((registered / CONTRACT_FILE).read_bytes())
                lineage = contract.lineage
                fetch_file(self.registry.connection, lineage.run, ROWS_FILE, first)
                note.text = f"{version}, from run {lineage.run[:12]}"
            self._require_origin(version, contract)
            with step(self.progress, "check out") as note:
                checkout = Checkout(self.settings, lineage.commit, folder)
                note.text = f"commit {lineage.commit[:12]}" + (f" in {folder}" if keep else "")
            with step(self.progress, "environment") as note:
                environment = note.text = checkout.make_environment()
            data = checkout.bring_data(lineage.data_source)
            facts = self._train(checkout, first, lineage)
            given = read_answers(first)
            found = difference(*given) if given else None
            deterministic = None
            if given and found and not found.identical:
                second = shutil.copytree(registered, folder / "second" / "registered").parent
                self._train(checkout, second, lineage, "and once more")
                if once_more := read_answers(second):
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
        settings, lineage = self.settings, contract.lineage
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
        require_visible(settings.stage, [column for column in self.columns if column.name not in masked])

    def _train(self, checkout: Checkout, folder: Path, lineage: Lineage, name: str = "train again") -> dict[str, Any]:
        with step(self.progress, name) as note:
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
