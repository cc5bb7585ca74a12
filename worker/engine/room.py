"""Whether a device holds an optimisation, and the error that says what was asked for and what there is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tensorflow as tf

from shared.errors import OutOfMemory
from shared.memory import DeviceKind, Seat, Size, gigabytes, largest_side, smallest_size, surely_exceeds
from shared.options import StyleOptions
from worker.engine.machine import available_bytes, own_bytes

#: How TensorFlow begins the line of a long message that names the tensor.
_OOM = "OOM when allocating"


@dataclass(frozen=True)
class Place:
    """The device that an engine computes on; `could_take` asks how much its process could take in all.

    In bytes, None where nobody knows. It may take seconds for a GPU, and is asked there when it is too late.
    """

    kind: DeviceKind
    could_take: Callable[[], int | None]


def _cpu_could_take() -> int | None:
    left = available_bytes()
    return None if left is None else left + own_bytes()


def default_place() -> Place:
    """Return TensorFlow's default device; of a GPU it does not tell what memory there is."""
    if tf.config.list_physical_devices("GPU"):
        return Place(DeviceKind.GPU, lambda: None)
    return Place(DeviceKind.CPU, _cpu_could_take)


@dataclass(frozen=True)
class Demand:
    """What a job asks of the device that it is carried out on; the pictures are (width, height) in px."""

    place: Place
    weights: str
    options: StyleOptions
    content: Size
    style: Size

    def check(self) -> None:
        """Refuse what the machine surely does not hold, before its kernel ends the process over it.

        Only on the CPU: a GPU's allocator fails without harm, and knows better.

        Raises:
            OutOfMemory: naming the largest size that fits.
        """
        if self.place.kind is not DeviceKind.CPU:
            return
        there = self.place.could_take()
        if there is not None and surely_exceeds(self.needed_bytes(self.options.size), there):
            raise self.error(there)

    def error(self, there: int | None, said: str = "") -> OutOfMemory:
        """Return the error: what the job needs, what is there, which size fits, and what TensorFlow said."""
        (width, height), (style_width, style_height) = self.content, self.style
        words = [
            f"at size {self.options.size} a content of {width} × {height} px and a style of {style_width} × "
            f"{style_height} px need about {gigabytes(self.needed_bytes(self.options.size))}, and "
            + (f"this process could have {gigabytes(there)} here" if there is not None else "there is less")
        ]
        if there is not None:
            words.append(self._advice(there))
        return OutOfMemory("; ".join([*words, *([said] if said else [])]))

    def needed_bytes(self, size: int) -> int:
        """Return what the process takes with the job at this size."""
        seat = Seat(self.place.kind, self.weights)
        options = self.options.model_copy(update={"size": size, "init": "content"})
        return seat.process_bytes + (seat.job_bytes(options, self.content, self.style) or 0)

    def _advice(self, there: int) -> str:
        least = smallest_size([self.content, self.style])
        largest = largest_side(lambda size: self.needed_bytes(size) <= there, least=least)
        if largest is None:
            return "not even the smallest size fits: end other programs"
        if largest >= self.options.size:
            return "others had taken part of it"
        return f"the largest size that fits is {largest}"


@contextlib.contextmanager
def memory_errors(demand: Demand) -> Iterator[None]:
    """Turn TensorFlow's error of a full device into `OutOfMemory`."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise demand.error(demand.place.could_take(), _line(str(error.message))) from error


def _line(message: str) -> str:
    """Return the line that names the tensor; the first of a GPU's message names nothing."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return next((line for line in lines if line.startswith(_OOM)), lines[0] if lines else "")
