"""A world of its own for each test of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from shared.settings import Settings
from tests.integration.control.conftest import Clock
from tests.integration.model.world import World
from web.control.process import Control


@pytest.fixture
def new_world(settings: Settings, redis_client: redis.Redis) -> Iterator[Callable[[], World]]:
    """A maker of worlds without jobs; all share one database and one Redis, each clears them at its end."""
    clock = Clock()
    control = Control(
        settings.model_copy(update={"dispatch_seconds": 0.001}),
        clock=clock.now,
        clock_seconds=clock.monotonic,
    )
    yield lambda: World(control, settings, redis_client, clock)
    control.close()


@pytest.fixture
def world(new_world: Callable[[], World]) -> World:
    return new_world()
