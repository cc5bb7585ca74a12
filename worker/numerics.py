"""Numerics: what decides the bytes of a result beside the job, the weights and the engine's version.

The kind of device and the libraries that compute on it. On a CPU also the number of threads: sums are split
among them, and floats that are added in another order give other last bits, which a hundred steps spread over
the picture. Told without loading any of the libraries, which a node's parent must not.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from shared.options import Method
from worker.devices import Device

_CPU_INFO = Path("/proc/cpuinfo")
_MODEL = re.compile(r"^model name\s*:\s*(.+?)\s*$", re.MULTILINE)
_FLAGS = re.compile(r"^(?:flags|Features)\s*:\s*(.+)$", re.MULTILINE)
#: Which instructions the kernels choose among, the best first.
_INSTRUCTIONS = (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("avx", "AVX"), ("sve", "SVE"), ("asimd", "NEON"))
#: Where TensorFlow computes with oneDNN unless it is told something else: processors with one of these flags,
#: and this part of ARM's, Neoverse V1.
_ONE_DNN_FLAGS = frozenset({"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"})
_ONE_DNN_PART = re.compile(r"^CPU part\s*:\s*0xd40$", re.MULTILINE)
_TENSORFLOW = ("tensorflow", "tensorflow-cpu")
#: Of CUDA's libraries those that compute; one that is no Python package is the system's.
_CUDNN, _CUBLAS = "nvidia-cudnn-cu12", "nvidia-cublas-cu12"
#: What TensorFlow takes for a yes or a no; by anything else it is not moved.
_YES, _NO = ("1", "true"), ("0", "false")


@dataclass(frozen=True)
class Processor:
    """The processor: its name, the best instructions that kernels use, and the threads that share a sum.

    `uses_one_dnn` is what TensorFlow decides by itself.
    """

    name: str
    instructions: str
    threads: int
    uses_one_dnn: bool

    def words(self, *, with_threads: bool) -> str:
        """Return it in words: 'Intel Xeon, AVX-512, 2 threads'."""
        threads = f"{self.threads} thread" + ("s" if self.threads > 1 else "") if with_threads else ""
        return ", ".join(filter(None, (self.name, self.instructions, threads)))


def read_processor(
    info: Path = _CPU_INFO, *, environ: Mapping[str, str] = os.environ, count: int | None = None
) -> Processor:
    """Return the processor of this machine, and how many threads TensorFlow splits a sum among here."""
    text = ""
    with suppress(OSError):
        text = info.read_text(errors="replace")
    model, flags = _MODEL.search(text), _FLAGS.search(text)
    found = set(flags[1].split()) if flags else set()
    instructions = next((name for flag, name in _INSTRUCTIONS if flag in found), "")
    asked = environ.get("TF_NUM_INTRAOP_THREADS", "")
    threads = int(asked) if asked.isascii() and asked.isdigit() and int(asked) else count or _schedulable()
    uses_one_dnn = bool(found & _ONE_DNN_FLAGS or _ONE_DNN_PART.search(text))
    return Processor(model[1] if model else platform.machine(), instructions, threads, uses_one_dnn)


def _schedulable() -> int:
    # As TensorFlow counts them: a container's share of their time does not change that.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed_version(package: str) -> str | None:
    """Return the version of a Python package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def read_numerics(
    methods: Collection[Method],
    device: Device,
    *,
    fast_model: str,
    processor: Processor | None = None,
    environ: Mapping[str, str] = os.environ,
    installed: Callable[[str], str | None] = installed_version,
) -> dict[str, str]:
    """Return by method, of those that a node serves, the numerics of its results.

    Two nodes of equal numerics make the same bytes of a job; of others nobody knows.

    Args:
        methods: Those that it serves.
        device: What the optimisation runs on; the fast method runs on the CPU wherever that is.
        fast_model: What the model of the fast method is called.
        processor: This machine's, unless it is another.
        environ: Variables that TensorFlow and CUDA read.
        installed: Returns the version of a Python package.
    """
    processor = processor or read_processor(environ=environ)
    decoder = f"Pillow {installed('pillow') or '?'}"
    tensorflow = f"TensorFlow {next(filter(None, map(installed, _TENSORFLOW)), '?')}"
    one_dnn = "oneDNN" if _uses_one_dnn(processor, environ) else "without oneDNN"
    on_cpu = [f"cpu ({processor.words(with_threads=True)})", tensorflow, one_dnn, "deterministic", decoder]
    told = {}
    if Method.GATYS in methods:
        of_gatys = on_cpu
        if device.number is not None:
            tf32 = "without TF32" if environ.get("NVIDIA_TF32_OVERRIDE") == "0" else "TF32"
            of_gatys = [
                f"cuda ({device.name})",
                tensorflow,
                f"cuDNN {installed(_CUDNN) or 'of the system'}",
                f"cuBLAS {installed(_CUBLAS) or 'of the system'}",
                *(tf32, "deterministic", decoder),
            ]
        told[Method.GATYS.value] = "; ".join(of_gatys)
    if Method.FAST in methods:
        of_fast = on_cpu
        if fast_model == "magenta-int8":
            runtime = f"onnxruntime {installed('onnxruntime') or '?'}"
            of_fast = [f"cpu ({processor.words(with_threads=False)})", runtime, decoder]
        told[Method.FAST.value] = "; ".join(of_fast)
    return told


def _uses_one_dnn(processor: Processor, environ: Mapping[str, str]) -> bool:
    asked = environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower()
    return asked in _YES if asked in (*_YES, *_NO) else processor.uses_one_dnn
