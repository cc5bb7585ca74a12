"""The short form of the chaos harness: every kind of fault once, and a planted bug that it must find."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.chaos.planted import find_plant
from tests.chaos.process import ROOT

# Serial: the oracle judges how soon what was killed is seen to, so these tests go before all others.
pytestmark = [pytest.mark.chaos, pytest.mark.serial]


def test_nothing_is_lost_whatever_dies(capsys: pytest.CaptureFixture[str]):
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "short"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    with capsys.disabled():
        # The command, with the seed that makes this very run again.
        print("\n" + done.stdout.partition("\n")[0])  # noqa: T201
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_planted_bug_is_found():
    assert find_plant("ack-before-commit") == ""
