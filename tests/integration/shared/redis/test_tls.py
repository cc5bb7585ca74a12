"""Redis through TLS: both halves, ours and the broker's, talk to the right server only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError

from shared.broker import Dispatch, broker_config
from shared.errors import InvalidSettings, RedisUnavailable
from shared.options import Method, StyleOptions
from shared.protocol import InputPicture, JobMessage
from shared.redis import Coordination
from shared.redis.connection import connect_redis, plain_url, tls_options
from shared.redis.names import Names
from shared.settings import Settings
from tests.support.tls import Certificate, TlsServer, make_authority, make_certificate
from web.cli.local.redis_server import RedisServer
from worker.devices import CPU
from worker.node import Node
from worker.runner import Engine

NAMES = Names("test")
MESSAGE = JobMessage(
    job_id="j",
    attempt=1,
    content=InputPicture(key="a", sha256="a"),
    style=InputPicture(key="b", sha256="b"),
    options=StyleOptions(),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Certificate:
    return make_authority(folder, "ours")


@pytest.fixture(scope="module")
def certificates(folder: Path, authority: Certificate) -> dict[str, Certificate]:
    another = make_authority(folder, "another")
    return {
        "right": make_certificate(folder, "right", authority=authority, host="IP:127.0.0.1"),
        "for another host": make_certificate(folder, "host", authority=authority, host="DNS:other.example"),
        "by another authority": make_certificate(folder, "by", authority=another, host="IP:127.0.0.1"),
        "by nobody": another,
    }


def use_ours(settings: Settings) -> None:
    coordination = Coordination.connect(settings, NAMES)
    try:
        coordination.epoch.is_new()
    finally:
        coordination.close()


def send(settings: Settings) -> None:
    coordination = Coordination.connect(settings, NAMES)
    dispatch = Dispatch(settings, coordination)
    try:
        dispatch.send([MESSAGE])
    finally:
        dispatch.close()
        coordination.close()


def receive(settings: Settings) -> None:
    """Connect as a node does that takes messages."""
    node = Node(
        settings,
        NAMES,
        name="node",
        device=CPU,
        weights="untrained",
        methods=[Method.GATYS],
        load_engine=no_engine,
    )
    app = node.make_app()
    try:
        with app.connection_for_read() as connection:
            connection.default_channel.client.ping()
    except OperationalError as error:
        raise RedisUnavailable(str(error)) from error
    finally:
        app.close()


def no_engine() -> Engine:
    raise AssertionError("no job comes to this node")


HALVES: dict[str, Callable[[Settings], None]] = {"ours": use_ours, "sending": send, "receiving": receive}


@pytest.mark.parametrize("half", HALVES)
def test_the_right_server_is_taken_by_its_private_authority(
    settings: Settings, redis_server: RedisServer, certificates, authority, half: str
):
    with TlsServer(certificates["right"], upstream_port=redis_server.port) as server:
        url = f"rediss://127.0.0.1:{server.port}/0"
        HALVES[half](settings.model_copy(update={"redis_url": url, "redis_ca_file": str(authority.file)}))
        assert server.heard
        # The same, told in the URL as redis-py has it.
        server.heard = b""
        HALVES[half](settings.model_copy(update={"redis_url": f"{url}?ssl_ca_certs={authority.file}"}))
        assert server.heard


@pytest.mark.parametrize(
    ("half", "wrong"),
    # redis-py tries for seconds, so not each with each.
    [
        ("ours", "for another host"),
        ("ours", "by another authority"),
        ("sending", "by nobody"),
        # The half that kombu speaks.
        ("receiving", "for another host"),
        ("receiving", "by another authority"),
        ("receiving", "by nobody"),
    ],
)
def test_a_wrong_server_hears_nothing_and_is_an_absent_redis(
    settings: Settings, redis_server: RedisServer, certificates, authority, half: str, wrong: str
):
    with TlsServer(certificates[wrong], upstream_port=redis_server.port) as server:
        url = f"rediss://:secret@127.0.0.1:{server.port}/0"
        changes = {"redis_url": url, "redis_ca_file": str(authority.file)}
        with pytest.raises(RedisUnavailable, match=r"(?i)certificate"):
            HALVES[half](settings.model_copy(update=changes))
        assert server.heard == b""


@pytest.mark.parametrize("half", ["ours", "receiving"])
def test_without_the_setting_a_private_authority_is_nobody(
    settings: Settings, redis_server: RedisServer, certificates, half: str
):
    with TlsServer(certificates["right"], upstream_port=redis_server.port) as server:
        url = f"rediss://:secret@127.0.0.1:{server.port}/0"
        with pytest.raises(RedisUnavailable, match=r"(?i)certificate"):
            HALVES[half](settings.model_copy(update={"redis_url": url}))
        assert server.heard == b""


def test_both_halves_are_told_the_same(authority: Certificate):
    settings = Settings(
        redis_url="rediss://:a%40b@host:1/2?ssl_cert_reqs=CERT_REQUIRED&socket_timeout=5",
        redis_ca_file=str(authority.file),
    )
    told = {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": str(authority.file)}
    assert tls_options(settings) == told
    assert broker_config(settings, NAMES)["broker_use_ssl"] == told
    assert plain_url(settings) == "rediss://:a%40b@host:1/2?socket_timeout=5"
    client = connect_redis(settings)
    assert client.get_connection_kwargs().items() >= told.items()
    client.close()


def test_without_tls_there_is_nothing_to_verify():
    settings = Settings()
    assert tls_options(settings) == {}
    assert broker_config(settings, NAMES)["broker_use_ssl"] is None
    assert plain_url(settings) == settings.redis_url


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"redis_url": "rediss://h/0", "redis_ca_file": "/nowhere.pem"}, "nowhere.pem.*No such file"),
        ({"redis_url": "rediss://h/0", "redis_ca_file": __file__}, "no file of certificates"),
        ({"redis_url": "redis://h/0", "redis_ca_file": __file__}, "rediss://"),
        ({"redis_url": "rediss://h/0?ssl_cert_reqs=perhaps"}, "'perhaps'; allowed are required"),
    ],
)
def test_a_wrong_setting_is_told(changes: dict[str, str], words: str):
    with pytest.raises(InvalidSettings, match=words):
        connect_redis(Settings(**changes))
    with pytest.raises(InvalidSettings, match=words):
        broker_config(Settings(**changes), NAMES)
