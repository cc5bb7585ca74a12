"""Tokens over HTTP and at the gate: who gets in with what, from when on, and until when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text
from werkzeug.test import TestResponse

from shared.clock import from_rfc3339, to_rfc3339, utc_now
from shared.errors import Unauthenticated
from tests.support.statements import noted_statements
from web.access.gate import Gate
from web.access.tokens import (
    OPEN_ACCESS,
    PREFIX,
    SHOWN_CHARS,
    Access,
    Scope,
    create_token,
    digest,
    revoke_token,
)
from web.db.models import TokenRow
from web.services import Services

JOBS, TOKENS, OWN = "/api/v1/jobs", "/api/v1/tokens", "/api/v1/token"
NOW = datetime.fromisoformat("2026-11-27T12:00:00+00:00")


class Clock:
    """The present and a clock that only goes on, as the test says."""

    def __init__(self) -> None:
        self.passed = timedelta()

    def now(self) -> datetime:
        return NOW + self.passed

    def monotonic(self) -> float:
        return self.passed.total_seconds()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(services: Services, clock: Clock) -> Gate:
    return Gate(services.backend.database, now=clock.now, monotonic=clock.monotonic)


@pytest.fixture
def make(services: Services, clock: Clock) -> Callable[..., str]:
    """Make a token, and return its text."""

    def do(name: str = "ci", caller: str | None = "anna", scope: Scope = Scope.READ, **more: datetime) -> str:
        services.gate.stale_seconds = 0
        with services.backend.database.write() as session:
            made = create_token(
                session,
                name=name,
                scopes={scope},
                caller=caller,
                expires_at=more.get("expires_at"),
                now=more.get("now", clock.now()),
            )
        return made.text

    return do


def shown(token: str, kind: str = "Bearer") -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"{kind} {token}"}


def ask(client: FlaskClient, token: str, address: str = OWN) -> TestResponse:
    return client.get(address, headers={"Authorization": f"Bearer {token}"})


def test_without_any_token_everybody_is_local_and_may_do_everything(gate, client):
    for environ in ({}, shown("whatever"), shown("dXNlcjpwYXNz", "Basic")):
        assert gate.identify(environ) == OPEN_ACCESS
    answer = client.get(OWN)
    assert answer.json == {
        "caller": "local",
        "scopes": ["read", "submit", "manage", "admin"],
        "token_id": None,
    }


def test_from_the_first_token_on_every_request_needs_one(gate, make, client, problem_of):
    token = make()
    assert gate.identify(shown(token)).caller == "anna"
    assert gate.identify(shown(token, "bearer")).caller == "anna"
    for environ, said in (
        ({}, "shows no token"),
        (shown(token, "Basic"), "shows no token"),
        (shown("x"), "not the form of a token"),
        (shown(PREFIX + "A" * 43), "not known here, has expired, or was revoked"),
    ):
        with pytest.raises(Unauthenticated, match=said):
            gate.identify(environ)
    problem = problem_of(client.get(JOBS), 401, "unauthenticated")
    assert "ATELIER_TOKEN" in problem["suggestion"]


def test_the_first_token_is_locals_and_any_later_one_names_its_caller(make, services):
    first = make("laptop", None)
    with services.backend.database.read() as session:
        assert session.scalar(select(TokenRow.caller)) == "local"
    assert services.gate.identify(shown(first)).caller == "local"
    with pytest.raises(Exception, match="callers with tokens are local"):
        make("second", None)


def test_a_first_token_may_be_anothers_and_then_nothing_is_inherited(make, client, submit):
    job = submit()
    token = make(caller="anna")
    assert ask(client, token, JOBS).json["jobs"] == []
    assert ask(client, make("old", "local"), JOBS).json["jobs"][0]["id"] == job["id"]


def test_its_text_is_stored_nowhere(make, services):
    token = make()
    with services.backend.database.read() as session:
        row = session.execute(text("SELECT * FROM tokens")).mappings().one()
    assert token not in str(dict(row))
    assert row["sha256"] == digest(token)
    assert row["shown"] == token[:SHOWN_CHARS]
    assert len(token) == len(PREFIX) + 43


def test_a_revoked_one_is_of_no_use_a_second_later(gate, make, services, clock):
    token = make()
    assert gate.identify(shown(token)).caller == "anna"
    with services.backend.database.write() as session:
        revoke_token(session, "ci", now=clock.now())
    clock.passed = timedelta(seconds=1)
    with pytest.raises(Unauthenticated):
        gate.identify(shown(token))
    # The last one gone opens nothing.
    with pytest.raises(Unauthenticated):
        gate.identify({})


def test_it_expires(gate, make, clock):
    token = make(expires_at=NOW + timedelta(days=90))
    clock.passed = timedelta(days=90, seconds=-2)
    assert gate.identify(shown(token)).caller == "anna"
    clock.passed = timedelta(days=90)
    with pytest.raises(Unauthenticated):
        gate.identify(shown(token))


def test_the_first_token_closes_the_service_within_a_second(gate, make, clock):
    assert gate.identify({}) == OPEN_ACCESS
    make()
    clock.passed = timedelta(seconds=1)
    with pytest.raises(Unauthenticated):
        gate.identify({})


def test_its_use_is_noted_once_a_minute_and_who_asks_is_looked_up_once_a_second(gate, make, services, clock):
    token = make()

    def used_at() -> datetime | None:
        with services.backend.database.read() as session:
            return session.scalar(select(TokenRow.last_used_at))

    assert used_at() is None
    assert gate.identify_at_once(shown(token)) is None  # there is something to look up, and to write
    gate.identify(shown(token))
    assert used_at() == NOW
    with noted_statements() as noted:
        for _ in range(100):
            assert gate.identify(shown(token)) == gate.identify_at_once(shown(token))
    assert noted == []
    clock.passed = timedelta(seconds=59)
    gate.identify(shown(token))
    assert used_at() == NOW
    clock.passed = timedelta(seconds=60)
    assert gate.identify_at_once(shown(token)) is None
    gate.identify(shown(token))
    assert used_at() == NOW + timedelta(seconds=60)


def test_a_use_that_cannot_be_noted_hinders_nothing(gate, make, services, monkeypatch):
    token = make()
    monkeypatch.setattr("web.db.database._BUSY_SECONDS", 0.01)
    with services.backend.database.write():
        assert gate.identify(shown(token)).caller == "anna"


def test_what_is_no_token_is_looked_up_once_a_second_too(gate, make, clock):
    make()
    with noted_statements() as noted:
        for _ in range(100):
            with pytest.raises(Unauthenticated):
                gate.identify(shown(PREFIX + "A" * 43))
    assert len([one for one in noted if "FROM tokens" in one]) == 1


def test_only_so_many_are_kept_in_memory(gate, make):
    token = make()
    for number in range(1200):
        with pytest.raises(Unauthenticated):
            gate.identify(shown(f"guess-{number}"))
    assert len(gate._known) == 1000
    assert gate.identify(shown(token)).caller == "anna"


def test_an_unknown_scope_of_a_later_release_allows_nothing(make, services, client, problem_of):
    token = make()
    with services.backend.database.write() as session:
        session.execute(text("UPDATE tokens SET scopes = 'everything'"))
    problem = problem_of(ask(client, token), 403, "scope_missing")
    assert "the token has none" in problem["detail"]


def test_admins_make_list_and_revoke_them(make, client):
    admin = {"Authorization": f"Bearer {make('boss', scope=Scope.ADMIN, now=utc_now())}"}
    expires_at = to_rfc3339(utc_now() + timedelta(days=1))
    body = {"name": "ci", "caller": "ben", "scopes": ["submit"], "expires_at": expires_at}
    made = client.post(TOKENS, json=body, headers=admin)
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    token = made.json["token"]
    assert made.json["shown"] == token[:SHOWN_CHARS]
    assert from_rfc3339(made.json["expires_at"]) == from_rfc3339(expires_at)
    assert ask(client, token).json == {"caller": "ben", "scopes": ["submit"], "token_id": made.json["id"]}
    listed = client.get(TOKENS, headers=admin)
    assert [one["name"] for one in listed.json["tokens"]] == ["ci", "boss"]
    assert token not in listed.text
    assert listed.json["tokens"][0]["last_used_at"]
    for _ in range(2):
        gone = client.delete(f"{TOKENS}/ci", headers=admin)
        assert gone.json["revoked_at"]
    assert ask(client, token).status_code == 401
    again = client.post(TOKENS, json=body, headers=admin)
    assert again.status_code == 201
    assert client.post(TOKENS, json=body, headers=admin).json["code"] == "token_name_taken"
    assert client.delete(f"{TOKENS}/nobody", headers=admin).status_code == 404


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "a b"}, "/name"),
        ({"name": "x" * 65}, "/name"),
        ({"caller": "../x"}, "/caller"),
        ({"caller": None}, "/caller"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["root"]}, "/scopes/0"),
        ({"expires_at": "2026-11-23"}, "/expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expiry": 1}, "/expiry"),
    ],
)
def test_what_is_no_token_is_refused(make, client, changes, pointer):
    admin = {"Authorization": f"Bearer {make('boss', scope=Scope.ADMIN, now=utc_now())}"}
    body = {"name": "ci", "caller": "ben", "scopes": ["submit"], **changes}
    refused = client.post(TOKENS, json=body, headers=admin)
    assert refused.status_code in (400, 422), refused.text
    assert [fault["pointer"] for fault in refused.json["errors"]] == [pointer]
    assert len(client.get(TOKENS, headers=admin).json["tokens"]) == 1


def test_each_scope_may_do_what_those_before_it_may():
    for number, scope in enumerate(Scope):
        access = Access("anna", frozenset({scope}), "id")
        assert [access.allows(other) for other in Scope] == [rank <= number for rank in range(len(Scope))]
