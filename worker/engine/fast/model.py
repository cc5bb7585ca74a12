"""What a fast model can do, whichever it is; loading the one that was chosen, and fitting pictures to it."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.picture import STYLE_SQUARE_PX
from worker.engine.fast.source import FastChoice
from worker.engine.images import resize_picture
from worker.engine.machine import usable_processors

#: How many squares of a long picture are seen at most.
_MOST_WINDOWS = 9
#: The network halves a picture twice and doubles it again: other sides come back larger.
_MULTIPLE_PX = 4

Picture = NDArray[np.float32]
Windows = NDArray[np.float32]


class FastModel(Protocol):
    """A network that takes a content and a style picture, and gives the stylised one in one pass."""

    @property
    def name(self) -> str:
        """What the model is called wherever a result is shown."""

    @property
    def sha256(self) -> str:
        """The digest over all files of the model, in hex."""

    @property
    def bytes_per_pixel(self) -> int:
        """The most memory that a pass takes for each pixel of the content."""

    def stylize(self, content: Picture, style: Windows, strength: float) -> Picture:
        """Return the stylised picture, float32 in [0, 1], in the content's shape.

        Args:
            content: float32 [H, W, 3] in [0, 1], each side at least 16 px.
            style: What `style_windows` returned, float32 [N, 256, 256, 3] in [0, 1].
            strength: 0 is the content in its own style, 1 in that of the style picture.

        Raises:
            OutOfMemory: when memory ran out all the same.
            EngineFailed: when the runtime failed.
        """


def load_fast_model(choice: FastChoice, *, threads: int | None = None) -> FastModel:
    """Load the model that was chosen; takes part of a second, or seconds for TensorFlow.

    Args:
        choice: What `find_fast_model` found.
        threads: How many threads the packaged model computes with; the default is the processors that this
            process, or its container, may keep busy. They decide the time, and not the bytes.

    Raises:
        FastModelUnavailable: when its files or its runtime cannot be loaded.
    """
    if choice.name == "magenta-int8":
        from worker.engine.fast.packaged import PackagedModel

        return PackagedModel(choice, threads=threads or usable_processors())
    from worker.engine.fast.saved_model import SavedModel

    return SavedModel(choice)


def style_windows(picture: Picture) -> Windows:
    """Return the squares in which a style is seen, float32 [N, 256, 256, 3]; N is odd, at most 9.

    They are as wide as the picture's short side and lie evenly along its long side, from end to end, the
    middle one in the middle. A picture that is no square, squeezed into one as a whole, would lose the
    direction of its strokes: of one three times as wide as high, all would come out upright.
    """
    height, width = picture.shape[:2]
    side, long = min(height, width), max(height, width)
    count = min(_MOST_WINDOWS, 1 if long == side else (math.ceil(long / side) // 2) * 2 + 1)
    starts = [round((long - side) * number / max(1, count - 1)) for number in range(count)]
    cuts = (
        picture[:, start : start + side] if width == long else picture[start : start + side]
        for start in starts
    )
    return np.stack([resize_picture(cut, (STYLE_SQUARE_PX, STYLE_SQUARE_PX)) for cut in cuts])


def pad_to_fit(picture: Picture) -> Picture:
    """Return a picture continued by its reflection, right and below, to sides that are multiples of 4."""
    height, width = picture.shape[:2]
    below, right = -height % _MULTIPLE_PX, -width % _MULTIPLE_PX
    if not below and not right:
        return picture
    return np.pad(picture, ((0, below), (0, right), (0, 0)), mode="reflect")
