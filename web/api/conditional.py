"""Conditional requests and ranges as RFC 9110 has them, where Werkzeug reads them otherwise.

What is read is checked by `ConditionalResponse`. What is changed is checked by `require_match`: the addresses
below one job, each against the ETag of that job, which is what they change or begin with. Where something new
is made of nothing (a job, an asset) no client can have seen another version: conditions are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask import Response
from werkzeug.datastructures import ETags
from werkzeug.exceptions import PreconditionFailed, RequestedRangeNotSatisfiable
from werkzeug.http import parse_date, parse_etags, unquote_etag
from werkzeug.wrappers import Request

#: One range of bytes. Several are answered with the whole, which the standard allows.
_RANGE = re.compile(r"\s*bytes\s*=[\s,]*([0-9]{0,4000})\s*-\s*([0-9]{0,4000})[\s,]*", re.IGNORECASE)
_READING = ("GET", "HEAD")
#: What the ETag of a compressed file has at its end.
_CODED = re.compile(r":(?:zstd|br|gzip|deflate)$")


class OtherVersion(PreconditionFailed):
    """What is here is not what the client has seen; the answer tells the ETag of what is here."""

    def __init__(self, etag: str | None) -> None:
        told = f"; its ETag is {etag}" if etag else ""
        super().__init__(f"what is here is another version than the request asks for{told}")
        self._etag = etag

    def get_headers(self, *words: Any, **how: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - Werkzeug's
        """Return the headers of the answer."""
        return [*super().get_headers(*words, **how), *([("ETag", self._etag)] if self._etag else [])]


class ConditionalResponse(Response):
    """A response that is sent whole, in part, or not at all, as the request's conditions want it.

    ETags in ``If-None-Match`` are compared weakly: a proxy that compresses makes ours weak. Conditions come
    before the range. A failed ``If-Match`` is a problem, without the picture. A range that is not understood
    is passed over, as are ranges of a HEAD.
    """

    def make_conditional(
        self,
        request_or_environ: Request | dict[str, Any],
        accept_ranges: bool | str = False,
        complete_length: int | None = None,
    ) -> ConditionalResponse:
        """Settle what is sent; with `accept_ranges` a part of the `complete_length` bytes may be asked for.

        Raises:
            PreconditionFailed: when the client has another version, and wants nothing then.
            RequestedRangeNotSatisfiable: when the range lies outside.
        """
        environ = (
            request_or_environ.environ if isinstance(request_or_environ, Request) else request_or_environ
        )
        if accept_ranges:
            self.accept_ranges = "bytes"
        if environ["REQUEST_METHOD"] not in _READING or self.status_code != 200:
            return self
        etag, last_modified = self.headers.get("ETag"), parse_date(self.headers.get("Last-Modified"))
        # What is compressed by now was checked before that; who compresses expects no refusal.
        is_asked = "Content-Encoding" in self.headers
        if not is_asked and not is_precondition_met(environ, etag, last_modified):
            self.close()
            raise OtherVersion(etag)
        if is_known(environ, etag, last_modified):
            self.status_code = 304
        elif accept_ranges and complete_length and environ["REQUEST_METHOD"] == "GET":
            self._send_part(environ, etag, last_modified, complete_length)
        return self

    def _send_part(
        self, environ: Mapping[str, Any], etag: str | None, last_modified: datetime | None, size: int
    ) -> None:
        if not may_send_part(environ.get("HTTP_IF_RANGE"), etag, last_modified):
            return
        try:
            part = read_range(environ.get("HTTP_RANGE"), size)
        except RequestedRangeNotSatisfiable:
            self.close()
            raise
        if part is not None:
            start, stop = part
            self.status_code = 206
            self.content_length = stop - start
            self.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
            self._wrap_range_response(start, stop - start)


def is_precondition_met(environ: Mapping[str, Any], etag: str | None, last_modified: datetime | None) -> bool:
    """Whether ``If-Match``, or without it ``If-Unmodified-Since``, lets the request be carried out."""
    if "HTTP_IF_MATCH" in environ:
        wanted = parse_etags(environ["HTTP_IF_MATCH"])
        return wanted.star_tag or (etag is not None and _has_strong(wanted, etag))
    limit = parse_date(environ.get("HTTP_IF_UNMODIFIED_SINCE"))
    return limit is None or last_modified is None or last_modified <= limit


def has_conditions(environ: Mapping[str, Any]) -> bool:
    """Whether a request that changes something asks to be carried out only on what it has seen."""
    return "HTTP_IF_MATCH" in environ or "HTTP_IF_NONE_MATCH" in environ


def require_match(environ: Mapping[str, Any], etag: str) -> None:
    """Let a change be made only to what the request asks for; `etag` is that of what is to be changed.

    Raises:
        OtherVersion: when ``If-Match`` names another one, or ``If-None-Match`` this one.
    """
    if not is_precondition_met(environ, etag, None):
        raise OtherVersion(etag)
    if "HTTP_IF_NONE_MATCH" in environ and is_known(environ, etag, None):
        raise OtherVersion(etag)


def is_known(environ: Mapping[str, Any], etag: str | None, last_modified: datetime | None) -> bool:
    """Whether the client says that it has this: by ``If-None-Match``, or without it by the date."""
    if "HTTP_IF_NONE_MATCH" in environ:
        known = parse_etags(environ["HTTP_IF_NONE_MATCH"])
        return known.star_tag or (etag is not None and known.contains_weak(unquote_etag(etag)[0]))
    since = parse_date(environ.get("HTTP_IF_MODIFIED_SINCE"))
    return since is not None and last_modified is not None and last_modified <= since


def may_send_part(if_range: str | None, etag: str | None, last_modified: datetime | None) -> bool:
    """Whether ``If-Range`` allows a part: only of exactly what the client has the rest of."""
    if if_range is None:
        return True
    date = parse_date(if_range)
    if date is not None:
        return date == last_modified
    return etag is not None and not etag.startswith("W/") and if_range.strip() == etag


def read_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last that a ``Range`` asks for, of `size` ≥ 1 bytes.

    None means all of it: nothing was asked for, or nothing that is understood here.

    Raises:
        RequestedRangeNotSatisfiable: when there is no byte in the range.
    """
    found = _RANGE.fullmatch(header or "")
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, stop = size - min(int(found[2]), size), size
    else:
        start = int(found[1])
        if found[2] and int(found[2]) < start:
            return None  # no range at all, says the standard
        stop = min(int(found[2]) + 1, size) if found[2] else size
    if start >= size:
        raise RequestedRangeNotSatisfiable(
            size, description=f"there are {size} bytes; none of them was asked for"
        )
    return start, stop


def _has_strong(wanted: ETags, etag: str) -> bool:
    plain, is_weak = unquote_etag(etag)
    # Who got it compressed has seen the same. Of an empty tag, which may be sent, Werkzeug makes None.
    return not is_weak and any(_CODED.sub("", one or "") == plain for one in wanted.as_set())
