"""Which devices a worker starts on."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import InvalidSettings
from worker.devices import (
    CPU,
    Device,
    GpuListing,
    UsableGpus,
    choose_devices,
    decide_gpus,
    list_gpus,
    parse_gpus,
    visible_gpus,
)

LISTING = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1b)
GPU 1: NVIDIA L4 (UUID: GPU-2c)
  MIG 1g.10gb     Device  0: (UUID: MIG-x)
"""


def test_the_drivers_listing_is_read():
    assert parse_gpus(LISTING) == [Device(0, "NVIDIA H100 80GB HBM3"), Device(1, "NVIDIA L4")]
    assert parse_gpus("No devices were found") == []


def test_choice():
    gpus = parse_gpus(LISTING)
    assert choose_devices("auto", []) == [CPU]
    assert choose_devices("none", gpus) == [CPU]
    assert choose_devices("auto", gpus) == choose_devices("all", gpus) == gpus
    assert choose_devices("1", gpus) == [gpus[1]]
    assert gpus[1].label == "cuda:1 (NVIDIA L4)"
    assert CPU.label == "cpu"


def test_a_missing_gpu_is_named():
    with pytest.raises(InvalidSettings, match="no GPU 7"):
        choose_devices("0,7", parse_gpus(LISTING))
    with pytest.raises(InvalidSettings, match="lists no GPU"):
        choose_devices("all", [])
    with pytest.raises(InvalidSettings, match="mend it"):
        choose_devices("all", [], why_not="mend it")


GPUS = parse_gpus(LISTING)


@pytest.mark.parametrize(
    ("visible", "numbers"),
    [
        (None, [0, 1]),
        ("1", [1]),
        ("1,0", [1, 0]),
        ("", []),
        ("-1", []),
        ("0,7,1", [0]),  # as CUDA reads it: up to the first that is none
        ("GPU-2c", [0, 1]),
    ],
)
def test_gpus_that_are_hidden_are_not_used(visible: str | None, numbers: list[int]):
    assert [gpu.number for gpu in visible_gpus(GPUS, visible)] == numbers


@pytest.mark.parametrize(
    ("listing", "visible", "has_cuda", "gpus", "why_not"),
    [
        (GpuListing(GPUS), None, True, GPUS, None),
        (GpuListing(GPUS), "-1", True, [], None),
        (GpuListing(GPUS), "-1", False, [], None),
        (GpuListing(GPUS), None, False, [], "without CUDA"),
        (GpuListing(has_tool=False), None, False, [], None),
        (GpuListing(has_tool=False, has_card=True), None, True, [], "no driver"),
        (GpuListing(has_card=True), None, True, [], "lists none"),
        (GpuListing(fault="exit code 9: no communication"), None, True, [], "no communication"),
    ],
)
def test_which_gpus_can_be_used_and_why_not(listing, visible, has_cuda, gpus, why_not):
    usable = decide_gpus(listing, visible=visible, has_cuda=has_cuda)
    assert list(usable.gpus) == gpus
    assert (usable.why_not is None) == (why_not is None)
    assert why_not is None or why_not in usable.why_not
    assert UsableGpus() == UsableGpus(())


@pytest.mark.parametrize(
    ("visible", "hidden"),
    [
        (None, None),
        ("0,1", None),
        ("-1", f"CUDA_VISIBLE_DEVICES ('-1') hides {', '.join(gpu.label for gpu in GPUS)}"),
        ("1", f"CUDA_VISIBLE_DEVICES ('1') hides {GPUS[0].label}"),
    ],
)
def test_what_a_setting_hides_is_named(visible, hidden):
    assert decide_gpus(GpuListing(GPUS), visible=visible, has_cuda=True).hidden == hidden


@pytest.mark.parametrize(
    ("script", "gpus", "fault"),
    [
        ("echo 'GPU 0: NVIDIA L4 (UUID: GPU-2c)'", [Device(0, "NVIDIA L4")], None),
        ("echo No devices found", [], None),
        (
            "echo no communication with the driver >&2; exit 9",
            [],
            "exit code 9: no communication with the driver",
        ),
    ],
)
def test_the_drivers_tool_is_asked(tmp_path: Path, monkeypatch, script: str, gpus, fault):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n[ $1 = -L ] || exit 2\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = list_gpus()
    assert (list(found.gpus), found.fault, found.has_tool) == (gpus, fault, True)
    tool.unlink()
    assert list_gpus().has_tool is False


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        ("0,0", "each GPU is named once"),
        ("", "allowed are auto, all, none, or numbers such as 0,2"),
        ("0,", "allowed are auto, all, none, or numbers"),
        ("NONE", "allowed are auto, all, none, or numbers"),
        ("7", "this machine has no GPU 7"),
    ],
)
def test_a_choice_of_gpus_is_read_strictly(gpus, said):
    with pytest.raises(InvalidSettings, match=said):
        choose_devices(gpus, [Device(0, "NVIDIA L4")])
