"""What was said to language models, what it cost, and what was learnt."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _own() -> list[sa.Column[Any]]:
    return [sa.Column("id", sa.Integer, primary_key=True), sa.Column("tenant", sa.String(64), nullable=False)]


def upgrade() -> None:
    op.create_table(
        "exchanges",
        *_own(),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("endpoint", sa.String(512), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("purpose", sa.String(128), nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("response", sa.JSON, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("cost", sa.Float, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_exchanges_key", "exchanges", ["key"])
    op.create_table(
        "spending",
        *_own(),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("cost", sa.Float, nullable=False),
        sa.UniqueConstraint("tenant", "day"),
    )
    op.create_table(
        "capabilities",
        *_own(),
        sa.Column("endpoint", sa.String(512), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("found", sa.JSON, nullable=False),
        sa.UniqueConstraint("tenant", "endpoint", "model"),
    )
    op.create_table(
        "knowledge",
        *_own(),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("text_hash", sa.String(64), nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("tenant", "kind", "text_hash"),
    )


def downgrade() -> None:
    for table in ("knowledge", "capabilities", "spending", "exchanges"):
        op.drop_table(table)
