"""Whatever bytes come as pictures, options or queries: an answer, and never a 500."""

from __future__ import annotations

import io
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

JOBS = "/api/v1/jobs"
ASSETS = "/api/v1/assets"
FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
KINDS = ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"]


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((40, 36)).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


PICTURES = [encoded(kind) for kind in KINDS]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A small picture in which some bytes were changed, cut out or put in."""
    data = bytearray(draw(st.sampled_from(PICTURES)))
    for _ in range(draw(st.integers(1, 6))):
        # Headers are where parsers stumble.
        place = draw(st.integers(0, min(len(data), 200) - 1) | st.integers(0, len(data) - 1))
        change = draw(st.sampled_from(["set", "cut", "put"]))
        if change == "set":
            data[place] = draw(st.integers(0, 255))
        elif change == "cut":
            del data[place : place + draw(st.integers(1, 40))]
        else:
            data[place:place] = draw(st.binary(max_size=20))
        if len(data) < 2:
            break
    return bytes(data)


@FUZZ
@given(data=st.binary(max_size=300) | mutated() | st.sampled_from(PICTURES))
def test_pictures(client, data):
    response = client.post(ASSETS, data={"file": (io.BytesIO(data), "a.png")})
    assert response.status_code in (200, 201, 413, 415, 422), response.text
    response = client.post(
        JOBS + "?validate_only=1",
        data={"content": (io.BytesIO(data), "a.png"), "style": (io.BytesIO(PICTURES[0]), "b.png")},
    )
    assert response.status_code in (200, 413, 415, 422), response.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        "content",
        "style",
        "options",
        "name",
        "labels",
        "steps",
        "size",
        "preset",
        "reuse",
        "run_timeout_seconds",
    ]
)


@FUZZ
@given(body=st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON)) | JSON)
def test_bodies(client, body):
    response = client.post(JOBS, data=json.dumps(body), content_type="application/json")
    assert 400 <= response.status_code < 500, response.text
    assert response.json["code"]


@FUZZ
@given(
    query=st.lists(
        st.tuples(
            st.sampled_from(["status", "label", "created_after", "page_size", "page_token", "batch_id"]),
            st.text(max_size=30) | st.sampled_from(["queued", "a:b", "2026-11-23T08:47:41Z", "10", "e30"]),
        ),
        max_size=4,
    )
)
def test_queries(client, query):
    response = client.get(JOBS, query_string=query)
    assert response.status_code in (200, 400), response.text


@FUZZ
@given(
    job_id=st.text(min_size=1, max_size=40),
    prefer=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20),
)
def test_ids_and_headers(client, job_id, prefer):
    path = job_id.replace("/", "%2F").replace("?", "%3F")
    response = client.get(f"{JOBS}/{path}", headers={"Prefer": prefer, "Last-Event-ID": prefer})
    # A path of dots or slashes leads elsewhere.
    assert response.status_code in (200, 308, 404), response.text


@FUZZ
@given(
    key=st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=260),
    body=st.dictionaries(NAMES, JSON) | JSON,
)
def test_keys(client, key, body):
    kind = "application/json"
    response = client.post(JOBS, data=json.dumps(body), content_type=kind, headers={"Idempotency-Key": key})
    assert 400 <= response.status_code < 500, response.text
    assert response.json["code"]


@FUZZ
@given(
    text=st.text(max_size=12), name=st.sampled_from(["queue_timeout_seconds", "run_timeout_seconds", "reuse"])
)
def test_scalars_sent_as_text(client, name, text):
    data = {part: (io.BytesIO(PICTURES[0]), "a.png") for part in ("content", "style")}
    response = client.post(JOBS + "?validate_only=1", data={**data, name: text})
    assert response.status_code in (200, 400), response.text


@FUZZ
@given(
    action=st.sampled_from(["cancel", "pause", "resume", "retry", "extend", "fork"]),
    body=st.dictionaries(
        st.sampled_from(["step", "steps", "from", "options", "name", "labels"]),
        JSON | st.integers(-1, 3000) | st.dictionaries(NAMES, JSON),
    )
    | JSON,
    raw=st.none() | st.binary(max_size=40),
)
def test_actions(client, submit, workshop, action, body, raw):
    jobs = client.get(JOBS).json["jobs"]
    if not jobs:
        workshop.claim(submit()["id"])
        workshop.checkpoint(client.get(JOBS).json["jobs"][0]["id"], 10)
        jobs = client.get(JOBS).json["jobs"]
    text = json.dumps(body) if raw is None else raw
    response = client.post(f"{jobs[-1]['urls']['self']}/{action}", data=text, content_type="application/json")
    assert response.status_code in (200, 202, 400, 409, 422), response.text
    if response.status_code >= 400:
        assert response.json["code"]
