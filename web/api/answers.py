"""JSON answers: readable by people, valid for machines, not kept by caches."""

from __future__ import annotations

import json
from collections.abc import Mapping

from flask import Response


def json_answer(
    data: Mapping[str, object],
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    """Return a response of `data`; what cannot be written as UTF-8 becomes a question mark."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    response = Response(text.encode("utf-8", "replace") + b"\n", status=status, content_type=media_type)
    response.headers["Cache-Control"] = "no-cache"
    response.headers.update(headers or {})
    return response
