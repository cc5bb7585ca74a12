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
_GPU_LINE = re.compile(r"^GPU (\d+): (.+?)(?: \(UUID: (.*)\))?$")
#: An instance of the GPU in the line before: one that is divided (MIG).
_INSTANCE_LINE = re.compile(r"^MIG (\S+)\s+Device\s+(\d+): \(UUID: (.+)\)$")
_NUMBER, _PLACE = re.compile(r"[0-9]+"), re.compile(r"[0-9]+:[0-9]+")
_ID = re.compile(r"(GPU|MIG)-[0-9A-Za-z/-]+")
#: Its exit code when it finds no such object.
_NOTHING_FOUND = 6
_QUERY_SECONDS = 20
_MEASURE_SECONDS = 5.0


@dataclass(frozen=True)
class Device:
    """One device: the CPU, an NVIDIA GPU, or an instance of a GPU that is divided (MIG).

    `number` is that of the GPU, as the driver's tool counts them; None for the CPU.
    """

    number: int | None
    name: str
    #: How many nodes of one worker share it, this one included.
    nodes: int = 1
    #: Which instance of the GPU it is; None for a whole one.
    instance: int | None = None
    #: The driver's id of the GPU or of the instance; empty where it tells none.
    uuid: str = ""
    #: Of an instance, the id of its GPU.
    gpu_uuid: str = ""

    @property
    def place(self) -> str:
        """How `--gpus` names it: ``0``, or ``0:1`` for an instance; empty for the CPU."""
        if self.number is None:
            return ""
        return str(self.number) if self.instance is None else f"{self.number}:{self.instance}"

    @property
    def label(self) -> str:
        """How jobs and logs name it: ``cpu``, ``cuda:0 (NVIDIA H100)``, or ``cuda:0:1 (… MIG 1g.10gb)``."""
        return self.name if self.number is None else f"cuda:{self.place} ({self.name})"

    @property
    def word(self) -> str:
        """How the names of nodes have it: ``cpu``, ``gpu0``, or ``gpu0-mig1``."""
        if self.number is None:
            return "cpu"
        return f"gpu{self.number}" + ("" if self.instance is None else f"-mig{self.instance}")

    @property
    def visible(self) -> str:
        """What CUDA_VISIBLE_DEVICES must be for a process that is to use this device alone."""
        if self.number is None:
            return ""
        return str(self.number) if self.instance is None else self.uuid


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
    return read_listing(answer.returncode, answer.stdout, answer.stderr, has_card=has_card)


def read_listing(code: int, output: str, errors: str, *, has_card: bool) -> GpuListing:
    """Return what ``nvidia-smi -L`` tells with this exit code on its two outputs."""
    said = " ".join((output + errors).split()) or "nothing"
    is_none = code == _NOTHING_FOUND and said.startswith("No devices")
    if code != 0 and not is_none:
        return GpuListing(fault=f"exit code {code}: {said[:300]}", has_card=has_card)
    return GpuListing(parse_gpus(output), has_card=has_card)


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

    It has numbers or beginnings of ids. The number of a GPU that is divided leaves all of its instances.
    """
    if visible is None:
        return gpus
    left: list[Device] = []
    for word in (word.strip() for word in visible.split(",")):
        found = [] if _PLACE.fullmatch(word) else named_devices(word, gpus)
        if not found:
            break
        left += [device for device in found if device not in left]
    return left


def named_devices(word: str, devices: Sequence[Device]) -> list[Device]:
    """Return the devices that a word names: a number, ``GPU:INSTANCE``, or the beginning of an id.

    One that names a divided GPU names all of its instances.
    """
    if _NUMBER.fullmatch(word):
        return [device for device in devices if str(device.number) == word]
    if _PLACE.fullmatch(word):
        return [device for device in devices if device.place == word]
    if not _ID.fullmatch(word):
        return []
    return [device for device in devices if device.uuid.startswith(word) or device.gpu_uuid.startswith(word)]


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
    """Return the devices in the lines of ``nvidia-smi -L``; of a GPU that is divided, its instances."""
    devices: list[Device] = []
    gpu: Device | None = None
    for line in map(str.strip, listing.splitlines()):
        if match := _GPU_LINE.match(line):
            gpu = Device(int(match[1]), match[2], uuid=match[3] or "")
            devices.append(gpu)
        elif gpu is not None and (match := _INSTANCE_LINE.match(line)):
            if devices[-1] == gpu:
                del devices[-1]  # it cannot be used as a whole
            instance, name = int(match[2]), f"{gpu.name} MIG {match[1]}"
            devices.append(Device(gpu.number, name, instance=instance, uuid=match[3], gpu_uuid=gpu.uuid))
    return devices


def choose_devices(wanted: str, gpus: Sequence[Device], *, why_not: str | None = None) -> list[Device]:
    """Return the devices for ``auto`` (all GPUs, else the CPU), ``all``, ``none``, or those that are named.

    Named are numbers like ``0,2``, instances of divided GPUs like ``0:1``, and ids or beginnings of them.
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
    chosen: list[Device] = []
    missing = []
    for word in (word.strip() for word in wanted.split(",")):
        if not any(form.fullmatch(word) for form in (_NUMBER, _PLACE, _ID)):
            raise InvalidSettings(
                f"--gpus is {wanted!r}; allowed are auto, all, none, or numbers such as 0,2, instances such "
                "as 0:1, and ids (GPU-… or MIG-…)"
            )
        found = named_devices(word, gpus)
        if len({device.uuid if word.startswith("MIG-") else device.number for device in found}) > 1:
            places = ", ".join(device.place for device in found)
            raise InvalidSettings(f"--gpus is {wanted!r}; '{word}' begins the ids of several ({places})")
        missing += [] if found else [word]
        chosen += found
    if missing:
        found_places = ", ".join(gpu.place for gpu in gpus) or "none"
        raise InvalidSettings(
            f"--gpus is {wanted!r}; this machine has no GPU {', '.join(missing)} "
            f"(found: {found_places}){f'; {why_not}' if why_not else ''}"
        )
    if len(set(chosen)) < len(chosen):
        raise InvalidSettings(
            f"--gpus is {wanted!r}; each GPU is named once, and --nodes-per-gpu lets nodes share it"
        )
    return chosen


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
