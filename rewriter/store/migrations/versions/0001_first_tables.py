"""First tables: targets, queries, rewrites, evidence, measurements."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "targets",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("name", sa.String(512), nullable=False),
        sa.Column("engine", sa.String(128), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("tenant", "name"),
    )
    op.create_table(
        "queries",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("rewrite_key", sa.String(64), nullable=False),
        sa.Column("group_key", sa.String(64), nullable=False),
        sa.Column("text_hash", sa.String(64), nullable=False),
        sa.Column("dialect", sa.String(32), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("tenant", "rewrite_key", "text_hash"),
    )
    op.create_index("ix_queries_group", "queries", ["group_key"])
    op.create_table(
        "rewrites",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("target_id", sa.Integer, sa.ForeignKey("targets.id"), nullable=False),
        sa.Column("query_id", sa.Integer, sa.ForeignKey("queries.id"), nullable=False),
        sa.Column("catalog_hash", sa.String(64), nullable=False),
        sa.Column("chosen_sql", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("ratio", sa.Float),
        sa.Column("report", sa.JSON, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_rewrites_created", "rewrites", ["created"])
    op.create_table(
        "evidence",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("rewrite_id", sa.String(32), sa.ForeignKey("rewrites.id"), nullable=False),
        sa.Column("candidate", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("method", sa.String(64), nullable=False),
        sa.Column("verdict", sa.JSON, nullable=False),
    )
    op.create_index("ix_evidence_rewrite_id", "evidence", ["rewrite_id"])
    op.create_table(
        "measurements",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("rewrite_id", sa.String(32), sa.ForeignKey("rewrites.id"), nullable=False),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("seconds", sa.JSON, nullable=False),
        sa.Column("stopped_after", sa.Float),
        sa.Column("error", sa.Text),
    )
    op.create_index("ix_measurements_rewrite_id", "measurements", ["rewrite_id"])


def downgrade() -> None:
    for table in ("measurements", "evidence", "rewrites", "queries", "targets"):
        op.drop_table(table)
