"""The API as a command starts it: one process, several behind one port, or one that starts again when code changes.

uvicorn's own supervisors were tried: docs/decisions/0022-processes.md says what they lack.
"""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from starterkit.cli.challenger import begin_shadow
from starterkit.cli.champion import Kept, copy_folder, model_name, open_folder, place_of_copy
from starterkit.cli.console import ProgressView, tell_failures
from starterkit.errors import ContractError, KitError, Refused, TrackingError, first_line
from starterkit.files import scratch_folder
from starterkit.machine import (
    bind,
    in_address,
    limit_memory,
    listen,
    open_files,
    require_port,
    running,
    this_machine,
)
from starterkit.progress import ENDED, Progress, collect_usually, silent, step
from starterkit.serving.follower import Bell, Follower
from starterkit.serving.http import RequestLog, create_app, log_config
from starterkit.serving.http.keys import Keys
from starterkit.serving.http.prometheus import Metrics, Where
from starterkit.serving.http.protocol import Patience, Server
from starterkit.serving.predictor import ServedModel
from starterkit.settings import ServingSettings, Settings, load_settings

if TYPE_CHECKING:
    from starterkit.tracking.connection import Connection

_SECONDS_TO_END = 10
_SECONDS_BETWEEN_LOOKS = 0.3
_SECONDS_TO_START = 10
"""A process that is refused sooner would be refused again: at the start that ends the command, later it waits so long.
One that somebody killed is started again at once."""
_WATCHED = {"src": "*.py", "config": "*.yaml"}


def serve(settings: Settings, folder: Path | None, *, reload: bool = False) -> None:
    """Answer with the champion, or an exported folder's model, until Ctrl-C.

    With `reload`, in a process that is started again when code or settings change. A first start that is refused ends
    the command; a later one waits for the next change.

    Raises
    ------
    SystemExit
        A process of its own was refused, and has said why.
    KitError
        The port or the model cannot be had, or a signal ended the first process of `reload`.
    """
    sockets = bind(settings.serving.host, settings.serving.port)
    try:
        Keys(_serving(settings))  # there is one, where one is asked for
        with scratch_folder("model") as scratch:
            kept = (folder is None and place_of_copy(settings)) or scratch / "kept"
            shared = _Shared(sockets, folder, kept)
            if reload:
                _reload(partial(_start, settings, shared), settings.root)
            elif settings.serving.processes > 1:
                _keep_answering(settings, shared, scratch)
            else:
                _answer(settings, shared)
    except SystemExit as ended:
        if reload or ended.code != ENDED:  # `kill` or `docker stop`: what had come in is answered, so it ends well
            raise
    finally:
        for one in sockets:
            one.close()


class _Shared(NamedTuple):
    """What all processes are given.

    `kept` is where the champion's copy is, and `bell` the file through which they wake each other's followers.
    """

    sockets: Sequence[socket.socket]
    folder: Path | None
    kept: Path
    bell: Path | None = None


def _answer(settings: Settings, shared: _Shared, where: Where | None = None, *, quiet: bool = False) -> None:
    serving, level = _serving(settings), "info" if settings.debug else "warning"
    progress = silent if quiet else ProgressView()  # another process says it for all
    served, missed = _open_champion(settings, shared, where, progress)
    with step(progress, "take resources") as note:  # fetching a model needs more than answering with it
        note.text = _take_resources(settings)

    def say() -> None:  # no sooner: an editor opens its browser at these words
        if not quiet:
            at = f"http://{in_address(serving.host)}:{serving.port}"
            typer.echo(f"Answering on {at}, open it to try it (Ctrl-C ends it)")

    patience = Patience(serving.seconds_to_ask, open_files(serving.max_connections))
    given: dict[str, Any] = {"host": serving.host, "port": serving.port, "log_level": level, "access_log": False}
    metrics = Metrics(where)
    writer = None
    if settings.feedback.log:
        from starterkit.feedback.writer import Writer  # loads SQLAlchemy

        with step(progress, "open the log") as note:
            note.text = (writer := Writer.open(settings, metrics.lose, partial(typer.echo, err=True))).name
    follows, bell = shared.folder is None and serving.follow_seconds > 0, Bell(shared.bell)
    app = create_app(served, serving, metrics, bell.ring if follows else None, writer)
    app.shadow = begin_shadow(settings, served, metrics, partial(typer.echo, err=True))
    logged = RequestLog(app) if serving.log_requests or settings.debug else app
    server = Server(logged, patience, say, log_config=log_config(serving.log_format), **given)
    if missed:
        metrics.swapped("refused" if isinstance(missed, ContractError | Refused) else "unreachable", _words(missed))
    if follows:
        Follower(served, Kept(settings, shared.kept), app.swap, metrics.swapped).start(serving.follow_seconds, bell)
    collect_usually()
    listen(shared.sockets, serving.host, serving.port)
    with suppress(KeyboardInterrupt):  # uvicorn raises it again when all requests are answered
        server.run([*shared.sockets])


def _serving(settings: Settings) -> ServingSettings:
    serving, file = settings.serving, settings.serving.api_keys_file
    return serving.model_copy(update={"api_keys_file": str(settings.root / file)}) if file else serving


def _take_resources(settings: Settings) -> str:
    """Hold this process to what its stage gives it; in words, what that is."""
    serving = settings.serving
    processes, threads, cores = serving.processes, serving.threads, this_machine().cores
    many, fewer = processes > 1, f" of {serving.workers}, one a core" * (processes < serving.workers)
    words = [f"{processes} process{'es' * many}{fewer}", f"{threads} thread{'s' * (threads > 1)}{' each' * many}"]
    words.append(f"{cores:.3g} core{'s' * (cores > 1)} here")
    if held := limit_memory(serving.memory_mb):
        words.append(f"{held} MB of data each")
    elif serving.memory_mb:
        words.append(f"{serving.memory_mb} MB of data each (this machine cannot hold it to that)")
    return ", ".join(words)


def _open_champion(
    settings: Settings, shared: _Shared, where: Where | None, progress: Progress
) -> tuple[ServedModel, Exception | None]:
    """The model to begin with, and why it is not the champion, where it is not.

    One of several processes begins with the copy: its siblings answer with that version.
    """
    kept = Kept(settings, shared.kept)
    with step(progress, "open the model") as note:
        missed: Exception | None = None
        if shared.folder is not None:
            served = open_folder(settings, shared.folder)
        elif where and (copy := kept.last()):
            served = copy
        else:
            served, missed = kept.first()
        got = served.predictor.providers
        missing = [name for name in settings.serving.providers if name not in got]
        fallback = f", for {', '.join(missing)} is not there" if missing else ""
        version = f"version {served.version}" if served.version.isdigit() else served.version  # or its folder
        note.text = f"{served.name} {version} on {', '.join(got)}{fallback}{_instead(missed)}"
    return served, missed


def _instead(missed: Exception | None) -> str:
    return f", the copy that was kept: {_words(missed)}" if missed else ""


def _words(error: Exception) -> str:
    return error.what if isinstance(error, KitError) else first_line(error)


# --- A process of its own that answers.


def _start(settings: Settings, shared: _Shared, where: Where | None = None, *, quiet: bool = False) -> SpawnProcess:
    """It reads the settings again, but for host and port."""
    given = (settings.serving.host, settings.serving.port, shared, where, quiet)
    process = multiprocessing.get_context("spawn").Process(target=_answer_for_parent, args=given)
    process.start()
    return process


def _answer_for_parent(host: str, port: int, shared: _Shared, where: Where | None, quiet: bool) -> None:
    """Ctrl-C is the parent's, who ends this process in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with tell_failures():
        settings = load_settings()
        serving = settings.serving.model_copy(update={"host": host, "port": port})
        _answer(settings.model_copy(update={"serving": serving}), shared, where, quiet=quiet)


def _end_with_parent() -> None:
    """A parent that is killed can end nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _end(processes: Sequence[SpawnProcess]) -> None:
    """Ask all to end, and kill those that do not."""
    for process in processes:
        process.terminate()
    end = time.monotonic() + _SECONDS_TO_END
    for process in processes:
        process.join(max(0, end - time.monotonic()))
        process.kill()
        process.join()


# --- `serving.workers`: several processes, each started again when it ends by itself.


class _Worker(NamedTuple):
    """A process, since when, and whether it took the place of another."""

    process: SpawnProcess
    since: float
    again: bool


def _keep_answering(settings: Settings, shared: _Shared, scratch: Path) -> None:
    """Keep as many processes as the settings say. The first one speaks for all of them.

    The champion is fetched once, and a folder copied once, so that all answer with the same version: after a promotion,
    too, when one of them has to be started again.
    """
    workers: list[_Worker] = []
    start = partial(_start, settings, _keep_model(settings, shared, scratch)._replace(bell=scratch / "bell"))
    with scratch_folder("metrics") as counts:
        try:
            for number in range(settings.serving.processes):
                first = start(Where(counts, number), quiet=number > 0)
                workers.append(_Worker(first, time.monotonic(), again=False))
            while True:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
                for place, one in enumerate(workers):
                    if not one.process.is_alive() and _to_be_replaced(one, workers):
                        typer.echo(f"A process ended with {one.process.exitcode}: starting another", err=True)
                        another = start(Where(counts, place), quiet=True)
                        workers[place] = _Worker(another, time.monotonic(), again=True)
        except KeyboardInterrupt:
            pass
        finally:
            for one in shared.sockets:  # who comes now is refused at once, and waits for no answer
                one.close()
            _end([one.process for one in workers])


def _keep_model(settings: Settings, shared: _Shared, scratch: Path) -> _Shared:
    """With a copy that nobody else replaces or deletes while one of the processes may have to open it again."""
    if folder := shared.folder:
        return shared._replace(folder=copy_folder(folder, scratch / (folder.name or "model")))
    with step(ProgressView(), "fetch the champion") as note:
        for place in (shared.kept, scratch / "kept"):  # the disk of the first one may be full
            kept = Kept(settings, place)
            served, missed = kept.first()
            note.text = f"{served.name} version {served.version}{_instead(missed)}"
            if (copy := kept.last()) and copy.version == served.version:
                break
    return shared._replace(kept=place)


def _to_be_replaced(ended: _Worker, workers: Sequence[_Worker]) -> bool:
    """Whether it is time for another one in the place of one that ended.

    Raises
    ------
    SystemExit
        It was refused at the first start, or later with nobody else to answer.
    """
    code = ended.process.exitcode or 0
    if code <= 0 or time.monotonic() - ended.since >= _SECONDS_TO_START:
        return True
    if ended.again and any(one.process.is_alive() for one in workers):
        return False  # the others go on answering
    sys.exit(code)


# --- `serve --reload`: one process, started again whenever code or settings change.


def _reload(start: Callable[[], SpawnProcess], root: Path) -> None:
    stamps, first, told = _stamps(root), True, False
    processes = [start()]
    try:
        while True:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            code = processes[0].exitcode
            if code is not None and first:
                if code < 0:  # it could not say why
                    what = f"the process that answers was ended by signal {-code}"
                    raise KitError(what, "Give the command again; signal 9 may mean that the memory ran out")
                sys.exit(code)
            if code is not None and not told:
                typer.echo("Not answering until that is mended")
                told = True
            if changed := _changed(stamps, stamps := _stamps(root)):
                typer.echo(f"{changed.relative_to(root)} changed: starting again")
                _end(processes)
                processes, first, told = [start()], False, False
    except KeyboardInterrupt:
        pass
    finally:
        _end(processes)


def _stamps(root: Path) -> dict[Path, int]:
    """When each file was written. Looked at, for no event crosses from Windows or macOS into a container's mount."""
    stamps = {}
    for path in (path for name, kind in _WATCHED.items() for path in (root / name).rglob(kind)):
        with suppress(FileNotFoundError):  # an editor replaces the file that it saves
            stamps[path] = path.stat().st_mtime_ns
    return stamps


def _changed(before: Mapping[Path, int], now: Mapping[Path, int]) -> Path | None:
    """A file that is new, gone or written since."""
    return next((path for path, _ in sorted(before.items() ^ now.items())), None)


# --- MLflow's UI: started for a local store, pointed at for a server.

_HOST = "127.0.0.1"
_START_SECONDS = 90
_MORE = "KIT_DEBUG=true shows what its server says"
_ANOTHER_PORT = 'name another one with --port (make ui ARGS="--port 5001")'


def open_ui(settings: Settings, port: int) -> None:
    """Run MLflow's server over the local store until Ctrl-C, or print the address of the stage's server."""
    from starterkit.tracking.connection import connect
    from starterkit.tracking.queries import runs_page

    connection = connect(settings.tracking, settings.root)
    page = runs_page(connection, model_name(settings))
    if connection.artifacts is None:
        typer.echo(f"The UI of stage {settings.stage} is at {connection.name}/{page}")
        return
    require_port(_HOST, port, _ANOTHER_PORT)
    with _mlflow(connection, port, show=settings.debug) as server:
        with step(ProgressView(), "start the UI"):
            _wait_for(f"http://{_HOST}:{port}", server)
        with suppress(KeyboardInterrupt):  # that is how it ends well
            typer.echo(f"MLflow's UI: http://{_HOST}:{port}/{page} (Ctrl-C ends it)")
            server.wait()
            raise TrackingError("MLflow's UI ended by itself", _MORE)


def _mlflow(connection: "Connection", port: int, show: bool) -> AbstractContextManager["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", connection.uri]
    command += ["--default-artifact-root", str(connection.artifacts), "--host", _HOST, "--port", str(port)]
    lean = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # saves half of the memory and of the start
    output = None if show else subprocess.DEVNULL
    # Its worker outlives it where it was killed, and keeps the port: a session ends as a whole.
    return running([*command, "--workers", "1"], session=True, env=os.environ | lean, stdout=output, stderr=output)


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    from starterkit.tracking.connection import ask_version

    for _ in range(_START_SECONDS * 2):
        if server.poll() is not None:
            break
        try:
            ask_version(address, address)
        except TrackingError:
            time.sleep(0.5)
        else:
            return
    raise TrackingError("MLflow's UI did not start", _MORE)
