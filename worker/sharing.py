"""The nodes of a machine: how many share a device, their threads and names, and the words that start each."""

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
_MOST_THREADS = 1024
#: It stands in addresses of the API and in reports.
MAX_NAME_CHARS = 100
#: One enqueues the steps, the other one packs, encodes and writes.
_PROCESSORS_EACH = 2
#: What each node is to have room for while the others work as well: a large job, width and height in px.
_ROOM_FOR_PX = (2048, 1536)


@dataclass(frozen=True)
class PlannedNode:
    """One node that is to be started; `threads` are its share of the processors, None where it has all."""

    name: str
    device: Device
    threads: int | None = None

    def words(self, asked_methods: str, *, labels: str = "", fleet_pid: int) -> list[str]:
        """Return the words after ``atelier-worker`` that start it as a part of a fleet."""
        return [
            *("run", "--name", self.name, "--gpus", self.device.visible or "none"),
            *("--nodes-per-gpu", str(self.device.nodes), "--methods", asked_methods),
            *(("--threads", str(self.threads)) if self.threads is not None else ()),
            *(("--labels", labels) if labels else ()),
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


def read_threads(asked: str) -> int | None:
    """Return what `--threads` says; None for `auto`.

    Raises:
        InvalidSettings: when it is neither `auto` nor a number that is allowed.
    """
    if asked == "auto":
        return None
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) <= 4 else 0
    if not 1 <= number <= _MOST_THREADS:
        raise InvalidSettings(f"--threads is '{asked}'; allowed are auto and 1 to {_MOST_THREADS}")
    return number


def share_threads(nodes: int, *, processors: int) -> int | None:
    """Return how many threads each of so many nodes computes with; None for one alone, which has them all.

    Without a share the libraries of each would start a thread for every processor of the machine.
    """
    return None if nodes == 1 else max(1, processors // nodes)


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
    divides_cpu: bool = False,
) -> list[Device]:
    """Return the devices, each with the number of nodes that are to share it.

    A CPU that is served for want of a GPU has one whatever is asked for: a step keeps all of its cores busy.

    Args:
        devices: Those that are served.
        asked: How many nodes each device is to have; None decides.
        memory_bytes: What each GPU has in all, where that is known.
        processors: How many processors this process may keep busy.
        divides_cpu: Whether the CPU was asked for, and so has as many nodes as are asked for.

    Raises:
        InvalidSettings: when more are asked for than a GPU has memory for, before any of them has a job.
    """
    gpus = sum(device.number is not None for device in devices)
    shared = []
    for device in devices:
        if device.number is None:
            shared.append(replace(device, nodes=asked) if asked and divides_cpu else device)
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


def share(devices: Sequence[Device], asked: int | None, *, divides_cpu: bool = False) -> list[Device]:
    """Return the devices as `share_devices` decides for this machine; the driver's tool may take seconds.

    Raises:
        InvalidSettings: when more nodes are asked for than a GPU has memory for.
    """
    memory_bytes = {
        device: read_memory(device).total_bytes for device in devices if device.number is not None
    }
    processors = usable_processors()
    return share_devices(devices, asked, memory_bytes, processors=processors, divides_cpu=divides_cpu)


def plan_nodes(
    name: str, devices: Sequence[Device], *, asked_threads: int | None = None, processors: int = 1
) -> list[PlannedNode]:
    """Return the nodes of one worker, with names that differ: the worker's own where there is only one.

    Else ``NAME-gpu0``, or where several share a device ``NAME-gpu0-1``, ``NAME-gpu0-2`` and so on; an
    instance of a divided GPU is ``NAME-gpu0-mig1``, and several nodes on the CPU are ``NAME-cpu-1`` …

    Args:
        name: The worker's.
        devices: Those that it serves, each with the number of its nodes.
        asked_threads: How many threads each node is to compute with; None gives each its share.
        processors: How many processors they share.

    Raises:
        InvalidSettings: when a name becomes too long.
    """
    threads = asked_threads or share_threads(sum(device.nodes for device in devices), processors=processors)
    if len(devices) == 1 and devices[0].nodes == 1:
        return [PlannedNode(name, devices[0], threads)]
    planned = [
        PlannedNode(f"{name}-{device.word}" + (f"-{number}" if device.nodes > 1 else ""), device, threads)
        for device in devices
        for number in range(1, device.nodes + 1)
    ]
    for node in planned:
        if len(node.name) > MAX_NAME_CHARS:
            raise InvalidSettings(
                f"--name has {len(name)} characters, and a node would be called '{node.name}'; names have at "
                f"most {MAX_NAME_CHARS}"
            )
    return planned


def environ_of_node(device: Device, threads: int | None) -> dict[str, str]:
    """Return what TensorFlow and CUDA read of the environment when they are loaded, and so before that.

    `threads` are those that share a sum, and those that carry out operations beside each other; None leaves
    both to TensorFlow, which takes as many as it sees processors.
    """
    told = {
        "CUDA_VISIBLE_DEVICES": device.visible or "-1",
        # The driver's tool numbers GPUs by their place on the bus; CUDA begins with the fastest.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    if threads is not None:
        told |= {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": str(threads)}
    return told
