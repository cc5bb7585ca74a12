"""A GPU that TensorFlow does not see is told; tests hide GPUs, so it sees none here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import GpuNotSeen
from worker.engine.runtime import load_overlooked_libraries, require_gpu


def test_a_gpu_that_tensorflow_does_not_see_is_an_error_that_says_what_to_type():
    with pytest.raises(GpuNotSeen) as caught:
        require_gpu("cuda:0 (NVIDIA H200)")
    assert "driver lists cuda:0 (NVIDIA H200), but TensorFlow" in caught.value.detail
    assert "atelier-worker check" in caught.value.detail


def _package(place: Path, library: Path | None) -> Path:
    path = place / "nvidia" / "cusolver" / "lib" / "libcusolver.so.11"
    path.parent.mkdir(parents=True)
    if library is None:
        path.write_bytes(b"no library")
    else:
        shutil.copy(library, path)
    return path


def test_the_library_that_tensorflow_overlooks_is_loaded_from_where_it_lies(tmp_path: Path):
    some = next(Path(sys.executable).resolve().parents[1].glob("lib/python3*/lib-dynload/_json*.so"), None)
    if some is None:
        some = Path(__import__("_json").__file__)
    path = _package(tmp_path / "site", some)
    task = (
        "import sys; from worker.engine.runtime import load_overlooked_libraries; "
        "load_overlooked_libraries(sys.argv[1:]); print(open('/proc/self/maps').read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", task, str(tmp_path / "none"), str(path.parents[3])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(path) in done.stdout
    assert "tensorflow" not in done.stdout


def test_one_that_cannot_be_loaded_is_left_to_tensorflow_to_tell(tmp_path: Path):
    _package(tmp_path, None)
    assert load_overlooked_libraries([str(tmp_path), str(tmp_path / "none")]) == []
