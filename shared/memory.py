"""The memory that jobs take: what was measured, as a function of method, network, sizes and kind of device.

Nothing is measured here. `python -m benchmarks.memory` compares the function with the real engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from shared.options import Method, StyleOptions
from shared.picture import MIN_WORKING_SIDE_PX, Seen, scaled_size, seen_sizes

#: How far the function may be off. What is refused would not fit even if it were that much less.
TOLERANCE = 0.15
#: What the weights of a network that was never trained are called; all others are trained.
_UNTRAINED = "untrained"
#: What the model of the fast method is called that takes more, where a node serves that method alone.
_HEAVY_MODEL = "saved-model"
_CPU_LABEL, _GPU_PREFIX, _UNKNOWN = "cpu", "cuda:", "unknown"
_MEBIBYTE = 2**20
_SIDES_PX = (32, 4096)


class DeviceKind(StrEnum):
    """Where a node computes."""

    CPU = "cpu"
    GPU = "gpu"


class Network(StrEnum):
    """The two kinds of networks of the optimisation, each with a recipe of its own."""

    #: The recipe `classic`.
    TRAINED = "trained"
    UNTRAINED = "untrained"


@dataclass(frozen=True)
class Costs:
    """What the optimisation takes on one kind of device with one kind of network, in bytes."""

    #: A process that is ready: runtime, weights, what the runtime holds once it has computed.
    process: int
    #: For each pixel of the content, at the height of a step.
    step: int
    #: For each pixel of the style, while its targets are computed; the step comes after.
    style: int
    #: For each pixel of the content, meanwhile: its own targets, and what was not given back of them.
    held: int


#: On the CPU as `python -m benchmarks.memory` measured it (TensorFlow 2.21, two cores, AVX-512). On a GPU
#: process and step are as the driver's tool and the allocator's peaks told them at 256 to 4096 px (NVIDIA
#: H200, TensorFlow 2.21); style and held are those of the CPU: they count beside a far larger style only.
COSTS: Mapping[tuple[DeviceKind, Network], Costs] = MappingProxyType(
    {
        (DeviceKind.CPU, Network.TRAINED): Costs(785 * 10**6, step=2270, style=1260, held=900),
        (DeviceKind.CPU, Network.UNTRAINED): Costs(640 * 10**6, step=3050, style=1600, held=500),
        (DeviceKind.GPU, Network.TRAINED): Costs(1640 * _MEBIBYTE, step=2400, style=1260, held=900),
        (DeviceKind.GPU, Network.UNTRAINED): Costs(1640 * _MEBIBYTE, step=2700, style=1600, held=500),
    }
)
#: A process that serves the fast method alone, and has its model.
_FAST_PROCESS_BYTES = 200 * 10**6
#: What a pass takes whatever its size, and what is left to others.
_FAST_BASE_BYTES = 64 * _MEBIBYTE
#: What enlarging the network's picture takes for each pixel of the result: both, in floats, and the levels.
_FAST_RESULT_BYTES = 40
#: For each pixel that the fast network sees; docs/fast.md.
FAST_BYTES_PER_PIXEL, FAST_BYTES_PER_PIXEL_HEAVY = 400, 900

Size = tuple[int, int]


@dataclass(frozen=True)
class Seat:
    """A node as far as the memory of a job goes: where it computes, with which weights, by which methods."""

    kind: DeviceKind
    weights: str
    methods: frozenset[str] = frozenset({Method.GATYS.value})

    @property
    def network(self) -> Network:
        """The kind of network that its optimisation runs on."""
        return Network.UNTRAINED if self.weights == _UNTRAINED else Network.TRAINED

    @property
    def process_bytes(self) -> int:
        """What the node's process takes before it has a job."""
        gatys = COSTS[self.kind, self.network].process if Method.GATYS in self.methods else 0
        # The fast method runs in the machine's memory, wherever the other one does.
        is_fast_here = Method.FAST in self.methods and self.kind is DeviceKind.CPU
        return gatys + (_FAST_PROCESS_BYTES if is_fast_here else 0)

    def job_bytes(self, options: StyleOptions, content: Size, style: Size) -> int | None:
        """Return what a job takes here at its peak, beside the process; None where that is not known.

        Args:
            options: The job's, of which `size`, `method`, `init` and `detail` count.
            content: Width and height in px of a picture, at least its working size.
            style: As well.
        """
        if options.method == Method.GATYS.value:
            sizes = (math.prod(scaled_size(*picture, size=options.size)) for picture in (content, style))
            needed = optimisation_bytes(COSTS[self.kind, self.network], *sizes)
            if options.init != "fast" or self.kind is not DeviceKind.CPU:
                return needed
            return max(needed, self._fast_bytes(options, content))
        return self._fast_bytes(options, content) if self.kind is DeviceKind.CPU else None

    def _fast_bytes(self, options: StyleOptions, content: Size) -> int:
        is_heavy = self.weights == _HEAVY_MODEL and Method.GATYS not in self.methods
        seen = seen_sizes(*content, size=options.size, detail=options.detail)
        return fast_bytes(seen, FAST_BYTES_PER_PIXEL_HEAVY if is_heavy else FAST_BYTES_PER_PIXEL)


def kind_of(device: str) -> DeviceKind | None:
    """Return the kind of a device that a node names so; None for one that nothing is known of."""
    if device == _CPU_LABEL:
        return DeviceKind.CPU
    return DeviceKind.GPU if device.startswith(_GPU_PREFIX) else None


def device_model(device: str | None) -> str:
    """Return what devices are called that are alike: `cpu`, `NVIDIA H100` of `cuda:0 (NVIDIA H100)`.

    A device of no known form is `unknown`: names that a node makes up must not be many.
    """
    kind = None if device is None else kind_of(device)
    if device is None or kind is None:
        return _UNKNOWN
    name = device.partition("(")[2].rstrip(")").strip()
    return kind.value if kind is DeviceKind.CPU else name or kind.value


def optimisation_bytes(costs: Costs, content_px: int, style_px: int) -> int:
    """Return what an optimisation of so many pixels takes at its peak, beside its process."""
    return max(costs.step * content_px, costs.style * style_px + costs.held * content_px)


def fast_bytes(seen: Seen, bytes_per_pixel: int) -> int:
    """Return about what a fast pass at these sizes takes, with so many bytes for a pixel that is seen."""
    network_px, result_px = math.prod(seen.network), math.prod(seen.result)
    enlarging = 0 if seen.network == seen.result else result_px * _FAST_RESULT_BYTES
    return _FAST_BASE_BYTES + network_px * bytes_per_pixel + enlarging


def surely_exceeds(needed_bytes: int, available_bytes: int) -> bool:
    """Whether so much is needed that it would not fit if it were `TOLERANCE` less than reckoned."""
    return needed_bytes * (1 - TOLERANCE) > available_bytes


def largest_side(fits: Callable[[int], bool], *, least: int = _SIDES_PX[0]) -> int | None:
    """Return the largest side in px, from `least` on and at most 4096, that fits; None where none does."""
    low, high = max(least, _SIDES_PX[0]), _SIDES_PX[1]
    if low > high or not fits(low):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def smallest_size(pictures: Collection[Size]) -> int:
    """Return the smallest `size` in px at which none of the pictures, (width, height), is too narrow."""
    narrowest = max(max(picture) / min(picture) for picture in pictures)
    return max(_SIDES_PX[0], math.ceil(MIN_WORKING_SIDE_PX * narrowest))


def gigabytes(count: int) -> str:
    """Return an amount of memory in words: '3.7 GB', '640 MB'."""
    return f"{max(count, 0) / 1e9:.1f} GB" if count >= 1e9 else f"{max(count, 0) / 1e6:.0f} MB"
