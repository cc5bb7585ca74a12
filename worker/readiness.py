"""The readiness of a machine: what it would serve, and what is missing. All is decided from what was seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from shared.errors import AtelierError
from shared.memory import DeviceKind, Seat
from shared.options import Method, StyleOptions
from shared.settings import Settings
from shared.storage.store import Room, is_too_full
from worker.devices import Device, UsableGpus
from worker.engine.weights.source import ImagenetSource, WeightsChoice
from worker.memory import Memory

_GIGABYTE = 1e9
#: Of the file with the ImageNet weights, and as much again while it is put in place.
_DOWNLOAD_BYTES = 200_000_000
#: Clocks of machines with NTP differ by milliseconds; leases and ages by these seconds are told wrong.
_CLOCK_NOTE_SECONDS, _CLOCK_LIMIT_SECONDS = 2.0, 30.0
_INSTALL_FAST = "install requirements/fast.txt, or set ATELIER_FAST_MODEL; in a checkout: make setup"
_INSTALL = "install requirements/worker.txt or requirements/gpu.txt; in a checkout: make setup"


class Level(StrEnum):
    """How it is with a part."""

    OK = "ok"
    #: It works, though not as one might wish.
    NOTE = "note"
    #: Without it no job can be carried out.
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """How it is with one part, in plain words, and what to do about it."""

    part: str
    level: Level
    said: str
    todo: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the finding as one entry of the document."""
        return asdict(self)


#: The parts that one method alone needs.
_PARTS = {
    Method.GATYS: frozenset({"tensorflow", "driver", "cuda", "weights"}),
    Method.FAST: frozenset({"fast"}),
}


def served_methods(findings: Sequence[Finding]) -> list[Method]:
    """Return the methods whose packages are there, and of whose own parts nothing is missing."""
    levels = {finding.part: finding.level for finding in findings}
    found = {Method.GATYS: levels.get("tensorflow"), Method.FAST: levels.get("fast")}
    missing = {part for part, level in levels.items() if level is Level.MISSING}
    return [method for method, level in found.items() if level is Level.OK and not _PARTS[method] & missing]


def could_work(findings: Sequence[Finding]) -> bool:
    """Whether nothing is missing."""
    return all(finding.level is not Level.MISSING for finding in findings)


def summary(
    findings: Sequence[Finding], devices: Sequence[Device], weights: Sequence[str], methods: Sequence[Method]
) -> str:
    """Return what the machine would serve, in one sentence."""
    missing = [finding.part for finding in findings if finding.level is Level.MISSING]
    if missing:
        return f"This machine cannot serve jobs; see to: {', '.join(missing)}."
    where = ", ".join(
        device.label if device.nodes == 1 else f"{device.label} with {device.nodes} nodes"
        for device in devices
    )
    what = " and ".join(f"'{method.value}'" for method in methods)
    names = " and ".join(f"'{name}'" for name in weights)
    return f"This machine would serve jobs of {what} on {where}, with the weights {names}."


def judge_method(method: Method, why_not: str | None, *, is_needed: bool) -> Finding:
    """Judge whether the packages of a method are there; it is only noted if nobody needs that method here."""
    part, install = ("fast", _INSTALL_FAST) if method is Method.FAST else ("tensorflow", _INSTALL)
    if why_not is None:
        return Finding(part, Level.OK, f"what the method '{method.value}' runs on is installed")
    level = Level.MISSING if is_needed else Level.NOTE
    return Finding(part, level, f"the method '{method.value}' is not served: {why_not}", install)


def judge_driver(usable: UsableGpus, wanted: str, refusal: str | None) -> Finding:
    """Judge the GPUs; `wanted` is what --gpus says, `refusal` why that cannot be."""
    if refusal is not None:
        return Finding("driver", Level.MISSING, refusal, usable.why_not or "")
    if wanted == "none":
        return Finding("driver", Level.OK, "no GPU is wanted (--gpus none)")
    if usable.why_not is not None:
        return Finding("driver", Level.NOTE, "no GPU can be used, so jobs run on the CPU", usable.why_not)
    if not usable.gpus and usable.hidden is not None:
        todo = "unset CUDA_VISIBLE_DEVICES to use it, or say --gpus none"
        return Finding("driver", Level.NOTE, f"{usable.hidden}, so jobs run on the CPU", todo)
    if not usable.gpus:
        return Finding("driver", Level.OK, "there is no NVIDIA GPU; jobs run on the CPU")
    names = ", ".join(gpu.label for gpu in usable.gpus)
    return Finding("driver", Level.OK, f"the NVIDIA driver lists {names}")


@dataclass(frozen=True)
class TensorFlowFacts:
    """What a process of its own saw when it loaded TensorFlow; `fault` is why it could not."""

    version: str = ""
    cuda_version: str | None = None
    gpus: int = 0
    fault: str | None = None
    #: Why it sees no GPU, as far as native code has said so.
    messages: str = ""


#: What TensorFlow's native code says of a library, and of a driver, on its standard error.
_NOT_LOADED = re.compile(r"Could not load dynamic library '([^']+)'; dlerror: ([^;\n]*)")
_DRIVER_SAID = re.compile(r"\] (failed call to cuInit: .*|.*GPU will not be used\.)$", re.MULTILINE)


def read_messages(said: str) -> str:
    """Return why TensorFlow sees no GPU, from its standard error while it was loaded; empty if unsaid."""
    missing = dict(_NOT_LOADED.findall(said))
    if missing:
        return "; ".join(_why_not_loaded(name, why) for name, why in missing.items())
    driver = _DRIVER_SAID.search(said)
    return driver[1].strip()[:300] if driver else ""


def _why_not_loaded(name: str, why: str) -> str:
    if why.startswith(f"{name}: cannot open shared object file"):
        return f"there is no {name}"
    return f"{name} cannot be loaded ({why.strip()})"


def seen_together(devices: Sequence[Device]) -> list[Device]:
    """Return the GPUs that one process can see: all that are whole, else one instance of a divided one."""
    gpus = [device for device in devices if device.number is not None]
    return [gpu for gpu in gpus if gpu.instance is None] or gpus[:1]


def judge_cuda(facts: TensorFlowFacts, devices: Sequence[Device]) -> Finding:
    """Judge TensorFlow and the CUDA libraries for the devices that would be served."""
    if facts.fault is not None:
        return Finding("cuda", Level.MISSING, f"TensorFlow cannot be loaded: {facts.fault}", _INSTALL)
    needed = len(seen_together(devices))
    if not needed:
        return Finding("cuda", Level.OK, f"TensorFlow {facts.version} loads; CUDA is not needed")
    if facts.gpus >= needed:
        return Finding(
            "cuda",
            Level.OK,
            f"TensorFlow {facts.version} with CUDA {facts.cuda_version} sees {facts.gpus} of {needed} GPUs",
        )
    why = f": {facts.messages}" if facts.messages else ""
    return Finding(
        "cuda",
        Level.MISSING,
        f"TensorFlow {facts.version} sees {facts.gpus} of {needed} GPUs{why}",
        "the CUDA libraries are not all there: make a fresh environment from requirements/gpu.txt, or work "
        "on the CPU with --gpus none",
    )


def judge_weights(
    setting: str,
    source: ImagenetSource,
    *,
    found: WeightsChoice | None,
    error: AtelierError | None = None,
    download_fault: str | None = None,
    cache_room: Room | None = None,
) -> Finding:
    """Judge the weights.

    Args:
        setting: ``ATELIER_VGG19_WEIGHTS``.
        source: Where the ImageNet weights come from.
        found: The weights that are there; None while they would have to be downloaded.
        error: Why the file that is set, or that is there, cannot be used.
        download_fault: Why the address cannot be reached; None where it answers, or was not asked.
        cache_room: The room where a download would lie.
    """
    bring = f"download {source.url} on any machine, and put it there: atelier-worker weights import FILE"
    if error is not None:
        return Finding("weights", Level.MISSING, error.detail, error.suggestion or "")
    if found is not None:
        where = f" at {found.path}" if found.path else ""
        return Finding("weights", Level.OK, f"{found.kind}{where}")
    if download_fault is not None and setting == "auto":
        return Finding(
            "weights", Level.NOTE, f"untrained, since imagenet cannot be had ({download_fault})", bring
        )
    if download_fault is not None:
        return Finding(
            "weights",
            Level.MISSING,
            f"the ImageNet weights are not at {source.path}, and cannot be downloaded: {download_fault}",
            bring,
        )
    if cache_room is not None and cache_room.free_bytes < _DOWNLOAD_BYTES:
        return Finding(
            "weights",
            Level.MISSING,
            f"there are {cache_room.free_bytes} bytes of room for a download to {source.path}; it needs "
            f"{_DOWNLOAD_BYTES}",
            "make room, or set ATELIER_CACHE_DIR",
        )
    return Finding(
        "weights",
        Level.OK,
        f"imagenet is not there yet; the first start downloads it to {source.path}",
    )


def judge_redis(error: AtelierError | None, *, is_tls: bool) -> Finding:
    """Judge Redis; `error` is why it does not answer or refuses to write."""
    if error is not None:
        return Finding("redis", Level.MISSING, error.detail, error.suggestion or "")
    return Finding("redis", Level.OK, "it answers" + (", and its certificate is right" if is_tls else ""))


def judge_clock(ahead_seconds: float | None) -> Finding:
    """Judge this machine's clock by that of Redis; None where that could not be asked."""
    if ahead_seconds is None:
        return Finding("clock", Level.NOTE, "it cannot be compared while Redis does not answer")
    amount = f"{abs(ahead_seconds):.1f} s {'ahead of' if ahead_seconds > 0 else 'behind'} Redis' clock"
    if abs(ahead_seconds) < _CLOCK_NOTE_SECONDS:
        return Finding("clock", Level.OK, f"it is {amount}")
    level = Level.NOTE if abs(ahead_seconds) < _CLOCK_LIMIT_SECONDS else Level.MISSING
    return Finding("clock", level, f"it is {amount}", "let NTP set the clocks of all machines")


def judge_storage(root: str, error: AtelierError | None, *, was_written: bool) -> Finding:
    """Judge the storage; it is written to only when its identity is seen."""
    if error is not None:
        return Finding("storage", Level.MISSING, error.detail, error.suggestion or "")
    said = "can be read and written" if was_written else "can be read; it was not written to"
    return Finding("storage", Level.OK, f"{root} {said}")


def judge_identity(installation_id: str | None, error: AtelierError | None) -> Finding:
    """Judge whose storage it is; without an id it is one of the first release."""
    if error is not None:
        return Finding("identity", Level.MISSING, error.detail, error.suggestion or "")
    whose = f"the installation {installation_id}" if installation_id else "a service of the first release"
    return Finding("identity", Level.OK, f"the storage is that of {whose}")


def judge_disk(room: Room | None, settings: Settings) -> Finding:
    """Judge the room that the storage has left."""
    if room is None:
        return Finding("disk", Level.NOTE, "the room of the storage cannot be measured")
    said = f"the storage has {room.free_bytes} of {room.total_bytes} bytes left"
    if is_too_full(room, settings):
        return Finding(
            "disk",
            Level.MISSING,
            f"{said}; jobs are begun while at least {settings.min_free_bytes} are",
            "make room, with 'atelier prune' on the web host for instance, or set ATELIER_MIN_FREE_BYTES",
        )
    return Finding("disk", Level.OK, said)


def judge_memory(memories: Sequence[tuple[Device, Memory]]) -> Finding:
    """Judge the memory of the devices that would be served."""
    said, wanting = [], []
    for device, memory in memories:
        if memory.total_bytes is None:
            said.append(f"{device.label}: not known")
            continue
        free = memory.total_bytes - (memory.used_bytes or 0)
        needed = device.nodes * _ordinary_bytes(device)
        wanting += [needed] if free < needed else []
        said.append(
            f"{device.label}: {free / _GIGABYTE:.1f} of {memory.total_bytes / _GIGABYTE:.1f} GB are free"
        )
    if wanting:
        todo = f"jobs of ordinary size need about {max(wanting) / _GIGABYTE:.1f} GB: end other programs"
        return Finding("memory", Level.NOTE, "; ".join(said), todo)
    return Finding("memory", Level.OK, "; ".join(said))


def _ordinary_bytes(device: Device) -> int:
    """Return what a process takes with a job of the usual size, at 4:3, on a device."""
    options = StyleOptions()
    picture = options.size, options.size * 3 // 4
    seat = Seat(DeviceKind.CPU if device.number is None else DeviceKind.GPU, "imagenet")
    return seat.process_bytes + (seat.job_bytes(options, picture, picture) or 0)


def nearest_folder(path: Path) -> Path:
    """Return a path, or the nearest folder above it that is there: where a file of it would lie."""
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path
