"""Where webhooks may go, by how an address is written and by the number that it leads to."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidSettings, WebhookRefused
from shared.settings import Settings, load_settings
from web.webhooks.addresses import WebhookRules, choose_addresses, read_url, why_not

STRICT = WebhookRules()
OPEN = WebhookRules(allows_http=True)
PRIVATE = [
    *("127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1"),
    *("224.0.0.1", "255.255.255.255", "240.0.0.1"),
    *("::1", "::", "fe80::1", "fd00:ec2::254", "fc00::1", "ff02::1", "fec0::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    *("2002:7f00:1::", "2002:a00:1::1", "::ffff:0:127.0.0.1"),
]
PUBLIC = ["93.184.215.14", "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_refused(address: str):
    assert why_not(ip_address(address), STRICT) is not None


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_allowed(address: str):
    assert why_not(ip_address(address), STRICT) is None


def spellings(address: IPv4Address) -> list[str]:
    """The ways in which name look-ups read one number."""
    number, (a, b, c, d) = int(address), address.packed
    halves = f"{number >> 16:x}:{number & 0xFFFF:x}"
    return [
        *(str(number), hex(number), f"0{number:o}", hex(number).upper().replace("X", "x")),
        *(f"{a}.{(b << 16) + (c << 8) + d}", f"{a}.{b}.{(c << 8) + d}"),
        *(f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"{a:#x}.{b:#x}.{c:#x}.{d:#x}", f"{a:#x}.{b}.0{c:o}.{d}"),
        *(f"[::ffff:{address}]", f"[::{address}]", f"[64:ff9b::{address}]"),
        *(f"[::ffff:{halves}]", f"[2002:{halves}::]"),
    ]


@given(st.sampled_from([ip_address(each) for each in PRIVATE if "." in each and ":" not in each]), st.data())
def test_no_spelling_of_a_refused_number_is_taken(address: IPv4Address, data: st.DataObject):
    for spelling in spellings(address):
        scheme = data.draw(st.sampled_from(["http", "https"]))
        port = data.draw(st.sampled_from(["", ":80", ":6379", ":65535"]))
        with pytest.raises(WebhookRefused):
            read_url(f"{scheme}://{spelling}{port}/", OPEN)


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_whatever_reads_a_text_as_a_number_we_read_it_too(address: IPv4Address):
    """`inet_aton` is what name look-ups read numbers by."""
    for spelling in spellings(address):
        if spelling.startswith("["):
            continue
        assert socket.inet_aton(spelling) == address.packed
        if why_not(address, OPEN) is None:
            assert read_url(f"http://{spelling}/", OPEN).host == spelling.lower()
        else:
            with pytest.raises(WebhookRefused):
                read_url(f"http://{spelling}/", OPEN)


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_version_6_is_judged_by_what_python_calls_public(address: IPv6Address):
    if not address.is_global or address.is_multicast:
        assert why_not(address, STRICT) is not None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.com/", "ATELIER_WEBHOOK_HTTP"),
        ("ftp://example.com/", "begins with 'ftp:'"),
        ("file:///etc/passwd", "begins with 'file:'"),
        ("example.com/hook", "begins with no scheme"),
        ("//example.com/hook", "begins with no scheme"),
        ("https:///hook", "names no host"),
        ("https://", "names no host"),
        ("https://example.com:0/", "names no host, or no port"),
        ("https://example.com:65536/", "no address"),
        ("https://example.com:x/", "no address"),
        ("https://me:secret@example.com/", "a user or a password"),
        ("https://@example.com/", "a user or a password"),
        ("https://example.com\\@127.0.0.1/", "characters"),
        ("https://exämple.com/", "characters"),
        ("https://example.com/a b", "characters"),
        ("https://example.com/\r\nX: y", "characters"),
        ("https://[::1", "no address"),
        ("https://[fe80::1%25eth0]/", "no host"),
        ("https://127.0.0.1/", "this machine itself"),
        ("https://169.254.169.254/latest", "surroundings"),
        ("https://10.1.2.3/", "a private address"),
        ("https://example.com/" + "x" * 2000, "2020 characters; at most 2000"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(url: str, said: str):
    with pytest.raises(WebhookRefused) as refused:
        read_url(url, STRICT)
    assert said in refused.value.detail


@given(st.text(max_size=40))
def test_no_text_does_anything_but_be_refused_or_read(text: str):
    for url in (text, f"https://{text}", f"https://example.com{text}"):
        try:
            target = read_url(url, STRICT)
        except WebhookRefused:
            continue
        assert target.scheme == "https"
        assert target.path.startswith("/")
        assert "@" not in target.host
        assert (target.host + target.path).isprintable()


def test_an_address_is_read_in_its_parts():
    target = read_url("https://Example.com:8443/hook?to=me#part", STRICT)
    assert (target.host, target.port, target.path) == ("example.com", 8443, "/hook?to=me")
    assert target.receiver == "https://example.com:8443"
    assert target.host_header == "example.com:8443"
    assert read_url("https://example.com", STRICT).host_header == "example.com"
    assert read_url("https://[2606:4700::1]/", STRICT).host_header == "[2606:4700::1]"


def test_an_operator_can_allow_networks_and_nothing_beside_them():
    rules = WebhookRules(allows_http=True, networks=(ip_network("10.1.0.0/16"), ip_network("fd00::/8")))
    assert read_url("http://10.1.2.3/", rules).host == "10.1.2.3"
    assert why_not(ip_address("fd12::1"), rules) is None
    assert why_not(ip_address("::ffff:10.1.2.3"), rules) is None
    assert why_not(ip_address("10.2.0.1"), rules) is not None
    assert why_not(ip_address("127.0.0.1"), rules) is not None


def test_a_name_that_leads_to_one_refused_number_is_refused():
    assert choose_addresses(["1.1.1.1", "2606:4700::1"], STRICT) == ["1.1.1.1", "2606:4700::1"]
    for found in (["1.1.1.1", "127.0.0.1"], ["fe80::1%2"], []):
        with pytest.raises(WebhookRefused):
            choose_addresses(found, STRICT)


def test_the_settings_make_the_rules():
    networks = (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    named = {"ATELIER_WEBHOOK_HTTP": "1", "ATELIER_WEBHOOK_NETWORKS": ", ".join(map(str, networks))}
    assert WebhookRules.of(load_settings(named)) == WebhookRules(True, networks)
    assert WebhookRules.of(Settings()) == STRICT
    with pytest.raises(InvalidSettings, match=r"'10\.1\.2\.3/16' is no network"):
        load_settings({"ATELIER_WEBHOOK_NETWORKS": "10.1.2.3/16"})
