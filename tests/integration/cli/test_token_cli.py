"""`atelier token` on the web host, and the command line that shows one to a service."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from datetime import timedelta

import pytest
from click.testing import CliRunner, Result

from shared.clock import from_rfc3339, utc_now
from shared.processes import own_python
from shared.settings import Settings
from tests.support.service import Service
from web.access.tokens import PREFIX
from web.cli.main import main

Call = Callable[..., Result]


@pytest.fixture
def call(settings: Settings) -> Call:
    """Run `atelier` with the settings of the service."""

    def run(*words: str, **environ: str) -> Result:
        return CliRunner(env={**settings.to_environ(), **environ}).invoke(main, words)

    return run


def test_a_first_token_is_made_before_the_first_start_and_printed_alone(call: Call):
    made = call("token", "create", "me", "--scope", "admin")
    assert made.exit_code == 0, made.stderr
    token = made.stdout.strip()
    assert token.startswith(PREFIX)
    assert token not in made.stderr
    assert "It is local's, may admin" in made.stderr
    listed = call("token", "list")
    assert token not in listed.stdout
    assert ["me", f"{token[:14]}…", "local", "admin"] == listed.stdout.splitlines()[1].split()[:4]


@pytest.mark.parametrize(
    ("asked", "span"),
    [(None, timedelta(days=90)), ("12h", timedelta(hours=12)), ("2w", timedelta(weeks=2)), ("never", None)],
)
def test_how_long_it_is_of_use(call: Call, asked: str | None, span: timedelta | None):
    words = [] if asked is None else ["--expires", asked]
    made = json.loads(call("token", "create", "me", *words, "--json").stdout)
    assert made["scopes"] == ["submit"]
    if span is None:
        assert made["expires_at"] is None
    else:
        assert abs(from_rfc3339(made["expires_at"]) - utc_now() - span) < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "me", "--expires", "soon"), "no time from now"),
        (("create", "me", "--expires", "0d"), "no time from now"),
        (("create", "me", "--scope", "root"), "'root' is not one of"),
        (("create", "a b"), "name is 'a b'"),
        (("create", "second"), "callers with tokens are local"),
        (("create", "first", "--caller", "anna"), "there is a token 'first' already"),
        (("revoke", "nobody"), "there is no token 'nobody'"),
    ],
)
def test_what_cannot_be_made_is_said(call: Call, words: tuple[str, ...], said: str):
    assert call("token", "create", "first").exit_code == 0
    refused = call("token", *words)
    assert refused.exit_code == 2
    assert said in refused.stderr


def test_a_revoked_one_is_listed_as_such_and_its_name_is_free(call: Call):
    call("token", "create", "me")
    assert call("token", "revoke", "me").exit_code == 0
    assert "revoked" in call("token", "list").stdout
    assert call("token", "create", "me", "--caller", "local").exit_code == 0


def test_without_any_it_says_so(call: Call, service: Service):
    assert "There is no token" in call("token", "list").stderr
    assert call("list", ATELIER_URL=service.url).exit_code == 0
    assert "asks for no token" in call("token", "show", ATELIER_URL=service.url).stderr


def test_the_command_line_shows_its_token(call: Call, service: Service, services):
    services.gate.stale_seconds = 0
    token = call("token", "create", "me", "--scope", "read").stdout.strip()
    refused = call("list", ATELIER_URL=service.url)
    assert refused.exit_code == 2
    assert "ATELIER_TOKEN" in refused.stderr
    assert call("list", ATELIER_URL=service.url, ATELIER_TOKEN=token).exit_code == 0
    shown = call("token", "show", ATELIER_URL=service.url, ATELIER_TOKEN=token)
    first, *limits = shown.stdout.splitlines()
    assert first == "local, who may read"
    assert any(re.fullmatch(r"[1-9]\d* of 6000 requests in this minute", line) for line in limits)
    assert "0 of 100 event streams open" in limits
    asked = json.loads(call("token", "show", "--json", ATELIER_URL=service.url, ATELIER_TOKEN=token).stdout)
    assert {one["name"] for one in asked["limits"]} >= {"requests", "jobs", "stored_bytes"}
    drained = call("drain", "gpu-a", ATELIER_URL=service.url, ATELIER_TOKEN=token)
    assert drained.exit_code == 2
    assert "needs the scope 'manage'" in drained.stderr


@pytest.mark.process
def test_web_listens_for_this_machine_alone_until_there_is_a_token(settings: Settings):
    environ = {**settings.model_copy(update={"host": "0.0.0.0", "port": 1}).to_environ(), "PATH": ""}
    refused = subprocess.run(
        own_python("atelier", "web"), env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert refused.returncode != 0
    assert "atelier token create NAME --scope admin" in refused.stderr


@pytest.mark.parametrize("token", ["a b", "tökén"])
def test_what_cannot_be_sent_is_said(call: Call, service: Service, token: str):
    refused = call("list", ATELIER_URL=service.url, ATELIER_TOKEN=token)
    assert refused.exit_code == 2
    assert "ATELIER_TOKEN is no token" in refused.stderr
    assert token not in refused.stderr
