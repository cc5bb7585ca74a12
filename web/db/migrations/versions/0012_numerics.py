"""What jobs, attempts and checkpoints were computed with; of those that are there nobody knows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("jobs", "numerics", sa.String),
    ("jobs", "is_exact", sa.Boolean),
    ("jobs", "pinned_to", sa.String),
    ("job_attempts", "numerics", sa.String),
    ("job_attempts", "is_exact", sa.Boolean),
    ("job_checkpoints", "numerics", sa.String),
)


def upgrade() -> None:
    """Apply."""
    for table, name, kind in _COLUMNS:
        op.add_column(table, sa.Column(name, kind(), nullable=True))


def downgrade() -> None:
    """Undo."""
    for table, name, _ in reversed(_COLUMNS):
        op.drop_column(table, name)
