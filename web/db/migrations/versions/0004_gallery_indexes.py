"""Gallery indexes."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index("ix_jobs_caller_status_id", ["caller", "status", "id"], unique=False)
        batch_op.create_index("ix_jobs_status_completed_at", ["status", "completed_at"], unique=False)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index("ix_jobs_status_completed_at")
        batch_op.drop_index("ix_jobs_caller_status_id")
