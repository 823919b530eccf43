"""What rules did to measured time."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rule_trials",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(128), nullable=False),
        sa.Column("dialect", sa.String(32), nullable=False),
        sa.Column("shape", sa.String(128), nullable=False),
        sa.Column("trials", sa.Integer, nullable=False),
        sa.Column("wins", sa.Integer, nullable=False),
        sa.Column("gained", sa.Float, nullable=False),
        sa.UniqueConstraint("tenant", "rule", "dialect", "shape"),
    )


def downgrade() -> None:
    op.drop_table("rule_trials")
