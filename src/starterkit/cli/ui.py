"""MLflow's UI: started for a local store, pointed at for a server."""

import os
import sys

import typer

from starterkit.settings import Settings
from starterkit.tracking import connect


def open_ui(settings: Settings, port: int) -> None:
    """Replace this process by MLflow's server over the local store, or print the server's address."""
    connection = connect(settings.tracking, settings.root)
    if connection.artifacts is None:
        typer.echo(f"The UI of stage {settings.stage} is at {connection.name}")
        return
    typer.echo(f"MLflow's UI over {settings.tracking.uri}: http://127.0.0.1:{port} (Ctrl-C ends it)")
    server = ["-m", "mlflow", "server", "--backend-store-uri", connection.uri]
    server += ["--default-artifact-root", connection.artifacts, "--host", "127.0.0.1", "--port", str(port)]
    server += ["--workers", "1"]
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # saves half of the memory and of the start
    os.execv(sys.executable, [sys.executable, *server])  # noqa: S606  # Ctrl-C reaches the server itself
