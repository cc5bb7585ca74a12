"""Prometheus' own tool, which judges scrapes and rules."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def find_promtool() -> str:
    """Return promtool's own path; where there is none the test is skipped, with CI set it fails."""
    path = shutil.which("promtool")
    if path is None:
        assert not os.environ.get("CI"), "there is no promtool: metrics and alerts cannot be judged"
        pytest.skip("there is no promtool; with CI set this is a failure")
    return path


def promtool(*words: str | Path, said: bytes = b"") -> None:
    """Run promtool with something on its standard input; what it finds fails the test."""
    done = subprocess.run([find_promtool(), *map(str, words)], input=said, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
