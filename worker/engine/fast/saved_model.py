"""A SavedModel of the signature that the source article loads from TF Hub, run by TensorFlow."""

from __future__ import annotations

import numpy as np

from shared.errors import EngineFailed, FastModelUnavailable, OutOfMemory
from shared.memory import FAST_BYTES_PER_PIXEL_HEAVY
from worker.engine.fast.model import Picture, Windows, pad_to_fit, style_windows
from worker.engine.fast.source import FastChoice
from worker.engine.runtime import configure_tensorflow, native_messages_held


class SavedModel:
    """A model that is called as ``model(content, style)[0]``, both float32 [1, H, W, 3] in [0, 1]."""

    #: Reckoned, not measured: 32 channels of floats at full size, with some copies of them at a time.
    bytes_per_pixel = FAST_BYTES_PER_PIXEL_HEAVY

    def __init__(self, choice: FastChoice) -> None:
        self.name: str = choice.name
        self.sha256 = choice.sha256
        try:
            with native_messages_held():
                import tensorflow as tf

                configure_tensorflow()
                self._tensorflow = tf
                self._model = tf.saved_model.load(str(choice.folder))
        except ImportError as error:
            raise FastModelUnavailable(f"TensorFlow cannot be loaded: {error}") from error
        except Exception as error:  # a file that is none fails in many ways
            first_line = str(error).partition("\n")[0]
            raise FastModelUnavailable(f"{choice.folder} cannot be loaded: {first_line}") from error
        if not callable(self._model):
            raise FastModelUnavailable(
                f"{choice.folder} is a SavedModel, but not one that is called with content and style"
            )

    def stylize(self, content: Picture, style: Windows, strength: float) -> Picture:
        """Return the stylised picture; see `FastModel`.

        The model shows no style vector. So it sees the middle window of the style only, and a strength below
        1 blends two pictures: the content stylised by the style, and by itself.
        """
        styled = self._pass(content, style)
        if strength >= 1:
            return styled
        own = self._pass(content, style_windows(content))
        return own + np.float32(strength) * (styled - own)

    def _pass(self, content: Picture, style: Windows) -> Picture:
        tf = self._tensorflow
        height, width = content.shape[:2]
        try:
            outputs = self._model(
                tf.constant(pad_to_fit(content)[np.newaxis]), tf.constant(style[len(style) // 2][np.newaxis])
            )
            picture = np.array(outputs[0].numpy(), np.float32)
        except tf.errors.ResourceExhaustedError as error:
            first_line = str(error.message).partition("\n")[0]
            raise OutOfMemory(f"the picture's pass through the network: {first_line}") from error
        except Exception as error:
            raise EngineFailed(f"the SavedModel: {str(error).partition(chr(10))[0]}") from error
        if picture.ndim == 4:
            picture = picture[0]
        if (
            picture.ndim != 3
            or picture.shape[2] != 3
            or picture.shape[0] < height
            or picture.shape[1] < width
        ):
            raise EngineFailed(f"the SavedModel gave {list(picture.shape)} for {[height, width, 3]}")
        return np.clip(picture[:height, :width], 0.0, 1.0)
