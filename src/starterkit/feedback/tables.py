"""The tables of the prediction log, and the ids and moments in them.

`migrations/` makes them; a test holds the two against each other.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    select,
)

ID_BYTES = 16

metadata = MetaData()

_Number = BigInteger().with_variant(Integer(), "sqlite")

schemas = Table(
    "prediction_schema",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("model", String, nullable=False),
    Column("version", String, nullable=False),
    Column("stage", String, nullable=False),
    Column("content", String, nullable=False),
)
predictions = Table(
    "prediction",
    metadata,
    Column("id", LargeBinary(ID_BYTES), primary_key=True),
    Column("time", BigInteger, nullable=False),  # in µs since 1970
    Column("schema", BigInteger, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("block", LargeBinary, nullable=False),
    Column("texts", LargeBinary),
    Column("latency", Integer, nullable=False),  # in µs
    Column("caller", String, nullable=False),
)
record_keys = Table(
    "prediction_key",
    metadata,
    Column("id", LargeBinary(ID_BYTES), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("key", String, nullable=False),
    Index("prediction_key_key", "key"),
)
labels = Table(
    "label",
    metadata,
    Column("number", _Number, primary_key=True),  # the newest wins
    Column("id", LargeBinary(ID_BYTES), nullable=False),
    Column("row", Integer, nullable=False),
    Column("value", Float(53), nullable=False),  # a class that is a text by its code in the prediction's schema
    Column("time", BigInteger, nullable=False),
    Column("caller", String, nullable=False),
    Index("label_of", "id", "row", "number"),
)
refusals = Table(
    "refusal",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("schema", BigInteger, nullable=False),
    Column("reason", String, nullable=False),
    Column("column", String, nullable=False),
    Column("count", Integer, nullable=False),
    Index("refusal_time", "time"),
)
shadows = Table(
    "shadow_prediction",  # of the same requests by another version, which answered nobody; their inputs are above
    metadata,
    Column("id", LargeBinary(ID_BYTES), primary_key=True),
    Column("schema", BigInteger, primary_key=True, autoincrement=False),
    Column("answers", LargeBinary, nullable=False),
    Column("latency", Integer, nullable=False),
)
events = Table(
    "log_event",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("kind", String, nullable=False),  # pruned, erased
    Column("until", BigInteger, nullable=False),
    Column("content", String, nullable=False),
)


def newest_labels(connection: Connection, which: ColumnElement[bool]) -> dict[tuple[bytes, int], float]:
    """The last label of each prediction, by its request's id and its row."""
    told = select(labels.c.id, labels.c.row, labels.c.value).where(which).order_by(labels.c.number)
    return {(one.id, one.row): one.value for one in connection.execute(told)}  # a later one takes the place


def now() -> int:
    """µs since 1970."""
    return int(datetime.now(UTC).timestamp() * 1e6)


def micros(time: datetime) -> int:
    """A moment as the log keeps it. One without a zone is in UTC."""
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1e6)


def first_id(time: int) -> bytes:
    """The smallest id of a request at this moment, in µs."""
    return max(0, time // 1000).to_bytes(6, "big") + bytes(ID_BYTES - 6)
