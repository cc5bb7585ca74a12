"""What a device's memory is read from."""

from __future__ import annotations

import os

import pytest

from worker.devices import CPU, Device, Memory, MemoryMeter, parse_gpu_memory, parse_meminfo

MEMINFO = """MemTotal:       1000 kB
MemFree:         100 kB
MemAvailable:    600 kB
Buffers:          10 kB
"""


def test_the_machines_memory_is_used_as_far_as_no_program_can_get_it():
    assert parse_meminfo(MEMINFO) == Memory(1_024_000, 409_600)
    assert parse_meminfo("MemTotal: 1000 kB\n") == Memory(1_024_000, None)
    assert parse_meminfo("") == Memory(None, None)


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
    assert meter.read() == Memory(200 * 2**20, 100 * 2**20)
    assert (tmp_path / "asked").read_text() == "--id=3\n"
