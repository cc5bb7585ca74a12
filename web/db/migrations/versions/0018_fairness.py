"""Fairness between callers: where a job stands in its caller's flow; what waits already stands at 0."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_IN_LINE = "status = 'queued' AND leader_id IS NULL"
_QUEUE = ["status", "leader_id", "route", "dispatched_at", "queue_rank"]
_LINE = ["route", "queue_rank"]
_BY_AGE = ["created_at", "id"]


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "flows",
        sa.Column("line", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("virtual_start", sa.Double(), nullable=False),
        sa.Column("virtual_finish", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("line", "priority", "caller", name=op.f("pk_flows")),
    )
    op.create_index("ix_flows_virtual_start", "flows", ["line", "priority", "virtual_start"])
    for name in ("virtual_start", "estimated_seconds"):
        op.add_column("jobs", sa.Column(name, sa.Double(), nullable=False, server_default="0"))
    # What was added before may have been sent.
    op.add_column("jobs", sa.Column("sends", sa.Integer(), nullable=False, server_default="1"))
    _order_by(["virtual_start", *_BY_AGE])
    _partial("ix_jobs_flow", ["caller", "route", "queue_rank", "virtual_start"])


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_jobs_flow", "jobs")
    _order_by(_BY_AGE)
    for name in ("sends", "estimated_seconds", "virtual_start"):
        op.drop_column("jobs", name)
    op.drop_table("flows")


def _order_by(last: list[str]) -> None:
    for name in ("ix_jobs_queue", "ix_jobs_line"):
        op.drop_index(name, "jobs")
    op.create_index("ix_jobs_queue", "jobs", [*_QUEUE, *last])
    _partial("ix_jobs_line", [*_LINE, *last])


def _partial(name: str, columns: list[str]) -> None:
    where = sa.text(_IN_LINE)
    op.create_index(name, "jobs", columns, sqlite_where=where, postgresql_where=where)
