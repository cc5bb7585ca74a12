"""A world of its own for each test of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from shared.settings import Settings
from tests.integration.jobs.model.world import World
from tests.support.bench import make_control
from tests.support.clock import Clock


@pytest.fixture
def new_world(settings: Settings, redis_client: redis.Redis) -> Iterator[Callable[[], World]]:
    """A maker of worlds without jobs; all share one database and one Redis, each clears them at its end."""
    clock = Clock()
    control = make_control(settings, clock)
    yield lambda: World(control, settings, redis_client, clock)
    control.close()


@pytest.fixture
def world(new_world: Callable[[], World]) -> World:
    return new_world()
