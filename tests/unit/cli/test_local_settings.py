"""The settings of a service on this machine."""

from __future__ import annotations

import pytest

from shared.errors import InvalidSettings
from web.address import parse_address
from web.cli.up import local_settings
from web.security import allowed_hosts


@pytest.mark.parametrize(
    ("environ", "local", "public", "also"),
    [
        ({}, "http://127.0.0.1:8000", None, set()),
        ({"ATELIER_HOST": "0.0.0.0", "ATELIER_PORT": "81"}, "http://127.0.0.1:81", None, set()),
        ({"ATELIER_HOST": "::1"}, "http://[::1]:8000", None, set()),
        ({"ATELIER_HOST": "192.168.1.5"}, "http://192.168.1.5:8000", None, {"192.168.1.5"}),
        (
            {"ATELIER_URL": "https://atelier.example/styles"},
            "http://127.0.0.1:8000",
            "https://atelier.example/styles",
            {"atelier.example"},
        ),
        (
            {"ATELIER_URL": "https://a.example", "ATELIER_ALLOWED_HOSTS": "b.lan"},
            "http://127.0.0.1:8000",
            "https://a.example",
            {"a.example", "b.lan"},
        ),
    ],
)
def test_it_is_reached_from_here_and_by_the_names_that_people_use(
    environ: dict[str, str], local: str, public: str | None, also: set[str]
):
    settings = local_settings(dict(environ), {})
    assert settings.local_url == local
    assert settings.public_url == (public or local)
    assert settings.vgg19_weights == "auto"
    allowed = allowed_hosts(settings.host, parse_address(settings.public_url), settings.allowed_hosts)
    assert allowed == {"localhost", "127.0.0.1", "[::1]"} | also


def test_an_address_that_is_none_starts_nothing():
    with pytest.raises(InvalidSettings, match="ATELIER_URL"):
        local_settings({"ATELIER_URL": "ftp://atelier.example"}, {})
