"""A SavedModel of the signature that the fast method knows, small and made by TensorFlow, and its archive."""

from __future__ import annotations

import tarfile
from pathlib import Path


def write_saved_model(folder: Path) -> Path:
    """Write a model called as ``model(content, style)[0]``, which moves the content's mean to the style's.

    As with the published one, sides that are no multiple of 4 come back larger.
    """
    import tensorflow as tf

    picture = tf.TensorSpec([None, None, None, 3], tf.float32)

    class Stylisation(tf.Module):
        @tf.function(input_signature=[picture, picture])
        def __call__(self, content: tf.Tensor, style: tf.Tensor) -> tuple[tf.Tensor]:
            mean_of = tf.reduce_mean(style, [1, 2], keepdims=True)
            moved = content - tf.reduce_mean(content, [1, 2], keepdims=True) + mean_of
            below, right = (-tf.shape(content)[axis] % 4 for axis in (1, 2))
            return (tf.pad(moved, [[0, 0], [0, below], [0, right], [0, 0]]),)

    tf.saved_model.save(Stylisation(), str(folder))
    return folder


def pack(folder: Path, archive: Path, *, within: str = ".") -> Path:
    """Write a .tar.gz of a folder's content, at the archive's top or in a folder of it."""
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, arcname=within)
    return archive
