"""What a picture says of how it was made, and reading it back from its file."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from shared.errors import PictureInvalid
from shared.options import FIRST_OPTIONS, StyleOptions
from shared.provenance import Provenance, read_provenance
from worker.engine.images import encode_jpeg, encode_png

PICTURE = np.arange(16 * 16 * 3, dtype=np.uint32).astype(np.uint8).reshape(16, 16, 3)
MADE = Provenance(
    engine_version="7",
    content_sha256="c" * 64,
    style_sha256="5" * 64,
    options=StyleOptions(steps=7),
    step=5,
    weights="untrained",
    weights_sha256="e" * 64,
    notice="Grüße – 絵",
)


def test_the_fields_their_names_and_their_order():
    options = StyleOptions(steps=7).model_dump_json(include=set(FIRST_OPTIONS))
    assert list(MADE.to_metadata().items()) == [
        ("Software", "Atelier engine 7"),
        ("atelier:content_sha256", "c" * 64),
        ("atelier:style_sha256", "5" * 64),
        ("atelier:options", options),
        ("atelier:step", "5"),
        ("atelier:weights", "untrained"),
        ("atelier:weights_sha256", "e" * 64),
        ("atelier:notice", "Grüße – 絵"),
    ]


def test_weights_that_need_no_word_get_none():
    plain = Provenance("7", "c", "s", StyleOptions(), 5, "imagenet", "w")
    assert "atelier:notice" not in plain.to_metadata()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_gives_back_what_was_written_into_it(kind):
    metadata = MADE.to_metadata()
    data = encode_png(PICTURE, metadata) if kind == "PNG" else encode_jpeg(PICTURE, metadata=metadata)
    assert list(read_provenance(data).items()) == list(metadata.items())


def _png(**texts: str) -> bytes:
    info, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    for name, text in texts.items():
        info.add_text(name, text)
    Image.fromarray(PICTURE).save(buffer, "PNG", pnginfo=info, dpi=(72, 72))
    return buffer.getvalue()


def _jpeg(comment: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, "JPEG", comment=comment)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        _png(),
        _png(Software="Another program", Title="Sunday"),
        _jpeg(b""),
        _jpeg(b"made on a Sunday"),
        _jpeg(b"\xff\xfe\x00"),
        _jpeg(b"[1, 2]"),
        _jpeg(json.dumps({"Software": "Another program", "atelier:step": 5}).encode()),
    ],
)
def test_a_picture_that_was_not_made_here_says_nothing(data):
    assert read_provenance(data) == {}


@pytest.mark.parametrize("data", [b"", b"no picture at all", _png()[:20]])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(PictureInvalid):
        read_provenance(data)
