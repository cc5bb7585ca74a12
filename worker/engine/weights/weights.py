"""The weights of the network in host memory, with the name that stands wherever a result stands."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from shared.protocol import UNTRAINED
from worker.engine.vgg19 import Convolutions
from worker.engine.weights.keras_file import read_convolutions
from worker.engine.weights.source import WeightsChoice
from worker.engine.weights.untrained import untrained_convolutions


@dataclass(frozen=True)
class Weights:
    """The convolutions of one VGG19, what they are called, and the SHA-256 (hex) over their bytes."""

    name: Literal["imagenet", "file", "untrained"]
    sha256: str
    convolutions: Convolutions
    #: The whole of what people have to know of them, for the log and `/workers`.
    notice: str | None = None

    @property
    def mark(self) -> str | None:
        """What is to be said of them wherever a result is shown, in a few words; nothing for trained ones."""
        return None if self.is_trained else UNTRAINED

    @property
    def is_trained(self) -> bool:
        """Whether the network has learnt to see; a file that somebody names is taken to hold such a one."""
        return self.name != "untrained"

    @classmethod
    def of(
        cls,
        convolutions: Convolutions,
        *,
        name: Literal["imagenet", "file", "untrained"],
        notice: str | None = None,
    ) -> Weights:
        """Return weights with their digest, which is taken over little-endian float32 in C order."""
        digest = hashlib.sha256()
        for kernel, bias in convolutions.values():
            digest.update(np.ascontiguousarray(kernel, "<f4").tobytes())
            digest.update(np.ascontiguousarray(bias, "<f4").tobytes())
        return cls(name, digest.hexdigest(), convolutions, notice)


def load_weights(choice: WeightsChoice, cache_dir: Path) -> Weights:
    """Read or build the weights that were chosen; `cache_dir` keeps the untrained ones.

    Raises:
        WeightsUnavailable: when the chosen file is no longer there.
        WeightsInvalid: when it does not hold a VGG19.
    """
    if choice.path is None:
        convolutions = untrained_convolutions(cache_dir)
    else:
        convolutions = read_convolutions(choice.path)
    return Weights.of(convolutions, name=choice.kind, notice=choice.notice)
