"""``atelier-worker check``: looks at this machine and at what it reaches, and tells what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from time import time

import click

from shared.errors import (
    AtelierError,
    InvalidSettings,
    RedisUnavailable,
    ServiceError,
    StorageUnavailable,
    WeightsError,
)
from shared.installation import names_at
from shared.options import Method
from shared.processes import own_python
from shared.protocol import new_id
from shared.redis.connection import connect_redis, redis_errors
from shared.redis.names import Names
from shared.settings import Settings, load_settings
from shared.storage import store_of
from shared.storage.store import ArtifactStore, Room, measure_room
from shared.terminal import SettingsRefused, to_json_text
from worker.aside import Aside
from worker.devices import CPU, Device, choose_devices, decide_gpus, has_cuda, list_gpus
from worker.engine.fast.source import model_name
from worker.engine.weights.source import ImagenetSource, check_weights, find_weights
from worker.memory import read_memory
from worker.readiness import (
    Finding,
    TensorFlowFacts,
    could_work,
    judge_clock,
    judge_cuda,
    judge_disk,
    judge_driver,
    judge_identity,
    judge_memory,
    judge_method,
    judge_redis,
    judge_storage,
    judge_weights,
    nearest_folder,
    read_messages,
    seen_together,
    served_methods,
    summary,
)
from worker.serving import read_methods, reasons_not_served
from worker.sharing import read_nodes, share

_WIDTH = 9
_TENSORFLOW_SECONDS = 180
_DOWNLOAD_SECONDS = 10
_REDIS_SECONDS = 5
_STORAGE_SECONDS = 10
#: Asks for the head of an address: in a process of its own, since a look-up of a name cannot be interrupted.
_ASK_ADDRESS = """
import sys, urllib.request
urllib.request.urlopen(urllib.request.Request(sys.argv[1], method="HEAD"), timeout=float(sys.argv[2])).close()
"""


@click.command(short_help="Tell what this machine would serve, and what is missing.")
@click.option(
    "--gpus",
    default="auto",
    show_default=True,
    help="As of 'atelier-worker run': auto, all, none, or numbers such as 0,2, instances such as 0:1, and "
    "ids.",
)
@click.option(
    "--nodes-per-gpu",
    default="auto",
    show_default=True,
    metavar="auto|N",
    help="As of 'atelier-worker run': auto, or how many nodes share each GPU.",
)
@click.option(
    "--methods",
    default="auto",
    show_default=True,
    help="As of 'atelier-worker run': auto, gatys, fast, or gatys,fast.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document to stdout.")
def check(gpus: str, nodes_per_gpu: str, methods: str, *, as_json: bool) -> None:
    """Tell in plain words what this machine would serve, and what is missing.

    Looked at are driver, CUDA libraries, weights, the model of the method fast, Redis, clock, storage,
    identity, disk and memory. Nothing is downloaded, and no job is taken.

    It needs the settings that 'atelier-worker run' gets. Exit codes: 0 it could work, 1 something is missing,
    2 wrong usage or settings.
    """
    try:
        settings = load_settings(os.environ)
        seen = _Look(settings, gpus, read_nodes(nodes_per_gpu), read_methods(methods))
    except InvalidSettings as error:
        raise SettingsRefused(error.detail) from None
    is_fit = could_work(seen.findings)
    served = served_methods(seen.findings)
    said = summary(seen.findings, seen.devices, [seen.weights[method] for method in served], served)
    if as_json:
        document = {
            "could_work": is_fit,
            "summary": said,
            "devices": [device.label for device in seen.devices],
            "nodes": sum(device.nodes for device in seen.devices),
            "methods": [method.value for method in served],
            "weights": {method.value: seen.weights[method] for method in served},
            "checks": [finding.to_json() for finding in seen.findings],
        }
        click.echo(to_json_text(document))
    else:
        for finding in seen.findings:
            click.echo(f"{finding.level:<{_WIDTH}}{finding.part:<{_WIDTH}} {finding.said}")
            if finding.todo:
                click.echo(f"{'':<{2 * _WIDTH}} -> {finding.todo}")
        click.echo(said)
    sys.exit(0 if is_fit else 1)


class _Look:
    """One look at the machine; every part is looked at, whatever the others are like."""

    def __init__(
        self, settings: Settings, wanted: str, nodes: int | None, asked: frozenset[Method] | None
    ) -> None:
        self._settings = settings
        self.findings: list[Finding] = []
        self.weights: dict[Method, str] = {}
        self.devices: list[Device] = [CPU]
        why_not = reasons_not_served(settings)
        # As the worker decides: with auto, by what is installed.
        needed = asked or {method for method in Method if why_not[method] is None} or set(Method)
        for method in sorted(asked or Method):
            self.findings.append(judge_method(method, why_not[method], is_needed=method in needed))
        if Method.GATYS in needed and why_not[Method.GATYS] is None:
            self._look_at_gatys(wanted, nodes)
        self.weights[Method.FAST] = model_name(settings)
        self._look_at_services()
        self.findings.append(judge_memory([(device, read_memory(device)) for device in self.devices]))

    def _look_at_gatys(self, wanted: str, nodes: int | None) -> None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        usable = decide_gpus(list_gpus(), visible=visible, has_cuda=has_cuda())
        self.devices = []
        refusal = None
        try:
            chosen = choose_devices(wanted, usable.gpus, why_not=usable.why_not or usable.hidden)
            self.devices = share(chosen, nodes, divides_cpu=wanted == "none")
        except InvalidSettings as error:
            refusal = error.detail
        self.findings.append(judge_driver(usable, wanted, refusal))
        self.findings.append(judge_cuda(_load_tensorflow(self.devices), self.devices))
        self.weights[Method.GATYS] = self._look_at_weights()

    def _look_at_weights(self) -> str:
        setting, source = self._settings.vgg19_weights, ImagenetSource.of(self._settings)
        found, error, fault, room = None, None, None, None
        try:
            found = find_weights(setting, source)
            if found is not None:
                check_weights(found)
            else:
                fault = _ask_address(source.url)
                room = measure_room(nearest_folder(source.cache_dir))
        except WeightsError as failure:
            error = failure
        finding = judge_weights(
            setting, source, found=found, error=error, download_fault=fault, cache_room=room
        )
        self.findings.append(finding)
        if found is not None:
            return found.kind
        return "untrained" if setting == "auto" and fault else "imagenet"

    def _look_at_services(self) -> None:
        settings = self._settings
        store = store_of(settings)
        storage = _look_at_storage(store)
        redis_error, ahead_seconds = _look_at_redis(settings, storage.names)
        installation_id = storage.names.installation_id if storage.names else None
        self.findings += [
            judge_redis(redis_error, is_tls=settings.redis_url.startswith("rediss://")),
            judge_clock(ahead_seconds),
            judge_storage(
                settings.resolved_storage_url, storage.error, was_written=storage.names is not None
            ),
            judge_identity(installation_id, storage.identity_error),
            judge_disk(storage.room, settings),
        ]


@dataclass
class _StorageSeen:
    """What was seen of the storage; `names` are those of its installation, if it has one."""

    names: Names | None = None
    identity_error: AtelierError | None = None
    error: AtelierError | None = None
    room: Room | None = None


def _look_at_storage(store: ArtifactStore) -> _StorageSeen:
    """Look at the storage, for some seconds: a mount whose server is gone does not answer."""
    look = Aside("storage").do(lambda: _look_at_files(store))
    if look.done.wait(_STORAGE_SECONDS):
        return look.result()
    error = StorageUnavailable(f"the storage does not answer within {_STORAGE_SECONDS} s")
    return _StorageSeen(identity_error=error, error=error)


def _look_at_files(store: ArtifactStore) -> _StorageSeen:
    """Look at the storage; write to it only when it is known to be the right one."""
    seen = _StorageSeen()
    try:
        seen.names = names_at(store)
    except ServiceError as error:
        seen.identity_error = error
    try:
        seen.room = store.room()
        if seen.names is not None:
            store.check()
    except AtelierError as error:
        seen.error = error
    return seen


def _look_at_redis(settings: Settings, names: Names | None) -> tuple[RedisUnavailable | None, float | None]:
    """Return why Redis cannot be worked with, if so, and how many seconds this clock is ahead of its own."""
    client, ahead_seconds = connect_redis(settings, reply_seconds=_REDIS_SECONDS, tries_again=False), None
    try:
        with redis_errors():
            client.ping()
            before = time()
            seconds, micros = client.time()
            # The answer was made in the middle, as far as one can tell.
            ahead_seconds = (before + time()) / 2 - (seconds + micros / 1e6)
            if names is not None:
                client.set(names.key("check", new_id()), "", ex=1)
    except RedisUnavailable as error:
        return error, ahead_seconds
    finally:
        client.close()
    return None, ahead_seconds


def _load_tensorflow(devices: Sequence[Device]) -> TensorFlowFacts:
    """Load TensorFlow in a process of its own, as the child of a node does."""
    visible = ",".join(device.visible for device in seen_together(devices)) or "-1"
    environ = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": visible,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        # Which library cannot be loaded is told at this level alone.
        "TF_CPP_MIN_LOG_LEVEL": "0",
        "TF_CPP_VMODULE": "dso_loader=1",
    }
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            own_python("worker.engine.runtime"),
            env=environ,
            capture_output=True,
            text=True,
            timeout=_TENSORFLOW_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            return TensorFlowFacts(fault=_last_line(done.stderr) or f"exit code {done.returncode}")
        told = json.loads(_last_line(done.stdout))
        return TensorFlowFacts(**told, messages=read_messages(done.stderr))
    except subprocess.TimeoutExpired:
        return TensorFlowFacts(fault=f"it takes longer than {_TENSORFLOW_SECONDS} s")
    except (OSError, ValueError) as error:
        return TensorFlowFacts(fault=str(error))


def _ask_address(url: str) -> str | None:
    """Return why an address does not answer; None when it does."""
    if not url.startswith(("http://", "https://")):
        return f"{url} is not an http or https address"
    command = [sys.executable, "-c", _ASK_ADDRESS, url, str(_DOWNLOAD_SECONDS)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{url} did not answer within {_DOWNLOAD_SECONDS} s"
    return None if done.returncode == 0 else f"{url}: {_last_line(done.stderr)}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""
