"""A caller with a webhook, a real receiver, and a deliverer that goes by a test's clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient

from shared.settings import Settings
from tests.support.clock import Clock
from tests.support.receiver import Receiver
from web.control.deliverer import Deliverer
from web.services import Services

WEBHOOKS = "/api/v1/webhooks"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_http": True, "webhook_networks": "127.0.0.0/8"})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def clock() -> Clock:
    """A minute ahead: what a test writes is due."""
    return Clock(seconds=60)


@pytest.fixture
def deliverer(services: Services, clock: Clock) -> Iterator[Deliverer]:
    """Not started: a test starts it when there is something to send."""
    deliverer = Deliverer(services.backend, clock=clock.now, chance=lambda: 0.5)
    yield deliverer
    deliverer.stop()


@pytest.fixture
def put(client: FlaskClient) -> Callable[..., dict]:
    """Make or change a webhook, and return it."""

    def do(name: str = "default", **body: object) -> dict:
        answer = client.put(f"{WEBHOOKS}/{name}", json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json

    return do


@pytest.fixture
def strict(client: FlaskClient, services: Services) -> FlaskClient:
    """Settings as they are by default."""
    object.__setattr__(
        services.backend,
        "settings",
        services.backend.settings.model_copy(update={"webhook_http": False, "webhook_networks": ""}),
    )
    return client
