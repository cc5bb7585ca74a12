"""Which devices a worker starts on."""

from __future__ import annotations

import pytest

from shared.errors import InvalidSettings
from worker.devices import CPU, Device, choose_devices, parse_gpus

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
