"""The convolutions of VGG19 (Simonyan & Zisserman 2015, configuration E) as a table; knows no TensorFlow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Layer name → (kernel [3, 3, in, out], bias [out]), float32, in network order.
Convolutions = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]

_BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))


def _table() -> dict[str, tuple[int, int]]:
    table: dict[str, tuple[int, int]] = {}
    channels_in = 3
    for block, (count, channels_out) in enumerate(_BLOCKS, start=1):
        for index in range(1, count + 1):
            table[f"block{block}_conv{index}"] = (channels_in, channels_out)
            channels_in = channels_out
    return table


#: Name of each 3×3 convolution → (channels in, channels out), in network order; names as Keras has them.
CONVOLUTIONS = _table()


def layers_up_to(deepest: str) -> tuple[str, ...]:
    """Return the names of all convolutions from the picture up to and including `deepest`."""
    names = tuple(CONVOLUTIONS)
    return names[: names.index(deepest) + 1]


def kernel_shape(layer: str) -> tuple[int, int, int, int]:
    """Return the shape (height, width, channels in, channels out) of a layer's kernel."""
    return (3, 3, *CONVOLUTIONS[layer])


def follows_pooling(layer: str) -> bool:
    """Tell whether a 2×2 max pooling lies directly before this convolution."""
    return layer.endswith("_conv1") and layer != "block1_conv1"
