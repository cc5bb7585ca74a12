"""``atelier-worker run``: the Celery node, or one or several for each GPU."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING

import click

from shared.clock import to_rfc3339
from shared.errors import InvalidSettings, RedisTooOld, WeightsError
from shared.logs import configure_logs, get_logger
from shared.options import Method
from shared.processes import keep_private, own_python
from shared.settings import Settings, load_settings
from shared.terminal import GivenText
from shared.texts import is_printable

if TYPE_CHECKING:
    from shared.redis.names import Names
    from shared.redis.workers import WorkerBeat
    from worker.devices import Device

WRONG_SETTINGS, NO_WEIGHTS = 2, 3
#: It stands in addresses of the API and in reports.
_NAME = re.compile(r"[^/]{1,100}")
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
    help="auto (all GPUs, else the CPU), all, none, or numbers such as 0,2. Nodes are started for each.",
)
@click.option(
    "--nodes-per-gpu",
    default="auto",
    show_default=True,
    metavar="auto|N",
    help="auto (1 to 3, by the GPU's memory and the machine's processors), or how many nodes share each GPU. "
    "The CPU has one in any case.",
)
@click.option(
    "--methods",
    default="auto",
    show_default=True,
    help="auto (all that this machine can serve), or gatys, fast, or gatys,fast. fast alone needs no GPU and "
    "no TensorFlow.",
)
def run(name: str | None, gpus: str, nodes_per_gpu: str, methods: str, fleet_pid: int | None) -> None:
    """Take jobs from the queue and carry them out, until SIGTERM, Ctrl-C or 'atelier drain'.

    A stopped worker saves a checkpoint and hands its job back; another one goes on from there.

    Settings are ATELIER_… variables; a worker needs ATELIER_REDIS_URL, ATELIER_STORAGE_URL and
    ATELIER_VGG19_WEIGHTS. Exit codes: 0 stopped as asked, 2 wrong usage or settings, 3 no usable weights, 4
    another worker has this name; with any other it has failed, and is to be started again.
    """
    if name and not (_NAME.fullmatch(name) and is_printable(name)):
        raise click.UsageError("--name has at most 100 characters, no control character, and no '/'")
    from worker.sharing import read_nodes  # here: --help needs none

    try:
        settings = load_settings(os.environ)
        keep_private()
        configure_logs(settings)
        nodes = read_nodes(nodes_per_gpu)
        sys.exit(_run(settings, name or socket.gethostname(), gpus, nodes, methods, fleet_pid))
    except (InvalidSettings, RedisTooOld) as error:
        advice = f". {error.suggestion}" if error.suggestion else ""
        raise click.UsageError(f"{error.detail}{advice}") from None
    except WeightsError as error:
        click.echo(f"{error.code}: {error.detail}", err=True)
        if error.suggestion:
            click.echo(error.suggestion, err=True)
        sys.exit(NO_WEIGHTS)


def _run(
    settings: Settings,
    name: str,
    gpus: str,
    asked_nodes: int | None,
    asked_methods: str,
    fleet_pid: int | None,
) -> int:
    from shared.redis.connection import require_fit_redis  # here: --help needs none
    from worker.arrival import first_beat
    from worker.devices import CPU
    from worker.engine.fast.source import model_name
    from worker.fleet import run_fleet
    from worker.node import Node
    from worker.numerics import read_numerics
    from worker.serving import choose_methods, prepare_engine
    from worker.sharing import PlannedNode, plan_nodes, share

    methods = choose_methods(asked_methods, settings)
    devices = _devices(gpus) if Method.GATYS in methods.served else [CPU]
    if fleet_pid is None:
        nodes = plan_nodes(name, share(devices, asked_nodes))
    else:
        nodes = [PlannedNode(name, replace(devices[0], nodes=asked_nodes or 1))]
    if len(nodes) > 1:
        return run_fleet(
            {
                node.name: own_python("atelier-worker", *node.words(asked_methods, fleet_pid=os.getpid()))
                for node in nodes
            },
            final_codes=frozenset({WRONG_SETTINGS, NO_WEIGHTS}),
        )
    device = nodes[0].device
    require_fit_redis(settings)
    prepared = prepare_engine(methods.served, settings, device)
    numerics = read_numerics(methods.served, device, fast_model=model_name(settings))
    names = await_names(
        settings, first_beat(name, device, prepared.weights, methods.served, numerics, methods.not_served)
    )
    if names is None:
        return 0
    node = Node(
        settings,
        names,
        name=name,
        device=device,
        weights=prepared.weights,
        methods=methods.served,
        load_engine=prepared.load,
        numerics=numerics,
        not_served=methods.not_served,
        fleet_pid=fleet_pid,
    )
    code = node.run()
    if node.rival is not None:
        since = to_rfc3339(node.rival.started_at)
        click.echo(
            f"A worker named '{name}' is running already, on {node.rival.host or 'some host'} since {since}. "
            "Names must be unique: give this one another with --name.",
            err=True,
        )
    return code


def _devices(gpus: str) -> list[Device]:
    from worker.devices import choose_devices, decide_gpus, has_cuda, list_gpus  # here: --help needs none

    usable = decide_gpus(list_gpus(), visible=os.environ.get("CUDA_VISIBLE_DEVICES"), has_cuda=has_cuda())
    if usable.why_not and gpus != "none":
        _log.warning("gpu_not_used", detail=usable.why_not)
    return choose_devices(gpus, usable.gpus, why_not=usable.why_not or usable.hidden)


def await_names(settings: Settings, beat: WorkerBeat) -> Names | None:
    """Return the names of the installation; None when SIGTERM or Ctrl-C comes before its storage is seen."""
    from worker.arrival import wait_for_names

    stopping = Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda *_: stopping.set()) for number in numbers}
    try:
        return wait_for_names(settings, beat, stopping=stopping)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
