"""A submission of known pictures reads little, writes in few statements, and shows what it wrote."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import Engine, event

from tests.support.statements import noted_statements
from web.api import rendered_jobs
from web.app import create_app
from web.services import services_of

JOBS = "/api/v1/jobs"
DAY = 86_400


@pytest.fixture
def known(submit, services) -> dict[str, str]:
    """The ids of two pictures that are there; what is told of the queue is kept for an hour."""
    job = submit()
    services.backend.shared.stale_seconds = 3600
    return {part: job["input"][part]["asset_id"] for part in ("content", "style")}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"reuse": False},
        {
            "name": "A name",
            "labels": {"b": "2", "a": "ä"},
            "queue_timeout_seconds": DAY,
            "run_timeout_seconds": 9,
        },
        {"options": {"size": 64, "steps": 7, "style_weight": 0.02}},
        {"options": {"init": "fast", "detail": 48}},
        {"options": {"method": "fast"}},
        {"kind": "draft"},
    ],
    ids=["alone", "anew", "with fields", "with options", "begun by a draft", "fast", "draft"],
)
def test_what_is_answered_is_what_is_shown_next(client, known, monkeypatch, fields):
    """Also to the last byte, so that nothing is to be rendered for whoever polls then."""
    answer = client.post(JOBS, json={**known, **fields})
    assert answer.status_code == 202, answer.text
    url = answer.headers["Location"]
    monkeypatch.setattr(rendered_jobs, "show_job", lambda *_, **__: pytest.fail("it was rendered again"))
    next_one = client.get(url)
    monkeypatch.undo()
    assert (next_one.data, next_one.headers["ETag"]) == (answer.data, answer.headers["ETag"])
    assert client.get(url, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_another_process_shows_the_same(client, settings, known):
    answer = client.post(JOBS, json={**known, "labels": {"b": "2", "a": "1"}, "name": " A name "})
    other = create_app(settings)
    read_anew = other.test_client().get(answer.headers["Location"])
    services_of(other).close()
    assert (read_anew.data, read_anew.headers["ETag"]) == (answer.data, answer.headers["ETag"])


def test_it_writes_in_few_statements_and_then_reads_none(client, known):
    """While it writes nobody else does: that decides how many are taken in a second."""
    client.post(JOBS, json={**known, "options": {"steps": 3}})
    with noted_statements() as noted:
        assert client.post(JOBS, json={**known, "options": {"steps": 4}}).status_code == 202
    began = noted.index("BEGIN IMMEDIATE")
    assert [" ".join(one.split()[:3]) for one in noted[began + 1 :]] == [
        "SELECT count(*) FROM",
        "SELECT 1 FROM",
        "SELECT (SELECT max(flows.virtual_start)",
        "WITH gaps (number,",
        "INSERT INTO jobs",
        "INSERT INTO job_events",
        "SELECT * FROM",
        "INSERT INTO metric_totals",
    ]
    assert sum("FROM assets" in one for one in noted) == 1
    assert sum("work_sha256 = " in one for one in noted) == 2


@pytest.mark.parametrize("part", ["content", "style"])
def test_a_picture_that_is_removed_meanwhile_is_said_to_be_gone(client, settings, known, part):
    """It was there when it was looked for, and is not when the row is written."""

    def remove(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement != "BEGIN IMMEDIATE":
            return
        with closing(sqlite3.connect(settings.data_dir / "atelier.db")) as other, other:
            other.create_function("lower", 1, str.lower, deterministic=True)
            other.execute("DELETE FROM jobs")
            other.execute("DELETE FROM assets WHERE id = ?", [known[part]])

    event.listen(Engine, "before_cursor_execute", remove)
    try:
        answer = client.post(JOBS, json={**known, "options": {"steps": 5}})
    finally:
        event.remove(Engine, "before_cursor_execute", remove)
    assert answer.status_code == 404, answer.text
    assert [fault["pointer"] for fault in answer.json["errors"]] == [f"/{part}"]
    assert client.get(JOBS).json["jobs"] == []
