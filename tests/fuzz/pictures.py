"""Real pictures for a generator of requests: schemathesis loads this file as its hooks."""

from __future__ import annotations

import io

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def _picture(kind: str, width: int) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, 40)).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


_PICTURES = [_picture(kind, 40 + number) for number, kind in enumerate(["PNG", "JPEG", "WEBP", "BMP"])]
schemathesis.openapi.format("binary", st.sampled_from(_PICTURES) | st.binary(max_size=60))
