"""`serving.workers`: several processes that answer on one port, each started again when it ends by itself."""

import socket
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NamedTuple

import typer

from starterkit.cli.champion import copy_folder, keep_champion
from starterkit.cli.console import ProgressView
from starterkit.cli.processes import end, listen_on, start_answering
from starterkit.cli.stopping import ENDED
from starterkit.progress import step
from starterkit.scratch import scratch_folder
from starterkit.settings import Settings

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_TO_START = 10
"""One that is refused sooner than this would be refused again: at the start that ends the command, later it waits so
long. One that somebody killed is started again at once."""


class _Working(NamedTuple):
    """A process, since when, and whether it took the place of another."""

    process: SpawnProcess
    since: float
    again: bool


class Workers:
    """As many processes as the settings say. The first one speaks for all of them.

    The champion is fetched once, and a folder copied once, so that all answer with the same version: after a promotion,
    too, when one of them has to be started again.

    Parameters
    ----------
    settings, folder
        As `answer` takes them.
    """

    def __init__(self, settings: Settings, folder: Path | None) -> None:
        self._settings = settings
        self._folder = folder

    def run(self) -> None:
        """Answer until Ctrl-C.

        Raises
        ------
        SystemExit
            All processes were refused, or one at the first start, and have said why.
        """
        with ExitStack() as opened:
            listening = opened.enter_context(listen_on(self._settings))
            folder = self._keep(opened.enter_context(scratch_folder("model")))
            working: list[_Working] = []
            try:
                for number in range(self._settings.serving.workers):
                    working.append(self._start(listening, folder, quiet=number > 0))
                while True:
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
                    for place, one in enumerate(working):
                        if not one.process.is_alive() and _to_be_replaced(one, working):
                            typer.echo(f"A process ended with {one.process.exitcode}: starting another", err=True)
                            working[place] = self._start(listening, folder, quiet=True, again=True)
            except KeyboardInterrupt:
                pass
            except SystemExit as ended:
                if ended.code != ENDED:  # `kill` or `docker stop`: that is how it ends well, as with one process
                    raise
            finally:
                listening.close()  # who comes now is refused at once, and does not wait for an answer that never comes
                for one in working:
                    one.process.terminate()
                for one in working:
                    end(one.process)

    def _start(self, listening: socket.socket, folder: Path, *, quiet: bool, again: bool = False) -> _Working:
        return _Working(start_answering(listening, self._settings, folder, quiet=quiet), time.monotonic(), again)

    def _keep(self, scratch: Path) -> Path:
        """A copy that nobody replaces or deletes while one of the processes may have to open it again."""
        if self._folder is not None:
            return copy_folder(self._folder, scratch / (self._folder.name or "model"))
        with step(ProgressView(), "fetch the champion") as note:
            kept = keep_champion(scratch / "model")
            note.text = kept.title
        return kept.folder


def _to_be_replaced(ended: _Working, working: Sequence[_Working]) -> bool:
    """Whether it is time for another one in the place of one that ended.

    Raises
    ------
    SystemExit
        It was refused at the first start, or later with nobody else to answer.
    """
    code = ended.process.exitcode or 0
    if code <= 0 or time.monotonic() - ended.since >= _SECONDS_TO_START:
        return True
    if ended.again and any(one.process.is_alive() for one in working):
        return False  # the others go on answering
    sys.exit(code)
