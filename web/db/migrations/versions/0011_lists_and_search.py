"""What lists and search are quick by, however many jobs are stored: names, changes, and smaller indexes.

Triggers keep `job_names` and `job_changes` for whatever writes `jobs`. A later migration that makes `jobs`
anew (a batch operation) drops them with the old table and has to make them again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None

_LINE = "status = 'queued' AND leader_id IS NULL"
_ENDED_WELL = "status = 'succeeded' AND started_at IS NOT NULL"
_COMPLETE_RUN = (
    "status = 'succeeded' AND kind = 'job' AND attempt = 1 AND resumed_from_step IS NULL AND origin IS NULL"
)
_PARTIAL = {
    "ix_jobs_line": (["route", "queue_rank", "created_at", "id"], _LINE),
    "ix_jobs_waiting": (["queued_at"], f"{_LINE} AND kind = 'job'"),
    "ix_jobs_recent": (["route", "completed_at"], _ENDED_WELL),
    "ix_jobs_runs": (["route", "created_at"], _COMPLETE_RUN),
}
_TRIGGERS = {
    "job_added": """
        AFTER INSERT ON jobs BEGIN
            INSERT INTO job_names (job_id, caller, kind, status, name)
                SELECT new.id, new.caller, new.kind, new.status, lower(new.name) WHERE new.name <> '';
            INSERT INTO job_changes (job_id, caller, kind_after, status_after)
                VALUES (new.id, new.caller, new.kind, new.status);
        END""",
    "job_moved": """
        AFTER UPDATE OF kind, status ON jobs
        WHEN old.kind IS NOT new.kind OR old.status IS NOT new.status BEGIN
            UPDATE job_names SET kind = new.kind, status = new.status WHERE job_id = new.id;
            INSERT INTO job_changes (job_id, caller, kind_before, status_before, kind_after, status_after)
                VALUES (new.id, new.caller, old.kind, old.status, new.kind, new.status);
        END""",
    "job_removed": """
        AFTER DELETE ON jobs BEGIN
            DELETE FROM job_names WHERE job_id = old.id;
            INSERT INTO job_changes (job_id, caller, kind_before, status_before)
                VALUES (old.id, old.caller, old.kind, old.status);
        END""",
    # What never changes by now: a filter that was counted may have to be counted anew.
    "job_altered": """
        AFTER UPDATE OF id, caller, name, batch_id, created_at ON jobs
        WHEN (old.id, old.caller, old.name, old.batch_id, old.created_at)
            IS NOT (new.id, new.caller, new.name, new.batch_id, new.created_at) BEGIN
            DELETE FROM job_names WHERE job_id = old.id;
            INSERT INTO job_names (job_id, caller, kind, status, name)
                SELECT new.id, new.caller, new.kind, new.status, lower(new.name) WHERE new.name <> '';
            INSERT INTO job_changes (job_id) VALUES (NULL);
        END""",
    # Who has not looked for longer than that counts anew.
    "job_changes_kept": """
        AFTER INSERT ON job_changes BEGIN
            DELETE FROM job_changes WHERE sequence <= new.sequence - 4096;
        END""",
}
_SEARCH = (
    # The names are in small letters already, by rules that SQLite does not know.
    """CREATE VIRTUAL TABLE job_search USING fts5(
            name, content='job_names', content_rowid='number', columnsize=0,
            tokenize='trigram case_sensitive 1'
        )""",
    """CREATE TRIGGER job_name_added AFTER INSERT ON job_names BEGIN
            INSERT INTO job_search (rowid, name) VALUES (new.number, new.name);
        END""",
    """CREATE TRIGGER job_name_removed AFTER DELETE ON job_names BEGIN
            INSERT INTO job_search (job_search, rowid, name) VALUES ('delete', old.number, old.name);
        END""",
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
    op.drop_index("ix_job_labels_key_value", table_name="job_labels")
    op.create_index("ix_job_labels_key_value_job_id", "job_labels", ["key", "value", "job_id"])
    connection = op.get_bind()
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        # Newest last: what is near in a list lies together.
        op.execute(
            "INSERT INTO job_names (job_id, caller, kind, status, name) "
            "SELECT id, caller, kind, status, lower(name) FROM jobs WHERE name <> '' ORDER BY id"
        )
    op.create_index("ix_job_names_newest", "job_names", ["caller", "kind", "job_id", "status", "name"])
    if not is_sqlite:
        return
    for name, body in _TRIGGERS.items():
        op.execute(f"CREATE TRIGGER {name}{body}")
    if _has_trigrams(connection):
        for statement in _SEARCH:
            op.execute(statement)
        op.execute("INSERT INTO job_search (job_search) VALUES ('rebuild')")


def _has_trigrams(connection: sa.Connection) -> bool:
    """Whether this SQLite has FTS5 with trigrams; without it names are read through, which takes longer."""
    try:
        connection.exec_driver_sql("CREATE VIRTUAL TABLE temp.trigrams USING fts5(name, tokenize='trigram')")
    except sa.exc.DBAPIError:
        return False
    connection.exec_driver_sql("DROP TABLE temp.trigrams")
    return True


def downgrade() -> None:
    """Undo."""
    if op.get_bind().dialect.name == "sqlite":
        for name in (*_TRIGGERS, "job_name_added", "job_name_removed"):
            op.execute(f"DROP TRIGGER IF EXISTS {name}")
        op.execute("DROP TABLE IF EXISTS job_search")
    op.drop_table("job_names")
    op.drop_table("job_changes")
    op.drop_index("ix_job_labels_key_value_job_id", table_name="job_labels")
    op.create_index("ix_job_labels_key_value", "job_labels", ["key", "value"])
    for name in _PARTIAL:
        op.drop_index(name, table_name="jobs")
