"""What lists and search are quick by, however many jobs are stored: tables beside `jobs`, and indexes.

Of SQLite's triggers, and of what they fill the tables with, `web/db/derived.py` takes care at each start. It
finds out, too, that a later migration has made `jobs` anew (a batch operation), which drops its triggers.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_LINE = "status = 'queued' AND leader_id IS NULL"
_ENDED_WELL = "status = 'succeeded' AND started_at IS NOT NULL"
_COMPLETE_RUN = (
    "status = 'succeeded' AND kind = 'job' AND attempt = 1 AND resumed_from_step IS NULL AND origin IS NULL"
)
_PARTIAL = {
    "ix_jobs_line": (["route", "queue_rank", "created_at", "id"], _LINE),
    "ix_jobs_waiting": (["kind", "queued_at"], _LINE),
    "ix_jobs_recent": (["route", "completed_at"], _ENDED_WELL),
    "ix_jobs_runs": (["route", "created_at"], _COMPLETE_RUN),
}
_TRIGGERS = (
    *("job_added", "job_moved", "job_removed", "job_altered", "job_changes_kept"),
    *("job_name_added", "job_name_altered", "job_name_removed"),
)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "job_names",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_job_names")),
        sa.UniqueConstraint("job_id", name=op.f("uq_job_names_job_id")),
    )
    op.create_index("ix_job_names_newest", "job_names", ["caller", "kind", "job_id", "status", "name"])
    op.create_table(
        "job_changes",
        sa.Column("sequence", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.String(), nullable=True)
            for name in ("job_id", "caller", "kind_before", "status_before", "kind_after", "status_after")
        ),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_job_changes")),
    )
    for name, (columns, condition) in _PARTIAL.items():
        where = sa.text(condition)
        op.create_index(name, "jobs", columns, sqlite_where=where, postgresql_where=where)
    op.create_index("ix_jobs_age", "jobs", ["caller", "kind", "created_at", "id"])
    op.drop_index("ix_job_labels_key_value", table_name="job_labels")
    op.create_index("ix_job_labels_key_value_job_id", "job_labels", ["key", "value", "job_id"])


def downgrade() -> None:
    """Undo."""
    if op.get_bind().dialect.name == "sqlite":
        for name in _TRIGGERS:
            op.execute(f"DROP TRIGGER IF EXISTS {name}")
        for what in ("TABLE IF EXISTS job_search_terms", "TABLE IF EXISTS job_search"):
            op.execute(f"DROP {what}")
        op.execute("DROP VIEW IF EXISTS job_search_names")
    op.drop_table("job_names")
    op.drop_table("job_changes")
    op.drop_index("ix_job_labels_key_value_job_id", table_name="job_labels")
    op.create_index("ix_job_labels_key_value", "job_labels", ["key", "value"])
    op.drop_index("ix_jobs_age", table_name="jobs")
    for name in _PARTIAL:
        op.drop_index(name, table_name="jobs")
