"""What `make demo` and `make up` install on which machine; the driver's tool and the devices are made up."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "requirements" / "choose.sh"
MAKEFILE = (ROOT / "Makefile").read_text()
LISTING = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-8c5b3f8e-0000-0000-0000-000000000000)"


@dataclass
class Machine:
    """A machine with these programs and devices; every other program of it is the real one."""

    folder: Path
    programs: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, script: str) -> None:
        tools = self.folder / "bin"
        tools.mkdir(exist_ok=True)
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)

    def add_card(self, *, vendor: str = "0x10de", kind: str = "0x030200") -> None:
        device = self.folder / "sys" / "bus" / "pci" / "devices" / f"0000:{vendor}:{kind}"
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")

    def choose(self, wish: str = "auto") -> tuple[str, str]:
        """Return what is chosen, and what is said."""
        path = [str(self.folder / "bin"), *self._real_tools()]
        done = subprocess.run(
            ["/bin/sh", str(SCRIPT), wish, str(self.folder / "sys"), str(self.folder)],
            env={"PATH": ":".join(path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip(), done.stderr.strip()

    def _real_tools(self) -> list[str]:
        # Not the folders themselves: the real nvidia-smi may lie in one.
        real = self.folder / "real"
        if not real.is_dir():
            real.mkdir()
            for name in ("grep", "cut", "tr", "awk", "df", "uname", "timeout", "cat"):
                (real / name).symlink_to(str(shutil.which(name)))
        return [str(real)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.add("uname", "case $1 in -s) echo Linux;; *) echo x86_64;; esac")
    machine.add(
        "df", "printf 'Filesystem 1024-blocks Used Available Capacity Mounted\\n/ 1 1 99999999 1%% /\\n'"
    )
    return machine


def test_a_machine_without_a_gpu_hears_nothing_of_it(machine: Machine):
    machine.add_card(vendor="0x1af4", kind="0x030000")
    machine.add_card(kind="0x040300")  # the sound of an NVIDIA card
    assert machine.choose() == ("dev", "")


def test_a_gpu_that_the_driver_lists_is_used(machine: Machine):
    machine.add("nvidia-smi", f"[ $1 = -L ] && echo '{LISTING}'")
    machine.add_card()
    assert machine.choose() == ("dev-gpu", "")
    assert machine.choose("cpu") == ("dev", "")


def test_who_asks_for_it_gets_it_whatever_is_seen(machine: Machine):
    assert machine.choose("gpu") == ("dev-gpu", "")


WHY = {
    "no driver": (lambda machine: machine.add_card(), "install the driver"),
    "a driver that fails": (
        lambda machine: machine.add(
            "nvidia-smi", 'echo "couldn\'t communicate with the NVIDIA driver"; exit 9'
        ),
        "ended with 9: couldn't communicate",
    ),
    "a driver that lists none": (
        lambda machine: (machine.add("nvidia-smi", "echo No devices found"), machine.add_card()),
        "lists none",
    ),
    "another platform": (
        lambda machine: (
            machine.add("nvidia-smi", f"echo '{LISTING}'"),
            machine.add("uname", "case $1 in -s) echo Linux;; *) echo aarch64;; esac"),
        ),
        "make up DEVICE=gpu",
    ),
    "no room": (
        lambda machine: (
            machine.add("nvidia-smi", f"echo '{LISTING}'"),
            machine.add("df", "printf 'Filesystem\\n/ 1 1 3000000 1%% /\\n'"),
        ),
        "3 GB are free",
    ),
}


@pytest.mark.parametrize("reason", WHY)
def test_a_gpu_that_is_not_used_is_explained_in_one_line(machine: Machine, reason: str):
    spoil, words = WHY[reason]
    spoil(machine)
    chosen, said = machine.choose()
    assert chosen == "dev"
    assert words in said
    assert "type: make up" in said
    assert len(said.splitlines()) == 1


def test_a_wish_that_is_none_is_refused(tmp_path: Path):
    done = subprocess.run(["/bin/sh", SCRIPT, "tpu"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "auto, cpu or gpu" in done.stderr


def pins(name: str) -> dict[str, set[str]]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert "http://" not in text
    assert "https://" not in text
    found: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


def test_both_environments_are_the_same_but_for_tensorflow():
    cpu, gpu = pins("dev"), pins("dev-gpu")
    assert "tensorflow-cpu" not in gpu
    assert gpu["tensorflow"] == cpu["tensorflow"] == cpu["tensorflow-cpu"]
    assert {name: gpu.get(name) for name in cpu if name != "tensorflow-cpu"} == {
        name: versions for name, versions in cpu.items() if name != "tensorflow-cpu"
    }
    assert {name for name in gpu.keys() - cpu.keys() if not name.startswith("nvidia-")} == set()
    assert pins("gpu").items() <= gpu.items()


def test_demo_and_up_look_for_a_gpu_and_tests_do_not():
    needs = dict(re.findall(r"^([a-z-]+):([^#\n]*)", MAKEFILE, re.MULTILINE))
    assert {name for name, needed in needs.items() if "machine" in needed.split()} == {"demo", "up"}
    assert "dev-gpu" in needs["gpu-check"] + MAKEFILE.partition("gpu-check:")[2]
    assert "gpu-check" not in needs["test"]
