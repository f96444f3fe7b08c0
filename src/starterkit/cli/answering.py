"""The API as a command starts it: the model is opened, the server listens, and then a line says where."""

import asyncio
from contextlib import suppress
from pathlib import Path
from socket import socket

import typer
import uvicorn

from starterkit.cli.collecting import collect_usually
from starterkit.cli.console import ProgressView
from starterkit.cli.stopping import ENDED
from starterkit.machine import this_machine
from starterkit.progress import Progress, silent, step
from starterkit.serving import ServedModel, create_app, limit_memory, require_port, taking_port
from starterkit.settings import Settings
from starterkit.traffic import in_address

_SECONDS_TO_SEND = 8
"""For clients to send the rest of their requests when the end comes: one that never does would hold it up for good.
`docker stop`, and the parent of several processes, wait for 10 seconds."""


def answer(settings: Settings, folder: Path | None, listening: socket | None = None, *, quiet: bool = False) -> None:
    """Answer with the champion, or an exported folder's model, until Ctrl-C.

    Parameters
    ----------
    listening
        A socket that somebody else has bound. Without it, the settings' host and port.
    quiet
        Say nothing, because another process says it for all.
    """
    app = create_app(lambda: served, settings.serving)
    host, port = settings.serving.host, settings.serving.port
    if listening is None:
        require_port(host, port)
    progress = silent if quiet else ProgressView()
    served = _open_champion(settings, folder, progress)  # last: what else is wrong is said before a server is asked
    with step(progress, "take resources") as note:  # fetching a model needs more than answering with it
        note.text = _take_resources(settings)
    level = "info" if settings.debug else "warning"
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

    async def startup(self, sockets: list[socket] | None = None) -> None:
        with taking_port(self.config.host, self.config.port):
            try:
                await super().startup(sockets)
            except OSError:
                await self.lifespan.shutdown()  # which would tell of its own end otherwise
                raise
        if self.started and not self.quiet:  # said no sooner: an editor opens its browser at these words
            at = f"http://{in_address(self.config.host)}:{self.config.port}"
            typer.echo(f"Answering on {at}, try it at /docs (Ctrl-C ends it)")

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
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
