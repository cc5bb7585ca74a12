"""Redis through a socket of the machine: both halves, ours and the broker's; and parameters that are none."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from shared.broker import broker_config
from shared.errors import InvalidSettings
from shared.redis import Coordination
from shared.redis.connection import connect_redis
from shared.redis.names import Names
from shared.settings import Settings, load_settings
from tests.support.waiting import wait_until
from web.cli.local.redis_server import find_server

NAMES = Names("test")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "redis.sock"
    words = [find_server(), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        wait_until(path.exists, seconds=20, what="the socket")
        yield path
        process.terminate()


@pytest.mark.process
@pytest.mark.parametrize(("query", "database"), [("", 0), ("?db=3", 3)])
def test_a_socket_leads_both_halves_to_the_same_database(path: Path, query: str, database: int):
    settings = Settings(redis_url=f"unix://{path}{query}")
    redis = Coordination.connect(settings, NAMES)
    redis.client.set("known", "yes")
    app = Celery(config_source=broker_config(settings, NAMES))
    with app.connection_for_write() as connection:
        client = connection.default_channel.client
        assert client.get("known") == b"yes"
        assert client.connection_pool.connection_kwargs["db"] == database
    redis.close()


def test_a_parameter_that_is_none_is_named():
    with pytest.raises(InvalidSettings, match="a parameter that is none: 'colour'"):
        load_settings({"ATELIER_REDIS_URL": "redis://127.0.0.1:1/0?colour=red"})
    told = load_settings({"ATELIER_REDIS_URL": "rediss://127.0.0.1:1/0?ssl_colour=red"})
    with pytest.raises(InvalidSettings, match="a parameter that is none: 'ssl_colour'"):
        connect_redis(told)
