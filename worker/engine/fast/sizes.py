"""Whether memory holds a pass of the fast network: a decision, without any measuring."""

from __future__ import annotations

from shared.errors import OutOfMemory
from shared.memory import fast_bytes, gigabytes, largest_side, smallest_size
from shared.options import StyleOptions
from shared.picture import seen_sizes


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
        return fast_bytes(seen_sizes(width, height, size=size, detail=detail), bytes_per_pixel)

    def fits(size: int, detail: int) -> bool:
        return needed(size, detail) <= available_bytes

    size, detail = options.size, options.detail
    if fits(size, detail):
        return
    said = (
        f"at size {size} and detail {min(size, detail)} a picture of {width} × {height} px needs about "
        f"{gigabytes(needed(size, detail))}, and {gigabytes(available_bytes)} are free here"
    )
    if largest := largest_side(lambda side: fits(size, side)):
        raise OutOfMemory(f"{said}; the largest detail that fits is {largest}")
    least = smallest_size([(width, height)])
    if largest := largest_side(lambda side: fits(side, detail), least=least):
        raise OutOfMemory(f"{said}; the largest size that fits is {largest}")
    raise OutOfMemory(f"{said}; not even the smallest size fits: end other programs")
