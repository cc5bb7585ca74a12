"""What becomes of a connection: what the headers of an answer say, and an end for those that stand still."""

from __future__ import annotations

import socket

import pytest

from shared.picture import PictureLimits
from web.assets.uploads import max_body_bytes

pytestmark = pytest.mark.process
_SECONDS = 60
_JSON = "Content-Type: application/json"
_NEXT = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_TOO_LONG = max_body_bytes(PictureLimits()) + 1


@pytest.fixture
def line(shared_server):
    """A connection to it."""
    with socket.create_connection(("127.0.0.1", shared_server.settings.port)) as line:
        line.settimeout(_SECONDS)
        yield line


def request(first, *headers, host="localhost"):
    return "\r\n".join([f"{first} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


def read_answer(line):
    """Return status, headers and body of one answer."""
    got = b""
    while b"\r\n\r\n" not in got:
        data = line.recv(65536)
        assert data, got
        got += data
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        data = line.recv(65536)
        assert data
        body += data
    return int(first.split()[1]), headers, body


REFUSALS = {
    "no such page": ("POST /nothing", _JSON, 404),
    "no such method": ("POST /healthz", _JSON, 405),
    "another host": ("POST /api/v1/jobs", _JSON, 421),
    "not JSON": ("POST /api/v1/jobs", _JSON, 400),
    "no multipart": ("POST /api/v1/assets", _JSON, 415),
    "encoded": ("POST /api/v1/jobs", f"{_JSON}\r\nContent-Encoding: gzip", 415),
    "of another site": ("POST /api/v1/jobs", f"{_JSON}\r\nSec-Fetch-Site: cross-site", 403),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("way", ["length", "chunked"])
def test_a_refused_request_leaves_the_connection_as_it_says(line, name, way):
    first, header, status = REFUSALS[name]
    body = b"x" * 600_000
    framing = f"Content-Length: {len(body)}" if way == "length" else "Transfer-Encoding: chunked"
    host = "evil.example" if status == 421 else "localhost"
    line.sendall(request(first, header, framing, host=host))
    line.sendall(body if way == "length" else b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
    answer = read_answer(line)
    assert answer[0] == status, answer
    assert answer[1].get("connection") != "close"
    line.sendall(_NEXT)
    assert read_answer(line)[0] == 200
    assert line.recv(1) == b""


@pytest.mark.parametrize("first", ["POST /api/v1/jobs", "POST /nothing", "POST /api/v1/jobs/x/cancel"])
@pytest.mark.parametrize("extra", ["X: y", "Connection: close", "Expect: 100-continue"])
def test_a_body_that_is_too_long_ends_the_connection(line, first, extra):
    line.sendall(request(first, _JSON, f"Content-Length: {_TOO_LONG}", extra))
    if not extra.startswith("Expect"):
        line.sendall(b"x" * 3_000_000)  # it is read on, so that the answer is not lost to a reset
    status, headers, _ = read_answer(line)
    assert status == (404 if "nothing" in first else 413)
    assert headers["connection"] == "close"
    assert line.recv(1) == b""


def test_too_long_without_a_length(line):
    line.sendall(request("POST /api/v1/jobs/x/cancel", _JSON, "Transfer-Encoding: chunked"))
    line.sendall(b"%x\r\n" % 2_000_000 + b"x" * 2_000_000)
    status, headers, _ = read_answer(line)
    assert (status, headers["connection"]) == (413, "close")
    line.sendall(b"\r\n0\r\n\r\n")  # also now that the whole of it is there
    assert line.recv(1) == b""


def test_requests_one_after_the_other(line):
    ask = request("GET /healthz")
    line.sendall(ask + request("POST /nothing", "Content-Length: 5") + b"hello" + ask + _NEXT)
    got = b""
    while data := line.recv(65536):
        got += data
    assert [got.count(status) for status in (b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found")] == [3, 1]


def test_the_older_protocol(line):
    line.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert read_answer(line)[0] == 200
    assert line.recv(1) == b""


def test_a_whole_url_is_asked_for(line):
    line.sendall(request("GET http://localhost:8000/healthz", host="evil.example"))
    assert read_answer(line)[0] == 200
    line.sendall(request("GET http://evil.example/api/v1/jobs"))
    assert read_answer(line)[0] == 421


def test_an_upgrade_is_not_made(line):
    words = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    line.sendall(request("GET /", *words, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
    assert read_answer(line)[0] == 403


def test_head_has_the_length_and_no_body(line):
    line.sendall(request("HEAD /healthz") + _NEXT)
    got = b""
    while data := line.recv(65536):
        got += data
    assert got.count(b"HTTP/1.1 200 OK") == 2
    assert got.count(b'"ok"') == 1


HEADS = {
    "without an end": (b"".join(b"X-%d: " % number + b"x" * 4000 + b"\r\n" for number in range(22)), 431),
    "a long line": (b"X: " + b"x" * 2_000_000, 431),
    "no head": (b"no colon at all\r\n" * 50_000, 400),
}


def test_a_head_is_refused_once(line):
    """Also one that is no head, and longer than any may be, and comes at once."""
    line.sendall(b"no colon at all\r\n" * 20_000)
    got = b""
    while data := line.recv(65536):
        got += data
    assert got.count(b"HTTP/1.1 ") == 1, got


@pytest.mark.parametrize("name", HEADS)
def test_what_a_head_is_refused_with_arrives_though_the_client_still_sends(line, name):
    rest, status = HEADS[name]
    line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    for start in range(0, len(rest), 4000):
        line.sendall(rest[start : start + 4000])
    assert read_answer(line)[0] == status
    assert line.recv(1) == b""


def test_heads_that_do_not_come(shared_server, line):
    with socket.create_connection(("127.0.0.1", shared_server.settings.port)) as silent:
        silent.settimeout(_SECONDS)
        line.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        assert silent.recv(1) == b""
    got = b""
    while data := line.recv(65536):
        got += data
    assert got.startswith(b"HTTP/1.1 408 ")


def test_refused_connections_that_linger_are_forgotten(shared_server):
    """More of them than may linger at once, twice: each gets its answer, and all are gone then."""
    for _ in range(2):
        lines = []
        for _ in range(120):
            line = socket.create_connection(("127.0.0.1", shared_server.settings.port), timeout=_SECONDS)
            line.sendall(b"GARBAGE\r\n\r\n")
            lines.append(line)
        for line in lines:
            assert read_answer(line)[0] == 400
            line.close()
    with socket.create_connection(("127.0.0.1", shared_server.settings.port), timeout=_SECONDS) as line:
        line.sendall(request("GET /healthz"))
        assert read_answer(line)[0] == 200
