"""The API in processes of their own, behind a socket that their parent keeps."""

import multiprocessing
import os
import signal
import socket
import threading
from multiprocessing.context import SpawnProcess
from pathlib import Path

from starterkit.settings import Settings, load_settings

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
    from starterkit.serving import require_port, taking_port

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
    from starterkit.cli.answering import answer

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
