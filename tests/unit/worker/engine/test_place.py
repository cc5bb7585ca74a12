"""What is said of a device that does not hold a job, and when a job is not begun for that."""

from __future__ import annotations

import re

import pytest
import tensorflow as tf

from shared.errors import OutOfMemory
from shared.memory import DeviceKind
from shared.options import StyleOptions
from worker.engine.room import Demand, Place, default_place, memory_errors

GPU_MESSAGE = """Graph execution error:

Detected at node StatefulPartitionedCall/conv defined at (most recent call last):
  OOM when allocating tensor with shape[1,64,4096,3072] and type float on /GPU:0 by allocator GPU_0_bfc
\t [[{{node conv}}]]
Hint: If you want to see a list of allocated tensors when OOM happens, add report_tensor_allocations
"""


def demand(there: int | None, kind: DeviceKind = DeviceKind.CPU, size: int = 4096) -> Demand:
    options = StyleOptions(size=size)
    return Demand(Place(kind, lambda: there), "imagenet", options, (size, size * 3 // 4), (size, size // 2))


def test_what_surely_fits_or_may_fit_is_begun():
    demand(100 * 10**9).check()
    demand(None).check()
    need = demand(0).needed_bytes(4096)
    demand(int(need * 0.86)).check()


def test_what_surely_does_not_is_refused_with_both_figures_and_the_largest_size_that_fits():
    tight = demand(8 * 10**9)
    with pytest.raises(OutOfMemory) as caught:
        tight.check()
    assert (
        "at size 4096 a content of 4096 × 3072 px and a style of 4096 × 2048 px need" in caught.value.detail
    )
    assert f"about {tight.needed_bytes(4096) / 1e9:.1f} GB" in caught.value.detail
    assert "this process could have 8.0 GB here" in caught.value.detail
    largest = int(re.search(r"the largest size that fits is (\d+)$", caught.value.detail)[1])
    assert tight.needed_bytes(largest) <= 8 * 10**9 < tight.needed_bytes(largest + 8)


def test_a_gpu_fails_by_itself_and_then_says_which_tensor_it_was():
    full = tf.errors.ResourceExhaustedError(None, None, GPU_MESSAGE)
    asked = demand(16 * 10**9, DeviceKind.GPU)
    asked.check()
    with pytest.raises(OutOfMemory) as caught, memory_errors(asked):
        raise full
    assert "need about 31.9 GB, and this process could have 16.0 GB here" in caught.value.detail
    assert "; the largest size that fits is " in caught.value.detail
    tensor = "tensor with shape[1,64,4096,3072] and type float on /GPU:0 by allocator GPU_0_bfc"
    assert caught.value.detail.endswith(f"; OOM when allocating {tensor}")


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (100 * 10**9, "; others had taken part of it; Out of it$"),
        (10**8, "; not even the smallest size fits: end other programs; Out of it$"),
        (None, ", and there is less; Out of it$"),
    ],
)
def test_whatever_is_known_of_the_device_is_said(there, said):
    full = tf.errors.ResourceExhaustedError(None, None, "\nOut of it\nhint")
    with pytest.raises(OutOfMemory, match=said), memory_errors(demand(there, DeviceKind.GPU)):
        raise full


def test_the_devices_memory_is_asked_for_here():
    place = default_place()
    assert place.could_take() is None or place.could_take() > 0
