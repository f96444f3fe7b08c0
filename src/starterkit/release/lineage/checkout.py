"""`Checkout`: an earlier commit in a scratch folder, with an environment that holds its lock."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starterkit.data.reader import proof_of
from starterkit.errors import KitError, Refused, UserError
from starterkit.machine import running
from starterkit.release.lineage.provenance import LOCK, git, off_lock
from starterkit.settings import Settings

_RETRAIN = ("starterkit.release.lineage.retrain", "starterkit.lineage.again")
"""Where commits of now, and those before the rooms were cut anew, train by themselves."""
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
