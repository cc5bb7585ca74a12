"""A web process that tests of connections speak to by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.settings import Settings
from tests.support.web_process import WebProcess
from web.cli.local.redis_server import RedisServer


@pytest.fixture(scope="module")
def shared_server(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Iterator[WebProcess]:
    """A running web process with few threads, one for all tests of a file."""
    process = WebProcess(
        Settings(
            redis_url=redis_server.url,
            data_dir=tmp_path_factory.mktemp("shared-server"),
            vgg19_weights="untrained",
            min_free_bytes=0,
            web_threads=2,
        )
    )
    process.start()
    yield process
    process.end()
    assert [line for line in process.log if "Traceback" in line] == []
