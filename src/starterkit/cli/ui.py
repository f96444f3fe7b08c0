"""MLflow's UI: started for a local store, pointed at for a server."""

import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager, suppress

import typer

from starterkit.cli.console import ProgressView
from starterkit.entry import stated_name
from starterkit.errors import TrackingError
from starterkit.machine import require_port, running
from starterkit.progress import step
from starterkit.settings import Settings
from starterkit.tracking.connection import Connection, ask_version, connect
from starterkit.tracking.queries import runs_page

_HOST = "127.0.0.1"
_START_SECONDS = 90
_MORE = "KIT_DEBUG=true shows what its server says"
_ANOTHER_PORT = 'name another one with --port (make ui ARGS="--port 5001")'


def open_ui(settings: Settings, port: int) -> None:
    """Run MLflow's server over the local store until Ctrl-C, or print the address of the stage's server."""
    connection = connect(settings.tracking, settings.root)
    if connection.artifacts is None:
        typer.echo(f"The UI of stage {settings.stage} is at {connection.name}/{_page(settings, connection)}")
        return
    require_port(_HOST, port, _ANOTHER_PORT)
    page = _page(settings, connection)
    with _mlflow(connection, port, show=settings.debug) as server:
        with step(ProgressView(), "start the UI"):
            _wait_for(f"http://{_HOST}:{port}", server)
        with suppress(KeyboardInterrupt):  # that is how it ends well
            typer.echo(f"MLflow's UI: http://{_HOST}:{port}/{page} (Ctrl-C ends it)")
            server.wait()
            raise TrackingError("MLflow's UI ended by itself", _MORE)


def _page(settings: Settings, connection: Connection) -> str:
    return runs_page(connection, f"{settings.stage}.{stated_name()}")


def _mlflow(connection: Connection, port: int, show: bool) -> AbstractContextManager["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", connection.uri]
    command += ["--default-artifact-root", str(connection.artifacts), "--host", _HOST, "--port", str(port)]
    lean = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # saves half of the memory and of the start
    output = None if show else subprocess.DEVNULL
    # Its worker outlives it where it was killed, and keeps the port: a session ends as a whole.
    return running([*command, "--workers", "1"], session=True, env=os.environ | lean, stdout=output, stderr=output)


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
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
