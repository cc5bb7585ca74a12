"""Several nodes on one GPU: how many, what each is called, and the words that start it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shared.errors import InvalidSettings
from shared.memory import COSTS, DeviceKind, Network, gigabytes, optimisation_bytes
from worker.devices import Device
from worker.engine.machine import usable_processors
from worker.memory import read_memory

#: With so many the GPU is as good as busy; more of them only take memory.
_MOST_BY_ITSELF = 3
_MOST_ASKED = 8
#: One enqueues the steps, the other one packs, encodes and writes.
_PROCESSORS_EACH = 2
#: What each node is to have room for while the others work as well: a large job, width and height in px.
_ROOM_FOR_PX = (2048, 1536)


@dataclass(frozen=True)
class PlannedNode:
    """One node that is to be started."""

    name: str
    device: Device

    def words(self, asked_methods: str, *, fleet_pid: int) -> list[str]:
        """Return the words after ``atelier-worker`` that start it as a part of a fleet."""
        return [
            *("run", "--name", self.name, "--gpus", self.device.visible),
            *("--nodes-per-gpu", str(self.device.nodes), "--methods", asked_methods),
            *("--fleet-pid", str(fleet_pid)),
        ]


def read_nodes(asked: str) -> int | None:
    """Return what `--nodes-per-gpu` says; None for `auto`.

    Raises:
        InvalidSettings: when it is neither `auto` nor a number that is allowed.
    """
    if asked == "auto":
        return None
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) <= 3 else 0
    if not 1 <= number <= _MOST_ASKED:
        raise InvalidSettings(f"--nodes-per-gpu is '{asked}'; allowed are auto and 1 to {_MOST_ASKED}")
    return number


def node_bytes() -> int:
    """Return the memory that `auto` reckons with for each node on a GPU: its process, with a large job."""
    width, height = _ROOM_FOR_PX
    costs = [COSTS[DeviceKind.GPU, network] for network in Network]
    return max(cost.process + optimisation_bytes(cost, width * height, width * height) for cost in costs)


def decide_nodes(memory_bytes: int | None, *, gpus: int, processors: int) -> int:
    """Decide how many nodes share a GPU where nobody says it: 1 to 3.

    Args:
        memory_bytes: All that the GPU has; None where its driver does not tell.
        gpus: How many GPUs are served here.
        processors: How many processors the nodes of all of them may keep busy.
    """
    if memory_bytes is None:
        return 1
    by_processors = processors // (_PROCESSORS_EACH * gpus)
    return max(1, min(_MOST_BY_ITSELF, memory_bytes // node_bytes(), by_processors))


def share_devices(
    devices: Sequence[Device],
    asked: int | None,
    memory_bytes: Mapping[Device, int | None],
    *,
    processors: int,
) -> list[Device]:
    """Return the devices, each with the number of nodes that are to share it.

    A CPU has one whatever is asked for: a step keeps all of its cores busy.

    Args:
        devices: Those that are served.
        asked: How many nodes each GPU is to have; None decides.
        memory_bytes: What each GPU has in all, where that is known.
        processors: How many processors this process may keep busy.

    Raises:
        InvalidSettings: when more are asked for than a GPU has memory for, before any of them has a job.
    """
    gpus = sum(device.number is not None for device in devices)
    shared = []
    for device in devices:
        if device.number is None:
            shared.append(device)
            continue
        there = memory_bytes.get(device)
        nodes = asked or decide_nodes(there, gpus=gpus, processors=processors)
        taken = nodes * min(COSTS[DeviceKind.GPU, network].process for network in Network)
        if nodes > 1 and there is not None and taken >= there:
            raise InvalidSettings(
                f"--nodes-per-gpu is {nodes}, and their processes alone take about {gigabytes(taken)}; "
                f"{device.label} has {gigabytes(there)}"
            )
        shared.append(replace(device, nodes=nodes))
    return shared


def share(devices: Sequence[Device], asked: int | None) -> list[Device]:
    """Return the devices as `share_devices` decides for this machine; the driver's tool may take seconds.

    Raises:
        InvalidSettings: when more nodes are asked for than a GPU has memory for.
    """
    memory_bytes = {
        device: read_memory(device).total_bytes for device in devices if device.number is not None
    }
    return share_devices(devices, asked, memory_bytes, processors=usable_processors())


def plan_nodes(name: str, devices: Sequence[Device]) -> list[PlannedNode]:
    """Return the nodes of one worker, with names that differ: the worker's own where there is only one.

    Else ``NAME-gpu0``, or where several share a GPU ``NAME-gpu0-1``, ``NAME-gpu0-2`` and so on.
    """
    if len(devices) == 1 and devices[0].nodes == 1:
        return [PlannedNode(name, devices[0])]
    return [
        PlannedNode(f"{name}-gpu{device.number}" + (f"-{number}" if device.nodes > 1 else ""), device)
        for device in devices
        for number in range(1, device.nodes + 1)
    ]
