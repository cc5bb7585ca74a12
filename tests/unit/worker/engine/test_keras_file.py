from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from shared.errors import WeightsInvalid, WeightsUnavailable
from worker.engine.vgg19 import CONVOLUTIONS
from worker.engine.weights.keras_file import read_convolutions
from worker.engine.weights.source import WeightsChoice, check_weights
from worker.engine.weights.weights import load_weights

# Keras 3.15 under numpy 2.4: its own affair.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


@pytest.fixture(scope="module")
def keras_model():
    import keras

    keras.utils.set_random_seed(5)
    return keras.applications.VGG19(weights=None, include_top=False, input_shape=(32, 32, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keras")


def _write_legacy(path: Path, values: dict[str, tuple[np.ndarray, np.ndarray]], *, pattern: str) -> None:
    """Write what Keras 1 and 2 wrote: a group a layer, with the names of its datasets in an attribute."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in ("input_1", *values, "block5_pool")]
        file.create_group("input_1").attrs["weight_names"] = np.array([])
        for layer, arrays in values.items():
            group = file.create_group(layer)
            names = [pattern.format(layer=layer, part=part) for part in ("W", "b")]
            if ":0" in pattern and "kernel" in pattern:
                names = [f"{layer}/kernel:0", f"{layer}/bias:0"]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, array in zip(names, arrays, strict=True):
                group.create_dataset(name, data=array)


@pytest.fixture(scope="module")
def values(keras_model) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {name: tuple(keras_model.get_layer(name).get_weights()) for name in CONVOLUTIONS}


def _assert_same(found, values):
    assert list(found) == list(CONVOLUTIONS)
    for layer, (kernel, bias) in values.items():
        np.testing.assert_array_equal(found[layer][0], kernel)
        np.testing.assert_array_equal(found[layer][1], bias)
        assert found[layer][0].dtype == np.float32


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", ["vgg.weights.h5", "vgg.keras", "vgg.h5"])
def test_files_that_keras_writes_today(keras_model, values, folder, name):
    path = folder / name
    if name == "vgg.weights.h5":
        keras_model.save_weights(path)
    else:
        keras_model.save(path)
    _assert_same(read_convolutions(path), values)
    path.unlink()


@pytest.mark.parametrize("pattern", ["{layer}_{part}_1:0", "kernel:0"], ids=["as published", "Keras 2"])
def test_legacy_files(values, folder, pattern):
    path = folder / "legacy.h5"
    _write_legacy(path, values, pattern=pattern)
    _assert_same(read_convolutions(path), values)


def test_a_classifier_on_top_is_passed_over(values, folder):
    path = folder / "top.h5"
    _write_legacy(path, values, pattern="{layer}_{part}_1:0")
    with h5py.File(path, "a") as file:
        file.create_dataset("fc1/fc1_W_1:0", data=np.zeros((4, 4), np.float32))
        file.create_dataset("predictions/predictions_b_1:0", data=np.zeros(4, np.float32))
    _assert_same(read_convolutions(path), values)


def test_the_same_values_have_the_same_digest_whatever_the_file(values, folder):
    for name, pattern in (("a.h5", "{layer}_{part}_1:0"), ("b.h5", "kernel:0")):
        _write_legacy(folder / name, values, pattern=pattern)
    a, b = (load_weights(WeightsChoice("file", folder / name), folder) for name in ("a.h5", "b.h5"))
    assert a.sha256 == b.sha256
    assert a.name == "file"
    assert len(a.sha256) == 64


@pytest.fixture
def small(folder, tmp_path) -> Path:
    """A legacy file with right shapes but hardly any bytes: all its kernels are unwritten, thus zeros."""
    path = folder / "small.h5"
    if not path.exists():
        with h5py.File(path, "w") as file:
            for layer, (channels_in, channels_out) in CONVOLUTIONS.items():
                file.create_dataset(f"{layer}/{layer}_W_1:0", (3, 3, channels_in, channels_out), "f4")
                file.create_dataset(f"{layer}/{layer}_b_1:0", (channels_out,), "f4")
    return Path(shutil.copy(path, tmp_path / "vgg.h5"))


def test_a_layer_of_another_shape_is_named(small):
    with h5py.File(small, "a") as file:
        del file["block2_conv1/block2_conv1_W_1:0"]
        file.create_dataset("block2_conv1/block2_conv1_W_1:0", (3, 3, 64, 100), "f4")
    expected = (
        r"block2_conv1 holds \[3, 3, 64, 100\] and \[128\].*kernel \[3, 3, 64, 128\] and a bias \[128\]"
    )
    with pytest.raises(WeightsInvalid, match=expected):
        read_convolutions(small)


def test_a_layer_without_its_bias_is_named(small):
    with h5py.File(small, "a") as file:
        del file["block5_conv4/block5_conv4_b_1:0"]
    with pytest.raises(WeightsInvalid, match=r"block5_conv4 holds \[3, 3, 512, 512\]; expected"):
        read_convolutions(small)


def test_a_missing_layer_shows_what_was_found(small):
    with h5py.File(small, "a") as file:
        del file["block3_conv4"]
    with pytest.raises(WeightsInvalid, match=r"does not hold a VGG19.*found: block1_conv1, block1_conv2"):
        read_convolutions(small)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(small, value):
    with h5py.File(small, "a") as file:
        file["block1_conv2/block1_conv2_b_1:0"][3] = value
    with pytest.raises(WeightsInvalid, match="block1_conv2 holds values that are not finite"):
        read_convolutions(small)


def test_values_of_another_type_are_refused(small):
    with h5py.File(small, "a") as file:
        del file["block1_conv1/block1_conv1_b_1:0"]
        file.create_dataset("block1_conv1/block1_conv1_b_1:0", (64,), "i4")
    with pytest.raises(WeightsInvalid, match="block1_conv1 holds values of type int32"):
        read_convolutions(small)


def test_another_network_is_refused(folder):
    import keras

    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    model.save_weights(folder / "other.weights.h5")
    with pytest.raises(WeightsInvalid, match="found: conv2d"):
        read_convolutions(folder / "other.weights.h5")


@pytest.mark.parametrize(
    "data", [b"", b"<html>not found</html>", b"PK\x03\x04 but no archive", b"\x89HDF\r\n\x1a\n"]
)
def test_a_file_of_another_kind_is_refused(tmp_path, data):
    path = tmp_path / "vgg.h5"
    path.write_bytes(data)
    with pytest.raises(WeightsInvalid, match="not a weights file that can be read"):
        read_convolutions(path)
    with pytest.raises(WeightsInvalid):
        check_weights(WeightsChoice("file", path))


def test_a_cut_off_file_is_refused(small):
    data = small.read_bytes()
    small.write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsInvalid):
        read_convolutions(small)


def test_a_missing_file_is_unavailable_not_invalid(tmp_path):
    with pytest.raises(WeightsUnavailable, match="cannot be read: No such file"):
        read_convolutions(tmp_path / "vgg.h5")
