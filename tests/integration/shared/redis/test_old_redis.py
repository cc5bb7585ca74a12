"""A Redis of a release that is too old: every part names its version and the least one that works.

The server is a real one; what it tells of its version is changed on the way.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from shared.errors import RedisTooOld, RedisUnavailable
from shared.processes import own_python
from shared.redis.connection import connect_redis, redis_errors, require_fit_redis
from shared.settings import Settings
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from web.cli.local.redis_server import RedisServer
from web.cli.main import main

_NAMED = "is of version 5.0.7; Atelier works with 6.2 and later"


@pytest.fixture
def versions(redis_server: RedisServer) -> dict[bytes, bytes]:
    """What the server tells of its version, and what is told instead: in the greeting, and by INFO."""
    with redis.Redis.from_url(redis_server.url) as client:
        told = client.info("server")
    found = {str(value) for name, value in told.items() if name in ("redis_version", "valkey_version")}
    assert {len(version) for version in found} == {len("5.0.7")}
    return {version.encode(): b"5.0.7" for version in found}


@pytest.fixture
def old(settings: Settings, redis_server: RedisServer, versions) -> Iterator[Settings]:
    with Proxy(redis_server.port, told=versions) as proxy:
        yield settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{proxy.port}/0"})


def greets_no_more(settings: Settings, redis_server: RedisServer, versions: dict[bytes, bytes]) -> Proxy:
    """A server before 6.0 does not know the greeting of redis-py."""
    return Proxy(redis_server.port, told=versions, asked={b"HELLO": b"HOLLA"})


def test_every_connection_names_it(old):
    with pytest.raises(RedisTooOld, match=_NAMED):
        require_fit_redis(old)
    client = connect_redis(old)
    with pytest.raises(RedisUnavailable, match=_NAMED), redis_errors():
        client.mget(["a"])
    client.close()


@pytest.mark.parametrize("protocol", ["", "?protocol=2"])
def test_one_that_does_not_know_the_greeting_is_asked_otherwise(settings, redis_server, versions, protocol):
    with greets_no_more(settings, redis_server, versions) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0{protocol}"
        with pytest.raises(RedisTooOld, match=_NAMED):
            require_fit_redis(settings.model_copy(update={"redis_url": url}))


def test_one_that_is_away_or_young_is_no_matter(settings, redis_server):
    require_fit_redis(settings)
    require_fit_redis(settings.model_copy(update={"redis_url": f"{settings.redis_url}?protocol=2"}))
    require_fit_redis(settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"}))


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("atelier", "web"), 2),
        (("atelier", "control"), 2),
        (("atelier-worker", "run", "--gpus", "none"), 2),
        (("atelier-worker", "check", "--gpus", "none"), 1),
    ],
)
def test_each_part_says_it_and_ends(old, words, code):
    environ = {**os.environ, **old.to_environ(), "ATELIER_PORT": str(free_port())}
    done = subprocess.run(own_python(*words), env=environ, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert (done.returncode, _NAMED in said, "Traceback" in said) == (code, True, False), said


def test_up_says_it_before_anything_is_started(old, tmp_path: Path):
    environ = {"ATELIER_REDIS_URL": old.redis_url}
    words = ["up", "--data-dir", str(tmp_path / "up"), "--port", str(free_port())]
    result = CliRunner(env=environ).invoke(main, words)
    assert (result.exit_code, _NAMED in result.stderr) == (2, True), result.stderr
    assert not (tmp_path / "up" / "logs").exists()
