"""What lists and search are quick by: what SQLite's triggers derive from `jobs`, and whether it fits them.

`job_names` has what a search reads, `job_search` the trigrams of its names, `job_changes` what has moved
since somebody counted. Whoever writes `jobs`, the triggers follow. Each start looks whether all of it is
there and fits the jobs (`find_fault`); if not, it is made anew from them (`derive_anew`): after a migration,
after writes by a program that folds letters otherwise, and with another SQLite. `web/jobs/lists.py` and
`web/jobs/counts.py` read it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError

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
    # What seldom changes: a filter that was counted may have to be counted anew.
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
#: Two line ends, which no name has, behind a name: so trigrams begin with its last characters, too.
_SEARCH_TRIGGERS = {
    "job_name_added": """
        AFTER INSERT ON job_names BEGIN
            INSERT INTO job_search (rowid, name) VALUES (new.number, new.name || char(10, 10));
        END""",
    # Of the columns that seldom change.
    "job_name_altered": """
        AFTER UPDATE OF number, name ON job_names BEGIN
            INSERT INTO job_search (job_search, rowid, name)
                VALUES ('delete', old.number, old.name || char(10, 10));
            INSERT INTO job_search (rowid, name) VALUES (new.number, new.name || char(10, 10));
        END""",
    "job_name_removed": """
        AFTER DELETE ON job_names BEGIN
            INSERT INTO job_search (job_search, rowid, name)
                VALUES ('delete', old.number, old.name || char(10, 10));
        END""",
}
_SEARCH_TABLES = {
    "job_search_names": "CREATE VIEW job_search_names AS "
    "SELECT number, name || char(10, 10) AS name FROM job_names",
    # The names are in small letters already, by rules that SQLite does not know.
    "job_search": """CREATE VIRTUAL TABLE job_search USING fts5(
            name, content='job_search_names', content_rowid='number', columnsize=0,
            tokenize='trigram case_sensitive 1'
        )""",
    "job_search_terms": "CREATE VIRTUAL TABLE job_search_terms USING fts5vocab('job_search', 'row')",
}


def _statements(triggers: Mapping[str, str]) -> dict[str, str]:
    return {name: f"CREATE TRIGGER {name}{body}" for name, body in triggers.items()}


_ALWAYS: Mapping[str, str] = MappingProxyType(_statements(_TRIGGERS))
_WITH_TRIGRAMS: Mapping[str, str] = MappingProxyType(_SEARCH_TABLES | _statements(_SEARCH_TRIGGERS))
_TRIGRAMS_SINCE = (3, 34)

_NAMES = "SELECT id, caller, kind, status, lower(name) FROM jobs WHERE name <> ''"
_MISSED = """SELECT jobs.id FROM jobs LEFT JOIN job_names AS known ON known.job_id = jobs.id
    WHERE jobs.name <> '' AND (known.caller, known.kind, known.status, known.name)
        IS NOT (jobs.caller, jobs.kind, jobs.status, lower(jobs.name)) LIMIT 1"""
_TOO_MANY = "SELECT (SELECT count(*) FROM job_names) > (SELECT count(*) FROM jobs WHERE name <> '')"
#: Of a name with its end there are as many as the name has characters.
_TRIGRAMS_FIT = """SELECT (SELECT coalesce(sum(cnt), 0) FROM job_search_terms)
    = (SELECT coalesce(sum(length(name)), 0) FROM job_names)"""


def has_trigrams(connection: Connection) -> bool:
    """Whether this SQLite has FTS5 with trigrams; without it names are read through, which takes longer."""
    modules = {str(row[0]).lower() for row in connection.execute(text("PRAGMA module_list"))}
    return sqlite3.sqlite_version_info >= _TRIGRAMS_SINCE and "fts5" in modules


def find_fault(connection: Connection) -> str | None:
    """Return what does not fit the jobs, in words; None when all does. Some 3 µs for each job.

    It only reads. The connection is one of `Database`, whose lower() knows all letters.
    """
    wanted = {**_ALWAYS, **(_WITH_TRIGRAMS if has_trigrams(connection) else {})}
    present = _present(connection)
    for name in (*_ALWAYS, *_WITH_TRIGRAMS):
        is_kept = name in _SEARCH_TABLES and name not in wanted  # as they are, until there is FTS5 again
        if present.get(name) != wanted.get(name) and not is_kept:
            return f"{name} is {'there' if name not in wanted else 'missing or another'}"
    missed = connection.execute(text(_MISSED)).scalar()
    if missed is not None:
        return f"the name of {missed} is not what the search knows"
    if connection.execute(text(_TOO_MANY)).scalar():
        return "the search knows names of no job"
    if "job_search_terms" in wanted:
        try:
            fits = connection.execute(text(_TRIGRAMS_FIT)).scalar()
        except DatabaseError as error:
            return f"the trigrams cannot be read: {error.orig}"
        if not fits:
            return "the trigrams are not those of the names"
    return None


def derive_anew(connection: Connection) -> None:
    """Make all of it anew from the jobs, in the connection's transaction, which writes."""
    present = _present(connection)
    for name in (*_TRIGGERS, *_SEARCH_TRIGGERS):
        connection.execute(text(f"DROP TRIGGER IF EXISTS {name}"))
    connection.execute(text("DELETE FROM job_names"))
    # Newest last: what is near in a list lies together.
    connection.execute(
        text(f"INSERT INTO job_names (job_id, caller, kind, status, name) {_NAMES} ORDER BY id")
    )
    made = dict(_ALWAYS)
    if has_trigrams(connection):
        for name in reversed([name for name in _SEARCH_TABLES if name in present]):
            connection.execute(text(f"DROP {'VIEW' if name == 'job_search_names' else 'TABLE'} {name}"))
        made |= _WITH_TRIGRAMS
    for statement in made.values():
        # Not by text(): what has a colon would be taken for a parameter.
        connection.exec_driver_sql(statement)
    if "job_search" in made:
        connection.execute(text("INSERT INTO job_search (job_search) VALUES ('rebuild')"))
    # Whoever has counted counts anew.
    connection.execute(text("INSERT INTO job_changes (job_id) VALUES (NULL)"))


def _present(connection: Connection) -> dict[str, str]:
    """Return the statements that have made what there is of ours."""
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    return {row.name: row.sql for row in rows if row.name in _ALWAYS or row.name in _WITH_TRIGRAMS}
