"""What memory and processors there are, read from a folder that looks like a machine's /proc and /sys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.engine.machine import (
    MachineMemory,
    available_bytes,
    children_bytes,
    machine_memory,
    own_bytes,
    return_freed_memory,
    usable_processors,
)

MEBIBYTE = 2**20


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    _write(tmp_path, "proc/meminfo", "MemTotal:       2048000 kB\nMemAvailable:   1024000 kB\n")
    return tmp_path


def _write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _group(root: Path, folder: str, most: str, taken: int, cache: int = 0) -> None:
    _write(root, f"{folder}/memory.max", f"{most}\n")
    _write(root, f"{folder}/memory.current", f"{taken}\n")
    _write(root, f"{folder}/memory.stat", f"anon 5\ninactive_file {cache}\n")


def test_without_a_limit_it_is_what_the_machine_has(machine):
    assert machine_memory(machine).available_bytes == 1024000 * 1024
    _write(machine, "proc/self/cgroup", "0::/user.slice\n")
    _group(machine, "sys/fs/cgroup/user.slice", "max", 5 * MEBIBYTE)
    assert machine_memory(machine).available_bytes == 1024000 * 1024


def test_a_containers_limit_counts_and_its_cache_does_not(machine):
    _write(machine, "proc/self/cgroup", "0::/\n")
    _group(machine, "sys/fs/cgroup", str(300 * MEBIBYTE), 250 * MEBIBYTE, cache=100 * MEBIBYTE)
    assert machine_memory(machine).available_bytes == 150 * MEBIBYTE


def test_all_that_there_is_is_the_machines_memory_or_the_containers_limit(machine):
    assert machine_memory(machine).total_bytes == 2048000 * 1024
    _write(machine, "proc/self/cgroup", "0::/\n")
    _group(machine, "sys/fs/cgroup", str(300 * MEBIBYTE), 250 * MEBIBYTE)
    assert machine_memory(machine).total_bytes == 300 * MEBIBYTE
    _group(machine, "sys/fs/cgroup", str(9000 * MEBIBYTE), 250 * MEBIBYTE)
    assert machine_memory(machine).total_bytes == 2048000 * 1024


def test_the_children_of_every_thread_are_counted(machine):
    for thread, children in ((7, "8 9 "), (10, "11 ")):
        _write(machine, f"proc/self/task/{thread}/children", children)
    for pid in (8, 11):
        _write(machine, f"proc/{pid}/status", f"Name:\tnode\nVmRSS:\t {pid} kB\n")
    assert children_bytes(machine) == 19 * 1024  # 9 has ended meanwhile


def test_the_limit_of_a_group_above_counts(machine):
    _write(machine, "proc/self/cgroup", "0::/pod/box\n")
    _group(machine, "sys/fs/cgroup/pod/box", "max", MEBIBYTE)
    _group(machine, "sys/fs/cgroup/pod", str(90 * MEBIBYTE), 80 * MEBIBYTE)
    assert machine_memory(machine).available_bytes == 10 * MEBIBYTE


def test_a_path_of_the_host_leads_to_the_containers_own_group(machine):
    _write(machine, "proc/self/cgroup", "0::/system.slice/docker-1.scope\n")
    _group(machine, "sys/fs/cgroup", str(90 * MEBIBYTE), 80 * MEBIBYTE)
    assert machine_memory(machine).available_bytes == 10 * MEBIBYTE


def test_the_first_version_of_control_groups(machine):
    _write(machine, "proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n")
    folder = "sys/fs/cgroup/memory/a"
    _write(machine, f"{folder}/memory.limit_in_bytes", str(64 * MEBIBYTE))
    _write(machine, f"{folder}/memory.usage_in_bytes", str(60 * MEBIBYTE))
    _write(machine, f"{folder}/memory.stat", "cache 9\ntotal_inactive_file 1048576\n")
    assert machine_memory(machine).available_bytes == 5 * MEBIBYTE


def test_a_group_over_its_limit_has_nothing_left(machine):
    _write(machine, "proc/self/cgroup", "0::/\n")
    _group(machine, "sys/fs/cgroup", str(10 * MEBIBYTE), 11 * MEBIBYTE)
    assert machine_memory(machine).available_bytes == 0


def test_where_nothing_is_told_nothing_is_known(tmp_path):
    assert machine_memory(tmp_path) == MachineMemory()
    assert children_bytes(tmp_path) == own_bytes(tmp_path) == 0


def test_this_machine_can_be_asked_and_given_memory_back():
    assert available_bytes() is None or available_bytes() > 0
    return_freed_memory()


@pytest.fixture
def of_8(monkeypatch):
    """A machine with 8 processors, of which the process may run on 6."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(2, 8)), raising=False)


@pytest.mark.usefixtures("of_8")
@pytest.mark.parametrize(
    ("quota", "processors"),
    [
        ("max 100000", 6),
        ("150000 100000", 2),
        ("20000 100000", 1),
        ("2000000 100000", 6),
        ("", 6),
        ("a b", 6),
    ],
)
def test_a_containers_share_of_the_processors(machine, quota, processors):
    _write(machine, "proc/self/cgroup", "0::/box\n")
    _write(machine, "sys/fs/cgroup/box/cpu.max", f"{quota}\n")
    assert usable_processors(machine) == processors


@pytest.mark.usefixtures("of_8")
def test_the_least_share_of_a_group_and_those_above_it(machine):
    _write(machine, "proc/self/cgroup", "0::/pod/box\n")
    _write(machine, "sys/fs/cgroup/pod/box/cpu.max", "500000 100000\n")
    _write(machine, "sys/fs/cgroup/pod/cpu.max", "300000 100000\n")
    _write(machine, "sys/fs/cgroup/other/cpu.max", "100000 100000\n")
    assert usable_processors(machine) == 3


@pytest.mark.usefixtures("of_8")
@pytest.mark.parametrize(("quota", "processors"), [("-1", 6), ("250000", 3)])
def test_a_share_in_the_first_version_of_control_groups(machine, quota, processors):
    _write(machine, "proc/self/cgroup", "11:memory:/\n4:cpu,cpuacct:/docker/1\n")
    _write(machine, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", f"{quota}\n")
    _write(machine, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert usable_processors(machine) == processors


@pytest.mark.usefixtures("of_8")
def test_without_a_share_they_are_those_that_the_process_may_run_on(tmp_path, monkeypatch):
    assert usable_processors(tmp_path) == 6
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert usable_processors(tmp_path) == 4
