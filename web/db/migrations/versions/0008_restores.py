"""Restores and holds: until when files are kept although no row refers to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from web.db.models import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_COLUMNS = ("held_until", "restored_at", "known_until")


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("installation") as table:
        for name in _COLUMNS:
            table.add_column(sa.Column(name, UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("installation") as table:
        for name in _COLUMNS:
            table.drop_column(name)
