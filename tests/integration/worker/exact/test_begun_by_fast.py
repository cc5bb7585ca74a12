"""A fast job, and one that starts from its picture, with the real engines: the same bytes, what is told."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from shared.options import StyleOptions
from shared.settings import Settings
from worker.engine.fast.engine import FAST_VERSION
from worker.engine.fast.source import find_fast_model

pytestmark = pytest.mark.slow

FAST = {"method": "fast", "size": 48}
BEGUN_BY_FAST = {"init": "fast", "steps": 3, "size": 48}


@pytest.fixture
def result(bench):
    """Carry a job out; return the file of its result."""

    def do(job_id: str, engine: object) -> bytes:
        bench.work(job_id, engine)
        assert bench.job(job_id)["status"] == "succeeded"
        return bench.output(job_id)

    return do


@pytest.fixture
def told(bench, see):
    """Carry a job out; return the weights that its JSON, its page and its PNG name, each with the hash."""

    def do(job_id: str, engine: object) -> list[tuple[str, str]]:
        bench.work(job_id, engine)
        job = bench.job(job_id)
        assert job["status"] == "succeeded"
        page = see(job_id)
        with Image.open(io.BytesIO(bench.output(job_id))) as picture:
            text = picture.text
        name, sha256 = job["weights"]["name"], job["weights"]["sha256"]
        assert f"Weights {name} " in page.parts["facts"]
        assert f"Weights {sha256} " in page.parts["hashes"]
        return [(name, sha256), (text["atelier:weights"], text["atelier:weights_sha256"])]

    return do


def test_a_fast_job_names_its_network_in_json_page_and_picture(told, submit, fast_engine):
    own = ("magenta-int8", find_fast_model(Settings()).sha256)
    assert told(submit(options=FAST)["id"], fast_engine) == [own, own]


def test_a_job_begun_by_a_fast_picture_names_both_networks(told, submit, engines, method):
    engine = engines[method]
    name, draft_sha256 = engine.weights.name, find_fast_model(Settings()).sha256
    words = f"{engine.weights.sha256} fast-{FAST_VERSION} {draft_sha256}"
    both = (f"{name}, begun by magenta-int8", hashlib.sha256(words.encode()).hexdigest())
    assert told(submit(options=BEGUN_BY_FAST)["id"], engine) == [both, both]
    alone = (name, engine.weights.sha256)
    assert told(submit(options={**BEGUN_BY_FAST, "init": "content"})["id"], engine) == [alone, alone]


def test_a_fork_of_a_fast_job_has_the_bytes_of_a_job_that_starts_from_a_fast_picture(
    result, submit, bench, engines, fast_engine, method
):
    engine, seen = engines[method], {"style_strength": 0.5, "detail": 40}
    parent = submit(options={**FAST, **seen})["id"]
    result(parent, fast_engine)
    fork = bench.post(parent, "fork", {"options": {"steps": 3}})
    submitted = submit(options={**BEGUN_BY_FAST, **seen})
    assert fork["options"] == submitted["options"]
    of_fork = result(fork["id"], engine)
    assert of_fork == result(submitted["id"], engine)
    # Strength and detail of the fast job count: without them it is another picture.
    plain = submit(options=BEGUN_BY_FAST)["id"]
    pixels = [np.asarray(Image.open(io.BytesIO(file))) for file in (of_fork, result(plain, engine))]
    assert not np.array_equal(*pixels)


def test_it_starts_from_exactly_the_fast_picture(make_picture, engines, fast_engine, method):
    content, style = make_picture(seed=1), make_picture(48, 64, seed=2)
    options = StyleOptions(**BEGUN_BY_FAST, style_strength=0.5, detail=40)
    # No option goes that low; a step that does not move leaves the start as it was.
    still = options.model_copy(update={"learning_rate": 0.0})
    step = next(engines[method].stylize(content, style, still))
    (start,) = step.state().arrays["image"]
    picture = fast_engine.picture(content, style, options)
    assert start.dtype == picture.dtype
    assert np.array_equal(start, picture)
    (fast,) = fast_engine.stylize(content, style, StyleOptions(**FAST, style_strength=0.5, detail=40))
    assert np.array_equal(step.image(), fast.image())
