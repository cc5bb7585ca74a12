"""Stored files as responses: with a strong ETag, and in ranges where that is asked for."""

from __future__ import annotations

import io
import os
from typing import BinaryIO
from urllib.parse import quote

from flask import Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import dump_options_header
from werkzeug.wsgi import FileWrapper

#: For what never changes: a year, the most that caches care for.
FOREVER_SECONDS = 31_536_000


def send_stored(
    file: BinaryIO, *, content_type: str, etag: str, download_name: str | None = None, max_age: int = 0
) -> Response:
    """Return a response of a seekable file, which is closed with it; `max_age` is in seconds.

    A file that never changes has a `max_age`; any other is asked for again with its ETag each time.

    Raises:
        RequestedRangeNotSatisfiable: when the range asked for lies outside.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    response = Response(FileWrapper(file), content_type=content_type, direct_passthrough=True)
    response.call_on_close(file.close)
    response.content_length = size
    response.set_etag(etag)
    response.headers["Cache-Control"] = f"private, max-age={max_age}, immutable" if max_age else "no-cache"
    if download_name is not None:
        response.headers["Content-Disposition"] = _disposition(download_name)
    try:
        response.make_conditional(request, accept_ranges=True, complete_length=size)
    except RequestedRangeNotSatisfiable:
        file.close()
        raise
    return response


def send_bytes(data: bytes, *, content_type: str, etag: str, max_age: int = 0) -> Response:
    """Return a response of bytes; without a `max_age` they may be others the next time."""
    return send_stored(io.BytesIO(data), content_type=content_type, etag=etag, max_age=max_age)


def _disposition(name: str) -> str:
    """Name the file for browsers old and new; quotes and separators would end the name or make it a path."""
    safe = "".join("_" if letter in '/\\"' else letter for letter in name)
    plain = safe.encode("ascii", "replace").decode().replace("?", "_")
    header = dump_options_header("inline", {"filename": plain})
    if plain != safe:
        header += f"; filename*=UTF-8''{quote(safe, safe='')}"
    return header
