"""Requests that a page of another site may not send."""

from __future__ import annotations

import pytest

from shared.errors import CrossSiteRequest, UnknownHost
from web.security import allowed_hosts, check_host, check_origin

HOST = "127.0.0.1:8000"


@pytest.mark.parametrize(
    ("fetch_site", "origin"),
    [
        (None, None),
        ("same-origin", f"http://{HOST}"),
        ("none", None),
        (None, f"http://{HOST}"),
        # Behind a proxy that ends TLS the browser says same-origin, whatever the origin looks like from here.
        ("same-origin", "https://atelier.example"),
    ],
)
def test_our_own_pages_and_programs_pass(fetch_site: str | None, origin: str | None):
    check_origin(fetch_site, origin, host=HOST)


@pytest.mark.parametrize(
    ("fetch_site", "origin"),
    [
        ("cross-site", "https://evil.example"),
        ("same-site", "http://127.0.0.1:9000"),
        ("cross-site", None),
        (None, "https://evil.example"),
        (None, "http://127.0.0.1:9000"),
        (None, "null"),
        ("nonsense", f"http://{HOST}"),
    ],
)
def test_pages_of_other_sites_are_refused(fetch_site: str | None, origin: str | None):
    with pytest.raises(CrossSiteRequest):
        check_origin(fetch_site, origin, host=HOST)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:80", "[::1]:8000", "[::1]"])
def test_a_loopback_service_answers_to_the_names_of_this_machine(host: str):
    check_host(host, allowed_hosts("127.0.0.1", "http://127.0.0.1:8000"))


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""])
def test_a_loopback_service_answers_to_no_other_name(host: str):
    with pytest.raises(UnknownHost):
        check_host(host, allowed_hosts("127.0.0.1", "http://127.0.0.1:8000"))


def test_a_name_that_people_use_is_allowed_by_the_url():
    check_host("atelier.example", allowed_hosts("localhost", "https://atelier.example"))


def test_a_service_for_a_network_answers_to_any_name():
    assert allowed_hosts("0.0.0.0", "http://127.0.0.1:8000") is None
    check_host("gpu-host.lan:8000", None)
