"""The fast engine: one a process, warm; each job is one step, and others may start from a draft of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from shared.errors import CheckpointInvalid, EngineFailed
from shared.options import StyleOptions
from shared.picture import Seen, seen_sizes, squares_size
from worker.engine.fast.model import FastModel, Picture, Windows, style_windows
from worker.engine.fast.sizes import check_memory
from worker.engine.images import decode_fitted, resize_picture
from worker.engine.machine import available_bytes, return_freed_memory
from worker.engine.state import EngineState, MadeBy, Step

#: Changes whenever the same job would end in other bytes than before.
FAST_VERSION = "1"

_WARM_SIDE_PX = 64


class FastEngine:
    """Runs fast jobs with one model. Loading it and making an engine of it computes nothing."""

    #: Nobody has to be told anything of trained weights.
    notice: str | None = None

    def __init__(self, model: FastModel, *, available: Callable[[], int | None] = available_bytes) -> None:
        """Use a model; `available` tells how many bytes of memory can be had, None where nobody knows."""
        self._model = model
        self._available = available

    def made_by(self, options: StyleOptions) -> MadeBy:  # noqa: ARG002 (the same for every job)
        """Return what makes a picture: the model, as job, page and picture name it."""
        return MadeBy(f"fast-{FAST_VERSION}", self._model.name, self._model.sha256)

    def warm(self) -> None:
        """Run one picture of 64 px, so that the first job finds everything loaded."""
        grey = np.full((_WARM_SIDE_PX, _WARM_SIDE_PX, 3), 0.5, np.float32)
        self._model.stylize(grey, style_windows(grey), 1.0)

    def stylize(
        self, content: bytes, style: bytes, options: StyleOptions, *, resume: EngineState | None = None
    ) -> Iterator[Step]:
        """Yield the one `Step` of a fast job; it has no losses and no state.

        Args:
            content: An encoded picture file.
            style: An encoded picture file; seen in squares of 256 px.
            options: The resolved options, of which `size`, `detail` and `style_strength` count.
            resume: Not possible: there is nothing to go on from.

        Raises:
            PictureRefused: when a picture cannot be decoded, or the content would be too narrow.
            OutOfMemory: when memory does not hold the picture, naming the largest size that fits; before
                anything is computed.
            EngineFailed: when the model gave no picture.
            CheckpointInvalid: when there is something to resume.
        """
        if resume is not None:
            raise CheckpointInvalid("a job of the method fast has no checkpoints to go on from")
        started = time.perf_counter()
        picture = self.picture(content, style, options)
        levels: NDArray[np.uint8] = np.rint(picture * np.float32(255)).astype(np.uint8)
        seconds = time.perf_counter() - started
        yield Step(step=1, steps=1, losses=None, seconds=seconds, _image=lambda: levels, _state=None)

    def picture(self, content: bytes, style: bytes, options: StyleOptions) -> Picture:
        """Return the picture of a fast job in floats, [H, W, 3] in [0, 1]; all else as for `stylize`."""
        planned: list[Seen] = []

        def fit(width: int, height: int) -> tuple[int, int]:
            planned.append(self._plan(width, height, options))
            return planned[-1].network

        content_picture = decode_fitted(content, fit=fit, name="content")
        windows = style_windows(decode_fitted(style, fit=squares_size, name="style"))
        return self._pass(content_picture, windows, options, planned[-1])

    def draft(self, content: Picture, style: Picture, options: StyleOptions) -> Picture:
        """Return the stylised picture of two decoded ones, float32 in [0, 1], in the content's shape.

        Other pixels of the same style, resized before for instance, give another picture, much alike: where
        it must be that of a fast job, take `picture`.

        Args:
            content: float32 [H, W, 3] in [0, 1], each side at least 16 px.
            style: float32 [H, W, 3] in [0, 1], of any size.
            options: As for `stylize`; `size` counts only as the default of `detail`.

        Raises:
            OutOfMemory, EngineFailed: as for `stylize`.
        """
        height, width = content.shape[:2]
        sizes = Seen(self._plan(width, height, options).network, (width, height))
        return self._pass(resize_picture(content, sizes.network), style_windows(style), options, sizes)

    def _plan(self, width: int, height: int, options: StyleOptions) -> Seen:
        sizes = seen_sizes(width, height, size=options.size, detail=options.detail)
        check_memory(
            width,
            height,
            options,
            bytes_per_pixel=self._model.bytes_per_pixel,
            available_bytes=self._available(),
        )
        return sizes

    def _pass(self, content: Picture, style: Windows, options: StyleOptions, sizes: Seen) -> Picture:
        try:
            picture = self._model.stylize(content, style, options.style_strength)
            if not np.isfinite(picture).all():
                raise EngineFailed("the fast model gave values that are no numbers")
            return np.clip(resize_picture(picture, sizes.result), 0.0, 1.0)
        finally:
            return_freed_memory()
