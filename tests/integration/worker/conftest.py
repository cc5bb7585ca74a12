"""Fixtures of real nodes, each a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from shared.redis import Coordination
from shared.redis.names import Names
from shared.settings import Settings
from tests.support.installation import names_of
from tests.support.node import start_node


@pytest.fixture
def names(settings: Settings) -> Names:
    return names_of(settings)


@pytest.fixture
def shown(settings: Settings, names: Names) -> Iterator[Coordination]:
    """What web and control see."""
    coordination = Coordination.connect(settings, names)
    yield coordination
    coordination.close()


@pytest.fixture
def start(settings: Settings) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A starter of nodes, with the test's settings but for some `changes`; none is left at the end."""
    nodes: list[subprocess.Popen[str]] = []

    def start_one(
        name: str = "node", *, changes: dict[str, object] | None = None, **more: object
    ) -> subprocess.Popen[str]:
        nodes.append(start_node(settings.model_copy(update=changes or {}), name, **more))
        return nodes[-1]

    yield start_one
    for node in nodes:
        if node.poll() is None:
            os.killpg(node.pid, signal.SIGKILL)
        node.communicate()
