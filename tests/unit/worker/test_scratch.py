"""A node leaves nothing in the folder for temporary files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from worker.scratch import Scratch

_HOLDER = """
import sys, signal
from pathlib import Path
from worker.scratch import Scratch
scratch = Scratch.make(Path(sys.argv[1]))
(scratch.path / "left").write_text("x")
print(scratch.path, flush=True)
signal.pause()
"""


def test_the_folder_goes_with_its_node(tmp_path):
    scratch = Scratch.make(tmp_path)
    (scratch.path / "a").mkdir()
    (scratch.path / "a/b").write_text("x")
    assert list(tmp_path.iterdir()) == [scratch.path]
    scratch.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_a_child_left_goes_when_the_next_one_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    scratch = Scratch.make(tmp_path)
    scratch.use("parent")
    (scratch.path / "parent/stays").write_text("x")
    for _ in range(2):
        scratch.use("child")
        assert list((scratch.path / "child").iterdir()) == []
        os.close(tempfile.mkstemp()[0])
        assert len(list((scratch.path / "child").iterdir())) == 1
    assert (scratch.path / "parent/stays").exists()
    assert os.environ["TMPDIR"] == str(scratch.path / "child")
    scratch.remove()


def test_the_folder_of_a_killed_node_goes_at_the_next_start_and_a_living_ones_stays(tmp_path):
    holders = [
        subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    killed, living = (Path(holder.stdout.readline().strip()) for holder in holders)
    holders[0].kill()
    holders[0].communicate()
    other = tmp_path / "somebody-else"
    other.mkdir()
    scratch = Scratch.make(tmp_path)
    assert not killed.exists()
    assert (living / "left").exists()
    assert other.exists()
    holders[1].send_signal(signal.SIGKILL)
    holders[1].communicate()
    scratch.remove()
