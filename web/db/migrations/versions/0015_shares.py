"""Share links; there are none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("installation", sa.Column("share_secret", sa.String(), nullable=True))
    op.create_table(
        "job_shares",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_job_shares_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job_shares")),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("job_shares")
    op.drop_column("installation", "share_secret")
