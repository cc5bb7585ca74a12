"""Fixtures of all tests: settings in a temporary folder, a real Redis, pictures."""

from __future__ import annotations

import os

# Tests run on the CPU, whatever the machine has: read by TensorFlow when it is loaded, and by nodes.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import fcntl
import io
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis
import structlog
from PIL import Image
from xdist.scheduler import LoadFileScheduling

from shared.redis.connection import connect_redis
from shared.settings import Settings
from tests.support.s3_server import CREDENTIALS, S3Server
from tests.support.service import Service, run_service
from web.cli.local.redis_server import RedisServer
from worker.engine.weights.untrained import untrained_convolutions

# A busy machine is no failure: hypothesis times nothing.
hypothesis.settings.register_profile(
    "atelier", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("atelier")


#: Files whose tests share what is costly to start: the whole service, or warm engines.
_TOGETHER = {
    "tests/acceptance/test_readme_commands.py": "service",
    "tests/acceptance/test_service.py": "service",
    "tests/browser/test_visit.py": "service",
    "tests/integration/worker/exact/test_begun_by_fast.py": "exact",
    "tests/integration/worker/exact/test_exact_fork.py": "exact",
    "tests/integration/worker/exact/test_exact_resume.py": "exact",
    "tests/unit/worker/engine/test_classic.py": "engine",
    "tests/unit/worker/engine/test_engine.py": "engine",
}
#: Files whose tests share nothing but what every worker has: each may run anywhere.
_APART = {"tests/browser/test_screens.py"}


class Together(LoadFileScheduling):
    """Keeps the tests of a file, and of the files above, on one worker of pytest-xdist.

    xdist's own groups (``--dist loadgroup``) have no effect: version 3.8 does not know the ids of pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return nodeid if file in _APART else _TOGETHER.get(file, file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together | None:
    return Together(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow tests first: what takes long must not be begun last."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def logs_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test's logs depend on the tests before it in the same process.

    A logger that is kept after its first use goes on as it was set up then, unseen by `capture_logs`; and
    what threads of earlier tests log must not run into the standard output that a test reads.
    """
    configure = structlog.configure
    root = logging.getLogger()
    handlers, level = root.handlers, root.level

    def configure_each_time(**options: Any) -> None:
        configure(**{**options, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", configure_each_time)
    configure_each_time(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    yield
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real Redis for the whole run, started by us on a free port."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One real S3 store for the whole run, and the credentials for it where boto3 looks for them."""
    with pytest.MonkeyPatch.context() as patch, S3Server(tmp_path_factory.mktemp("s3")) as server:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture
def on_s3(s3_server: S3Server) -> dict[str, str]:
    """Settings of a storage in a bucket of its own, by their names."""
    return {"storage_url": f"s3://{s3_server.make_bucket()}/at/elier", "s3_endpoint": s3_server.endpoint}


@pytest.fixture
def settings(tmp_path: Path, redis_server: RedisServer) -> Iterator[Settings]:
    """Settings with an own data folder and an empty Redis."""
    settings = Settings(
        redis_url=redis_server.url,
        data_dir=tmp_path / "data",
        cache_dir=tmp_path / "cache",
        vgg19_weights="untrained",
        min_free_bytes=0,  # a test that fills a disk says how full it may be
    )
    client = connect_redis(settings)
    client.flushall()
    yield settings
    client.close()


@pytest.fixture
def redis_client(settings: Settings) -> Iterator[redis.Redis]:
    """A client of the test's empty Redis."""
    client = connect_redis(settings)
    yield client
    client.close()


@pytest.fixture(scope="session")
def untrained_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the untrained weights, which take 13 s to build: one for all workers of pytest-xdist."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "untrained.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        untrained_convolutions(folder / "untrained")
    return folder / "untrained"


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, untrained_cache: Path) -> Iterator[Service]:
    """The whole service, with the real engine: one for each worker of pytest-xdist that needs it."""
    with run_service(tmp_path_factory.mktemp("service"), cache_dir=untrained_cache) as running:
        yield running


@pytest.fixture
def make_picture() -> Callable[..., bytes]:
    """A maker of small encoded pictures with some structure in them."""

    def make(
        width: int = 64, height: int = 48, *, kind: str = "PNG", mode: str = "RGB", seed: int = 0
    ) -> bytes:
        gradient = Image.linear_gradient("L").resize((width, height))
        other = gradient.transpose(Image.Transpose.ROTATE_180).point(
            lambda value: (value * 3 + seed * 40) % 256
        )
        third = gradient.point(lambda value: (value * (seed + 2)) % 256)
        picture = Image.merge("RGB", (gradient, other, third)).convert(mode)
        buffer = io.BytesIO()
        picture.save(buffer, format=kind)
        return buffer.getvalue()

    return make
