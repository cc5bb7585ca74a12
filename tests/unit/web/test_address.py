"""Where people find the service, and links below its path."""

from __future__ import annotations

import pytest

from shared.errors import InvalidSettings
from web.address import below, parse_address


@pytest.mark.parametrize(
    ("url", "origin", "name", "root"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", "127.0.0.1", ""),
        ("https://styles.example/", "https://styles.example", "styles.example", ""),
        ("https://styles.example:443", "https://styles.example", "styles.example", ""),
        ("http://styles.example:443", "http://styles.example:443", "styles.example", ""),
        ("HTTPS://Styles.Example.:8443/A/b.c/", "https://styles.example:8443", "styles.example", "/A/b.c"),
        ("http://[FD00:0::5]:81/x", "http://[fd00::5]:81", "[fd00::5]", "/x"),
        ("https://bücher.example", "https://xn--bcher-kva.example", "xn--bcher-kva.example", ""),
        ("https://me:secret@styles.example", "https://styles.example", "styles.example", ""),
        (" https://styles.example ", "https://styles.example", "styles.example", ""),
    ],
)
def test_an_address_is_as_browsers_write_it(url: str, origin: str, name: str, root: str):
    address = parse_address(url)
    assert (address.origin, address.name, address.root) == (origin, name, root)
    assert address.url == origin + root


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://styles.example", "does not begin with http"),
        ("styles.example", "does not begin with http"),
        ("https:styles.example", "names no host"),
        ("https://", "names no host"),
        ("https://styles.example:0", "from 1 to 65535"),
        ("https://styles.example:99999", "does not begin|names no host"),
        ("https://a b.example", "names no host"),
        ("https://[::1", "does not begin|names no host"),
        ("https://styles.example/?a=1", "nothing may follow"),
        ("https://styles.example/#top", "nothing may follow"),
        ("https://styles.example/a//b", "between single slashes"),
        ("https://styles.example/../b", "between single slashes"),
        ("https://styles.example/a%20b", "between single slashes"),
        ("https://styles.example/bücher", "between single slashes"),
        ("https://styles.example/jobs/x", "paths of the service itself"),
        ("https://styles.example/api", "paths of the service itself"),
        ("", "does not begin with http"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(url: str, why: str):
    with pytest.raises(InvalidSettings, match=why) as caught:
        parse_address(url)
    assert "ATELIER_URL" in caught.value.detail


@pytest.mark.parametrize(
    ("path", "root", "rest"),
    [
        ("/styles/jobs", "/styles", "/jobs"),
        ("/styles", "/styles", ""),
        ("/styles/", "/styles", "/"),
        ("/jobs", "/styles", "/jobs"),
        ("/stylesheet", "/styles", "/stylesheet"),
        ("/styles/styles/x", "/styles", "/styles/x"),
        ("/jobs", "", "/jobs"),
    ],
)
def test_a_root_may_be_there_or_taken_off_already(path: str, root: str, rest: str):
    assert below(path, root) == rest
