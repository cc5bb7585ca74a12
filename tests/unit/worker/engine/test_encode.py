from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image, ImageCms

from worker.engine.images import decode_picture, encode_jpeg, encode_png

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 33, 3), dtype=np.uint8)


def test_png_keeps_pixels_and_metadata():
    metadata = {"Software": "Atelier", "atelier:options": '{"steps": 7}', "atelier:notice": "Grüße – 絵 …"}
    picture = Image.open(io.BytesIO(encode_png(IMAGE, metadata)))
    np.testing.assert_array_equal(np.asarray(picture), IMAGE)
    assert {key: picture.text[key] for key in metadata} == metadata


@pytest.mark.parametrize("encode", [lambda: encode_png(IMAGE, {}), lambda: encode_jpeg(IMAGE)])
def test_files_say_that_they_are_srgb_and_are_the_same_each_time(encode):
    data = encode()
    assert data == encode()
    profile = Image.open(io.BytesIO(data)).info["icc_profile"]
    assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    # The date and time in it are fixed, or two equal pictures would be two different files.
    assert profile[24:36] == bytes([7, 208, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0])


def test_a_result_can_be_the_next_job_s_picture():
    decoded = decode_picture(encode_png(IMAGE, {}), size=512, name="content")
    assert np.abs(np.rint(decoded * 255) - IMAGE).max() <= 1


def test_jpeg_is_444_and_carries_metadata_as_json():
    metadata = {"atelier:notice": "Grüße"}
    picture = Image.open(io.BytesIO(encode_jpeg(IMAGE, quality=90, metadata=metadata)))
    assert [layer[1:3] for layer in picture.layer] == [(1, 1)] * 3
    assert json.loads(picture.info["comment"]) == metadata


@pytest.mark.parametrize(("side", "size"), [(None, (33, 20)), (40, (33, 20)), (16, (16, 10))])
def test_jpeg_is_made_smaller_but_never_larger(side, size):
    assert Image.open(io.BytesIO(encode_jpeg(IMAGE, max_side_px=side))).size == size
