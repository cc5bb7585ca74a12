"""The real engine with its losses read behind: the same steps, in one reading thread, rounded as before."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import tensorflow as tf

from shared.errors import LossNotFinite
from shared.options import StyleOptions
from worker.engine.engine import StyleEngine, to_levels
from worker.engine.reads import READ_THREAD
from worker.engine.weights.weights import Weights

pytestmark = pytest.mark.slow

METHODS = ("classic", "untrained")
OPTIONS = StyleOptions(steps=6, size=48)


@pytest.fixture(scope="module")
def behind(random_weights, untrained_weights):
    """Engines that read behind, as on a GPU."""
    return {
        "classic": StyleEngine(random_weights, reads_behind=True),
        "untrained": StyleEngine(untrained_weights, reads_behind=True),
    }


@pytest.fixture
def reading_threads(monkeypatch):
    """The names of the threads in which anything was fetched from a tensor."""
    names: list[str] = []
    kind = type(tf.constant(0.0))
    for name in ("numpy", "__array__", "__float__", "__int__", "__bool__"):
        read = getattr(kind, name)

        def watched(self, *words, read=read, **more):
            names.append(threading.current_thread().name)
            return read(self, *words, **more)

        monkeypatch.setattr(kind, name, watched)
    return names


@pytest.mark.parametrize("method", METHODS)
def test_the_steps_are_the_same(engines, behind, scene, method):
    job = scene(seed=1), scene(seed=2), OPTIONS
    plain, found = list(engines[method].stylize(*job)), list(behind[method].stylize(*job))
    assert [(one.step, one.steps, one.losses) for one in found] == [
        (one.step, one.steps, one.losses) for one in plain
    ]
    for one, other in zip(plain, found, strict=True):
        np.testing.assert_array_equal(one.image(), other.image())
        for name, array in one.state().arrays.items():
            assert array.tobytes() == other.state().arrays[name].tobytes(), name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cut", [1, 4, 5])
def test_what_is_left_at_a_step_is_gone_on_from(behind, scene, method, cut):
    job = scene(45, 64, seed=5), scene(seed=6), OPTIONS
    whole = list(behind[method].stylize(*job))
    steps = behind[method].stylize(*job)
    states = [step.state() for step, _ in zip(steps, range(cut), strict=False)]
    steps.close()
    resumed = list(behind[method].stylize(*job, resume=states[-1]))
    assert [step.step for step in resumed] == list(range(cut + 1, 7))
    assert resumed[-1].image().tobytes() == whole[-1].image().tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_a_state_is_that_of_its_step_while_later_ones_are_made(behind, scene, method):
    job = scene(seed=1), scene(seed=2), OPTIONS
    at_once = [step.state() for step in behind[method].stylize(*job)]
    steps = list(behind[method].stylize(*job))
    for step, expected in zip(steps, at_once, strict=True):
        for name, array in step.state().arrays.items():
            assert array.tobytes() == expected.arrays[name].tobytes(), (step.step, name)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("reads_behind", [False, True])
def test_all_is_read_in_one_thread(engines, behind, scene, reading_threads, method, reads_behind):
    engine = (behind if reads_behind else engines)[method]
    state = None
    for step in engine.stylize(scene(seed=1), scene(seed=2), OPTIONS):
        step.image()
        state = step.state()
    list(engine.stylize(scene(seed=1), scene(seed=2), OPTIONS, resume=state))
    assert len(reading_threads) > 2 * OPTIONS.steps, "what is read is seen"
    assert set(reading_threads) == {READ_THREAD}


def test_a_loss_that_is_not_finite_is_that_of_its_step(random_weights, scene):
    kernel, bias = random_weights.convolutions["block5_conv2"]
    spoiled = random_weights.convolutions | {"block5_conv2": (kernel, np.full_like(bias, np.inf))}
    engine = StyleEngine(Weights.of(spoiled, name="file"), reads_behind=True)
    with pytest.raises(LossNotFinite, match="at step 1 the content loss is nan"):
        next(engine.stylize(scene(seed=1), scene(seed=2), OPTIONS))


@pytest.mark.parametrize("method", METHODS)
def test_after_warming_the_first_job_finds_all_compiled(random_weights, untrained_weights, scene, method):
    engine = StyleEngine({"classic": random_weights, "untrained": untrained_weights}[method])
    engine.warm()
    assert engine.trace_count == 1
    warm = list(engine.stylize(scene(seed=1), scene(seed=2), OPTIONS))
    assert engine.trace_count == 1
    fresh = StyleEngine({"classic": random_weights, "untrained": untrained_weights}[method])
    alone = list(fresh.stylize(scene(seed=1), scene(seed=2), OPTIONS))
    assert warm[-1].image().tobytes() == alone[-1].image().tobytes()


def test_levels_are_rounded_on_the_device_as_numpy_does():
    between = (np.arange(256, dtype=np.float32) + np.float32(0.5)) / np.float32(255)
    near = [np.nextafter(between, side) for side in (np.float32(-1), np.float32(2))]
    random = np.random.default_rng(3).uniform(-0.5, 1.5, 300_000).astype(np.float32)
    edges = np.array([-np.inf, -1, -0.0, 0, 1e-45, 1, np.nextafter(np.float32(1), 2), 2, np.inf], np.float32)
    for values in (between, *near, random, edges, np.arange(256, dtype=np.float32) / np.float32(255)):
        expected = np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
        np.testing.assert_array_equal(to_levels(tf.constant(values)).numpy(), expected)
