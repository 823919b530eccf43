"""The tables of the service: targets, jobs, keys, reviews, audit."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "registered_targets",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("reference", sa.String(512)),
        sa.Column("sealed", sa.Text),
        sa.Column("shown", sa.String(512), nullable=False),
        sa.Column("place", sa.String(64), nullable=False),
        sa.Column("runs", sa.Boolean, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("dialect", sa.String(32)),
        sa.Column("engine", sa.String(128)),
        sa.Column("catalog_hash", sa.String(64)),
        sa.Column("catalog_version", sa.String(64)),
        sa.Column("checked", sa.Float),
        sa.Column("problem", sa.Text),
        sa.Column("created", sa.Float, nullable=False),
        sa.UniqueConstraint("tenant", "name"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("place", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("batch", sa.String(32)),
        sa.Column("rewrite_id", sa.String(32), sa.ForeignKey("rewrites.id")),
        sa.Column("result", sa.JSON),
        sa.Column("problem", sa.JSON),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("not_before", sa.Float, nullable=False),
        sa.Column("lease", sa.Float),
        sa.Column("worker", sa.String(128)),
        sa.Column("stop", sa.Boolean, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("started", sa.Float),
        sa.Column("finished", sa.Float),
    )
    op.create_index("ix_jobs_batch", "jobs", ["batch"])
    op.create_index("ix_jobs_request", "jobs", ["tenant", "request_hash"])
    op.create_index("ix_jobs_tenant", "jobs", ["tenant", "kind", "created"])
    op.create_index("ix_jobs_waiting", "jobs", ["state", "not_before"])
    op.create_table(
        "job_events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_index("ix_job_events_job_id", "job_events", ["job_id"])
    op.create_table(
        "idempotency",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.UniqueConstraint("tenant", "actor", "key"),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("seen", sa.Float, nullable=False),
        sa.Column("job_id", sa.String(32)),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("rate", sa.Integer),
        sa.Column("day_tokens", sa.Integer),
        sa.Column("day_cost", sa.Float),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
        sa.Column("used", sa.Float),
        sa.Column("revoked", sa.Float),
    )
    op.create_index("ix_api_keys_tenant", "api_keys", ["tenant"])
    op.create_table(
        "key_spending",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("cost", sa.Float, nullable=False),
        sa.UniqueConstraint("tenant", "actor", "day"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("object", sa.String(128), nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
    )
    op.create_index("ix_audit_tenant", "audit", ["tenant"])
    op.create_table(
        "reviews",
        sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("rewrite_id", sa.String(32), sa.ForeignKey("rewrites.id"), nullable=False),
        sa.Column("rewrite_key", sa.String(64), nullable=False),
        sa.Column("exact_key", sa.String(64), nullable=False),
        sa.Column("catalog_hash", sa.String(64), nullable=False),
        sa.Column("tables", sa.JSON, nullable=False),
        sa.Column("rows", sa.Float),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("changed", sa.Float, nullable=False),
        sa.Column("currency", sa.String(16), nullable=False),
        sa.Column("currency_reason", sa.Text, nullable=False),
        sa.Column("saved_per_day", sa.Float),
    )
    op.create_index("ix_reviews_lookup", "reviews", ["tenant", "target", "exact_key"])
    op.create_index("ix_reviews_state", "reviews", ["tenant", "state", "currency"])
    op.create_table(
        "rule_switches",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(128), nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("changed", sa.Float, nullable=False),
        sa.UniqueConstraint("tenant", "target", "rule"),
    )


def downgrade() -> None:
    for table in (
        "rule_switches",
        "reviews",
        "audit",
        "key_spending",
        "api_keys",
        "workers",
        "idempotency",
        "job_events",
        "jobs",
        "registered_targets",
    ):
        op.drop_table(table)
