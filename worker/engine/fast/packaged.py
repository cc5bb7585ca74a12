"""The packaged model: two ONNX graphs with weights of 8 bits, run in floats on the CPU by onnxruntime."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.errors import EngineFailed, FastModelUnavailable, OutOfMemory
from shared.memory import FAST_BYTES_PER_PIXEL
from worker.engine.fast.graph import free_size, without_rounding
from worker.engine.fast.model import Picture, Windows, pad_to_fit, style_windows
from worker.engine.fast.source import PREDICTOR, TRANSFORMER, FastChoice

try:
    import onnxruntime
except ImportError as error:
    raise FastModelUnavailable(f"onnxruntime cannot be loaded: {error}") from error

# The names of the graphs' inputs.
_STYLE, _CONTENT, _VECTOR = "style_image", "content_image", "mobilenet_conv/Conv/BiasAdd"
#: Only what stops the work is worth a line on standard error: what else it has to say, nobody can mend.
_ERRORS_ONLY = 3


class PackagedModel:
    """Magenta's arbitrary stylisation, with the quantised weights of its TF Lite release."""

    #: Measured, docs/fast.md; the runtime frees a tensor as soon as nothing needs it any more.
    bytes_per_pixel = FAST_BYTES_PER_PIXEL

    def __init__(self, choice: FastChoice, *, threads: int) -> None:
        self.name: str = choice.name
        self.sha256 = choice.sha256
        try:
            predictor, transformer = (
                (choice.folder / name).read_bytes() for name in (PREDICTOR, TRANSFORMER)
            )
        except OSError as error:
            raise FastModelUnavailable(f"{error.filename} cannot be read: {error.strerror}") from error
        self._predictor = _session(without_rounding(predictor), threads)
        self._transformer = _session(without_rounding(free_size(transformer)), threads)

    def stylize(self, content: Picture, style: Windows, strength: float) -> Picture:
        """Return the content in a style between its own and that of the style picture; see `FastModel`."""
        height, width = content.shape[:2]
        vector = self._style_vector(style)
        if strength < 1:
            own = self._style_vector(style_windows(content))
            vector = own + np.float32(strength) * (vector - own)
        picture = _run(self._transformer, {_CONTENT: pad_to_fit(content)[np.newaxis], _VECTOR: vector})
        return picture[0, :height, :width]

    def _style_vector(self, windows: Windows) -> NDArray[np.float32]:
        """Return the 100 numbers, [1, 1, 1, 100], that stand for a style: the mean over its windows."""
        vectors = [_run(self._predictor, {_STYLE: window[np.newaxis]}) for window in windows]
        mean: NDArray[np.float32] = np.mean(vectors, axis=0, dtype=np.float32)
        return mean


def _session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A thread that waits lets others work: a draft is made beside long jobs, and this makes it faster there.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The weights become floats once, when the model is loaded, and not in every pass.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    # Both keep what the largest picture took, for ever and for each size.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = _ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own have no common base
        raise FastModelUnavailable(
            f"onnxruntime {onnxruntime.__version__} cannot load the model: {_first_line(error)}"
        ) from error


def _run(session: onnxruntime.InferenceSession, inputs: dict[str, Picture]) -> NDArray[np.float32]:
    try:
        (output,) = session.run(None, inputs)
    except Exception as error:
        said = _first_line(error)
        if isinstance(error, MemoryError) or "bad_alloc" in said or "allocate" in said.lower():
            raise OutOfMemory(f"the picture's pass through the network: {said}") from error
        raise EngineFailed(f"onnxruntime: {said}") from error
    result: NDArray[np.float32] = output
    return result


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
