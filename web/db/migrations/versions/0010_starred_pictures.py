"""When a picture was starred, and lists of pictures; of those that are there none is starred."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("assets", sa.Column("starred_at", sa.DateTime(), nullable=True))
    op.create_index("ix_assets_caller_id", "assets", ["caller", "id"])
    op.create_index("ix_assets_caller_starred_at", "assets", ["caller", "starred_at"])


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_assets_caller_starred_at", table_name="assets")
    op.drop_index("ix_assets_caller_id", table_name="assets")
    op.drop_column("assets", "starred_at")
