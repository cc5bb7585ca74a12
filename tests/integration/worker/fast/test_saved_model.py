"""A SavedModel of the signature that the source article loads, made here, and run by TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.errors import EngineFailed, FastModelUnavailable
from shared.options import StyleOptions
from shared.settings import Settings
from tests.support.saved_model import pack, write_saved_model
from worker.engine.fast.engine import FastEngine
from worker.engine.fast.model import FastModel, load_fast_model
from worker.engine.fast.source import find_fast_model

STYLE = np.full((3, 256, 256, 3), (0.9, 0.5, 0.1), np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_saved_model(tmp_path_factory.mktemp("magenta"))


@pytest.fixture(scope="module")
def model(folder: Path) -> FastModel:
    return load_fast_model(find_fast_model(Settings(fast_model=str(folder))))


def _content(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(0.3, 0.5, (height, width, 3)).astype(np.float32)


@pytest.mark.parametrize("shape", [(64, 48), (427, 641), (33, 35), (16, 97)])
def test_it_is_called_with_both_pictures_and_gives_one_of_the_contents_shape(model, shape):
    picture = model.stylize(_content(*shape), STYLE, 1.0)
    assert picture.shape == (*shape, 3)
    assert picture.dtype == np.float32
    assert picture.min() >= 0
    assert picture.max() <= 1
    assert np.abs(picture.mean((0, 1)) - STYLE[0, 0, 0]).max() < 0.02


def test_strength_blends_with_the_content_stylised_by_itself(model):
    content = _content(64, 64)
    own, half, styled = (model.stylize(content, STYLE, strength) for strength in (0.0, 0.5, 1.0))
    assert np.abs(own - content).max() < 0.02
    np.testing.assert_allclose(half, (own + styled) / 2, atol=1e-6)


def test_it_runs_jobs_and_drafts_as_the_packaged_one_does(model, make_picture):
    engine = FastEngine(model)
    engine.warm()
    results = [
        next(engine.stylize(make_picture(61, 43), make_picture(seed=3), StyleOptions())).image() for _ in "12"
    ]
    assert results[0].shape == (43, 61, 3)
    assert np.array_equal(*results)
    assert engine.draft(_content(50, 70), STYLE[0], StyleOptions(detail=32)).shape == (50, 70, 3)
    assert engine.made_by(StyleOptions()).weights == "saved-model"


def test_unpacked_from_an_archive_it_is_the_same_model(folder, model, tmp_path):
    archive = pack(folder, tmp_path / "magenta.tar.gz")
    unpacked = load_fast_model(
        find_fast_model(Settings(fast_model=str(archive), cache_dir=tmp_path / "cache"))
    )
    assert (unpacked.name, unpacked.sha256) == (model.name, model.sha256)
    content = _content(40, 44)
    assert np.array_equal(unpacked.stylize(content, STYLE, 1.0), model.stylize(content, STYLE, 1.0))


def test_a_file_that_tensorflow_cannot_read_is_refused(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(FastModelUnavailable, match="cannot be loaded"):
        load_fast_model(find_fast_model(Settings(fast_model=str(tmp_path))))


def test_a_saved_model_that_cannot_be_called_is_refused(tmp_path):
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(FastModelUnavailable, match="not one that is called with content and style"):
        load_fast_model(find_fast_model(Settings(fast_model=str(tmp_path))))


def test_a_model_that_takes_something_else_fails_in_words(tmp_path):
    import tensorflow as tf

    class Other(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([3], tf.float32)])
        def __call__(self, numbers: tf.Tensor) -> tf.Tensor:
            return numbers

    tf.saved_model.save(Other(), str(tmp_path))
    model = load_fast_model(find_fast_model(Settings(fast_model=str(tmp_path))))
    with pytest.raises(EngineFailed, match="the SavedModel: "):
        model.stylize(_content(32, 32), STYLE, 1.0)
