"""Resume deadlines reuse."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("request_sha256", sa.String(), nullable=False),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_idempotency_keys")),
    )
    with op.batch_alter_table("idempotency_keys", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idempotency_keys_created_at"), ["created_at"], unique=False)

    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("lost_workers", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("checkpoints_since", sa.Integer(), server_default="1", nullable=False))
        batch_op.add_column(sa.Column("origin", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("work_sha256", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("leader_id", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("queue_deadline", sa.DateTime(), nullable=True))
        batch_op.add_column(sa.Column("run_timeout_seconds", sa.Double(), nullable=True))
        batch_op.create_index(batch_op.f("ix_jobs_leader_id"), ["leader_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_work_sha256"), ["work_sha256"], unique=False)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_jobs_work_sha256"))
        batch_op.drop_index(batch_op.f("ix_jobs_leader_id"))
        batch_op.drop_column("run_timeout_seconds")
        batch_op.drop_column("queue_deadline")
        batch_op.drop_column("leader_id")
        batch_op.drop_column("work_sha256")
        batch_op.drop_column("origin")
        batch_op.drop_column("checkpoints_since")
        batch_op.drop_column("lost_workers")

    with op.batch_alter_table("idempotency_keys", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_idempotency_keys_created_at"))

    op.drop_table("idempotency_keys")
