"""What a job is reckoned to take: more for more pixels, and within what was measured."""

from __future__ import annotations

import pytest

from shared.memory import (
    COSTS,
    DeviceKind,
    Network,
    Seat,
    gigabytes,
    kind_of,
    largest_side,
    optimisation_bytes,
    smallest_size,
    surely_exceeds,
)
from shared.options import StyleOptions

GIB = 2**30
#: Peaks of an NVIDIA H200's allocator in GiB, by long side at 4:3: `classic`, `untrained`.
H200 = {1024: (2.0, 2.3), 2048: (7.4, 8.4), 4096: (28.6, 31.9)}
BOTH = frozenset({"gatys", "fast"})


def job(seat: Seat, side: int, **options: object) -> int | None:
    picture = side, side * 3 // 4
    return seat.job_bytes(StyleOptions(**{"size": side, **options}), picture, picture)


@pytest.mark.parametrize(("side", "gib"), H200.items())
def test_a_gpu_as_it_was_measured(side, gib):
    for weights, measured in zip(("imagenet", "untrained"), gib, strict=True):
        assert job(Seat(DeviceKind.GPU, weights), side) == pytest.approx(measured * GIB, rel=0.15)


@pytest.mark.parametrize("costs", COSTS.values())
def test_the_step_counts_unless_the_style_is_far_larger(costs):
    assert optimisation_bytes(costs, 10**6, 10**6) == costs.step * 10**6
    assert optimisation_bytes(costs, 0, 10**6) == costs.style * 10**6
    assert optimisation_bytes(costs, 10**5, 10**6) < costs.step * 10**6
    assert optimisation_bytes(costs, 10**6, 0) == costs.step * 10**6


def test_a_picture_counts_as_it_is_worked_on():
    seat = Seat(DeviceKind.CPU, "imagenet")
    options = StyleOptions(size=512)
    assert seat.job_bytes(options, (512, 384), (512, 384)) == seat.job_bytes(
        options, (4096, 3072), (512, 384)
    )
    assert seat.job_bytes(options, (512, 384), (512, 384)) > seat.job_bytes(options, (256, 192), (512, 384))


def test_weights_of_any_name_but_one_are_trained():
    kinds = {name: Seat(DeviceKind.CPU, name).network for name in ("imagenet", "file", "untrained")}
    assert kinds == {"imagenet": Network.TRAINED, "file": Network.TRAINED, "untrained": Network.UNTRAINED}


def test_the_fast_method_takes_the_machines_memory_and_little_of_it():
    light = Seat(DeviceKind.CPU, "magenta-int8", frozenset({"fast"}))
    heavy = Seat(DeviceKind.CPU, "saved-model", frozenset({"fast"}))
    assert job(light, 2048, method="fast") < job(heavy, 2048, method="fast")
    assert light.process_bytes < Seat(DeviceKind.CPU, "imagenet").process_bytes
    both = Seat(DeviceKind.CPU, "imagenet", BOTH)
    assert both.process_bytes == light.process_bytes + Seat(DeviceKind.CPU, "imagenet").process_bytes
    # A GPU's node says nothing of the machine's memory, in which that method runs.
    assert job(Seat(DeviceKind.GPU, "imagenet", BOTH), 2048, method="fast") is None


def test_a_job_that_begins_with_a_fast_picture_takes_the_more_of_the_two():
    both = Seat(DeviceKind.CPU, "imagenet", BOTH)
    assert job(both, 1024, init="fast") == job(both, 1024)
    options, picture = StyleOptions(size=4096, init="fast", detail=4096), (4096, 48)
    assert both.job_bytes(options, picture, (32, 32)) >= both.job_bytes(
        StyleOptions(size=4096), picture, (32, 32)
    )


def test_devices_are_told_by_their_names():
    assert kind_of("cpu") is DeviceKind.CPU
    assert kind_of("cuda:0 (NVIDIA H200)") is kind_of("cuda:7") is DeviceKind.GPU
    assert kind_of("rocm:0") is None


def test_what_may_fit_is_not_sure_to_exceed():
    assert not surely_exceeds(100, 100)
    assert not surely_exceeds(100, 85)
    assert surely_exceeds(100, 84)


def test_the_largest_side():
    assert largest_side(lambda side: side <= 777) == 777
    assert largest_side(lambda side: True) == 4096
    assert largest_side(lambda side: side <= 31) is None
    assert largest_side(lambda side: side <= 777, least=778) is None
    assert smallest_size([(400, 300), (1000, 100)]) == 160
    assert smallest_size([(400, 300)]) == 32


def test_amounts_in_words():
    assert [gigabytes(count) for count in (3_700_000_000, 640_000_000, -5)] == ["3.7 GB", "640 MB", "0 MB"]
