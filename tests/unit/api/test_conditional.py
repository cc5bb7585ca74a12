"""Ranges and conditions of requests, as RFC 9110 has them."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from flask import Flask, request
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import PreconditionFailed, RequestedRangeNotSatisfiable

from web.api.conditional import is_known, is_precondition_met, may_send_part, read_range
from web.api.http import send_stored

_DATE = "Thu, 26 Nov 2026 10:00:00 GMT"
_MOMENT = datetime(2026, 11, 26, 10, tzinfo=UTC)
_EARLIER = "Thu, 26 Nov 2026 09:00:00 GMT"


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None), ("", None), ("bytes=0-9", (0, 10)), ("bytes=5-", (5, 100)), ("bytes=-5", (95, 100)),
        ("BYTES = 0-0", (0, 1)), ("bytes=90-900", (90, 100)), ("bytes=-900", (0, 100)),
        # Not understood, or no range at all: passed over.
        ("bytes=9-5", None), ("bytes=-", None), ("bytes=", None), ("bytes", None), ("lines=1-2", None),
        ("bytes=a-b", None), ("bytes=0-1,5-6", None), ("bytes=٣-٤", None), ("bytes=--5", None),
        ("bytes=,0-9", (0, 10)),
    ],
)  # fmt: skip
def test_range(header, part):
    assert read_range(header, 100) == part


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", f"bytes={'9' * 4000}-"])
def test_range_outside(header):
    with pytest.raises(RequestedRangeNotSatisfiable) as refused:
        read_range(header, 100)
    assert ("Content-Range", "bytes */100") in refused.value.get_headers()


@given(st.text(max_size=40), st.integers(1, 10**12))
def test_any_range_is_inside_or_passed_over(text, size):
    try:
        part = read_range(f"bytes={text}", size)
    except RequestedRangeNotSatisfiable:
        return
    assert part is None or 0 <= part[0] < part[1] <= size


@pytest.mark.parametrize("header", ['""', 'W/""', '"b", ""', '"", W/"a"', '"', '"a', ",", "a b"])
def test_a_tag_that_is_empty_or_none_is_another_one(header):
    assert not is_precondition_met({"HTTP_IF_MATCH": header}, '"c"', None)
    assert not is_known({"HTTP_IF_NONE_MATCH": header}, '"c"', None)


@given(st.text(alphabet='abW/",*: \t', max_size=20))
def test_any_list_of_tags_can_be_compared(header):
    assert is_precondition_met({"HTTP_IF_MATCH": header}, '"c"', None) in (True, False)
    assert is_known({"HTTP_IF_NONE_MATCH": header}, '"c"', None) in (True, False)


@pytest.mark.parametrize(
    ("header", "known"),
    [('"a"', True), ('W/"a"', True), ('"b", W/"a"', True), ("*", True), ('"b"', False), ("", False)],
)
@pytest.mark.parametrize("etag", ['"a"', 'W/"a"'])
def test_if_none_match_is_weak(header, known, etag):
    assert is_known({"HTTP_IF_NONE_MATCH": header, "HTTP_IF_MODIFIED_SINCE": _DATE}, etag, _MOMENT) is known


def test_dates_without_etags():
    assert is_known({"HTTP_IF_MODIFIED_SINCE": _DATE}, None, _MOMENT)
    assert not is_known({"HTTP_IF_MODIFIED_SINCE": _EARLIER}, None, _MOMENT)
    assert not is_known({"HTTP_IF_MODIFIED_SINCE": "yesterday"}, None, _MOMENT)
    assert is_precondition_met({"HTTP_IF_UNMODIFIED_SINCE": _DATE}, None, _MOMENT)
    assert not is_precondition_met({"HTTP_IF_UNMODIFIED_SINCE": _EARLIER}, None, _MOMENT)


@pytest.mark.parametrize(
    ("header", "met"),
    [
        ('"a"', True), ("*", True), ('W/"a"', False), ('"b"', False), ("", False), ('"b", "a"', True),
        # As it was sent compressed.
        ('"a:gzip"', True), ('W/"a:gzip"', False), ('"a:x"', False), ('"b:gzip"', False),
    ],
)  # fmt: skip
def test_if_match_is_strong(header, met):
    assert is_precondition_met({"HTTP_IF_MATCH": header}, '"a"', None) is met
    assert not is_precondition_met({"HTTP_IF_MATCH": '"a"'}, 'W/"a"', None)


@pytest.mark.parametrize(
    ("header", "may"),
    [(None, True), ('"a"', True), ('W/"a"', False), ('"b"', False), (_DATE, True), (_EARLIER, False)],
)
def test_if_range(header, may):
    assert may_send_part(header, '"a"', _MOMENT) is may
    assert may_send_part(header, 'W/"a"', None) is (header is None)


def _sent(file, method="GET", **headers):
    app = Flask(__name__)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with app.test_request_context("/", method=method, headers=names):
        response = send_stored(file, content_type="image/png", etag="a")
        return response.status_code, b"".join(response.get_app_iter(request.environ)), response


def test_conditions_come_before_the_range():
    assert _sent(io.BytesIO(b"0123456789"), If_None_Match='W/"a"', Range="bytes=0-1")[:2] == (304, b"")
    assert _sent(io.BytesIO(b"0123456789"), If_None_Match='"b"', Range="bytes=2-3")[:2] == (206, b"23")


def test_a_range_of_a_head_is_passed_over():
    status, data, response = _sent(io.BytesIO(b"0123456789"), method="HEAD", Range="bytes=0-1")
    assert (status, data, response.content_length) == (200, b"", 10)


@pytest.mark.parametrize(
    ("headers", "kind"),
    [({"If_Match": '"b"'}, PreconditionFailed), ({"Range": "bytes=10-"}, RequestedRangeNotSatisfiable)],
)
def test_a_refusal_closes_the_file(headers, kind):
    file = io.BytesIO(b"0123456789")
    with pytest.raises(kind):
        _sent(file, **headers)
    assert file.closed
