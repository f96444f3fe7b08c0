"""`serve --reload`: the API in a process of its own, which is started again whenever code or settings change.

uvicorn's own reloader sees Python files alone, goes on without a word when a start fails, and leaves its process behind
when it is killed.
"""

import socket
import sys
import time
from collections.abc import Mapping
from multiprocessing.context import SpawnProcess
from pathlib import Path

import typer

from starterkit.cli.processes import end, listen_on, start_answering
from starterkit.errors import KitError
from starterkit.settings import Settings

_WATCHED = {"src": "*.py", "config": "*.yaml"}
_SECONDS_BETWEEN_STAMPS = 0.3


class Reloader:
    """Keeps the port, and behind it a process that answers.

    Parameters
    ----------
    settings
        Where to listen, and the repository that is watched. The process reads them again at each start.
    folder
        An exported folder instead of the champion.
    """

    def __init__(self, settings: Settings, folder: Path | None) -> None:
        self._settings = settings
        self._folder = folder

    def run(self) -> None:
        """Answer until Ctrl-C. A first start that is refused ends the command; a later one waits for the next change.

        Raises
        ------
        SystemExit
            The first start was refused. Its process has said why.
        KitError
            A signal ended the first process.
        """
        with listen_on(self._settings) as listening:
            stamps, process = self._stamps(), self._start(listening)
            first = waiting = True
            try:
                while True:
                    time.sleep(_SECONDS_BETWEEN_STAMPS)
                    if waiting and not process.is_alive():
                        if first:
                            _require_own_end(process.exitcode or 0)
                            sys.exit(process.exitcode)
                        typer.echo("Not answering until that is mended")
                        waiting = False
                    if changed := _changed(stamps, stamps := self._stamps()):
                        typer.echo(f"{changed.relative_to(self._settings.root)} changed: starting again")
                        end(process)
                        process, first, waiting = self._start(listening), False, True
            except KeyboardInterrupt:
                pass
            finally:
                end(process)

    def _start(self, listening: socket.socket) -> SpawnProcess:
        return start_answering(listening, self._settings, self._folder)

    def _stamps(self) -> dict[Path, int]:
        files = [path for name, kind in _WATCHED.items() for path in (self._settings.root / name).rglob(kind)]
        stamps = {}
        for path in files:
            try:
                stamps[path] = path.stat().st_mtime_ns
            except FileNotFoundError:  # an editor replaces the file that it saves
                continue
        return stamps


def _require_own_end(code: int) -> None:
    """
    Raises
    ------
    KitError
        A signal ended the process, so it could not say why.
    """
    if code < 0:
        what = f"the process that answers was ended by signal {-code}"
        raise KitError(what, "Give the command again; signal 9 may mean that the memory ran out")


def _changed(before: Mapping[Path, int], now: Mapping[Path, int]) -> Path | None:
    """A file that is new, gone or written since."""
    return next((path for path, _ in sorted(before.items() ^ now.items())), None)
