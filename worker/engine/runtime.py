"""The TensorFlow runtime: loading it quietly, the GPU that it must see, and the memory that it takes."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from shared.errors import GpuNotSeen

_GPU = "GPU:0"
#: TensorFlow 2.21 looks into the folder of every package with CUDA libraries but this one's, and uses no GPU
#: if one of them is missing. A library that is loaded already it need not find.
_OVERLOOKED = "nvidia/cusolver/lib/libcusolver.so.1[0-9]"


@contextlib.contextmanager
def native_messages_held() -> Iterator[None]:
    """Hold back what native code writes to standard error; if an exception leaves, write it after all.

    TensorFlow 2.21 greets on import before it has read TF_CPP_MIN_LOG_LEVEL, so the descriptor itself has to
    be turned aside. For the whole process: other threads' messages are held back too.
    """
    with tempfile.TemporaryFile() as held:
        standard_error = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(standard_error, held.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


def load_overlooked_libraries(places: Iterable[str] | None = None) -> list[Path]:
    """Load the CUDA library that TensorFlow would not find, and return what was loaded.

    To be called before TensorFlow looks for devices. `places` are the folders of Python's packages; the
    default is where this process looks for modules. One that cannot be loaded is left to TensorFlow, which
    then sees no GPU: `require_gpu` tells.
    """
    loaded = []
    for place in dict.fromkeys(sys.path if places is None else places):
        for library in sorted(Path(place or ".").glob(_OVERLOOKED)):
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(library))
                loaded.append(library)
    return loaded


def require_gpu(device: str) -> None:
    """Make sure that TensorFlow sees the GPU that is called `device`; it would compute on the CPU else.

    Raises:
        GpuNotSeen: when it sees none.
    """
    import tensorflow as tf  # here: whoever holds its messages back has not loaded it yet

    if not tf.config.list_physical_devices("GPU"):
        raise GpuNotSeen(
            f"the NVIDIA driver lists {device}, but TensorFlow {tf.__version__} sees no GPU; "
            f"'atelier-worker check' tells what is missing"
        )


def configure_tensorflow() -> None:
    """Make TensorFlow deterministic and let it take GPU memory as needed, for the whole process."""
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    for device in tf.config.list_physical_devices("GPU"):
        # Fails once a device is in use; then it was set before, or it is too late for it.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(device, True)


def has_gpu() -> bool:
    """Whether TensorFlow computes on a GPU; it takes its devices into use if it has not yet."""
    import tensorflow as tf  # here: whoever holds its messages back has not loaded it yet

    return bool(tf.config.list_logical_devices("GPU"))


def gpu_peak_bytes() -> int | None:
    """Return the most memory that was in use since the last `forget_gpu_peak`; None without a GPU."""
    import tensorflow as tf

    if not has_gpu():
        return None
    return int(tf.config.experimental.get_memory_info(_GPU)["peak"])


def forget_gpu_peak() -> None:
    """Let the peak begin anew at what is in use now: the network's weights."""
    import tensorflow as tf

    if has_gpu():
        tf.config.experimental.reset_memory_stats(_GPU)


def tell_tensorflow() -> None:
    """Load TensorFlow and write what it sees to standard output, as JSON: its version, CUDA's, and GPUs."""
    load_overlooked_libraries()
    import tensorflow as tf

    cuda_version = tf.sysconfig.get_build_info().get("cuda_version")
    gpus = len(tf.config.list_physical_devices("GPU"))
    print(json.dumps({"version": tf.__version__, "cuda_version": cuda_version, "gpus": gpus}))  # noqa: T201


if __name__ == "__main__":
    tell_tensorflow()
