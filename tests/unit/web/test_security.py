"""Requests that a page of another site may not send."""

from __future__ import annotations

import pytest

from shared.errors import CrossSiteRequest, InvalidSettings, UnknownHost
from shared.settings import Settings
from web.address import parse_address
from web.security import allowed_hosts, check_host, check_origin, decide_exposure, logged_path

HOST = "127.0.0.1:8000"
LOCAL = parse_address(f"http://{HOST}")


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
    check_origin(fetch_site, origin, host=HOST, address=LOCAL)


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
        check_origin(fetch_site, origin, host=HOST, address=LOCAL)


@pytest.mark.parametrize(
    ("host", "origin", "is_ours"),
    [
        ("styles.example:8443", "https://styles.example:8443", True),
        ("styles.example", "https://styles.example:8443", True),  # the proxy drops the port
        ("127.0.0.1:8000", "https://styles.example:8443", True),  # the proxy passes no host on
        ("styles.example:8443", "http://styles.example:8443", False),
        ("styles.example", "https://styles.example", False),
        ("styles.example:9000", "https://styles.example:9000", False),
        ("styles.example:8443", "https://STYLES.example:8443", False),  # no browser writes it so
        ("127.0.0.1:8000", "https://evil.example", False),
        ("styles.example:8443", "null", False),
        # By the names of this machine people come without the proxy, or through a tunnel.
        ("127.0.0.1:8000", "http://127.0.0.1:8000", True),
        ("localhost:9000", "http://localhost:9000", True),
        ("localhost:9000", "http://localhost:9001", False),
        ("other.lan", "http://other.lan", True),
    ],
)
def test_the_address_that_is_set_decides_exactly(host: str, origin: str, is_ours: bool):
    address = parse_address("https://Styles.example:8443/below/")
    if is_ours:
        check_origin(None, origin, host=host, address=address)
    else:
        with pytest.raises(CrossSiteRequest):
            check_origin(None, origin, host=host, address=address)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:80", "[::1]:8000", "[::1]"])
def test_a_loopback_service_answers_to_the_names_of_this_machine(host: str):
    check_host(host, allowed_hosts("127.0.0.1", LOCAL))


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""])
def test_a_loopback_service_answers_to_no_other_name(host: str):
    with pytest.raises(UnknownHost):
        check_host(host, allowed_hosts("127.0.0.1", LOCAL))


def test_a_name_that_people_use_is_allowed_by_the_url():
    check_host("atelier.example", allowed_hosts("localhost", parse_address("https://atelier.example")))


@pytest.mark.parametrize("listens_on", ["0.0.0.0", "::", ""])
def test_a_service_for_a_network_answers_to_its_names_only(listens_on: str):
    allowed = allowed_hosts(listens_on, parse_address("https://atelier.example"), "gpu-host.lan")
    for host in ("gpu-host.lan:8000", "atelier.example", "127.0.0.1:8000", "localhost", "[::1]:8000"):
        check_host(host, allowed)
    for host in ("evil.example", "192.168.1.5:8000", "0.0.0.0:8000", "[::]:8000"):
        with pytest.raises(UnknownHost):
            check_host(host, allowed)


@pytest.mark.parametrize(
    ("setting", "passes", "fails"),
    [
        ("", [], ["a.example"]),
        ("a.example, b.example ,", ["a.example", "b.example:8000"], ["c.example", "a.example.evil"]),
        ("A.Example", ["a.example", "A.EXAMPLE:80"], ["xa.example"]),
        ("a.example.", ["a.example", "a.example."], []),
        ("a.example", ["a.example.", "a.example.:8000"], ["a.example.."]),
        ("a.example:8443", ["a.example", "a.example:8000"], []),
        ("192.168.1.5", ["192.168.1.5:8000"], ["192.168.1.50"]),
        ("fd00::5", ["[fd00::5]:8000", "[FD00:0:0::5]"], ["[fd00::6]", "fd00::5"]),
        ("[fd00::5]:8000", ["[fd00::5]"], ["[fd00::5]evil"]),
        ("*.lan", ["a.lan", "b.a.lan:8000"], ["lan", "alan", "a.lan.evil", ".lan"]),
        ("*", ["evil.example", "[fd00::5]"], ["", "a b", "a,b", "user@evil.example"]),
        ("bücher.example", ["xn--bcher-kva.example"], []),
    ],
)
def test_the_names_that_are_set(setting: str, passes: list[str], fails: list[str]):
    allowed = allowed_hosts("0.0.0.0", LOCAL, setting)
    for host in passes:
        check_host(host, allowed)
    for host in fails:
        with pytest.raises(UnknownHost):
            check_host(host, allowed)


@pytest.mark.parametrize(
    "setting",
    ["http://a.example", "a.example/path", "a b", "*.", "a.*", "*.[::1]", "[::1", "user@a.example", ".."],
)
def test_a_name_that_is_none_is_a_wrong_setting(setting: str):
    with pytest.raises(InvalidSettings, match="ATELIER_ALLOWED_HOSTS"):
        allowed_hosts("127.0.0.1", LOCAL, f"good.example,{setting}")


@pytest.mark.parametrize(
    "host",
    ["localhost:evil", "localhost:1:2", "127.0.0.1,evil.example", "evil.example:127.0.0.1", "[::1]x", "[::1"],
)
def test_a_host_that_is_none_is_refused(host: str):
    with pytest.raises(UnknownHost):
        check_host(host, allowed_hosts("127.0.0.1", LOCAL))


def test_the_address_it_listens_on_is_a_name_of_its_own():
    check_host("192.168.1.5:8000", allowed_hosts("192.168.1.5", LOCAL))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_a_service_for_this_machine_has_nothing_to_warn_of(host: str):
    for has_token in (True, False):
        assert decide_exposure(Settings(host=host), has_token=has_token) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "gpu-host"])
def test_a_service_for_others_says_what_to_do(host: str):
    settings = Settings(host=host, allowed_hosts="a.example")
    with pytest.raises(InvalidSettings) as refused:
        decide_exposure(settings, has_token=False)
    for word in ("atelier token create", "ATELIER_HOST=127.0.0.1", "ATELIER_OPEN=1", "no token"):
        assert word in refused.value.detail
    told = {
        "without a login": decide_exposure(settings.model_copy(update={"open": True}), has_token=False),
        "needs a token": decide_exposure(settings, has_token=True),
    }
    for word, said in told.items():
        assert said is not None
        for known in (word, "ATELIER_ALLOWED_HOSTS", "a.example", "localhost"):
            assert known in said


@pytest.mark.parametrize(("published", "is_for_others"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_of_a_container_counts_where_its_port_is_published(published: str, is_for_others: bool):
    settings = Settings(host="0.0.0.0", published_host=published, open=True)
    assert (decide_exposure(settings, has_token=False) is not None) is is_for_others


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/share/a.page.1.2.x", "/share/…"),
        ("/share/a.page.1.2.x/picture", "/share/…"),
        ("//share/a.page.1.2.x", "//share/…"),
        ("/Share/a.page.1.2.x\nb", "/share/…"),
        ("/styles/share/a.page.1.2.x", "/styles/share/…"),
        ("/share", "/share"),
        ("/jobs/a/share", "/jobs/a/share"),
        ("/api/v1/jobs/a/shares", "/api/v1/jobs/a/shares"),
    ],
)
def test_no_log_holds_the_token_of_a_share_link(path: str, logged: str):
    assert logged_path(path) == logged
