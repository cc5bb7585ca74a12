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
    read_listing,
    visible_gpus,
)

#: What the driver's tool writes, in the form that NVIDIA documents and that is seen in public.
_RECORDED = Path(__file__).with_name("nvidia_smi")
LISTING = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1b)
GPU 1: NVIDIA L4 (UUID: GPU-2c)
"""


def recorded(name: str, *, code: int = 0) -> GpuListing:
    said = (_RECORDED / f"{name}.txt").read_text()
    return read_listing(code, said, "", has_card=True)


def test_the_drivers_listing_is_read():
    assert parse_gpus(LISTING) == [
        Device(0, "NVIDIA H100 80GB HBM3", uuid="GPU-1b"),
        Device(1, "NVIDIA L4", uuid="GPU-2c"),
    ]
    assert parse_gpus("No devices were found") == []


def test_one_gpu_and_eight_are_read_with_their_ids():
    (gpu,) = recorded("one-gpu").gpus
    assert (gpu.label, gpu.visible, gpu.word) == ("cuda:0 (NVIDIA H100 80GB HBM3)", "0", "gpu0")
    assert gpu.uuid == "GPU-6f1c2c0e-4b1d-7a53-9c55-0d9f6a2b1e34"
    eight = recorded("eight-gpus").gpus
    assert [gpu.place for gpu in eight] == [str(number) for number in range(8)]
    assert len({gpu.uuid for gpu in eight}) == 8
    assert {gpu.name for gpu in eight} == {"NVIDIA A100-SXM4-80GB"}


def test_of_a_divided_gpu_its_instances_are_devices_each_seen_by_its_id():
    devices = recorded("mig").gpus
    assert [device.place for device in devices] == ["0:0", "0:1", "0:2", "1"]
    assert devices[2].label == "cuda:0:2 (NVIDIA A100-SXM4-40GB MIG 1g.5gb)"
    assert devices[2].visible == "MIG-f545e178-ec7c-7385-90e0-13f0138d2a4c"
    assert [device.word for device in devices] == ["gpu0-mig0", "gpu0-mig1", "gpu0-mig2", "gpu1"]
    old = recorded("mig-old-driver").gpus
    assert [device.place for device in old] == ["0:0", "0:1"]
    assert old[1].visible == "MIG-GPU-b4d593fa-0716-8a44-23f4-79e20b55c667/8/0"


@pytest.mark.parametrize(
    ("name", "code", "fault"),
    [
        ("none", 0, None),
        ("none-with-code-6", 6, None),
        ("no-driver", 9, "exit code 9: NVIDIA-SMI has failed because it couldn't communicate with"),
        ("other-version", 18, "exit code 18: Failed to initialize NVML: Driver/library version mismatch"),
        ("one-gpu", 15, "exit code 15: GPU 0: "),
    ],
)
def test_no_gpu_is_none_and_a_driver_that_fails_is_a_fault(name, code, fault):
    listing = recorded(name, code=code)
    assert list(listing.gpus) == []
    assert (listing.fault or "").startswith(fault or "")
    assert (listing.fault is None) == (fault is None)


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
    ("wanted", "places"),
    [
        ("1", ["1"]),
        ("0", ["0:0", "0:1", "0:2"]),
        ("0:1,1", ["0:1", "1"]),
        ("MIG-bfc2259d", ["0:1"]),
        ("GPU-37641063-f5d7-732b-b262-25931d4da2d9", ["0:0", "0:1", "0:2"]),
        ("GPU-f5117b7d, 0:2", ["1", "0:2"]),
        ("all", ["0:0", "0:1", "0:2", "1"]),
    ],
)
def test_a_device_is_named_by_its_number_its_place_or_the_beginning_of_its_id(wanted, places):
    assert [device.place for device in choose_devices(wanted, recorded("mig").gpus)] == places


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("GPU-", "allowed are auto, all, none, or numbers"),
        ("MIG", "allowed are auto, all, none, or numbers"),
        ("0:1:2", "allowed are auto, all, none, or numbers"),
        ("0:7", r"has no GPU 0:7 \(found: 0:0, 0:1, 0:2, 1\)"),
        ("GPU-deadbeef", "has no GPU GPU-deadbeef"),
        ("0,0:1", "each GPU is named once"),
        ("MIG-bf,0:1", "each GPU is named once"),
    ],
)
def test_a_name_of_none_or_of_one_twice_is_refused(wanted, said):
    with pytest.raises(InvalidSettings, match=said):
        choose_devices(wanted, recorded("mig").gpus)


def test_the_beginning_of_several_ids_is_refused():
    alike = [Device(number, "NVIDIA L4", uuid=f"GPU-2c{number}") for number in range(2)]
    with pytest.raises(InvalidSettings, match=r"'GPU-2c' begins the ids of several \(0, 1\)"):
        choose_devices("GPU-2c", alike)
    assert choose_devices("GPU-2c1", alike) == alike[1:]


@pytest.mark.parametrize(
    ("visible", "numbers"),
    [
        (None, [0, 1]),
        ("1", [1]),
        ("1,0", [1, 0]),
        ("", []),
        ("-1", []),
        ("0,7,1", [0]),  # as CUDA reads it: up to the first that is none
        ("GPU-2c", [1]),
        ("GPU-2c,0", [1, 0]),
        ("MIG-x", []),
        ("0:0", []),
        ("all", []),  # a word of NVIDIA's containers, not of CUDA
    ],
)
def test_gpus_that_are_hidden_are_not_used(visible: str | None, numbers: list[int]):
    assert [gpu.number for gpu in visible_gpus(GPUS, visible)] == numbers


def test_instances_that_are_hidden_are_not_used():
    devices = recorded("mig").gpus
    instance = devices[1]
    assert visible_gpus(devices, instance.visible) == [instance]
    assert [device.place for device in visible_gpus(devices, "0")] == ["0:0", "0:1", "0:2"]


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
        ("echo 'GPU 0: NVIDIA L4 (UUID: GPU-2c)'", [Device(0, "NVIDIA L4", uuid="GPU-2c")], None),
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
