"""The peak of the GPU's memory; there is no GPU where tests run, so only its absence is seen here."""

from __future__ import annotations

import tensorflow as tf

from worker.engine.runtime import forget_gpu_peak, gpu_peak_bytes


def test_without_a_gpu_there_is_no_peak_and_nothing_to_forget():
    forget_gpu_peak()
    if not tf.config.list_logical_devices("GPU"):
        assert gpu_peak_bytes() is None
    else:
        tf.zeros(1_000_000)
        assert gpu_peak_bytes() >= 4_000_000
