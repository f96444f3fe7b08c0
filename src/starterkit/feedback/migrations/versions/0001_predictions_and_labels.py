"""Predictions, their keys and labels, refusals, and what was pruned and erased."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "prediction_schema",
        sa.Column("id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("content", sa.String(), nullable=False),
    )
    op.create_table(
        "prediction",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("schema", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("block", sa.LargeBinary(), nullable=False),
        sa.Column("texts", sa.LargeBinary()),
        sa.Column("latency", sa.Integer(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
    )
    op.create_table(
        "prediction_key",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("row", sa.Integer(), primary_key=True),
        sa.Column("key", sa.String(), nullable=False),
    )
    op.create_index("prediction_key_key", "prediction_key", ["key"])
    op.create_table(
        "label",
        sa.Column("number", number, primary_key=True),
        sa.Column("id", sa.LargeBinary(16), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("value", sa.Float(53), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
    )
    op.create_index("label_of", "label", ["id", "row", "number"])
    op.create_table(
        "refusal",
        sa.Column("number", number, primary_key=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("schema", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("column", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
    )
    op.create_index("refusal_time", "refusal", ["time"])
    op.create_table(
        "log_event",
        sa.Column("number", number, primary_key=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.String(), nullable=False),
    )
