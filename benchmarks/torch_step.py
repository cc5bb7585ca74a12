"""The same step in PyTorch, channels last: a contender of `benchmarks.engine` for an interpreter that has it.

Needs PyTorch and NumPy only, and nothing of Atelier: `PYTHON torch_step.py FOLDER`. It reads and answers as
`benchmarks.contenders` does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch.nn import functional

BLOCKS = (2, 2, 4, 4, 2)
MEANS_BGR = (103.939, 116.779, 123.68)


def losses(folder: Path) -> Iterator[float]:
    """Yield the loss of each step of Gatys' optimisation with Adam on the pixels."""
    data = np.load(folder / "torch.npz")

    def laid_out(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    layers = [
        (
            torch.from_numpy(data[f"kernel{number}"])
            .permute(3, 2, 0, 1)
            .contiguous(memory_format=torch.channels_last),
            torch.from_numpy(data[f"bias{number}"]),
        )
        for number in range(sum(BLOCKS))
    ]
    means = torch.tensor(MEANS_BGR).reshape(1, 3, 1, 1)

    def seen(picture: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        grams, activation, number = [], picture.flip(1) * 255.0 - means, 0
        for block, count in enumerate(BLOCKS):
            if block:
                activation = functional.max_pool2d(activation, 2)
            for index in range(count):
                kernel, bias = layers[number]
                activation = functional.relu(functional.conv2d(activation, kernel, bias, padding=1))
                number += 1
                if index == 0:
                    flat = activation.permute(0, 2, 3, 1).reshape(-1, activation.shape[1])
                    grams.append(flat.T @ flat / flat.shape[0])
        return grams, activation

    with torch.no_grad():
        wanted_grams, _ = seen(laid_out(data["style"]))
        image = laid_out(data["content"])
        _, wanted_content = seen(image)
    image.requires_grad_()
    adam = torch.optim.Adam([image], lr=0.02, betas=(0.99, 0.999), eps=1e-1)
    while True:
        adam.zero_grad()
        grams, content = seen(image)
        style = sum(
            ((found - wanted) ** 2).mean() for found, wanted in zip(grams, wanted_grams, strict=True)
        ) / len(grams)
        loss = 1e4 * ((content - wanted_content) ** 2).mean() + 1e-2 * style
        loss.backward()
        adam.step()
        with torch.no_grad():
            image.clamp_(0, 1)
        yield float(loss)


def main(folder: str) -> None:
    """Answer every line until there is none."""
    steps = losses(Path(folder))
    for line in sys.stdin:
        seconds, value = [], 0.0
        for _ in range(int(line)):
            started = perf_counter()
            value = next(steps)
            seconds.append(perf_counter() - started)
        print(json.dumps({"seconds": seconds, "value": value}), flush=True)  # noqa: T201 - our protocol


if __name__ == "__main__":
    main(*sys.argv[1:])
