"""The fast engine with a model that is a plain formula: what it hands over, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from shared.errors import CheckpointInvalid, EngineFailed, PictureInvalid, PictureTooNarrow
from shared.options import StyleOptions
from worker.engine.fast.engine import FastEngine
from worker.engine.fast.model import pad_to_fit, style_windows
from worker.engine.images import resize_picture
from worker.engine.state import EngineState


class Formula:
    """Inverts the content, and notes what it was asked."""

    name, sha256, bytes_per_pixel = "formula", "0" * 64, 100

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.asked: list[tuple[tuple[int, ...], tuple[int, ...], float]] = []

    def stylize(self, content: np.ndarray, style: np.ndarray, strength: float) -> np.ndarray:
        assert content.dtype == style.dtype == np.float32
        self.asked.append((content.shape, style.shape, strength))
        return (1 - content) * np.float32(self.factor)


def test_the_model_gets_the_content_at_its_detail_and_the_style_in_squares_of_256_px(make_picture):
    model = Formula()
    options = StyleOptions(size=60, detail=32, style_strength=0.25)
    (step,) = FastEngine(model).stylize(make_picture(64, 48), make_picture(300, 90), options)
    assert model.asked == [((24, 32, 3), (5, 256, 256, 3), 0.25)]
    assert step.image().shape == (45, 60, 3)


@pytest.mark.parametrize(("shape", "squares"), [((5000, 33), 9), ((33, 5000), 9), ((32, 32), 1)])
def test_a_style_of_any_shape_is_cut_into_squares(make_picture, shape, squares):
    """What `taken_size` lets through at submit, at a size at which an optimisation would have 3 px of it."""
    model = Formula()
    (step,) = FastEngine(model).stylize(make_picture(), make_picture(*shape), StyleOptions(method="fast"))
    assert model.asked == [((48, 64, 3), (squares, 256, 256, 3), 1.0)]
    assert step.image().shape == (48, 64, 3)


def test_values_beyond_the_range_are_cut_and_rounded_not_wrapped(make_picture):
    (step,) = FastEngine(Formula(3.0)).stylize(make_picture(), make_picture(), StyleOptions())
    assert step.image().max() == 255
    (step,) = FastEngine(Formula(-1.0)).stylize(make_picture(), make_picture(), StyleOptions())
    assert step.image().max() == 0


def test_what_is_no_number_is_no_picture(make_picture):
    steps = FastEngine(Formula(float("nan"))).stylize(make_picture(), make_picture(), StyleOptions())
    with pytest.raises(EngineFailed, match="no numbers"):
        next(steps)


def test_nothing_can_be_resumed(make_picture):
    state = EngineState(1, {})
    with pytest.raises(CheckpointInvalid, match="fast has no checkpoints"):
        next(FastEngine(Formula()).stylize(make_picture(), make_picture(), StyleOptions(), resume=state))


def test_pictures_are_refused_as_by_every_engine(make_picture: Callable[..., bytes]):
    engine = FastEngine(Formula())
    with pytest.raises(PictureInvalid, match="style"):
        next(engine.stylize(make_picture(), b"nothing", StyleOptions()))
    with pytest.raises(PictureTooNarrow, match="content"):
        next(engine.stylize(make_picture(640, 32), make_picture(), StyleOptions(size=64)))


def test_a_narrow_style_is_taken_since_it_is_seen_in_squares(make_picture):
    (step,) = FastEngine(Formula()).stylize(make_picture(), make_picture(640, 8), StyleOptions(size=64))
    assert step.image().shape == (48, 64, 3)


def test_making_an_engine_computes_nothing_and_warming_it_up_runs_one_small_picture():
    model = Formula()
    engine = FastEngine(model)
    assert model.asked == []
    engine.warm()
    assert [content for content, _, _ in model.asked] == [(64, 64, 3)]


@pytest.mark.parametrize(
    ("width", "height", "starts"),
    [
        (50, 50, [0]),
        (60, 50, [0, 5, 10]),
        (40, 100, [0, 30, 60]),
        (150, 50, [0, 50, 100]),
        (160, 50, [0, 28, 55, 82, 110]),
        (1000, 20, [round(980 * number / 8) for number in range(9)]),
    ],
)
def test_a_style_is_seen_in_squares_from_end_to_end(width, height, starts):
    picture = np.random.default_rng(2).random((height, width, 3), np.float32)
    windows = style_windows(picture)
    assert windows.shape == (len(starts), 256, 256, 3)
    side = min(width, height)
    for window, start in zip(windows, starts, strict=True):
        cut = picture[:, start : start + side] if width > height else picture[start : start + side]
        assert np.array_equal(window, resize_picture(cut, (256, 256)))


@pytest.mark.parametrize("shape", [(32, 32), (427, 641), (33, 35), (17, 16), (1, 2)])
def test_padding_reflects_and_reaches_the_next_multiple_of_4(shape):
    picture = np.random.default_rng(0).random((*shape, 3), np.float32)
    padded = pad_to_fit(picture)
    height, width = shape
    assert padded.shape == (-(-height // 4) * 4, -(-width // 4) * 4, 3)
    assert np.array_equal(padded[:height, :width], picture)
    if width % 4 and width > 4:
        assert np.array_equal(padded[:height, width], picture[:, width - 2])
    if height % 4 and height > 4:
        assert np.array_equal(padded[height, :width], picture[height - 2])
