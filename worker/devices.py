"""Devices of this machine, and the room of its storage.

Asked for without TensorFlow, which must not be loaded before a fork.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread
from time import monotonic

from shared.errors import InvalidSettings, ServiceError
from shared.storage.store import Room

DRIVER_TOOL = "nvidia-smi"
_PCI_DEVICES = Path("/sys/bus/pci/devices")
_NVIDIA_VENDOR, _DISPLAY_CLASS = "0x10de", "0x03"
_GPU_LINE = re.compile(r"^GPU (\d+): (.+?)(?: \(UUID: .*\))?$")
_QUERY_SECONDS = 20
_MEASURE_SECONDS = 5.0


@dataclass(frozen=True)
class Device:
    """One device: the number that CUDA knows it by, or nothing for the CPU, and its name."""

    number: int | None
    name: str
    #: How many nodes of one worker share it, this one included.
    nodes: int = 1

    @property
    def label(self) -> str:
        """How jobs and logs name it: ``cpu``, or ``cuda:0 (NVIDIA H100)``."""
        return self.name if self.number is None else f"cuda:{self.number} ({self.name})"

    @property
    def visible(self) -> str:
        """What CUDA_VISIBLE_DEVICES must be for a process that is to use this device alone."""
        return "" if self.number is None else str(self.number)


CPU = Device(None, "cpu")


@dataclass(frozen=True)
class GpuListing:
    """What can be seen of NVIDIA GPUs without CUDA; `fault` is why the driver's tool failed, if it did."""

    gpus: Sequence[Device] = ()
    has_tool: bool = True
    fault: str | None = None
    #: Whether the bus of the machine has such a card.
    has_card: bool = False


@dataclass(frozen=True)
class UsableGpus:
    """The GPUs that nodes may use; `why_not` is why others that are here cannot be used, and what to do.

    `hidden` says that there are others which a setting hides, as somebody may have wished.
    """

    gpus: Sequence[Device] = ()
    why_not: str | None = None
    hidden: str | None = None


def list_gpus() -> GpuListing:
    """Ask the NVIDIA driver's tool which GPUs there are; it may take seconds."""
    has_card = _has_card(_PCI_DEVICES)
    program = shutil.which(DRIVER_TOOL)
    if program is None:
        return GpuListing(has_tool=False, has_card=has_card)
    try:
        answer = subprocess.run(  # noqa: S603 - the driver's own tool, found on PATH
            [program, "-L"], capture_output=True, text=True, timeout=_QUERY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return GpuListing(fault=f"it did not answer within {_QUERY_SECONDS} s", has_card=has_card)
    except OSError as error:
        return GpuListing(fault=str(error), has_card=has_card)
    if answer.returncode != 0:
        said = " ".join((answer.stdout + answer.stderr).split()) or "nothing"
        return GpuListing(fault=f"exit code {answer.returncode}: {said[:300]}", has_card=has_card)
    return GpuListing(parse_gpus(answer.stdout), has_card=has_card)


def decide_gpus(listing: GpuListing, *, visible: str | None, has_cuda: bool) -> UsableGpus:
    """Decide which GPUs nodes may use.

    Args:
        listing: What the machine has.
        visible: ``CUDA_VISIBLE_DEVICES`` as this process got it; None where it is not set.
        has_cuda: Whether the TensorFlow that is installed can use a GPU at all.
    """
    gpus = visible_gpus(listing.gpus, visible)
    if listing.fault is not None:
        return UsableGpus(why_not=f"the NVIDIA driver does not work ({listing.fault}): mend it first")
    if not listing.gpus and listing.has_card:
        missing = "its driver lists none" if listing.has_tool else "there is no driver for it (nvidia-smi)"
        return UsableGpus(why_not=f"an NVIDIA GPU is in this machine, but {missing}: install the driver")
    if gpus and not has_cuda:
        return UsableGpus(
            why_not="TensorFlow is installed without CUDA (tensorflow-cpu): make a fresh environment from "
            "requirements/gpu.txt; in a checkout 'make up' does so"
        )
    names = ", ".join(gpu.label for gpu in listing.gpus if gpu not in gpus)
    return UsableGpus(gpus, hidden=f"CUDA_VISIBLE_DEVICES ({visible!r}) hides {names}" if names else None)


def visible_gpus(gpus: Sequence[Device], visible: str | None) -> Sequence[Device]:
    """Return the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves, as CUDA reads it: up to the first that is none.

    Numbers are understood; with anything else in it, such as the ids of GPUs, all are left.
    """
    if visible is None:
        return gpus
    words = [word.strip() for word in visible.split(",")]
    if not all(re.fullmatch(r"-?\d+|", word) for word in words):
        return gpus
    known, left = {str(gpu.number): gpu for gpu in gpus}, []
    for word in words:
        if word not in known:
            break
        left.append(known[word])
    return left


def has_cuda() -> bool:
    """Whether the TensorFlow that is installed was built for GPUs; it is not loaded for that."""
    try:
        version("tensorflow-cpu")
    except PackageNotFoundError:
        return True
    return False


def _has_card(devices: Path) -> bool:
    """Whether the bus has a display or compute card of NVIDIA."""
    for vendor in devices.glob("*/vendor"):
        with suppress(OSError):
            is_display = (vendor.parent / "class").read_text().startswith(_DISPLAY_CLASS)
            if is_display and vendor.read_text().strip() == _NVIDIA_VENDOR:
                return True
    return False


def parse_gpus(listing: str) -> list[Device]:
    """Return the GPUs in the lines of ``nvidia-smi -L``."""
    matches = (_GPU_LINE.match(line.strip()) for line in listing.splitlines())
    return [Device(int(match[1]), match[2]) for match in matches if match]


def choose_devices(wanted: str, gpus: Sequence[Device], *, why_not: str | None = None) -> list[Device]:
    """Return the devices for ``auto`` (all GPUs, else the CPU), ``all``, ``none``, or numbers like ``0,2``.

    `why_not` is why GPUs that are here cannot be used.

    Raises:
        InvalidSettings: when a GPU is wanted that is not there, or cannot be used.
    """
    if wanted == "none" or (wanted == "auto" and not gpus):
        return [CPU]
    if wanted in ("auto", "all"):
        if not gpus:
            raise InvalidSettings(f"--gpus is 'all', but {why_not or 'nvidia-smi lists no GPU here'}")
        return list(gpus)
    known = {str(gpu.number): gpu for gpu in gpus}
    numbers = [number.strip() for number in wanted.split(",")]
    missing = [number for number in numbers if number not in known]
    if not all(re.fullmatch("[0-9]+", number) for number in missing):
        raise InvalidSettings(f"--gpus is {wanted!r}; allowed are auto, all, none, or numbers such as 0,2")
    if len(set(numbers)) < len(numbers):
        raise InvalidSettings(f"--gpus is {wanted!r}; each GPU is named once, since it serves one node")
    if missing:
        raise InvalidSettings(
            f"--gpus is {wanted!r}; this machine has no GPU {', '.join(missing)} "
            f"(found: {', '.join(known) or 'none'}){f'; {why_not}' if why_not else ''}"
        )
    return [known[number] for number in numbers]


class RoomMeter:
    """Measures the room of the storage every 5 s, and never waits: a file system that is gone can hang.

    What is measured is None while nothing is known, as on a mount that does not answer, or of a store without
    a bound.
    """

    def __init__(self, measure: Callable[[], Room | None], *, clock: Callable[[], float] = monotonic) -> None:
        self._measure = measure
        self._clock = clock
        self._last: Room | None = None
        self._asked_at = float("-inf")
        self._thread: Thread | None = None

    def read(self) -> Room | None:
        """Return what was measured last; the first answer comes a moment after the first call."""
        if self._thread is not None and self._thread.is_alive():
            if self._clock() - self._asked_at >= 2 * _MEASURE_SECONDS:
                self._last = None
        elif self._clock() - self._asked_at >= _MEASURE_SECONDS:
            self._asked_at = self._clock()
            self._thread = Thread(target=self._ask, name="room", daemon=True)
            self._thread.start()
        return self._last

    def _ask(self) -> None:
        try:
            self._last = self._measure()
        except ServiceError:
            self._last = None
