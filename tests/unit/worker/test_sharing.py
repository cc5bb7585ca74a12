"""How many nodes share a GPU, what they are called, and the words that start them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import InvalidSettings
from shared.options import Method
from tests.support.given_words import read_words
from worker.cli.main import main
from worker.devices import CPU, Device, choose_devices, parse_gpus
from worker.numerics import read_numerics
from worker.sharing import (
    decide_nodes,
    environ_of_node,
    node_bytes,
    plan_nodes,
    read_nodes,
    read_threads,
    share_devices,
    share_threads,
)

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


def test_a_cpu_has_as_many_nodes_as_are_asked_for_where_it_is_asked_for_itself():
    assert share_devices([CPU], 3, {}, processors=2, divides_cpu=True) == [replace(CPU, nodes=3)]
    assert share_devices([CPU], None, {}, processors=64, divides_cpu=True) == [CPU]


def test_a_cpu_in_the_place_of_a_gpu_has_one_node_whatever_is_asked_for():
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


def test_nodes_of_an_instance_and_of_the_cpu_have_names_of_their_own():
    instances = [Device(0, "NVIDIA A100", instance=number, uuid=f"MIG-{number}") for number in (0, 3)]
    assert [node.name for node in plan_nodes("host", instances)] == ["host-gpu0-mig0", "host-gpu0-mig3"]
    assert [node.name for node in plan_nodes("host", [replace(CPU, nodes=2)])] == ["host-cpu-1", "host-cpu-2"]


@pytest.mark.parametrize(
    ("recorded", "wanted", "gib", "nodes", "threads"),
    [
        ("one-gpu", "auto", 80, ["a"], None),
        ("eight-gpus", "0,2", 80, ["a-gpu0", "a-gpu2"], 1),
        ("eight-gpus", "all", 80, [f"a-gpu{number}" for number in range(8)], 1),
        ("mig", "0", 5, ["a-gpu0-mig0", "a-gpu0-mig1", "a-gpu0-mig2"], 1),
        ("none", "auto", None, ["a"], None),
    ],
)
def test_from_what_the_driver_lists_to_the_nodes(recorded, wanted, gib, nodes, threads):
    listing = (Path(__file__).with_name("nvidia_smi") / f"{recorded}.txt").read_text()
    devices = choose_devices(wanted, parse_gpus(listing))
    memory = dict.fromkeys(devices, gib and gib * GIB)
    # A second node for the one GPU would need four of them.
    planned = plan_nodes("a", share_devices(devices, None, memory, processors=3), processors=3)
    assert [node.name for node in planned] == nodes
    assert {node.threads for node in planned} == {threads}


def test_a_name_that_becomes_too_long_is_refused():
    name = "n" * 96
    assert plan_nodes(name, [H200])
    with pytest.raises(InvalidSettings, match=f"96 characters, and a node would be called '{name}-gpu0'"):
        plan_nodes(name, [H200, L4])


@pytest.mark.parametrize(
    ("nodes", "processors", "threads"), [(1, 64, None), (2, 64, 32), (3, 16, 5), (8, 4, 1)]
)
def test_each_of_several_nodes_has_its_share_of_the_processors(nodes, processors, threads):
    assert share_threads(nodes, processors=processors) == threads
    planned = plan_nodes("host", [replace(H200, nodes=nodes)], processors=processors)
    assert {node.threads for node in planned} == {threads}


def test_threads_that_are_asked_for_are_those_of_each_node():
    planned = plan_nodes("host", [H200, L4], asked_threads=3, processors=64)
    assert [node.threads for node in planned] == [3, 3]
    assert plan_nodes("host", [CPU], asked_threads=3, processors=64)[0].threads == 3


@pytest.mark.parametrize(("said", "threads"), [("auto", None), ("1", 1), ("1024", 1024)])
def test_how_many_threads_are_asked_for(said, threads):
    assert read_threads(said) == threads


@pytest.mark.parametrize("said", ["0", "1025", "-1", "", "two", "²", "9" * 5000])
def test_a_number_of_threads_is_read_strictly(said):
    with pytest.raises(InvalidSettings, match="allowed are auto and 1 to 1024"):
        read_threads(said)


def test_what_the_libraries_read_is_told_before_they_are_loaded():
    assert environ_of_node(L4, None) == {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert environ_of_node(CPU, 4) == {
        "CUDA_VISIBLE_DEVICES": "-1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "TF_NUM_INTRAOP_THREADS": "4",
        "TF_NUM_INTEROP_THREADS": "4",
    }
    instance = Device(0, "NVIDIA A100", instance=1, uuid="MIG-1b")
    assert environ_of_node(instance, 2)["CUDA_VISIBLE_DEVICES"] == "MIG-1b"


def test_a_share_of_the_cpu_is_a_kind_of_its_own_since_threads_decide_the_bytes():
    """What was begun with four threads goes on with four, on whichever host."""

    def numerics(device: Device, threads: int | None) -> str:
        environ = environ_of_node(device, threads)
        return read_numerics([Method.GATYS], device, fast_model="magenta-int8", environ=environ)["gatys"]

    assert "4 threads" in numerics(CPU, 4)
    assert numerics(CPU, 4) != numerics(CPU, 2)
    assert numerics(L4, 4) == numerics(L4, 2)


def test_the_words_that_start_a_node_are_understood_by_its_process():
    planned = plan_nodes("a b-1", [replace(L4, nodes=2)], processors=8)[1]
    command, *words = planned.words("auto", labels="zone=a", fleet_pid=42)
    assert read_words(main, command, words) == {
        "name": "a b-1-gpu1-2",
        "gpus": "1",
        "nodes_per_gpu": "2",
        "methods": "auto",
        "threads": "4",
        "labels": "zone=a",
        "fleet_pid": 42,
    }


def test_the_words_of_a_node_on_the_cpu_or_on_an_instance_name_it_alone():
    on_cpu = plan_nodes("a", [replace(CPU, nodes=2)], processors=8)[0].words("auto", fleet_pid=1)
    assert on_cpu[on_cpu.index("--gpus") + 1] == "none"
    assert "--labels" not in on_cpu
    instance = Device(0, "NVIDIA A100", instance=1, uuid="MIG-1b", gpu_uuid="GPU-2c")
    words = plan_nodes("a", [instance, H200])[0].words("auto", fleet_pid=1)
    assert choose_devices(words[words.index("--gpus") + 1], [H200, instance]) == [instance]
