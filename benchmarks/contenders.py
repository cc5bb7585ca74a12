"""One contender of `benchmarks.engine` as a process: takes as many steps as a line of its input says.

`python -m benchmarks.contenders NAME FOLDER SIZE` with a name of `CONTENDERS`; FOLDER is what
`benchmarks.engine` has laid out, SIZE the long side of its pictures in px. Each answer is a line of JSON: the
seconds of every step, and the value of the last one, which is the loss as a rule.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.engine.state import Step

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
#: Side of the square matrices whose product gives the rate of the machine, in numbers.
PRODUCT_SIDE = 2048
#: Steps of the jobs that are measured as a whole.
JOB_STEPS = 40


def engine(folder: Path, size: int) -> Iterator[float]:
    """Yield the loss of each step of our own engine."""
    for step in _stylizer(folder)(size):
        yield 0.0 if step.losses is None else step.losses.total


def new_sizes(folder: Path, size: int) -> Iterator[float]:
    """Yield how many seconds the first step at a new size took beyond a usual one at that size."""
    stylize = _stylizer(folder)
    for number in count():
        first, *usual = (step.seconds for step in islice(stylize(size - 4 * number), 6))
        yield first - median(usual)


def jobs(folder: Path, size: int) -> Iterator[float]:
    """Yield the last loss of whole jobs, of which each fetches its last picture."""
    stylize = _stylizer(folder)
    while True:
        *_, last = islice(stylize(size), JOB_STEPS)
        last.image()
        yield 0.0 if last.losses is None else last.losses.total


def _stylizer(folder: Path) -> Callable[[int], Iterator[Step]]:
    from shared.options import StyleOptions
    from worker.engine.engine import StyleEngine
    from worker.engine.weights.keras_file import read_convolutions
    from worker.engine.weights.weights import Weights

    own = StyleEngine(Weights.of(read_convolutions(folder / "weights.h5"), name="file"))
    content, style = ((folder / f"{part}.png").read_bytes() for part in ("content", "style"))
    return lambda size: own.stylize(content, style, StyleOptions(size=size, steps=2000))


def article(folder: Path, size: int) -> Iterator[float]:  # noqa: ARG001 (the pictures have that size)
    """Yield the loss of each step of the article's loop: eager, with a new Adam at every step."""
    import tensorflow as tf

    from worker.engine.methods.classic import CONTENT_LAYER, STYLE_LAYERS
    from worker.engine.weights.keras_file import read_convolutions

    network = tf.keras.applications.VGG19(include_top=False, weights=None)
    for layer, kernel_and_bias in read_convolutions(folder / "weights.h5").items():
        network.get_layer(layer).set_weights(kernel_and_bias)
    layers = [*STYLE_LAYERS, CONTENT_LAYER]
    extractor = tf.keras.Model(network.inputs, [network.get_layer(layer).output for layer in layers])
    extractor.trainable = False

    def seen(picture: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        *found, content = extractor(tf.keras.applications.vgg19.preprocess_input(picture * 255.0))
        grams = []
        for activation in found:
            products = tf.linalg.einsum("bijc,bijd->bcd", activation, activation)
            shape = tf.shape(activation)
            grams.append(products / tf.cast(shape[1] * shape[2], tf.float32))
        return grams, content

    def read(part: str) -> tf.Tensor:
        picture = tf.image.decode_image(tf.io.read_file(str(folder / f"{part}.png")), channels=3)
        return tf.image.convert_image_dtype(picture, tf.float32)[tf.newaxis]

    wanted_grams, _ = seen(read("style"))
    _, wanted_content = seen(read("content"))
    image = tf.Variable(read("content"))
    while True:
        adam = tf.optimizers.Adam(learning_rate=0.02, beta_1=0.99, epsilon=1e-1)
        with tf.GradientTape() as tape:
            grams, content = seen(image)
            style_loss = tf.add_n(
                [
                    tf.reduce_mean((found - wanted) ** 2)
                    for found, wanted in zip(grams, wanted_grams, strict=True)
                ]
            )
            loss = 1e4 * tf.reduce_mean((content - wanted_content) ** 2) + 1e-2 / len(grams) * style_loss
        adam.apply_gradients([(tape.gradient(loss, image), image)])
        image.assign(tf.clip_by_value(image, 0.0, 1.0))
        yield float(loss)


def products(folder: Path, size: int) -> Iterator[float]:  # noqa: ARG001
    """Yield the sum over a product of two float32 matrices, again and again."""
    import tensorflow as tf

    left, right = (tf.random.stateless_uniform([PRODUCT_SIDE, PRODUCT_SIDE], [1, seed]) for seed in (1, 2))
    while True:
        yield float(tf.matmul(left, right)[0, 0])


CONTENDERS: dict[str, Callable[[Path, int], Iterator[float]]] = {
    "engine": engine,
    "new-sizes": new_sizes,
    "jobs": jobs,
    "article": article,
    "products": products,
}


def main(name: str, folder: str, size: str) -> None:
    """Answer every line until there is none."""
    steps = CONTENDERS[name](Path(folder), int(size))
    for line in sys.stdin:
        seconds, value = [], 0.0
        for _ in range(int(line)):
            started = perf_counter()
            value = next(steps)
            seconds.append(perf_counter() - started)
        print(json.dumps({"seconds": seconds, "value": value}), flush=True)  # noqa: T201 - our protocol


if __name__ == "__main__":
    main(*sys.argv[1:])
