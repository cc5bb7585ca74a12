"""``atelier-worker run``: the Celery node, or one or several for each GPU."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from shared.errors import GpuNotSeen, InvalidSettings, RedisTooOld, WeightsError
from shared.logs import configure_logs, get_logger
from shared.options import Method
from shared.processes import StopSignal, keep_private, own_python, this_process
from shared.settings import Settings, load_settings
from shared.terminal import GivenText
from shared.texts import is_printable

if TYPE_CHECKING:
    from shared.redis.names import Names
    from shared.redis.workers import WorkerBeat
    from worker.devices import Device
    from worker.serving import ChosenMethods
    from worker.sharing import PlannedNode

FAILED, WRONG_SETTINGS, NO_WEIGHTS = 1, 2, 3
#: It stands in addresses of the API and in reports.
_MAX_NAME_CHARS = 100
_log = get_logger(__name__)


@click.command(short_help="Take jobs from the queue and carry them out.")
@click.option(
    "--name",
    type=GivenText(),
    help="Name of this node; default: the machine's name. Must be unique among workers.",
)
@click.option("--fleet-pid", type=int, hidden=True, help="The process that started this node among others.")
@click.option(
    "--gpus",
    default="auto",
    show_default=True,
    help="auto (all GPUs, else the CPU), all, none, or numbers such as 0,2, instances such as 0:1 (MIG), and "
    "ids (GPU-…, MIG-…). Nodes are started for each.",
)
@click.option(
    "--nodes-per-gpu",
    default="auto",
    show_default=True,
    metavar="auto|N",
    help="auto (1 to 3, by the GPU's memory and the machine's processors), or how many nodes share each GPU. "
    "The CPU has one, unless it is asked for with --gpus none.",
)
@click.option(
    "--methods",
    default="auto",
    show_default=True,
    help="auto (all that this machine can serve), or gatys, fast, or gatys,fast. fast alone needs no GPU and "
    "no TensorFlow.",
)
@click.option(
    "--threads",
    default="auto",
    show_default=True,
    metavar="auto|N",
    help="auto (each of several nodes has its share of the processors), or how many threads each computes "
    "with. On a CPU their number decides the bytes of a picture.",
)
@click.option(
    "--labels",
    default="",
    metavar="KEY=VALUE,…",
    help="What is told of this machine beside what it tells itself, such as zone=a,class=big.",
)
def run(
    name: str | None,
    gpus: str,
    nodes_per_gpu: str,
    methods: str,
    threads: str,
    labels: str,
    fleet_pid: int | None,
) -> None:
    """Take jobs from the queue and carry them out, until SIGTERM, Ctrl-C or 'atelier drain'.

    A stopped worker saves a checkpoint and hands its job back; another one goes on from there. It has
    ATELIER_DRAIN_SECONDS for that; a second SIGTERM or Ctrl-C ends it at once.

    Settings are ATELIER_… variables; a worker needs ATELIER_REDIS_URL, ATELIER_STORAGE_URL and
    ATELIER_VGG19_WEIGHTS. Exit codes: 0 stopped as asked, 2 wrong usage or settings, 3 no usable weights, 4
    another worker has this name; with any other it has failed, and is to be started again.
    """
    if name and not (len(name) <= _MAX_NAME_CHARS and "/" not in name and is_printable(name)):
        raise click.UsageError("--name has at most 100 characters, no control character, and no '/'")
    from shared.redis.workers import read_labels  # here: --help needs none
    from worker.sharing import read_nodes, read_threads

    try:
        settings = load_settings(os.environ)
        keep_private()
        configure_logs(settings)
        read_labels(labels)
        asked = _Asked(
            name=name or socket.gethostname(),
            gpus=gpus,
            nodes=read_nodes(nodes_per_gpu),
            methods=methods,
            threads=read_threads(threads),
            labels=labels,
            fleet_pid=fleet_pid,
        )
        sys.exit(_run(settings, asked))
    except GpuNotSeen as error:
        # The driver may be loaded in a moment, as when the machine has just been started.
        click.echo(f"{error.code}: {error.detail}", err=True)
        sys.exit(FAILED)
    except (InvalidSettings, RedisTooOld) as error:
        advice = f". {error.suggestion}" if error.suggestion else ""
        raise click.UsageError(f"{error.detail}{advice}") from None
    except WeightsError as error:
        click.echo(f"{error.code}: {error.detail}", err=True)
        if error.suggestion:
            click.echo(error.suggestion, err=True)
        sys.exit(NO_WEIGHTS)


@dataclass(frozen=True)
class _Asked:
    """What the words of the command line ask for; None where they leave it to us."""

    name: str
    gpus: str
    nodes: int | None
    methods: str
    threads: int | None
    labels: str
    fleet_pid: int | None


def _run(settings: Settings, asked: _Asked) -> int:
    from worker.devices import CPU  # here: --help needs none
    from worker.engine.machine import usable_processors
    from worker.fleet import run_fleet
    from worker.serving import choose_methods
    from worker.sharing import PlannedNode, plan_nodes, share

    methods = choose_methods(asked.methods, settings)
    devices = _devices(asked.gpus) if Method.GATYS in methods.served else [CPU]
    if asked.fleet_pid is not None:
        device = replace(devices[0], nodes=asked.nodes or 1)
        return _run_node(settings, asked, methods, PlannedNode(asked.name, device, asked.threads))
    nodes = plan_nodes(
        asked.name,
        share(devices, asked.nodes, divides_cpu=asked.gpus == "none"),
        asked_threads=asked.threads,
        processors=usable_processors(),
    )
    if asked.threads is None and "TF_NUM_INTRAOP_THREADS" in os.environ:
        nodes = [replace(node, threads=None) for node in nodes]  # somebody has said it to TensorFlow itself
    if len(nodes) == 1:
        return _run_node(settings, asked, methods, nodes[0])
    _log.info("fleet_started", nodes=[node.name for node in nodes], threads_each=nodes[0].threads)
    commands = {
        node.name: node.words(asked.methods, labels=asked.labels, fleet_pid=os.getpid()) for node in nodes
    }
    return run_fleet(
        {name: own_python("atelier-worker", *words) for name, words in commands.items()},
        final_codes=frozenset({WRONG_SETTINGS, NO_WEIGHTS}),
        drain_seconds=settings.drain_seconds,
    )


def _run_node(settings: Settings, asked: _Asked, methods: ChosenMethods, planned: PlannedNode) -> int:
    from shared.redis.connection import require_fit_redis  # here: --help needs none
    from shared.redis.workers import read_labels
    from worker.arrival import first_beat
    from worker.ending import describe_rival
    from worker.engine.fast.source import model_name
    from worker.fleet import end_without_fleet
    from worker.node import Node
    from worker.numerics import read_numerics
    from worker.serving import prepare_engine
    from worker.sharing import environ_of_node

    device, labels = planned.device, read_labels(asked.labels)
    if asked.fleet_pid is not None:
        end_without_fleet(asked.fleet_pid)
    require_fit_redis(settings)
    prepared = prepare_engine(methods.served, settings, device, threads=planned.threads)
    numerics = read_numerics(
        methods.served,
        device,
        fast_model=model_name(settings),
        environ={**os.environ, **environ_of_node(device, planned.threads)},
    )
    facts = (methods.served, numerics, methods.not_served, labels)
    names = await_names(settings, first_beat(planned.name, device, prepared.weights, *facts))
    if names is None:
        return 0
    node = Node(
        settings,
        names,
        name=planned.name,
        device=device,
        weights=prepared.weights,
        methods=methods.served,
        load_engine=prepared.load,
        numerics=numerics,
        not_served=methods.not_served,
        labels=labels,
        threads=planned.threads,
        is_in_fleet=asked.fleet_pid is not None,
    )
    code = node.run()
    if node.rival is not None:
        said = describe_rival(planned.name, node.rival, host=socket.gethostname(), process=this_process())
        click.echo(said, err=True)
    return code


def _devices(gpus: str) -> list[Device]:
    from worker.devices import choose_devices, decide_gpus, has_cuda, list_gpus  # here: --help needs none

    listing = list_gpus()
    usable = decide_gpus(listing, visible=os.environ.get("CUDA_VISIBLE_DEVICES"), has_cuda=has_cuda())
    if listing.fault is not None and gpus not in ("auto", "none"):
        raise GpuNotSeen(f"--gpus is {gpus!r}, but {usable.why_not}")
    if usable.why_not and gpus != "none":
        _log.warning("gpu_not_used", detail=usable.why_not)
    return choose_devices(gpus, usable.gpus, why_not=usable.why_not or usable.hidden)


def await_names(settings: Settings, beat: WorkerBeat) -> Names | None:
    """Return the names of the installation; None when SIGTERM or Ctrl-C comes before its storage is seen."""
    from worker.arrival import wait_for_names

    with StopSignal() as stopping:
        return wait_for_names(settings, beat, stopping=stopping)
