"""The settings of a service on this machine."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from web.cli.up import local_settings
from web.security import allowed_hosts


@pytest.mark.parametrize(
    ("environ", "url", "also"),
    [
        ({}, "http://127.0.0.1:8000", set()),
        ({"ATELIER_HOST": "0.0.0.0", "ATELIER_PORT": "81"}, "http://127.0.0.1:81", set()),
        ({"ATELIER_HOST": "::1"}, "http://[::1]:8000", set()),
        ({"ATELIER_HOST": "192.168.1.5"}, "http://192.168.1.5:8000", {"192.168.1.5"}),
        ({"ATELIER_URL": "https://atelier.example"}, "http://127.0.0.1:8000", {"atelier.example"}),
        (
            {"ATELIER_URL": "https://a.example", "ATELIER_ALLOWED_HOSTS": "b.lan"},
            "http://127.0.0.1:8000",
            {"a.example", "b.lan"},
        ),
    ],
)
def test_it_is_reached_from_here_and_by_the_names_that_people_use(environ, url: str, also: set[str]):
    settings = local_settings(dict(environ), {})
    assert settings.url == url
    assert settings.vgg19_weights == "auto"
    allowed = allowed_hosts(settings.host, settings.url, settings.allowed_hosts)
    assert allowed == {"localhost", "127.0.0.1", "[::1]"} | also
    assert (urlsplit(url).hostname or "") in {name.strip("[]") for name in allowed}
