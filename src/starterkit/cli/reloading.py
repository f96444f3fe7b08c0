"""`serve --reload`: the API in a process of its own, which is started again whenever code or settings change.

uvicorn's own reloader sees Python files alone, goes on without a word when a start fails, and leaves its process behind
when it is killed.
"""

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.context import SpawnProcess
from pathlib import Path

import typer

from starterkit.settings import Settings, load_settings

_WATCHED = {"src": "*.py", "config": "*.yaml"}
_SECONDS_BETWEEN_LOOKS = 0.3
_SECONDS_TO_END = 10


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
        """
        with _listen(self._settings) as listening:
            stamps, process = self._stamps(), self._start(listening)
            first = waiting = True
            try:
                while True:
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
                    if waiting and not process.is_alive():
                        if first:
                            sys.exit(process.exitcode)
                        typer.echo("Not answering until that is mended")
                        waiting = False
                    if changed := _changed(stamps, stamps := self._stamps()):
                        typer.echo(f"{changed.relative_to(self._settings.root)} changed: starting again")
                        _end(process)
                        process, first, waiting = self._start(listening), False, True
            except KeyboardInterrupt:
                pass
            finally:
                _end(process)

    def _start(self, listening: socket.socket) -> SpawnProcess:
        given = (listening, self._settings.serving.host, self._settings.serving.port, self._folder)
        process = multiprocessing.get_context("spawn").Process(target=_answer, args=given)
        process.start()
        return process

    def _stamps(self) -> dict[Path, int]:
        files = [path for name, kind in _WATCHED.items() for path in (self._settings.root / name).rglob(kind)]
        stamps = {}
        for path in files:
            try:
                stamps[path] = path.stat().st_mtime_ns
            except FileNotFoundError:  # an editor replaces the file that it saves
                continue
        return stamps


def _changed(before: Mapping[Path, int], now: Mapping[Path, int]) -> Path | None:
    """A file that is new, gone or written since."""
    return next((path for path, _ in sorted(before.items() ^ now.items())), None)


def _listen(settings: Settings) -> socket.socket:
    from starterkit.serving import require_port

    host, port = settings.serving.host, settings.serving.port
    require_port(host, port)
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)  # without the protocol asyncio lets answers wait for 40 ms
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(address)
    return listening


def _end(process: SpawnProcess) -> None:
    process.terminate()
    process.join(_SECONDS_TO_END)
    if process.is_alive():
        process.kill()
        process.join()


def _answer(listening: socket.socket, host: str, port: int, folder: Path | None) -> None:
    """The process that answers. Ctrl-C is its parent's, who ends it in order."""
    from starterkit.cli import tell_failures
    from starterkit.cli.answering import answer

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with tell_failures():
        settings = load_settings()
        serving = settings.serving.model_copy(update={"host": host, "port": port})
        answer(settings.model_copy(update={"serving": serving}), folder, listening)


def _end_with_parent() -> None:
    """A parent that is killed can end nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
