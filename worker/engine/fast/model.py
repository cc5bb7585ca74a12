"""What a fast model can do, whichever it is; loading the one that was chosen, and fitting pictures to it."""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.engine.fast.source import FastChoice

#: The long and the short side of the style as the network sees it.
STYLE_SIDE_PX = 256
#: The network halves a picture twice and doubles it again: other sides come back larger.
_MULTIPLE_PX = 4

Picture = NDArray[np.float32]


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

    def stylize(self, content: Picture, style: Picture, strength: float) -> Picture:
        """Return the stylised picture, float32 in [0, 1], in the content's shape.

        Args:
            content: float32 [H, W, 3] in [0, 1], each side at least 16 px.
            style: float32 [256, 256, 3] in [0, 1].
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
            process may use. They decide the time, and not the bytes.

    Raises:
        FastModelUnavailable: when its files or its runtime cannot be loaded.
    """
    if choice.name == "magenta-int8":
        from worker.engine.fast.packaged import PackagedModel

        return PackagedModel(choice, threads=threads or usable_processors())
    from worker.engine.fast.saved_model import SavedModel

    return SavedModel(choice)


def usable_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pad_to_fit(picture: Picture) -> Picture:
    """Return a picture continued by its reflection, right and below, to sides that are multiples of 4."""
    height, width = picture.shape[:2]
    below, right = -height % _MULTIPLE_PX, -width % _MULTIPLE_PX
    if not below and not right:
        return picture
    return np.pad(picture, ((0, below), (0, right), (0, 0)), mode="reflect")
