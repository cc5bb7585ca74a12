"""A weight file of VGG19's shape whose numbers are the same on every machine."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from worker.engine.vgg19 import CONVOLUTIONS, kernel_shape


def write_weights_file(path: Path) -> Path:
    """Write the file, about 80 MB, in the form that Keras published; return its path.

    Its numbers come from the generator's bits by multiplication alone, with no function of the C library, so
    that the digest of the weights is the same on every processor. Thresholds are as in
    `tests/unit/worker/engine/conftest.py`.
    """
    generator = np.random.Generator(np.random.PCG64(19))
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in CONVOLUTIONS]
        for name, (channels_in, channels_out) in CONVOLUTIONS.items():
            reach = np.sqrt(0.75 / (9 * channels_in))
            kernel = (generator.random(kernel_shape(name), dtype=np.float32) * 2 - 1) * np.float32(reach)
            bias = generator.random(channels_out, dtype=np.float32) * 100 + 100
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}_{part}_1:0".encode() for part in ("W", "b")]
            group.create_dataset(f"{name}_W_1:0", data=kernel)
            group.create_dataset(f"{name}_b_1:0", data=bias)
    return path
