"""Devices: which GPUs this machine has, found without TensorFlow, which must not be loaded before a fork."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from shared.errors import InvalidSettings

_LINE = re.compile(r"^GPU (\d+): (.+?)(?: \(UUID: .*\))?$")
_QUERY_SECONDS = 20


@dataclass(frozen=True)
class Device:
    """One device: the number that CUDA knows it by, or nothing for the CPU, and its name."""

    number: int | None
    name: str

    @property
    def label(self) -> str:
        """How jobs and logs name it: ``cpu``, or ``cuda:0 (NVIDIA H100)``."""
        return self.name if self.number is None else f"cuda:{self.number} ({self.name})"

    @property
    def visible(self) -> str:
        """What CUDA_VISIBLE_DEVICES must be for a process that is to use this device alone."""
        return "" if self.number is None else str(self.number)


CPU = Device(None, "cpu")


def find_gpus() -> list[Device]:
    """Return the GPUs that the NVIDIA driver's tool lists; none where the tool is not installed."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    answer = subprocess.run(  # noqa: S603 - the driver's own tool, found on PATH
        [program, "-L"], capture_output=True, text=True, timeout=_QUERY_SECONDS, check=False
    )
    return parse_gpus(answer.stdout) if answer.returncode == 0 else []


def parse_gpus(listing: str) -> list[Device]:
    """Return the GPUs in the lines of ``nvidia-smi -L``."""
    matches = (_LINE.match(line.strip()) for line in listing.splitlines())
    return [Device(int(match[1]), match[2]) for match in matches if match]


def choose_devices(wanted: str, gpus: list[Device]) -> list[Device]:
    """Return the devices for ``auto`` (all GPUs, else the CPU), ``all``, ``none``, or numbers like ``0,2``.

    Raises:
        InvalidSettings: when a GPU is wanted that is not there.
    """
    if wanted == "none" or (wanted == "auto" and not gpus):
        return [CPU]
    if wanted in ("auto", "all"):
        if not gpus:
            raise InvalidSettings("--gpus is 'all', but nvidia-smi lists no GPU here")
        return gpus
    known = {str(gpu.number): gpu for gpu in gpus}
    numbers = [number.strip() for number in wanted.split(",")]
    missing = [number for number in numbers if number not in known]
    if missing:
        raise InvalidSettings(
            f"--gpus is {wanted!r}; this machine has no GPU {', '.join(missing)} "
            f"(found: {', '.join(known) or 'none'})"
        )
    return [known[number] for number in numbers]
