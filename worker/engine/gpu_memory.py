"""How much memory TensorFlow has needed on the GPU; a CPU's is the machine's, and is not counted."""

from __future__ import annotations

import tensorflow as tf

_GPU = "GPU:0"


def gpu_peak_bytes() -> int | None:
    """Return the most memory that was in use since the last `forget_gpu_peak`; None without a GPU."""
    if not tf.config.list_logical_devices("GPU"):
        return None
    return int(tf.config.experimental.get_memory_info(_GPU)["peak"])


def forget_gpu_peak() -> None:
    """Let the peak begin anew at what is in use now: the network's weights."""
    if tf.config.list_logical_devices("GPU"):
        tf.config.experimental.reset_memory_stats(_GPU)
