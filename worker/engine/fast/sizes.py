"""At which size the network sees a picture, and whether memory holds it: decisions, without any measuring."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from shared.errors import OutOfMemory
from shared.options import StyleOptions
from shared.picture import MIN_WORKING_SIDE_PX, scaled_size, working_size

#: What enlarging the network's picture takes for each pixel of the result: both, in floats, and the levels.
_RESULT_BYTES_PER_PIXEL = 40
#: What a pass takes whatever its size, and what is left to others.
_BASE_BYTES = 64 * 2**20
_SIDES_PX = (32, 4096)


@dataclass(frozen=True)
class Sizes:
    """The width and height in px at which the network sees the content, and those of the result."""

    seen: tuple[int, int]
    result: tuple[int, int]


def decide_sizes(width: int, height: int, *, size: int, detail: int) -> Sizes:
    """Decide the sizes for a content picture of this width and height.

    Args:
        width: In px, as the picture stands upright.
        height: As well.
        size: Long side of the result; a smaller picture is never enlarged.
        detail: Long side at which the network sees the content, at most `size`. A narrow picture is seen
            larger, so that its short side keeps the 16 px that the network needs.

    Raises:
        PictureTooNarrow: when the result's short side would have fewer than 16 px.
    """
    result = working_size(width, height, size=size, name="content")
    least = math.ceil(MIN_WORKING_SIDE_PX * max(width, height) / min(width, height))
    return Sizes(scaled_size(width, height, size=max(min(detail, size), least)), result)


def needed_bytes(sizes: Sizes, *, bytes_per_pixel: int) -> int:
    """Return about how much memory a pass at these sizes takes, with so much for a pixel that is seen."""
    seen, result = (math.prod(size) for size in (sizes.seen, sizes.result))
    enlarging = 0 if sizes.seen == sizes.result else result * _RESULT_BYTES_PER_PIXEL
    return _BASE_BYTES + seen * bytes_per_pixel + enlarging


def check_memory(
    width: int, height: int, options: StyleOptions, *, bytes_per_pixel: int, available_bytes: int | None
) -> None:
    """Refuse a content picture of this width and height if memory does not hold its pass.

    Raises:
        OutOfMemory: naming the largest `detail` that fits, or else the largest `size`.
    """
    if available_bytes is None:
        return

    def needed(size: int, detail: int) -> int:
        sizes = decide_sizes(width, height, size=size, detail=detail)
        return needed_bytes(sizes, bytes_per_pixel=bytes_per_pixel)

    def fits(size: int, detail: int) -> bool:
        return needed(size, detail) <= available_bytes

    size, detail = options.size, options.detail
    if fits(size, detail):
        return
    said = (
        f"at size {size} and detail {min(size, detail)} a picture of {width} × {height} px needs about "
        f"{_megabytes(needed(size, detail))}, and {_megabytes(available_bytes)} are free here"
    )
    if largest := _largest(lambda side: fits(size, side), 1):
        raise OutOfMemory(f"{said}; the largest detail that fits is {largest}")
    if largest := _largest(lambda side: fits(side, detail), _smallest_size(width, height)):
        raise OutOfMemory(f"{said}; the largest size that fits is {largest}")
    raise OutOfMemory(f"{said}; not even the smallest size fits: end other programs")


def _smallest_size(width: int, height: int) -> int:
    """Return the smallest `size` at which the picture is not too narrow."""
    return max(_SIDES_PX[0], math.ceil(MIN_WORKING_SIDE_PX * max(width, height) / min(width, height)))


def _largest(fits: Callable[[int], bool], least: int) -> int | None:
    """Return the largest side that fits, from `least` on; None where not even that does."""
    low, high = max(least, _SIDES_PX[0]), _SIDES_PX[1]
    if low > high or not fits(low):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _megabytes(count: int) -> str:
    return f"{max(count, 0) / 1e9:.1f} GB" if count >= 1e9 else f"{max(count, 0) / 1e6:.0f} MB"
