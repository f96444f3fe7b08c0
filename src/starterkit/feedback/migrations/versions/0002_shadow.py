"""What a challenger said of the same rows."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shadow_prediction",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("schema", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("answers", sa.LargeBinary(), nullable=False),
        sa.Column("latency", sa.Integer(), nullable=False),
    )
