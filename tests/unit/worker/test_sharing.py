"""How many nodes share a GPU, what they are called, and the words that start them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.errors import InvalidSettings
from worker.cli.run import run
from worker.devices import CPU, Device
from worker.sharing import decide_nodes, node_bytes, plan_nodes, read_nodes, share_devices

GIB = 2**30
H200, L4 = Device(0, "NVIDIA H200"), Device(1, "NVIDIA L4")


@pytest.mark.parametrize(
    ("gib", "gpus", "processors", "nodes"),
    [
        (139, 1, 16, 3),
        (139, 1, 64, 3),  # three at most
        (80, 8, 64, 3),
        (80, 8, 32, 2),
        (80, 8, 16, 1),
        (80, 1, 5, 2),
        (80, 1, 3, 1),
        (24, 1, 16, 2),
        (16, 1, 16, 1),
        (4, 1, 16, 1),  # one, however little there is
        (80, 1, 1, 1),
    ],
)
def test_memory_and_processors_decide_how_many(gib, gpus, processors, nodes):
    assert decide_nodes(gib * GIB, gpus=gpus, processors=processors) == nodes


def test_where_the_driver_tells_no_memory_there_is_one():
    assert decide_nodes(None, gpus=1, processors=64) == 1


def test_each_has_room_for_a_large_job_while_the_others_work():
    """As an NVIDIA H200 was measured: a process of 1640 MiB, and 8.4 GiB at 2048 px."""
    assert node_bytes() == pytest.approx((1640 / 1024 + 8.4) * GIB, rel=0.15)


def test_each_gpu_has_its_own_number_and_all_share_the_processors():
    memory = {H200: 139 * GIB, L4: 24 * GIB}
    assert share_devices([H200, L4], None, memory, processors=12) == [
        replace(H200, nodes=3),
        replace(L4, nodes=2),
    ]
    assert [device.nodes for device in share_devices([H200, L4], None, memory, processors=8)] == [2, 2]
    assert [device.nodes for device in share_devices([H200, L4], 4, memory, processors=1)] == [4, 4]
    assert share_devices([H200], 2, {H200: None}, processors=1) == [replace(H200, nodes=2)]


def test_a_cpu_has_one_node_whatever_is_asked_for():
    assert (
        share_devices([CPU], 3, {}, processors=64) == share_devices([CPU], None, {}, processors=64) == [CPU]
    )


def test_more_than_a_gpu_has_memory_for_are_refused():
    with pytest.raises(InvalidSettings, match=r"is 3, and their processes alone take about 5.2 GB; cuda:1"):
        share_devices([L4], 3, {L4: 5 * 10**9}, processors=64)
    # One is not: how small a GPU may be is for its driver to say.
    assert share_devices([L4], None, {L4: GIB}, processors=64) == [L4]


@pytest.mark.parametrize(("said", "nodes"), [("auto", None), ("1", 1), ("8", 8)])
def test_what_is_asked_for(said, nodes):
    assert read_nodes(said) == nodes


@pytest.mark.parametrize("said", ["0", "9", "-1", "", "two", "AUTO", "1.0", "²", "9" * 5000])
def test_a_number_of_nodes_is_read_strictly(said):
    with pytest.raises(InvalidSettings, match="allowed are auto and 1 to 8"):
        read_nodes(said)


def test_names_differ():
    def names(*devices: Device) -> list[str]:
        return [node.name for node in plan_nodes("host", devices)]

    assert names(CPU) == names(H200) == ["host"]
    assert names(H200, L4) == ["host-gpu0", "host-gpu1"]
    assert names(replace(H200, nodes=2)) == ["host-gpu0-1", "host-gpu0-2"]
    assert names(replace(H200, nodes=3), L4) == [
        *("host-gpu0-1", "host-gpu0-2", "host-gpu0-3"),
        "host-gpu1",
    ]


def test_the_words_that_start_a_node_are_understood_by_its_process():
    planned = plan_nodes("a b-1", [replace(L4, nodes=2)])[1]
    command, *words = planned.words("auto", fleet_pid=42)
    assert command == run.name
    assert run.make_context(command, words).params == {
        "name": "a b-1-gpu1-2",
        "gpus": "1",
        "nodes_per_gpu": "2",
        "methods": "auto",
        "fleet_pid": 42,
    }
