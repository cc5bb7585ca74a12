"""Priorities 0 to 9: what jobs have had all along is the usual one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_jobs = sa.table("jobs", sa.column("priority", sa.Integer()))
#: What a job has that asks for none, as it was written before and is now; `queue_rank` is 0 for both.
_BEFORE, _NOW = 0, 5


def upgrade() -> None:
    """Apply."""
    op.execute(sa.update(_jobs).where(_jobs.c.priority == _BEFORE).values(priority=_NOW))


def downgrade() -> None:
    """Undo."""
    op.execute(sa.update(_jobs).values(priority=_BEFORE))
