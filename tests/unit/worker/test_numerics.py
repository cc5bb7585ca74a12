"""What nodes say of how they compute: whatever changes the bytes makes another text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shared.options import Method
from worker.devices import CPU, Device
from worker.numerics import Processor, installed_version, read_numerics, read_processor

XEON = Processor("Intel Xeon", "AVX-512", 2, uses_one_dnn=True)
H200 = Device(0, "NVIDIA H200")
VERSIONS = {
    "tensorflow-cpu": "2.21.0",
    "onnxruntime": "1.27.0",
    "pillow": "12.0.0",
    "nvidia-cudnn-cu12": "9.28.0.42",
    "nvidia-cublas-cu12": "12.9.3.13",
}


def numerics(
    method: Method = Method.GATYS,
    device: Device = CPU,
    *,
    processor: Processor = XEON,
    environ: dict[str, str] | None = None,
    installed: Callable[[str], str | None] = VERSIONS.get,
    fast_model: str = "magenta-int8",
) -> str:
    told = read_numerics(
        [method],
        device,
        fast_model=fast_model,
        processor=processor,
        environ=environ or {},
        installed=installed,
    )
    assert list(told) == [method.value]
    return told[method.value]


def test_what_is_said():
    assert numerics() == (
        "cpu (Intel Xeon, AVX-512, 2 threads); TensorFlow 2.21.0; oneDNN; deterministic; Pillow 12.0.0"
    )
    assert numerics(device=H200) == (
        "cuda (NVIDIA H200); TensorFlow 2.21.0; cuDNN 9.28.0.42; cuBLAS 12.9.3.13; TF32; deterministic; "
        "Pillow 12.0.0"
    )
    assert numerics(Method.FAST) == "cpu (Intel Xeon, AVX-512); onnxruntime 1.27.0; Pillow 12.0.0"


@pytest.mark.parametrize(
    "other",
    [
        {"device": H200},
        {"processor": replace(XEON, threads=4)},
        {"processor": replace(XEON, instructions="AVX2")},
        {"processor": replace(XEON, name="AMD EPYC")},
        {"processor": replace(XEON, uses_one_dnn=False)},
        {"environ": {"TF_ENABLE_ONEDNN_OPTS": "0"}},
        {"installed": {**VERSIONS, "tensorflow-cpu": "2.22.0"}.get},
        {"installed": {**VERSIONS, "pillow": "12.1.0"}.get},
    ],
)
def test_what_decides_the_bytes_on_a_cpu_makes_another_text(other):
    assert numerics(**other) != numerics()


@pytest.mark.parametrize(
    "other",
    [
        {"device": Device(0, "NVIDIA L4")},
        {"environ": {"NVIDIA_TF32_OVERRIDE": "0"}},
        {"installed": {**VERSIONS, "nvidia-cudnn-cu12": "9.29"}.get},
        {"installed": {**VERSIONS, "nvidia-cublas-cu12": None}.get},
    ],
)
def test_what_decides_them_on_a_gpu_does_too(other):
    assert numerics(**{"device": H200, **other}) != numerics(device=H200)


def test_cards_of_one_kind_and_their_machines_are_alike():
    second = Device(7, "NVIDIA H200", nodes=3)
    assert numerics(device=second, processor=replace(XEON, threads=64)) == numerics(device=H200)


def test_the_fast_method_computes_on_the_cpu_wherever_and_its_threads_decide_nothing():
    alike = [numerics(Method.FAST, device) for device in (CPU, H200)]
    assert len({*alike, numerics(Method.FAST, processor=replace(XEON, threads=9))}) == 1
    assert "TensorFlow" in numerics(Method.FAST, fast_model="saved-model")


def test_a_node_says_it_of_each_method_it_serves():
    told = read_numerics(list(Method), CPU, fast_model="magenta-int8", processor=XEON)
    assert set(told) == {"gatys", "fast"}
    assert (
        f"TensorFlow {installed_version('tensorflow-cpu') or installed_version('tensorflow')}"
        in told["gatys"]
    )
    assert "?" not in "".join(told.values())


def test_the_processor_is_read(tmp_path: Path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Intel(R) Xeon(R)  \nflags\t\t: fpu avx avx2 avx512f\n")
    skylake = Processor("Intel(R) Xeon(R)", "AVX-512", 3, uses_one_dnn=False)
    assert read_processor(info, environ={}, count=3) == skylake
    info.write_text("Features\t: fp asimd\n")
    assert read_processor(info, environ={}, count=1).instructions == "NEON"
    # TensorFlow reads this, too.
    assert read_processor(info, environ={"TF_NUM_INTRAOP_THREADS": "5"}, count=3).threads == 5
    assert (
        read_processor(tmp_path / "none", environ={}, count=1).words(with_threads=True).endswith("1 thread")
    )


@pytest.mark.parametrize(
    ("told", "uses_one_dnn"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_vnni\n", True),
        ("flags\t\t: fpu avx2 avx_vnni\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("Features\t: asimd sve\nCPU part\t: 0xd40\n", True),
        ("Features\t: asimd sve\nCPU part\t: 0xd4f\n", False),
    ],
)
def test_it_tells_whether_tensorflow_uses_one_dnn_by_itself(tmp_path: Path, told: str, uses_one_dnn: bool):
    info = tmp_path / "cpuinfo"
    info.write_text(told)
    assert read_processor(info, environ={}, count=1).uses_one_dnn is uses_one_dnn


@pytest.mark.parametrize("asked", ["0", "false", "False", "1", "true", "no", "off", "", None])
def test_it_is_said_as_tensorflow_takes_what_it_is_asked_for(asked: str | None):
    environ = {} if asked is None else {"TF_ENABLE_ONEDNN_OPTS": asked}
    known = {"0": False, "false": False, "1": True, "true": True}
    for by_itself in (True, False):
        said = numerics(processor=replace(XEON, uses_one_dnn=by_itself), environ=environ)
        assert ("; oneDNN;" in said) is known.get((asked or "").lower(), by_itself)
        assert ("without oneDNN" in said) is not known.get((asked or "").lower(), by_itself)


def test_this_machine_can_be_asked():
    assert read_processor().threads >= 1
