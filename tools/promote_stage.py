"""One stage's part in moving a commit from local to prod: the commands that a person would give, in their order.

    python tools/promote_stage.py STAGE [--bundle FILE] [--approver NAME] [--same-server]

The promotion workflow and the template's rehearsal call this and nothing else. Settings and secrets come from the
environment, as for any command; a variable that is empty counts as not set, for that is what a workflow makes of a
missing secret. A command that fails ends this with its own exit code. See docs/ci-cd.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

STAGES = ("local", "dev", "test", "staging", "prod")


class CannotStart(Exception):
    """Something is missing that no command of the stage could go on without."""


class Command(NamedTuple):
    """A command of the kit, and the stage that it is given in."""

    stage: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"KIT_STAGE={self.stage} starterkit {' '.join(self.words)}"


def commands(
    stage: str, environ: Mapping[str, str], bundle: Path, approver: str, same_server: bool = False
) -> Iterator[Command]:
    """What is to be done in a stage.

    Parameters
    ----------
    bundle
        The file in which a version goes from staging's server to prod's.
    approver
        Who lets it into prod.
    same_server
        Whether staging and prod share a server; the version is copied there, and no bundle is made.

    Raises
    ------
    CannotStart
        There is no such stage, or prod has nobody who approves, or nothing to take.
    """
    if stage not in STAGES:
        raise CannotStart(f"'{stage}' is not a stage: name one of {', '.join(STAGES)}")
    if stage == "prod":
        if not approver:
            raise CannotStart("nobody approves this: add --approver NAME, or set KIT_APPROVER")
        if not same_server and not bundle.is_file():
            raise CannotStart(f"{bundle} is not there: stage staging writes it, or add --same-server")
        source = () if same_server else ("--from", str(bundle))
        yield Command(stage, ("promote", "--to", "prod", *source, "--approver", approver))
        return
    if stage == "test" and not environ.get("KIT_DATA__SOURCE"):  # who may see the source prepares what test may see
        yield Command("local", ("data", "prepare", "--for", "test"))
    yield Command(stage, ("run",))
    if stage == "test":
        yield Command(stage, ("loadtest",))
    if stage == "staging" and not same_server:
        yield Command(stage, ("bundle", str(bundle)))


def environment(command: Command, environ: Mapping[str, str]) -> dict[str, str]:
    """What the command sees. One that is given in another stage does not get this one's settings, but its masking."""
    kept = {name: text for name, text in environ.items() if text or not name.startswith("KIT_")}
    if command.words[0] == "data":
        kept = {name: text for name, text in kept.items() if not _of_a_stage(name)}
    return {**kept, "KIT_STAGE": command.stage}


def _of_a_stage(name: str) -> bool:
    return name.startswith("KIT_") and not name.startswith("KIT_PRIVACY__")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="One stage's part in moving a commit from local to prod.")
    parser.add_argument("stage", metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--bundle", type=Path, default=Path("bundle.zip"), help="from staging to prod; bundle.zip")
    approver = os.environ.get("KIT_APPROVER", "")
    parser.add_argument("--approver", default=approver, help="who lets it into prod, not who starts it; $KIT_APPROVER")
    parser.add_argument("--same-server", action="store_true", help="staging and prod share one: no bundle")
    given = parser.parse_args(arguments)
    environ = {name: text for name, text in os.environ.items() if name != "KIT_APPROVER"}  # no setting of the kit's
    try:
        todo = list(commands(given.stage, environ, given.bundle, given.approver, given.same_server))
    except CannotStart as error:
        print(f"promote_stage: {error}", file=sys.stderr)
        return 2
    for command in todo:
        print(f"$ {command}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "starterkit", *command.words], env=environment(command, environ), check=False
        )
        if done.returncode:
            print(f"promote_stage: stage {given.stage} ends here, with exit code {done.returncode}", file=sys.stderr)
            return done.returncode if done.returncode > 0 else 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
