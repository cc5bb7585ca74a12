"""At which size the fast network sees a picture, and what is refused for want of memory."""

from __future__ import annotations

import re

import pytest

from shared.errors import OutOfMemory, PictureTooNarrow
from shared.memory import fast_bytes
from shared.options import StyleOptions
from shared.picture import Seen, seen_sizes
from worker.engine.fast.sizes import check_memory

BYTES_PER_PIXEL = 300


@pytest.mark.parametrize(
    ("picture", "size", "detail", "seen", "result"),
    [
        ((1600, 1200), 512, 1024, (512, 384), (512, 384)),
        ((1600, 1200), 4096, 1024, (1024, 768), (1600, 1200)),
        ((1600, 1200), 1200, 1024, (1024, 768), (1200, 900)),
        ((1600, 1200), 1200, 400, (400, 300), (1200, 900)),
        ((1600, 1200), 400, 4096, (400, 300), (400, 300)),
        ((1600, 1200), 4096, 4096, (1600, 1200), (1600, 1200)),
        ((641, 427), 4096, 1024, (641, 427), (641, 427)),
        ((32, 32), 512, 1024, (32, 32), (32, 32)),
        # Its short side would have 7 px, and the network needs 16.
        ((5000, 33), 4096, 1024, (2425, 16), (4096, 27)),
        ((33, 5000), 4096, 64, (16, 2425), (27, 4096)),
    ],
)
def test_the_sizes_of_a_picture(picture, size, detail, seen, result):
    assert seen_sizes(*picture, size=size, detail=detail) == Seen(seen, result)


def test_a_result_that_would_be_too_narrow_is_refused_as_for_every_method():
    with pytest.raises(PictureTooNarrow, match="512 × 3 px"):
        seen_sizes(5000, 33, size=512, detail=1024)


def _check(width: int, height: int, available_bytes: int | None, **options: int) -> None:
    check_memory(
        width,
        height,
        StyleOptions(**options),
        bytes_per_pixel=BYTES_PER_PIXEL,
        available_bytes=available_bytes,
    )


def test_what_memory_holds_or_nobody_can_tell_is_not_refused():
    _check(4000, 3000, 16 * 10**9, size=4096, detail=4096)
    _check(4000, 3000, None, size=4096, detail=4096)


def test_what_it_does_not_hold_is_refused_with_the_largest_detail_that_fits():
    with pytest.raises(OutOfMemory) as caught:
        _check(4000, 3000, 10**9, size=4000, detail=4096)
    assert (
        "at size 4000 and detail 4000 a picture of 4000 × 3000 px needs about 3.7 GB" in caught.value.detail
    )
    largest = int(re.search(r"the largest detail that fits is (\d+)$", caught.value.detail)[1])
    _check(4000, 3000, 10**9, size=4000, detail=largest)
    with pytest.raises(OutOfMemory):
        _check(4000, 3000, 10**9, size=4000, detail=largest + 1)


@pytest.mark.parametrize("detail", [1024, 64])
def test_or_with_the_largest_size_that_fits(detail):
    """The result, too, takes memory: 4096 px of it more than there is, however little is seen."""
    with pytest.raises(OutOfMemory) as caught:
        _check(4000, 3000, 3 * 10**8, size=4096, detail=detail)
    largest = int(re.search(r"the largest size that fits is (\d+)$", caught.value.detail)[1])
    _check(4000, 3000, 3 * 10**8, size=largest, detail=detail)
    with pytest.raises(OutOfMemory):
        _check(4000, 3000, 3 * 10**8, size=largest + 1, detail=detail)


def test_a_machine_that_is_full_is_told_so():
    with pytest.raises(OutOfMemory, match="not even the smallest size fits"):
        _check(4000, 3000, 10**6, size=512)
    with pytest.raises(OutOfMemory, match="0 MB are free"):
        _check(5000, 33, 0, size=4096, detail=4096)


def test_more_pixels_need_more_memory():
    sides = [64, 512, 1024, 2048, 4096]
    needs = [fast_bytes(seen_sizes(6000, 4000, size=side, detail=1024), BYTES_PER_PIXEL) for side in sides]
    assert needs == sorted(set(needs))
