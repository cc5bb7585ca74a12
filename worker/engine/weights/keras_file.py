"""Reading VGG19's convolutions from the files that Keras writes, old and new, without Keras."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from shared.errors import WeightsInvalid, WeightsUnavailable
from worker.engine.vgg19 import CONVOLUTIONS, Convolutions, kernel_shape


def read_convolutions(path: Path) -> Convolutions:
    """Return all 16 convolutions of a file, float32, in network order; a classifier on top is passed over.

    Read are legacy ``.h5`` files (weights alone, or a whole model), which group by layer name, and the
    ``.weights.h5`` and ``.keras`` files of Keras 3, which number layers of a kind in network order.

    Raises:
        WeightsUnavailable: when the file cannot be read at all.
        WeightsInvalid: when it is of another kind, or a layer is missing, misshapen or not finite.
    """
    try:
        with h5py.File(_hdf5_of(path), "r") as file:
            groups = _layer_groups(file, path)
            return {layer: _convolution(group, layer, path) for layer, group in groups.items()}
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise WeightsUnavailable(f"the weights file {path} cannot be read: {error.strerror}") from error
    except (OSError, RuntimeError, KeyError, zipfile.BadZipFile) as error:
        raise WeightsInvalid(
            f"{path} is not a weights file that can be read (HDF5 or .keras): {error}"
        ) from error


def _hdf5_of(path: Path) -> io.BufferedIOBase:
    """Return the HDF5 part: the file itself, or the member of a ``.keras`` archive."""
    data = path.read_bytes()
    if not data.startswith(b"PK\x03\x04"):
        return io.BytesIO(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return io.BytesIO(archive.read("model.weights.h5"))


def _layer_groups(file: h5py.File, path: Path) -> dict[str, h5py.Group]:
    """Return the group of each convolution by its name in VGG19."""
    for place in ("/", "/model_weights", "/layers"):
        if place in file and set(CONVOLUTIONS) <= set(file[place]):
            return {layer: file[place][layer] for layer in CONVOLUTIONS}
    numbered = ["conv2d", *(f"conv2d_{index}" for index in range(1, len(CONVOLUTIONS)))]
    found = list(file["layers"]) if "layers" in file else list(file)
    if set(numbered) <= set(found):
        return {layer: file["layers"][name] for layer, name in zip(CONVOLUTIONS, numbered, strict=True)}
    listed = ", ".join(found[:8]) or "nothing"
    raise WeightsInvalid(
        f"{path} does not hold a VGG19: expected are the layers block1_conv1 to block5_conv4, "
        f"or conv2d to conv2d_15; found: {listed}{' …' if len(found) > 8 else ''}"
    )


def _convolution(
    group: h5py.Group, layer: str, path: Path
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return kernel and bias of one layer, told apart by rank: their names changed over time."""
    datasets: list[h5py.Dataset] = []
    group.visititems(lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None)
    kernel, bias = kernel_shape(layer), kernel_shape(layer)[-1:]
    shapes = sorted((tuple(dataset.shape) for dataset in datasets), key=len, reverse=True)
    if shapes != [kernel, bias]:
        found = " and ".join(str(list(shape)) for shape in shapes) or "nothing"
        raise WeightsInvalid(
            f"{path}: {layer} holds {found}; expected are a kernel {list(kernel)} and a bias {list(bias)}"
        )
    by_rank = {dataset.ndim: dataset for dataset in datasets}
    return _values(by_rank[4], layer, path), _values(by_rank[1], layer, path)


def _values(dataset: h5py.Dataset, layer: str, path: Path) -> NDArray[np.float32]:
    if dataset.dtype.kind != "f":
        raise WeightsInvalid(f"{path}: {layer} holds values of type {dataset.dtype}; expected is float32")
    values = np.asarray(dataset[()], dtype=np.float32)
    if not np.isfinite(values).all():
        raise WeightsInvalid(f"{path}: {layer} holds values that are not finite")
    return values
