"""The API as a command starts it: one process, several on one port, or one that starts again when code changes."""

import asyncio
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NamedTuple

import typer
import uvicorn

from starterkit.cli.champion import copy_folder, keep_champion
from starterkit.cli.console import ProgressView
from starterkit.cli.signals import ENDED, collect_usually
from starterkit.errors import KitError
from starterkit.files import scratch_folder
from starterkit.machine import limit_memory, require_port, taking_port, this_machine
from starterkit.progress import Progress, silent, step
from starterkit.serving.http.app import create_app, require_key
from starterkit.serving.predictor import ServedModel
from starterkit.serving.traffic import in_address
from starterkit.settings import Settings, load_settings

# --- The API as a command starts it: the model is opened, the server listens, and then a line says where.

_SECONDS_TO_SEND = 8
"""For clients to send the rest of their requests when the end comes: one that never does would hold it up for good.
`docker stop`, and the parent of several processes, wait for 10 seconds."""


def answer(
    settings: Settings, folder: Path | None, listening: socket.socket | None = None, *, quiet: bool = False
) -> None:
    """Answer with the champion, or an exported folder's model, until Ctrl-C.

    Parameters
    ----------
    listening
        A socket that somebody else has bound. Without it, the settings' host and port.
    quiet
        Say nothing, because another process says it for all.
    """
    require_key(settings.serving)
    host, port = settings.serving.host, settings.serving.port
    if listening is None:
        require_port(host, port)
    progress = silent if quiet else ProgressView()
    served = _open_champion(settings, folder, progress)  # last: what else is wrong is said before a server is asked
    with step(progress, "take resources") as note:  # fetching a model needs more than answering with it
        note.text = _take_resources(settings)
    level = "info" if settings.debug else "warning"
    app = create_app(served, settings.serving)
    server = _Server(uvicorn.Config(app, host=host, port=port, log_level=level))
    server.quiet = quiet
    collect_usually()
    try:
        with suppress(KeyboardInterrupt):  # uvicorn raises it again when all requests are answered
            server.run([listening] if listening else None)
    except SystemExit as ended:
        if ended.code != ENDED:  # `kill` or `docker stop`: what had come in is answered, and this is how it ends well
            raise


class _Server(uvicorn.Server):
    quiet = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        with taking_port(self.config.host, self.config.port):
            try:
                await super().startup(sockets)
            except OSError:
                await self.lifespan.shutdown()  # which would tell of its own end otherwise
                raise
        if self.started and not self.quiet:  # said no sooner: an editor opens its browser at these words
            at = f"http://{in_address(self.config.host)}:{self.config.port}"
            typer.echo(f"Answering on {at}, try it at /docs (Ctrl-C ends it)")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        late = asyncio.get_running_loop().call_later(_SECONDS_TO_SEND, self._hang_up)
        try:
            await super().shutdown(sockets)
        finally:
            late.cancel()

    def _hang_up(self) -> None:
        """End what a client holds up, and wait for the model as long as it computes.

        uvicorn's own timeout ends both, and logs a traceback for each.
        """
        for connection in list(self.server_state.connections):
            request = getattr(connection, "cycle", None)
            if request is None or request.more_body or request.response_started:
                connection.transport.abort()


def _take_resources(settings: Settings) -> str:
    """Hold this process to what its stage gives it; in words, what that is."""
    serving = settings.serving
    many, threads, cores = serving.workers > 1, serving.threads, this_machine().cores
    words = [f"{serving.workers} process{'es' * many}", f"{threads} thread{'s' * (threads > 1)}{' each' * many}"]
    words.append(f"{cores:.3g} core{'s' * (cores > 1)} here")
    if serving.memory_mb:
        held = limit_memory(serving.memory_mb)
        words.append(f"{serving.memory_mb} MB of data each{'' if held else ' (this machine cannot hold it to that)'}")
    return ", ".join(words)


def _open_champion(settings: Settings, folder: Path | None, progress: Progress) -> ServedModel:
    from starterkit.cli.champion import find_champion

    with step(progress, "open the model") as note:
        served = find_champion(settings, folder)
        got = served.predictor.providers
        missing = [name for name in settings.serving.providers if name not in got]
        fallback = f", for {', '.join(missing)} is not there" if missing else ""
        note.text = f"{served.name} {served.version} on {', '.join(got)}{fallback}"
    return served


# --- The API in processes of their own, behind a socket that their parent keeps.

_SECONDS_TO_END = 10


def start_answering(
    listening: socket.socket, settings: Settings, folder: Path | None, *, quiet: bool = False
) -> SpawnProcess:
    """A process that answers on the socket. It reads the settings again, but for host and port."""
    given = (listening, settings.serving.host, settings.serving.port, folder, quiet)
    process = multiprocessing.get_context("spawn").Process(target=_answer, args=given)
    process.start()
    return process


def listen_on(settings: Settings) -> socket.socket:
    from starterkit.machine import require_port, taking_port

    host, port = settings.serving.host, settings.serving.port
    require_port(host, port)
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)  # without the protocol asyncio lets answers wait for 40 ms
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with taking_port(host, port):
        listening.bind(address)
    return listening


def end(process: SpawnProcess) -> None:
    process.terminate()
    process.join(_SECONDS_TO_END)
    if process.is_alive():
        process.kill()
        process.join()


def _answer(listening: socket.socket, host: str, port: int, folder: Path | None, quiet: bool) -> None:
    """The process that answers. Ctrl-C is its parent's, who ends it in order."""
    from starterkit.cli import tell_failures

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with tell_failures():
        settings = load_settings()
        serving = settings.serving.model_copy(update={"host": host, "port": port})
        answer(settings.model_copy(update={"serving": serving}), folder, listening, quiet=quiet)


def _end_with_parent() -> None:
    """A parent that is killed can end nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


# --- `serving.workers`: several processes that answer on one port, each started again when it ends by itself.

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


# --- `serve --reload`: the API in a process of its own, which is started again whenever code or settings change.
#
# uvicorn's own reloader sees Python files alone, goes on without a word when a start fails, and leaves its process
# behind when it is killed.

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
