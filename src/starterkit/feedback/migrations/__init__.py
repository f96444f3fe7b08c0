"""The tables as they became what they are, step by step: Alembic's folder, run from here and not by its command."""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from starterkit.errors import KitError

_TABLE = "prediction_log_version"
_LOCK = 5_318_008_471


class NewerLog(KitError):
    """The log was written by a version of the kit that this one does not know."""


def upgrade(engine: Engine) -> None:
    """Bring the tables to the newest revision: one process at a time, and whole or not at all.

    Raises
    ------
    NewerLog
        They are of a revision that is not here.
    """
    folder = Path(__file__).parent
    newest = max(one.name[:4] for one in (folder / "versions").glob("[0-9]*.py"))
    with engine.connect() as connection:
        if _current(connection) == newest:  # as it is at nearly each start, which then has no Alembic to import
            return
        from alembic.config import Config
        from alembic.migration import MigrationContext
        from alembic.operations import Operations
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(folder))
        config.set_main_option("path_separator", "os")
        scripts = ScriptDirectory.from_config(config)
        connection.rollback()
        _begin(connection)
        at = _current(connection)  # another process may have been here meanwhile
        if at is not None and at not in {one.revision for one in scripts.walk_revisions()}:
            what = f"the prediction log is of revision {at}, which a newer version of the kit made"
            raise NewerLog(what, "Use that version, or name another database in feedback.database")
        context = MigrationContext.configure(connection, opts={"version_table": _TABLE})
        with Operations.context(context):
            for one in reversed([*scripts.iterate_revisions("head", at or "base")]):
                one.module.upgrade()
                context._version.create(connection, checkfirst=True)
                connection.execute(text(f"DELETE FROM {_TABLE}"))  # noqa: S608  # a fixed name
                connection.execute(context._version.insert().values(version_num=one.revision))
        connection.commit()


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {_TABLE}")).scalar()  # noqa: S608  # a fixed name


def _begin(connection: Connection) -> None:
    """Alone: SQLite's driver would begin a transaction only after what makes tables."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
