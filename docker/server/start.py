"""Starts the MLflow server on its database, or says in one line why not.

start.py            look at the database, then serve
start.py upgrade    bring the database to this MLflow's tables; take a backup before
"""

import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path("/run/stack")
HOSTS = "localhost,localhost:*,127.0.0.1,127.0.0.1:*,mlflow,mlflow:5000,*.app.github.dev"
ORIGINS = "http://localhost:*,http://127.0.0.1:*,https://*.app.github.dev"


def main(task: str = "") -> None:
    environ = dict(os.environ)
    backend = environ.setdefault("MLFLOW_BACKEND_STORE_URI", "postgresql+psycopg2://mlflow@postgres/mlflow")
    environ.setdefault("PGPASSFILE", str(FOLDER / "pgpass"))
    os.environ.update(environ)
    state = schema_of(backend)
    if task == "upgrade":
        os.execvpe("mlflow", ["mlflow", "db", "upgrade", backend], environ)
    if state == "older":
        stop(
            f"the database was made by an MLflow before {version('mlflow')}",
            "`make backup`, then `docker compose run --rm mlflow upgrade`, then up again",
        )
    if state == "newer":
        stop(
            f"the database was made by an MLflow after {version('mlflow')}",
            "pin that version (`make update-deps`), or restore a backup of this one",
        )
    environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = joined(HOSTS, environ.get("ALLOWED_HOSTS", ""))
    environ["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = joined(ORIGINS, environ.get("ALLOWED_ORIGINS", ""))
    command = [
        "mlflow", "server", "--host=0.0.0.0", "--port=5000", "--workers=1", "--serve-artifacts",
        f"--artifacts-destination={environ.get('ARTIFACTS') or '/artifacts'}",
    ]  # fmt: skip
    if environ.get("AUTH") == "on":
        command.append("--app-name=basic-auth")
        environ |= authentication(backend)
    os.execvpe("mlflow", command, environ)


def schema_of(backend: str) -> str:
    """What the database's tables are to this MLflow: none yet, its own, older or newer."""
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.exc import OperationalError

    try:
        with create_engine(backend).connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return "none"
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[-1]
        if "password" in reason:
            stop(
                "the database refuses the password",
                "`docker compose up -d --force-recreate postgres` gives it the new one",
            )
        stop(f"the database cannot be reached: {reason}", "`docker compose logs postgres`")
    if found is None:
        return "none"
    spec = find_spec("mlflow")
    scripts = ScriptDirectory(str(Path(str(spec and spec.origin)).parent / "store" / "db_migrations"))
    if found in scripts.get_heads():
        return "same"
    try:
        scripts.get_revision(found)
    except CommandError:
        return "newer"
    return "older"


def authentication(backend: str) -> Mapping[str, str]:
    """MLflow's own users. The first administrator's password is in the secret volume."""
    config = Path("/tmp/auth.ini")  # noqa: S108  # a file system of the container's own
    lines = [
        "[mlflow]", "default_permission = READ", f"database_uri = {backend}", "admin_username = admin",
        f"admin_password = {(FOLDER / 'admin').read_text()}",
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth",
    ]  # fmt: skip
    config.touch(mode=0o600)
    config.write_text("\n".join(lines) + "\n")
    return {"MLFLOW_AUTH_CONFIG_PATH": str(config), "MLFLOW_FLASK_SERVER_SECRET_KEY": (FOLDER / "flask").read_text()}


def joined(*lists: str) -> str:
    return ",".join(filter(None, lists))


def stop(what: str, mend: str) -> None:
    sys.exit(f"starterkit: {what}: {mend}")


if __name__ == "__main__":
    main(*sys.argv[1:])
