"""Tests of limits: how they are set, and read; and a picture that is sent."""

from __future__ import annotations

import io

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

JOBS, ASSETS, LIMITS = "/api/v1/jobs", "/api/v1/assets", "/api/v1/limits"


def allow(**limits: int) -> pytest.MarkDecorator:
    """Have a test run with these limits."""
    return pytest.mark.parametrize("settings", [limits], indirect=True)


def upload(client: FlaskClient, who: dict[str, str], picture: bytes) -> TestResponse:
    return client.post(ASSETS, data={"file": (io.BytesIO(picture), "a.png")}, headers=who)


def limit_of(client: FlaskClient, who: dict[str, str], name: str) -> tuple[int | None, int | None]:
    """Return what is allowed of something, and what is used."""
    told = client.get(LIMITS, headers=who).json["limits"]
    return next((one["limit"], one["used"]) for one in told if one["name"] == name)
