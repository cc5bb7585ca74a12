"""The recipe that makes the environment for a GPU; Python and pip are stand-ins, which note their work."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Installed apart, after the others: one package of one author in it may be gone one day.
FAST = "requirements/fast.txt"
#: A Python that can make environments, which are copies of itself.
PYTHON = """#!/bin/sh
case "$*" in
    "-m venv --clear "*) rm -rf "$4"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python"; echo made >> log;;
    --version) echo "Python 3.12.0";;
esac
"""
#: A pip that installs nothing, and fails at what the file `broken` names.
PIP = """#!/bin/sh
for word; do
    case $word in
        requirements/*) echo "$word" >> log; [ "$word" = "$(cat broken)" ] && exit 1;;
    esac
done
exit 0
"""


class Checkout:
    """A folder with the recipes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "requirements").mkdir()
        for name in ("Makefile", "pyproject.toml", "requirements/choose.sh"):
            shutil.copy(ROOT / name, folder / name)
        for name in ("dev", "dev-gpu", "fast"):
            (folder / "requirements" / f"{name}.txt").touch()
        for name, script in (("python", PYTHON), ("pip", PIP)):
            (folder / name).write_text(script)
            (folder / name).chmod(0o755)
        self.break_at("")

    def break_at(self, file: str) -> None:
        (self.folder / "broken").write_text(file)

    def make(self, *words: str, code: int = 0, **environ: str) -> tuple[list[str], str]:
        """Return what was done, and what was said on standard error; `code` is how make must end."""
        log = self.folder / "log"
        log.write_text("")
        done = subprocess.run(
            ["make", *words, "PYTHON=./python", "PIP=./pip"],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return log.read_text().split(), done.stderr.strip()

    @property
    def kind(self) -> str:
        return (self.folder / ".venv" / ".atelier-requirements").read_text().strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_an_environment_for_the_cpu_is_made_once(checkout: Checkout):
    assert checkout.make("machine", "DEVICE=cpu") == (["made", "requirements/dev.txt", FAST], "")
    assert checkout.make("machine", "DEVICE=cpu") == ([], "")
    assert checkout.kind == "dev"


def test_a_gpu_gets_a_fresh_environment_and_keeps_it(checkout: Checkout):
    checkout.make("setup")
    (checkout.folder / ".venv" / "tensorflow-cpu").touch()
    done, _ = checkout.make("machine", "DEVICE=gpu")
    assert done == ["made", "requirements/dev-gpu.txt", FAST]
    assert not (checkout.folder / ".venv" / "tensorflow-cpu").exists()
    assert checkout.kind == "dev-gpu"
    # It works without a GPU, too; and other recipes install what is in it anew, not the other one over it.
    for words in (["machine", "DEVICE=gpu"], ["machine", "DEVICE=cpu"], ["setup"]):
        assert checkout.make(*words) == ([], "")
    (checkout.folder / ".venv" / ".atelier-setup").unlink()
    assert checkout.make("setup") == (["requirements/dev-gpu.txt", FAST], "")


def test_packages_that_cannot_be_had_leave_a_service_on_the_cpu_and_are_not_tried_every_time(
    checkout: Checkout,
):
    checkout.break_at("requirements/dev-gpu.txt")
    done, said = checkout.make("machine", "DEVICE=gpu")
    assert done == ["made", "requirements/dev-gpu.txt", "made", "requirements/dev.txt", FAST]
    assert "could not be installed, so the CPU is used; to try again: make up DEVICE=gpu" in said
    assert checkout.kind == "dev"
    # As on a machine whose driver lists one.
    (checkout.folder / "requirements" / "choose.sh").write_text("echo dev-gpu\n")
    done, said = checkout.make("machine")
    assert done == []
    assert len(said.splitlines()) == 1
    checkout.break_at("")
    assert checkout.make("machine", "DEVICE=gpu")[0] == ["made", "requirements/dev-gpu.txt", FAST]
    assert checkout.kind == "dev-gpu"


def test_without_the_packages_of_the_fast_method_everything_else_is_set_up(checkout: Checkout):
    checkout.break_at(FAST)
    done, said = checkout.make("setup")
    assert done == ["made", "requirements/dev.txt", FAST]
    assert len(said.splitlines()) == 1
    assert "method fast could not be installed; all else works" in said
    # It is not tried at every start, and it is when somebody asks for it.
    assert checkout.make("setup") == ([], "")
    checkout.break_at("")
    (checkout.folder / ".venv" / ".atelier-setup").unlink()
    assert checkout.make("setup") == (["requirements/dev.txt", FAST], "")


def test_in_continuous_integration_that_is_a_failure(checkout: Checkout):
    checkout.break_at(FAST)
    done, said = checkout.make("setup", code=2, CI="true")
    assert done == ["made", "requirements/dev.txt", FAST]
    assert "with CI set, that is a failure" in said
    assert not (checkout.folder / ".venv" / ".atelier-setup").exists()


def test_a_dry_run_changes_nothing(checkout: Checkout):
    checkout.make("setup")
    assert checkout.make("-n", "machine", "DEVICE=gpu") == ([], "")
    assert checkout.kind == "dev"
