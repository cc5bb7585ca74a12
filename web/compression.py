"""What makes a page is compressed on the way: documents, styles, modules. Nothing else is."""

from __future__ import annotations

from flask import Flask, Response, request
from flask_compress import Compress

#: An event stream must not wait for a full block, a job's ETag is its own, and pictures are compressed.
_MEDIA_TYPES = ["text/html", "text/css", "text/javascript", "image/svg+xml"]


def compress_pages(app: Flask) -> None:
    """Let an app compress its pages and their files for browsers that say they can read it."""
    app.config.update(COMPRESS_MIMETYPES=_MEDIA_TYPES, COMPRESS_STREAMS=False)
    Compress(app)
    app.after_request(_read_static)  # runs before the compression, as the later one


def _read_static(response: Response) -> Response:
    # Files are streamed, and a stream is not compressed (above): ours are a few kB, read whole.
    if request.endpoint == "static" and response.mimetype in _MEDIA_TYPES and response.status_code == 200:
        response.direct_passthrough = False
        response.make_sequence()
    return response
