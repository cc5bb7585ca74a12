"""What a device's memory is read from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.devices import CPU, Device
from worker.engine.machine import MachineMemory
from worker.memory import (
    Highest,
    Memory,
    MemoryMeter,
    of_gpu,
    of_machine,
    parse_gpu_memory,
    parse_instance_memory,
    read_memory,
)

MEBIBYTE = 2**20


def test_a_node_on_the_cpu_could_get_what_is_free_and_what_its_own_process_has():
    machine = MachineMemory(total_bytes=1000, available_bytes=600)
    assert of_machine(machine) == Memory(1000, 400, 600)
    assert of_machine(machine, own_bytes=250) == Memory(1000, 400, 850)
    assert of_machine(MachineMemory(total_bytes=1000)) == Memory(1000, None, None)
    assert of_machine(MachineMemory()) == Memory()


def test_a_node_on_a_gpu_could_get_all_but_the_processes_of_the_others_on_it():
    card = Memory(80 * 2**30, 5 * 2**30)
    assert of_gpu(card, nodes=1).job_bytes == 80 * 2**30
    assert of_gpu(card, nodes=3) == Memory(80 * 2**30, 5 * 2**30, 80 * 2**30 - 2 * 1640 * MEBIBYTE)
    assert of_gpu(Memory(2**30, 0), nodes=3).job_bytes == 0
    assert of_gpu(Memory(), nodes=3) == Memory()


def test_the_highest_of_a_while_is_kept():
    highest = Highest(60)
    assert [highest.add(value, now=now) for now, value in ((0, 5), (10, 9), (20, 3), (30, 4))] == [5, 9, 9, 9]
    assert highest.add(1, now=69.9) == 9
    assert highest.add(1, now=70) == 4  # that of 30; the 3 before it has no say
    assert highest.add(1, now=90) == 1


@pytest.mark.parametrize(
    ("line", "memory"),
    [
        ("81559, 1024\n", Memory(81559 * 2**20, 2**30)),
        ("[N/A], [N/A]\n", Memory()),
        ("", Memory()),
        ("No devices were found", Memory()),
    ],
)
def test_a_gpus_memory_is_read_from_what_the_drivers_tool_says(line: str, memory: Memory):
    assert parse_gpu_memory(line) == memory


_INSTANCES = Path(__file__).with_name("nvidia_smi") / "mig-memory.xml"


@pytest.mark.parametrize(
    ("instance", "memory"),
    [
        (0, Memory(19968 * MEBIBYTE, 1742 * MEBIBYTE)),
        (2, Memory(4864 * MEBIBYTE, 7 * MEBIBYTE)),
        (3, Memory()),
    ],
)
def test_the_memory_of_an_instance_is_its_own_and_not_its_gpus(instance, memory):
    assert parse_instance_memory(_INSTANCES.read_text(), instance) == memory


@pytest.mark.parametrize(
    "said", ["", "No devices were found", "<gpu><mig_device><index>0</index></mig_device></gpu>"]
)
def test_an_instance_that_nothing_is_told_of_has_no_known_memory(said):
    assert parse_instance_memory(said, 0) == Memory()


def test_the_tool_is_asked_for_the_whole_record_of_a_divided_gpu(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f'#!/bin/sh\n[ "$*" = "--id=1 -q -x" ] && cat {_INSTANCES}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    memory = read_memory(Device(1, "NVIDIA A100", instance=1, nodes=2))
    assert memory.total_bytes == 9856 * MEBIBYTE
    assert memory.job_bytes == (9856 - 1640) * MEBIBYTE


def test_a_meter_measures_every_5_seconds():
    now = 0.0
    meter = MemoryMeter(CPU, clock=lambda: now)
    first = meter.read()
    now = 4.9
    assert meter.read() is first
    now = 5.0
    assert meter.read() is not first
    assert first.total_bytes
    assert 0 < first.used_bytes < first.total_bytes
    assert 0 < first.job_bytes < first.total_bytes


def test_what_was_free_once_could_be_had_again_within_the_hour(monkeypatch):
    now, left = 0.0, 900
    monkeypatch.setattr("worker.memory.machine_memory", lambda: MachineMemory(1000, left))
    monkeypatch.setattr("worker.memory.children_bytes", lambda: 10)
    meter = MemoryMeter(CPU, clock=lambda: now)
    assert meter.read() == Memory(1000, 100, 910)
    now, left = 5.0, 200
    assert meter.read() == Memory(1000, 800, 910)
    now = 3600.0
    assert meter.read() == Memory(1000, 800, 210)


def test_a_gpu_is_asked_without_waiting(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    gate = tmp_path / "gate"
    tool.write_text(f'#!/bin/sh\nread line < {gate}\necho "$1" > {tmp_path}/asked\necho "200, 100"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    os.mkfifo(gate)
    meter = MemoryMeter(Device(3, "NVIDIA"))
    assert meter.read() == Memory()  # the tool has not even begun
    gate.open("w").close()
    while meter.read() == Memory():
        pass
    assert meter.read() == Memory(200 * 2**20, 100 * 2**20, 200 * 2**20)
    assert (tmp_path / "asked").read_text() == "--id=3\n"
