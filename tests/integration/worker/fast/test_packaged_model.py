"""The packaged model, for real: every kind of picture, the same bytes, and what it does with strength."""

from __future__ import annotations

import hashlib
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from shared.errors import CheckpointInvalid, OutOfMemory
from shared.options import StyleOptions
from shared.settings import Settings
from worker.engine.fast.engine import FastEngine
from worker.engine.fast.model import style_windows
from worker.engine.fast.source import PREDICTOR, TRANSFORMER, find_fast_model
from worker.engine.images import decode_picture, resize_picture

EXAMPLES = Path(__file__).parents[4] / "examples"
CONTENT = (EXAMPLES / "content.png").read_bytes()
STYLE = (EXAMPLES / "style.png").read_bytes()


def _png(picture: Image.Image | np.ndarray, kind: str = "PNG") -> bytes:
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def _deep_png(picture: Image.Image) -> bytes:
    """Return an RGB picture as a PNG of 16 bits a channel, low bytes noise; Pillow writes none of these."""
    levels = np.asarray(picture).astype(np.uint16) * 256
    levels += np.random.default_rng(5).integers(0, 256, levels.shape, np.uint16)
    height, width = levels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def _scene(width: int, height: int) -> Image.Image:
    return Image.open(io.BytesIO(CONTENT)).convert("RGB").resize((width, height))


def _stylize(engine: FastEngine, content: bytes, style: bytes = STYLE, **options: float) -> np.ndarray:
    (step,) = engine.stylize(content, style, StyleOptions(**options))
    return step.image()


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        *((641, 427, 4096), (32, 32, 512), (33, 35, 512), (1030, 40, 1030)),
        *((5000, 33, 4096), (33, 5000, 4096), (5000, 33, 2349), (33, 5000, 2349)),
    ],
)
def test_odd_sizes_come_out_as_they_went_in(fast_engine, width, height, size):
    picture = _stylize(fast_engine, _png(_scene(width, height)), size=size)
    scale = min(1, size / max(width, height))
    assert picture.dtype == np.uint8
    assert picture.shape == (round(height * scale), round(width * scale), 3)
    assert picture.std() > 10


def test_a_side_that_is_no_multiple_of_4_changes_nothing_far_from_it(packaged):
    """Padding by reflection and cropping: the picture agrees with the one that was cut from a larger one."""
    whole = decode_picture(CONTENT, size=384, name="content")[:256, :384]
    style = style_windows(decode_picture(STYLE, size=512, name="style"))
    full, cut = (packaged.stylize(picture, style, 1.0) for picture in (whole, whole[:253, :381]))
    assert cut.shape == (253, 381, 3)
    assert np.abs(full[:253, :381] - cut).mean() < 0.06


@pytest.mark.parametrize("kind", ["grey", "alpha", "deep", "cmyk"])
def test_every_kind_of_picture_comes_out_as_its_own_rgb_would(fast_engine, kind):
    scene = _scene(96, 64)
    grey = np.asarray(scene.convert("L"))
    if kind == "grey":
        given, plain = _png(scene.convert("L")), scene.convert("L").convert("RGB")
    elif kind == "alpha":
        layered = scene.convert("RGBA")
        layered.putalpha(Image.linear_gradient("L").resize(scene.size).point(lambda a: 255 * (a > 99)))
        given = _png(layered)
        plain = Image.alpha_composite(Image.new("RGBA", scene.size, "white"), layered).convert("RGB")
    elif kind == "deep":
        given, plain = _png(grey.astype(np.uint16) * 257), scene.convert("L").convert("RGB")
    else:
        given = _png(scene.convert("CMYK"), "TIFF")
        plain = scene.convert("CMYK").convert("RGB")
    for order in (0, 1):
        pairs = ((CONTENT, file) if order else (file, STYLE) for file in (given, _png(plain)))
        one, other = (_stylize(fast_engine, *pair, size=96) for pair in pairs)
        assert np.array_equal(one, other), order


@pytest.mark.parametrize("kind", ["16-bit RGB PNG", "CMYK JPEG"])
def test_every_kind_of_picture_that_is_not_its_own_8_bit_rgb_comes_out_close_to_it(fast_engine, kind):
    scene = _scene(96, 64)
    if kind == "CMYK JPEG":
        buffer = io.BytesIO()
        scene.convert("CMYK").save(buffer, "JPEG", quality=100, subsampling=0)
        given = buffer.getvalue()
        assert Image.open(io.BytesIO(given)).mode == "CMYK"
    else:
        given = _deep_png(scene)
    for order in (0, 1):
        pairs = ((CONTENT, file) if order else (file, STYLE) for file in (given, _png(scene)))
        one, other = (_stylize(fast_engine, *pair, size=96).astype(int) for pair in pairs)
        # Levels of 255: what the last bits of 16, and a JPEG's own noise, may do.
        assert np.abs(one - other).mean() < 1, order


@pytest.mark.parametrize("colour", ["white", "black", "#808080", "red"])
def test_a_picture_without_any_structure_has_no_variance_and_still_comes_out(fast_engine, colour):
    flat = _png(Image.new("RGB", (64, 48), colour))
    assert _stylize(fast_engine, flat).shape == (48, 64, 3)
    assert _stylize(fast_engine, CONTENT, flat, size=64).std() > 1


def test_strength_moves_from_the_contents_own_style_to_the_style(fast_engine):
    own, styled = (_stylize(fast_engine, CONTENT, size=128, style_strength=s).astype(int) for s in (0, 1))
    content = np.rint(decode_picture(CONTENT, size=128, name="content") * 255)
    distances = [
        np.abs(_stylize(fast_engine, CONTENT, size=128, style_strength=s).astype(int) - styled).mean()
        for s in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] == 0
    assert np.abs(own - content).mean() < np.abs(styled - content).mean()
    # At 0 the style picture does not matter at all.
    assert np.array_equal(own, _stylize(fast_engine, CONTENT, CONTENT, size=128, style_strength=0))


def test_the_graph_without_rounding_draws_what_the_quantised_one_draws(packaged):
    """At the one size that the wheel's graph declares: the same picture but for the noise of rounding."""
    folder = find_fast_model(Settings()).folder
    content, style = (
        resize_picture(decode_picture(data, size=512, name="content"), (side, side))
        for data, side in ((CONTENT, 384), (STYLE, 256))
    )
    # As the graph is written: what onnxruntime fuses into products of 8 bits, a CPU without VNNI saturates.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    predictor, transformer = (
        onnxruntime.InferenceSession(folder / name, options, providers=["CPUExecutionProvider"])
        for name in (PREDICTOR, TRANSFORMER)
    )
    (vector,) = predictor.run(None, {predictor.get_inputs()[0].name: style[np.newaxis]})
    names = [tensor.name for tensor in transformer.get_inputs()]
    (quantised,) = transformer.run(None, dict(zip(names, (content[np.newaxis], vector), strict=True)))
    ours = packaged.stylize(content, style[np.newaxis], 1.0)
    assert np.abs(ours - quantised[0]).mean() < 0.05
    assert np.corrcoef(ours.ravel(), quantised.ravel())[0, 1] > 0.95


def test_a_long_style_is_not_squeezed(packaged):
    """Of upright bars only, seen in squares, the whole says what any part of it does."""
    content = decode_picture(CONTENT, size=128, name="content")
    bars = np.repeat(np.tile(np.float32([0.1, 0.9]).repeat(16), 24)[np.newaxis, :, np.newaxis], 256, 0)
    bars = np.repeat(bars, 3, 2)
    whole, part = (packaged.stylize(content, style_windows(style), 1.0) for style in (bars, bars[:, :256]))
    squeezed = packaged.stylize(content, resize_picture(bars, (256, 256))[np.newaxis], 1.0)
    assert np.abs(whole - part).mean() < 0.02 < np.abs(squeezed - part).mean()


def test_detail_decides_what_is_seen_and_size_the_result(fast_engine):
    coarse, same, most = (_stylize(fast_engine, CONTENT, size=192, detail=d) for d in (96, 192, 384))
    assert coarse.shape == same.shape == (128, 192, 3)
    assert np.array_equal(same, most)  # no more is seen than the result has
    assert np.array_equal(same, _stylize(fast_engine, CONTENT, size=192))
    assert not np.array_equal(coarse, same)
    # A coarse picture is enlarged: neighbours are alike.
    jumps = [np.abs(np.diff(picture.astype(int), axis=1)).mean() for picture in (coarse, same)]
    assert jumps[0] < jumps[1]


def test_a_draft_is_the_same_picture_in_floats(fast_engine):
    options = StyleOptions(size=128)
    content = decode_picture(CONTENT, size=128, name="content")
    style = decode_picture(STYLE, size=320, name="style")  # its short side is 256 px
    draft = fast_engine.draft(content, style, options)
    assert draft.dtype == np.float32
    assert draft.shape == content.shape
    assert draft.min() >= 0
    assert draft.max() <= 1
    assert np.array_equal(draft, fast_engine.picture(CONTENT, STYLE, options))
    assert np.array_equal(np.rint(draft * 255), _stylize(fast_engine, CONTENT, size=128))
    assert fast_engine.draft(content, style, StyleOptions(size=128, detail=64)).shape == content.shape


_DIGEST = """
import hashlib, sys
from shared.options import StyleOptions
from shared.settings import Settings
from worker.engine.fast.engine import FastEngine
from worker.engine.fast.model import load_fast_model
from worker.engine.fast.source import find_fast_model
engine = FastEngine(load_fast_model(find_fast_model(Settings()), threads=int(sys.argv[1])))
for side in (64, 301):
    options = StyleOptions(size=side, style_strength=0.6)
    (step,) = engine.stylize(*(open(name, "rb").read() for name in sys.argv[2:]), options)
    print(hashlib.sha256(step.image().tobytes()).hexdigest())
print("tensorflow" in sys.modules, "keras" in sys.modules, "h5py" in sys.modules)
"""


@pytest.mark.process
def test_the_same_bytes_in_every_process_with_any_number_of_threads_and_without_tensorflow(fast_engine):
    here = [
        hashlib.sha256(_stylize(fast_engine, CONTENT, size=side, style_strength=0.6).tobytes()).hexdigest()
        for side in (64, 301)
    ]
    for threads in ("1", "2", "3"):
        command = [sys.executable, "-c", _DIGEST, threads, EXAMPLES / "content.png", EXAMPLES / "style.png"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [*here, "False", "False", "False"]
        assert done.stderr == ""


def test_one_step_without_losses_and_without_a_state(fast_engine):
    (step,) = fast_engine.stylize(CONTENT, STYLE, StyleOptions(size=64))
    assert (step.step, step.steps, step.losses) == (1, 1, None)
    with pytest.raises(CheckpointInvalid, match="one step"):
        step.state()


def test_warming_up_takes_a_picture_and_leaves_nothing(fast_engine):
    before = _stylize(fast_engine, CONTENT, size=64)
    fast_engine.warm()
    assert np.array_equal(before, _stylize(fast_engine, CONTENT, size=64))


def test_what_memory_does_not_hold_is_refused_before_anything_is_computed(packaged):
    class Untouched:
        name, sha256, bytes_per_pixel = packaged.name, packaged.sha256, packaged.bytes_per_pixel

        def stylize(self, *_: object) -> np.ndarray:
            raise AssertionError("nothing may be computed")

    engine = FastEngine(Untouched(), available=lambda: 10**8)
    with pytest.raises(OutOfMemory, match=r"the largest detail that fits is \d+"):
        next(engine.stylize(CONTENT, STYLE, StyleOptions(size=1024)))
    black = np.zeros((1024, 768, 3), np.float32)
    with pytest.raises(OutOfMemory, match=r"the largest detail that fits is \d+"):
        engine.draft(black, black, StyleOptions(detail=1024))


def test_the_model_names_itself_and_its_files(packaged, fast_engine):
    made_by = fast_engine.made_by(StyleOptions())
    assert (made_by.weights, made_by.mark, fast_engine.notice) == ("magenta-int8", None, None)
    assert made_by.weights_sha256 == packaged.sha256 == find_fast_model(Settings()).sha256
