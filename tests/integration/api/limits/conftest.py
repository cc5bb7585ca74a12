"""Two callers with tokens, and limits as a test names them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared.clock import utc_now
from shared.settings import Settings
from tests.support.app import change_backend
from web.access.tokens import Scope, create_token
from web.services import Services

JOBS, ASSETS, LIMITS = "/api/v1/jobs", "/api/v1/assets", "/api/v1/limits"


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """The settings of all tests, with the limits that a test names."""
    return settings.model_copy(update=getattr(request, "param", {}))


@pytest.fixture
def as_caller(services: Services) -> Callable[..., dict[str, str]]:
    """Return the header fields that show a token of a caller, who may submit if nothing else is said."""

    def do(caller: str, scope: Scope = Scope.SUBMIT) -> dict[str, str]:
        with services.backend.database.write() as session:
            made = create_token(
                session,
                name=f"{caller}-{scope}",
                scopes={scope},
                caller=caller,
                expires_at=None,
                now=utc_now(),
            )
        return {"Authorization": f"Bearer {made.text}"}

    return do


@pytest.fixture
def anna(as_caller) -> dict[str, str]:
    return as_caller("anna")


@pytest.fixture
def ben(as_caller) -> dict[str, str]:
    return as_caller("ben")


@pytest.fixture
def send(client: FlaskClient, parts) -> Callable[..., TestResponse]:
    """Submit a job of two small pictures, which is to be computed; return the response."""

    def do(who: dict[str, str] | None = None, **changes: object) -> TestResponse:
        return client.post(JOBS, data=parts(**{"reuse": "false", **changes}), headers=who or {})

    return do


@pytest.fixture
def set_limits(app: Flask, settings: Settings) -> Callable[..., None]:
    """Let other limits hold from now on."""

    def do(**limits: int) -> None:
        change_backend(app, settings=settings.model_copy(update=limits))

    return do
