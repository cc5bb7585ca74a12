"""Whether a process has ended, as another one on the same machine can tell."""

from __future__ import annotations

import subprocess
import sys

from shared.processes import is_gone, this_process
from tests.support.waiting import wait_until

_TELL = """
import sys
from shared.processes import this_process
print(this_process(), flush=True)
sys.stdin.read()
"""


def test_a_process_is_gone_once_it_has_ended_even_if_nobody_has_asked_for_its_code():
    other = subprocess.Popen(
        [sys.executable, "-c", _TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    told = other.stdout.readline().strip()
    assert told != this_process()
    assert not is_gone(told)
    other.stdin.close()
    assert other.stdout.read() == ""
    wait_until(lambda: is_gone(told), seconds=20)
    other.wait()
    other.stdout.close()
    assert is_gone(told)


def test_another_process_with_the_same_number_is_not_it():
    boot, namespace, pid, started = this_process().split(" ")
    assert not is_gone(this_process())
    assert is_gone(f"{boot} {namespace} {pid} {int(started) - 1}")


def test_of_another_machine_or_container_nothing_is_known():
    boot, namespace, _pid, _started = this_process().split(" ")
    assert not is_gone(f"other {namespace} 99999999 1")
    assert not is_gone(f"{boot} pid:[1] 99999999 1")
    assert is_gone(f"{boot} {namespace} 99999999 1")
    for text in (
        "",
        "a b c",
        f"{boot} {namespace} x 1",
        f"{boot} {namespace} ../x 1",
        f"{boot} {namespace} {'9' * 5000} 1",
    ):
        assert not is_gone(text)
