"""The Redis of a control host as docs/operations.md sets it up: its configuration, and its certificate."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest
import redis

from shared.redis.connection import connect_redis
from shared.settings import Settings
from tests.support.ports import free_port
from tests.support.tls import Certificate, TlsServer
from tests.support.waiting import wait_until
from web.cli.local.redis_server import RedisServer, find_server

pytestmark = pytest.mark.process

_SECONDS = 30
_TEXT = (Path(__file__).parents[4] / "docs/operations.md").read_text()
_SECTION = _TEXT.partition("### The control host")[2].partition("### Add a host")[0]


def block(*, kind: str, with_words: str) -> str:
    """The only block of the section of this kind that has these words."""
    blocks = re.findall(rf"^   ```{kind}\n(.*?)^   ```$", _SECTION, re.MULTILINE | re.DOTALL)
    (found,) = [each for each in blocks if with_words in each]
    return dedent(found)


def test_the_server_understands_the_configuration(tmp_path: Path):
    """But for TLS, which the server of the tests cannot; its addresses and ports are the test's."""
    lines = block(kind="", with_words="requirepass").splitlines()
    assert {line.split()[0] for line in lines if line.startswith("tls-")} == {
        *("tls-port", "tls-cert-file", "tls-key-file", "tls-ca-cert-file", "tls-auth-clients"),
    }
    kept = [line for line in lines if not line.startswith(("tls-", "bind", "port"))]
    port = free_port()
    file = tmp_path / "redis.conf"
    file.write_text("\n".join([*kept, "bind 127.0.0.1", f"port {port}", f"dir {tmp_path}"]) + "\n")
    client = redis.Redis(port=port, password="PASSWORD", decode_responses=True)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            assert server.poll() is None, server.communicate()
            return False

    with subprocess.Popen(
        [find_server(), str(file)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            wait_until(answers, seconds=_SECONDS)
            told = {
                name: client.config_get(name)[name] for name in ("appendonly", "maxmemory-policy", "save")
            }
            assert told == {"appendonly": "yes", "maxmemory-policy": "noeviction", "save": ""}
        finally:
            client.close()
            server.terminate()
            server.communicate()


def test_the_certificate_is_one_that_workers_take(tmp_path: Path, redis_server: RedisServer):
    commands = block(kind="sh", with_words="openssl x509").replace("control-host", "localhost")
    subprocess.run(["sh", "-e", "-c", commands], cwd=tmp_path, check=True, capture_output=True)
    made = Certificate(tmp_path / "redis.pem", tmp_path / "redis.key")
    with TlsServer(made, upstream_port=redis_server.port) as server:
        password = redis_server.url.partition("//")[2].rpartition("@")[0]
        url = f"rediss://{password}{'@' if password else ''}localhost:{server.port}/0"
        client = connect_redis(Settings(redis_url=url, redis_ca_file=str(tmp_path / "ca.pem")))
        assert client.ping()
        client.close()
