"""A fast job, and one that starts from its picture: what is told of their networks, with the real engines."""

from __future__ import annotations

import hashlib
import io

import pytest
from PIL import Image

from shared.settings import Settings
from worker.engine.fast.engine import FAST_VERSION
from worker.engine.fast.source import find_fast_model

pytestmark = pytest.mark.slow

FAST = {"method": "fast", "size": 48}
BEGUN_BY_FAST = {"init": "fast", "steps": 3, "size": 48}


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
