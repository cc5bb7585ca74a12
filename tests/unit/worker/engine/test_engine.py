from __future__ import annotations

import numpy as np
import pytest

from shared.errors import CheckpointInvalid, LossNotFinite, OutOfMemory, PictureTooNarrow
from shared.memory import DeviceKind, Seat
from shared.options import StyleOptions
from worker.engine.engine import StyleEngine
from worker.engine.room import Place
from worker.engine.state import EngineState
from worker.engine.weights.weights import Weights

pytestmark = pytest.mark.slow

METHODS = ["classic", "untrained"]
OPTIONS = StyleOptions(steps=7, size=48)


@pytest.fixture
def lone_engine(random_weights, untrained_weights):
    """A maker of fresh engines that have run nothing yet."""

    def make(method: str) -> StyleEngine:
        return StyleEngine({"classic": random_weights, "untrained": untrained_weights}[method])

    return make


@pytest.mark.parametrize("method", METHODS)
def test_steps_count_up_and_time_is_measured(engines, scene, method):
    steps = list(engines[method].stylize(scene(seed=1), scene(seed=2), OPTIONS))
    assert [step.step for step in steps] == list(range(1, 8))
    assert {step.steps for step in steps} == {7}
    assert all(step.seconds > 0 for step in steps)
    assert all(np.isfinite(step.losses.total) for step in steps)
    image = steps[-1].image()
    assert image.shape == (36, 48, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("method", METHODS)
def test_two_jobs_in_one_warm_engine_each_equal_their_lone_run(lone_engine, scene, method):
    jobs = [
        (scene(64, 48, seed=1), scene(48, 48, seed=2), StyleOptions(steps=4, size=48)),
        (scene(37, 61, seed=3), scene(70, 33, seed=4), StyleOptions(steps=5, size=61, learning_rate=0.05)),
    ]
    lone = [list(lone_engine(method).stylize(*job))[-1] for job in jobs]
    engine = lone_engine(method)
    warm = [list(engine.stylize(*job))[-1] for job in jobs]
    for one, other in zip(lone, warm, strict=True):
        assert one.image().tobytes() == other.image().tobytes()
        _assert_same(one.state(), other.state())
    assert engine.trace_count == 1


@pytest.mark.parametrize("method", METHODS)
def test_two_jobs_interleaved_do_not_disturb_each_other(engines, scene, method):
    jobs = [(scene(seed=1), scene(seed=2), OPTIONS), (scene(33, 50, seed=3), scene(seed=4), OPTIONS)]
    lone = [list(engines[method].stylize(*job))[-1].image() for job in jobs]
    pairs = list(zip(*(engines[method].stylize(*job) for job in jobs), strict=True))
    for one, other in zip(lone, pairs[-1], strict=True):
        np.testing.assert_array_equal(one, other.image())


@pytest.mark.parametrize("method", METHODS)
def test_one_trace_for_all_sizes_pictures_and_options(engines, scene, method):
    for seed, (width, height) in enumerate([(48, 32), (33, 57), (64, 64)]):
        options = StyleOptions(steps=1 + seed, size=64, content_weight=10.0**seed, style_weight=seed + 1.0)
        list(engines[method].stylize(scene(width, height, seed=seed), scene(50, 40, seed=9), options))
    assert engines[method].trace_count == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cut", [1, 3, 6])
def test_a_resumed_job_ends_in_the_same_bytes(engines, lone_engine, scene, method, cut):
    job = scene(45, 64, seed=5), scene(seed=6), OPTIONS
    whole = list(engines[method].stylize(*job))
    stored = whole[cut - 1].state()
    assert stored.step == cut
    resumed = list((lone_engine(method) if cut == 3 else engines[method]).stylize(*job, resume=stored))
    assert [step.step for step in resumed] == list(range(cut + 1, 8))
    assert [step.losses for step in resumed] == [step.losses for step in whole[cut:]]
    assert resumed[-1].image().tobytes() == whole[-1].image().tobytes()
    _assert_same(resumed[-1].state(), whole[-1].state())


@pytest.mark.parametrize("method", METHODS)
def test_a_finished_job_yields_its_picture_once_more(engines, scene, method):
    job = scene(seed=1), scene(seed=2), OPTIONS
    last = list(engines[method].stylize(*job))[-1]
    again = list(engines[method].stylize(*job, resume=last.state()))
    assert [(step.step, step.steps, step.losses) for step in again] == [(7, 7, last.losses)]
    np.testing.assert_array_equal(again[0].image(), last.image())


@pytest.mark.parametrize("method", METHODS)
def test_a_step_stays_true_after_the_job_has_moved_on(engines, scene, method):
    job = scene(seed=1), scene(seed=2), OPTIONS
    at_once = [(step.image(), step.state()) for step in engines[method].stylize(*job)]
    later = [(step.image(), step.state()) for step in list(engines[method].stylize(*job))]
    for (image, state), (late_image, late_state) in zip(at_once, later, strict=True):
        np.testing.assert_array_equal(image, late_image)
        _assert_same(state, late_state)
    assert len({image.tobytes() for image, _ in at_once}) > 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda arrays: {k: v for k, v in arrays.items() if k != "image"}, "lacks the arrays: image"),
        (lambda arrays: arrays | {"extra": arrays["image"]}, "unknown ones: extra"),
        (lambda arrays: arrays | {"image": arrays["image"][:, :-1]}, r"image is float32 \[1, 35, 48, 3\]"),
        (lambda arrays: arrays | {"image": arrays["image"].astype(np.float64)}, "image is float64"),
        (lambda arrays: arrays | {"image": arrays["image"] * np.nan}, "not finite"),
    ],
    ids=["missing", "unknown", "shape", "type", "nan"],
)
def test_a_state_that_does_not_fit_is_refused(engines, scene, method, spoil, complaint):
    job = scene(seed=1), scene(seed=2), OPTIONS
    state = next(engines[method].stylize(*job)).state()
    with pytest.raises(CheckpointInvalid, match=complaint):
        next(engines[method].stylize(*job, resume=EngineState(1, spoil(state.arrays))))


def test_a_state_before_the_first_step_is_refused(engines, scene):
    job = scene(seed=1), scene(seed=2), OPTIONS
    state = next(engines["classic"].stylize(*job)).state()
    with pytest.raises(CheckpointInvalid, match="step 0"):
        next(engines["classic"].stylize(*job, resume=EngineState(0, state.arrays)))


@pytest.mark.parametrize(
    ("layer", "part"), [("block5_conv2", "content loss"), ("block5_conv1", "content loss")]
)
def test_a_loss_that_is_not_finite_ends_the_job(random_weights, scene, layer, part):
    kernel, bias = random_weights.convolutions[layer]
    spoiled = random_weights.convolutions | {layer: (kernel, np.full_like(bias, np.inf))}
    engine = StyleEngine(Weights.of(spoiled, name="file"))
    with pytest.raises(LossNotFinite, match=f"at step 1 the {part} is nan"):
        next(engine.stylize(scene(seed=1), scene(seed=2), OPTIONS))


def test_a_style_loss_that_overflows_is_named(engines, scene):
    options = StyleOptions(steps=3, size=48, style_weight=1e6)
    huge = {
        name: (kernel * np.float32(1e3 if name == "block1_conv1" else 1), bias * np.float32(1e3))
        for name, (kernel, bias) in engines["classic"].weights.convolutions.items()
    }
    engine = StyleEngine(Weights.of({k: (w * np.float32(30), b) for k, (w, b) in huge.items()}, name="file"))
    with pytest.raises(LossNotFinite, match="at step 1 the style loss is"):
        next(engine.stylize(scene(seed=1), scene(seed=2), options))


def test_a_machine_that_surely_has_not_the_memory_computes_nothing(random_weights, scene):
    """A kernel that is short of memory ends whatever process it likes."""
    need = Seat(DeviceKind.CPU, "file").process_bytes
    engine = StyleEngine(random_weights, place=Place(DeviceKind.CPU, lambda: need // 2))
    with pytest.raises(OutOfMemory, match="not even the smallest size fits"):
        next(engine.stylize(scene(seed=1), scene(seed=2), OPTIONS))
    assert engine.trace_count == 0


def test_what_a_gpu_holds_its_own_allocator_knows(random_weights, scene):
    def never() -> int:
        raise AssertionError("the driver's tool takes seconds")

    engine = StyleEngine(random_weights, place=Place(DeviceKind.GPU, never))
    next(engine.stylize(scene(seed=1), scene(seed=2), OPTIONS))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("width", "height"), [(16, 16), (17, 31), (16, 64), (33, 47)])
def test_every_size_from_16_px_up_works(engines, scene, method, width, height):
    options = StyleOptions(steps=2, size=64)
    steps = list(engines[method].stylize(scene(width, height, seed=1), scene(16, 23, seed=2), options))
    assert steps[-1].image().shape == (height, width, 3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("levels", [(0, 0), (255, 255), (0, 255), (128, None), (None, 128)])
def test_flat_pictures_do_no_harm(engines, scene, encode, method, levels):
    content, style = (
        scene(seed=1) if level is None else encode(np.full((32, 40, 3), level, np.uint8)) for level in levels
    )
    steps = list(engines[method].stylize(content, style, StyleOptions(steps=3, size=40)))
    assert all(np.isfinite(step.losses.total) for step in steps)


def test_a_picture_that_would_be_too_narrow_is_refused_by_name(engines, scene):
    with pytest.raises(PictureTooNarrow, match="style is 400 × 40 px"):
        next(engines["classic"].stylize(scene(), scene(400, 40), StyleOptions(size=64)))


def test_ratios_of_the_options_act_on_the_untrained_recipe(engines, scene):
    def first_losses(**changes: float) -> tuple[float, float]:
        options = StyleOptions(steps=2, size=48, **changes)
        step = list(engines["untrained"].stylize(scene(seed=1), scene(seed=2), options))[-1]
        return step.losses.content, step.losses.style

    content, style = first_losses()
    assert first_losses(style_weight=0.0)[1] == 0
    assert first_losses(content_weight=0.0)[0] == 0
    # Adam does not mind a common factor, so both losses just grow by it.
    assert first_losses(content_weight=2e4, style_weight=2e-2) == pytest.approx(
        (2 * content, 2 * style), rel=0.01
    )


def test_the_untrained_result_is_the_corrected_mean_of_the_iterates(engines, scene):
    steps = list(engines["untrained"].stylize(scene(seed=1), scene(seed=2), OPTIONS))
    iterates = [step.state().arrays["image"][0] for step in steps]
    weights = [0.9 ** (len(iterates) - number) for number in range(1, len(iterates) + 1)]
    mean = sum(w * x for w, x in zip(weights, iterates, strict=True)) / sum(weights)
    assert np.abs(steps[-1].image() - mean * 255).max() <= 0.5 + 1e-3
    np.testing.assert_array_equal(steps[0].image(), np.rint(iterates[0] * 255))


def test_the_untrained_method_brings_the_style_nearer_and_keeps_the_content(engines, scene):
    options = StyleOptions(steps=30, size=64)
    steps = list(engines["untrained"].stylize(scene(64, 64, seed=1), scene(64, 64, seed=2), options))
    assert steps[0].losses.style == pytest.approx(1.0, abs=1e-4)
    assert steps[-1].losses.style < 0.3
    assert steps[-1].losses.content < 0.1


def _assert_same(one: EngineState, other: EngineState) -> None:
    assert one.step == other.step
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        assert array.tobytes() == other.arrays[name].tobytes(), name
