"""What the first release left belongs to `local`, and so does the first token of all."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from shared.clock import utc_now
from shared.settings import Settings
from tests.releases.release import unpack_data
from web.app import create_app
from web.cli.main import main
from web.services import services_of

API = "/api/v1"
KEY = "a key of the first release"
Headers = dict[str, str]


@pytest.fixture
def left(settings: Settings) -> dict[str, str]:
    """The data of the first release, with a key that was used just before; its jobs by what they were."""
    data = unpack_data("first", settings.data_dir.parent)
    assert data == settings.data_dir
    jobs: dict[str, str] = json.loads((data / "jobs.json").read_text())
    answer = json.dumps({"job_id": jobs["queued"], "first": {"status": 202, "headers": {}, "body": "{}"}})
    with closing(sqlite3.connect(data / "atelier.db")) as database, database:
        database.execute(
            "INSERT INTO idempotency_keys VALUES ('local', ?, ?, ?, ?)",
            (KEY, "0" * 64, answer, f"{utc_now():%Y-%m-%d %H:%M:%S.%f}"),
        )
    return jobs


@pytest.fixture
def client(left: dict[str, str], settings: Settings) -> Iterator[FlaskClient]:
    """This release, which has opened that data."""
    app = create_app(settings)
    services_of(app).gate.stale_seconds = 0
    yield app.test_client()
    services_of(app).close()


@pytest.fixture
def make_token(settings: Settings) -> Callable[..., Headers]:
    """Make a token as its documentation says, and return what shows it."""

    def make(*words: str) -> Headers:
        made = CliRunner(env=settings.to_environ()).invoke(main, ["token", "create", *words])
        assert made.exit_code == 0, made.stderr
        return {"Authorization": f"Bearer {made.stdout.strip()}"}

    return make


def seen(client: FlaskClient, kind: str, headers: Headers) -> set[str]:
    answer = client.get(f"{API}/{kind}?page_size=100", headers=headers)
    assert answer.status_code == 200, answer.text
    return {one["id"] for one in answer.json[kind]}


def test_all_that_was_there_is_locals(client: FlaskClient, left: dict[str, str], settings: Settings):
    with closing(sqlite3.connect(settings.data_dir / "atelier.db")) as database:
        for table in ("jobs", "assets", "idempotency_keys"):
            found = database.execute(f"SELECT caller, count(*) FROM {table} GROUP BY caller").fetchall()
            assert [caller for caller, _ in found] == ["local"], table
    assert seen(client, "jobs", {}) == set(left.values())


def test_the_first_token_goes_on_with_it_and_anothers_sees_nothing_of_it(
    client: FlaskClient,
    left: dict[str, str],
    make_token: Callable[..., Headers],
    make_picture: Callable[..., bytes],
):
    before = {kind: seen(client, kind, {}) for kind in ("jobs", "assets")}
    assert len(before["assets"]) == 6
    first, other = make_token("me"), make_token("other", "--caller", "ben")
    for kind, ids in before.items():
        assert seen(client, kind, first) == ids
        assert seen(client, kind, other) == set()
    output = f"{API}/jobs/{left['succeeded']}/output"
    with client.get(output, headers=first) as answer:
        assert answer.status_code == 200
    assert client.get(output, headers=other).json["code"] == "not_found"
    assert client.post(f"{API}/jobs/{left['paused']}/cancel", headers=first).status_code in (200, 202)
    assert client.post(f"{API}/jobs/{left['queued']}/cancel", headers=other).status_code == 404

    def submit(headers: Headers) -> tuple[int, str]:
        files = {part: (io.BytesIO(make_picture()), "a.png") for part in ("content", "style")}
        answer = client.post(f"{API}/jobs", data=files, headers={**headers, "Idempotency-Key": KEY})
        return answer.status_code, answer.json.get("code", "")

    # Their key was used, with another request; that of the other caller was not.
    assert submit(first) == (422, "idempotency_key_reused")
    assert submit(other) == (202, "")


def test_a_first_token_of_another_caller_inherits_nothing(
    client: FlaskClient, make_token: Callable[..., Headers]
):
    assert seen(client, "jobs", make_token("ci", "--caller", "build")) == set()
