"""Requests as RFC 9110 and 9112 have them, written by hand: what no usual client sends, and some do."""

from __future__ import annotations

import gzip
import http.client
import socket

import pytest

pytestmark = pytest.mark.process
_SECONDS = 60
JOBS = "/api/v1/jobs"


@pytest.fixture
def ask(shared_server):
    """Send a request as it is written, and return status, reason, headers and body."""

    def do(first, *headers, host="localhost", body=b""):
        named = [] if host is None else [f"Host: {host}"]
        head = "\r\n".join([f"{first} HTTP/1.1", *named, *headers, "Connection: close", "", ""])
        with socket.create_connection(("127.0.0.1", shared_server.settings.port), timeout=_SECONDS) as line:
            line.sendall(head.encode("latin-1") + body)
            answer = http.client.HTTPResponse(line, method=first.split()[0])
            answer.begin()
            return answer.status, answer.reason, answer.headers, answer.read()

    return do


def chunked(data):
    return b"%x\r\n" % len(data) + data + b"\r\n0\r\n\r\n"


def test_options_of_the_whole_server(ask):
    status, _, headers, body = ask("OPTIONS *")
    assert (status, body) == (204, b"")
    assert {"GET", "HEAD", "POST", "DELETE", "OPTIONS"} <= set(headers["Allow"].split(", "))
    assert ask("OPTIONS *", "Content-Length: 3", body=b"abc")[0] == 204
    assert ask("GET *")[0] == 400


@pytest.mark.parametrize("target", ["/healthz", JOBS, "/"])
def test_a_host_is_needed(ask, target):
    assert ask(f"GET {target}", host=None)[0] == 400
    assert ask(f"GET {target}", "Host: localhost")[0] == 400  # two of them


def test_a_whole_url_needs_a_host(ask):
    for target in ("http:///healthz", "HTTPS:///healthz"):
        assert ask(f"GET {target}")[0] == 400
    for target in ("HTTP://LOCALHOST/healthz", "https://localhost/healthz", "http://[::1]/healthz"):
        assert ask(f"GET {target}")[0] == 200
    assert ask("GET http://localhost?name=x", "Accept: text/html")[0] == 200
    assert ask(f"GET http://user:secret@localhost{JOBS}")[0] == 421


def test_a_coded_body_is_not_taken_for_a_plain_one(ask):
    body = chunked(gzip.compress(b"{}"))
    json_type = "Content-Type: application/json"
    status, reason, headers, _ = ask(f"POST {JOBS}", json_type, "Transfer-Encoding: gzip, chunked", body=body)
    assert (status, reason, headers["Connection"]) == (501, "Not Implemented", "close")
    body = b"2;a=b\r\n{}\r\n0\r\nX-A: b\r\n\r\n"
    status, *_ = ask(f"POST {JOBS}/x/cancel", json_type, "Transfer-Encoding: Chunked", body=body)
    assert status == 404  # the body was read, with its extension and its trailer


FRAMINGS = {
    "Transfer-Encoding: chunked, gzip": 400,
    "Transfer-Encoding: chunked, chunked": 400,
    "Transfer-Encoding: identity": 400,
    "Transfer-Encoding: gzip": 400,
    "Transfer-Encoding: x": 501,
    "Transfer-Encoding : chunked": 400,
    "Transfer-Encoding: chunked\r\nContent-Length: 5": 400,
    "Content-Length: 2\r\nContent-Length: 2": 400,
    "Content-Length: 2, 2": 400,
    "Content-Length: +2": 400,
    "Content-Length: 0x2": 400,
    "Content-Length: " + "9" * 30: 413,
    "Content-Length: " + "9" * 5000: 413,
    "X-A: b\r\n c": 400,
    "X-A: \0": 400,
    "X A: b": 400,
}


@pytest.mark.parametrize("headers", FRAMINGS, ids=lambda headers: headers[:40])
def test_a_head_that_is_unclear(ask, headers):
    status, reason, answered, _ = ask(f"POST {JOBS}/x/cancel", *headers.split("\r\n"), body=b"{}")
    assert (status, answered["Connection"]) == (FRAMINGS[headers], "close")
    assert reason != "Unknown"


def test_reasons_have_names(ask):
    assert ask(f"GET {JOBS}", host="evil.example")[:2] == (421, "Misdirected Request")
    assert ask(f"GET {JOBS}", 'If-Match: "x"')[:2] == (412, "Precondition Failed")


def test_long_targets(ask):
    assert ask(f"GET {JOBS}?name={'a' * 7900}")[0] == 200
    assert ask(f"GET /{'a' * 7900}")[0] == 404
    for length in (8200, 100_000):
        assert ask(f"GET /{'a' * length}")[0] == 414


PATHS = {
    "/api%2Fv1%2Fjobs": 404, "/api/v1/jobs%2F": 404, "/api/v1/jobs/a%2fcancel": 404, "/jobs/a%2Fb": 404,
    "/%68ealthz": 200, "/healthz%20": 404, "/healthz%0d%0aX:y": 404, "/x/../healthz": 404,
    "/%2e%2e/healthz": 404,
    "/%00": 404, "/%ff": 404, "/%zz": 404, "/%": 404, "/jobs/%00": 404, "/jobs/%ff": 404, "/static/%00": 404,
    "/static/..%2f..%2fapp.py": 404, "/static/%2e%2e/app.py": 404, "/api/v1/assets/%00/content": 404,
    "/api/v1/jobs/%F0%9F": 404, "/api/v1/jobs/x/checkpoints/" + "9" * 5000: 404,
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:40])
def test_odd_paths(ask, path):
    assert ask(f"GET {path}")[0] == PATHS[path]


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PUT", "PATCH", "PROPFIND"])
def test_a_method_that_nothing_takes(ask, method):
    status, _, headers, _ = ask(f"{method} /healthz", "X-Secret: abc")
    assert (status, set(headers["Allow"].split(", "))) == (405, {"GET", "HEAD", "OPTIONS"})


READ = [
    "/",
    "/new",
    "/docs",
    "/openapi.json",
    "/healthz",
    "/readyz",
    JOBS,
    "/api/v1/queue",
    "/static/icon.svg",
]


@pytest.mark.parametrize("path", [*READ, "/nothing", f"{JOBS}/x"])
def test_head_is_get_without_its_body(ask, path):
    get, head = ask(f"GET {path}", "Accept: text/html"), ask(f"HEAD {path}", "Accept: text/html")
    varies = {"Date", "X-Request-Id", "x-request-id"}
    assert head[0] == get[0]
    assert head[3] == b""
    assert {name: value for name, value in head[2].items() if name not in varies} == {
        name: value for name, value in get[2].items() if name not in varies
    }
    assert int(head[2]["Content-Length"]) == len(get[3])


def test_a_second_message_behind_a_body_that_nobody_reads(shared_server):
    with socket.create_connection(("127.0.0.1", shared_server.settings.port), timeout=_SECONDS) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello")
        line.sendall(b"\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        got = b""
        while data := line.recv(65536):
            got += data
    assert got.count(b"HTTP/1.1 200 OK") == 2
    assert got.count(b'{"status": "ok"}') == 2
