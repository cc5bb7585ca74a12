"""The TensorFlow runtime: loading it quietly, and the memory that it takes on a GPU."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

_GPU = "GPU:0"


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


def gpu_peak_bytes() -> int | None:
    """Return the most memory that was in use since the last `forget_gpu_peak`; None without a GPU."""
    import tensorflow as tf  # here: whoever holds its messages back has not loaded it yet

    if not tf.config.list_logical_devices("GPU"):
        return None
    return int(tf.config.experimental.get_memory_info(_GPU)["peak"])


def forget_gpu_peak() -> None:
    """Let the peak begin anew at what is in use now: the network's weights."""
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        tf.config.experimental.reset_memory_stats(_GPU)
