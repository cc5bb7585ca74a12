from __future__ import annotations

import numpy as np
import pytest

from worker.engine.vgg19 import kernel_shape, layers_up_to
from worker.engine.weights.source import WeightsChoice
from worker.engine.weights.untrained import build_convolutions, dead_leaves, untrained_convolutions
from worker.engine.weights.weights import Weights, load_weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built():
    return build_convolutions()


def _file(folder):
    (path,) = folder.glob("*.npz")
    return path


def test_layers_and_shapes(built):
    assert list(built) == list(layers_up_to("block4_conv1"))
    for name, (kernel, bias) in built.items():
        assert kernel.shape == kernel_shape(name)
        assert bias.shape == kernel.shape[-1:]
        assert kernel.dtype == bias.dtype == np.float32


def test_filters_stand_at_right_angles(built):
    for name, (kernel, _) in built.items():
        flat = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
        flat /= np.linalg.norm(flat, axis=0)
        angles = flat.T @ flat - np.eye(flat.shape[1])
        assert np.abs(angles).max() < (1.0 if name == "block1_conv1" else 2e-3)


def test_nearly_every_channel_has_something_to_say_about_the_calibration_picture(built):
    import tensorflow as tf

    from worker.engine.network import features

    inputs = tf.constant(dead_leaves()[None] - 0.45, tf.float32)
    found = features(inputs, list(built.values()), list(built), padding="reflect")
    for activation in found.values():
        deviation = activation.numpy().std(axis=(0, 1, 2))
        # std / (std + 0.05), so just under 1; the highest thresholds leave a channel silent here and there.
        assert deviation.max() < 1
        assert np.median(deviation) > 0.85
        assert np.mean(deviation > 0.1) > 0.95


def test_they_are_the_same_each_time_and_survive_the_cache(built, untrained_weights, untrained_cache):
    assert Weights.of(built, name="untrained").sha256 == untrained_weights.sha256
    cached = load_weights(WeightsChoice("untrained", notice="told"), untrained_cache)
    assert (cached.sha256, cached.name, cached.notice) == (untrained_weights.sha256, "untrained", "told")
    # Other tests share the folder, for weights of other kinds.
    assert [path.name for path in untrained_cache.glob("*untrained*")] == ["vgg19-untrained-1.npz"]


def _must_not_build():
    raise AssertionError("the cache should have been used")


def test_the_cache_is_used(untrained_cache, untrained_weights, tmp_path):
    path = _file(untrained_cache)
    arrays = dict(np.load(path))
    arrays["block1_conv1/bias"] = np.full(64, 3, np.float16)
    np.savez(tmp_path / path.name, **arrays)
    found = untrained_convolutions(tmp_path, build=_must_not_build)
    assert found["block1_conv1"][1].tolist() == [3.0] * 64


@pytest.mark.parametrize("damage", ["cut off", "one bit", "empty", "shape", "missing"])
def test_a_damaged_cache_is_built_anew(built, untrained_cache, untrained_weights, tmp_path, damage):
    source = _file(untrained_cache)
    data = bytearray(source.read_bytes())
    target = tmp_path / source.name
    if damage in ("shape", "missing"):
        arrays = dict(np.load(source))
        spoiled = {"block4_conv1/bias": np.zeros(3, np.float16)} if damage == "shape" else {}
        np.savez(target, **({k: v for k, v in arrays.items() if k != "block4_conv1/bias"} | spoiled))
    else:
        data[len(data) // 2] ^= 1
        target.write_bytes({"cut off": data[:9999], "one bit": data, "empty": b""}[damage])
    found = untrained_convolutions(tmp_path, build=lambda: built)
    assert Weights.of(found, name="untrained").sha256 == untrained_weights.sha256
    again = untrained_convolutions(tmp_path, build=_must_not_build)
    assert Weights.of(again, name="untrained").sha256 == untrained_weights.sha256


def test_a_cache_that_cannot_be_written_is_done_without(built, tmp_path):
    (tmp_path / "file").touch()
    assert untrained_convolutions(tmp_path / "file" / "cache", build=lambda: built) is built
