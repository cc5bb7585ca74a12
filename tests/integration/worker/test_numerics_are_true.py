"""What a node says of oneDNN is what TensorFlow does on this machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from shared.options import Method
from worker.devices import CPU
from worker.numerics import read_numerics

pytestmark = pytest.mark.process

_NAME = "TF_ENABLE_ONEDNN_OPTS"
_ASK = "from tensorflow.python.util import _pywrap_util_port as port; print(port.IsMklEnabled())"


@pytest.mark.parametrize("asked", [None, "0", "1", "no"])
def test_tensorflow_computes_with_one_dnn_where_it_is_said(asked: str | None):
    environ = {name: value for name, value in os.environ.items() if name != _NAME}
    if asked is not None:
        environ[_NAME] = asked
    done = subprocess.run(
        [sys.executable, "-c", _ASK], env=environ, capture_output=True, text=True, check=True
    )
    said = read_numerics([Method.GATYS], CPU, fast_model="magenta-int8", environ=environ)[Method.GATYS]
    assert ("without oneDNN" not in said) is (done.stdout.strip() == "True")
