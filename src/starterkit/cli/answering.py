"""The API as a command starts it: the model is opened, the server listens, and then a line says where."""

from contextlib import suppress
from pathlib import Path
from socket import socket

import typer
import uvicorn

from starterkit.cli.stopping import ENDED
from starterkit.serving import ServedModel, create_app, require_port
from starterkit.settings import Settings


def answer(settings: Settings, folder: Path | None, listening: socket | None = None) -> None:
    """Answer with the champion, or an exported folder's model, until Ctrl-C.

    Parameters
    ----------
    listening
        A socket that somebody else has bound. Without it, the settings' host and port.
    """
    app = create_app(lambda: served, settings.serving)
    host, port = settings.serving.host, settings.serving.port
    if listening is None:
        require_port(host, port)
    served = _open_champion(settings, folder)  # last: what else is wrong is said before a server is asked
    level = "info" if settings.debug else "warning"
    server = _Server(uvicorn.Config(app, host=host, port=port, log_level=level))
    try:
        with suppress(KeyboardInterrupt):  # uvicorn raises it again when all requests are answered
            server.run([listening] if listening else None)
    except SystemExit as ended:
        if ended.code != ENDED:  # `kill` or `docker stop`: what had come in is answered, and this is how it ends well
            raise


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:  # said no sooner: an editor opens its browser at these words
            at = f"http://{self.config.host}:{self.config.port}"
            typer.echo(f"Answering on {at}, try it at /docs (Ctrl-C ends it)")


def _open_champion(settings: Settings, folder: Path | None) -> ServedModel:
    from starterkit.cli.champion import find_champion
    from starterkit.cli.console import ProgressView
    from starterkit.progress import step

    with step(ProgressView(), "open the model") as note:
        served = find_champion(settings, folder)
        note.text = f"{served.name} {served.version}"
    return served
