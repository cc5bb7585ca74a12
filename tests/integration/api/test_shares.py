"""Share links over HTTP: who makes them, what they show to everybody, and what they never show."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from shared.clock import from_rfc3339, utc_now
from shared.errors import NotFound
from tests.support.bench import Bench
from tests.support.workshop import Workshop
from web.access.tokens import Scope, create_token
from web.app import create_app
from web.jobs.sharing import open_share
from web.services import Services, services_of

JOBS = "/api/v1/jobs"
FEW = {"steps": 20, "checkpoint_every": 5}
#: In everything that a share must not tell.
MARK = "ZqSecretZq"
GPS, DESCRIPTION, USER_COMMENT = 0x8825, 0x010E, 0x9286
SOURCE = re.compile(r'(?:src|href)="([^"]+)"')
BROWSER = {"Accept": "text/html,*/*;q=0.8"}


@pytest.fixture
def as_caller(services: Services) -> dict[str, dict[str, str]]:
    """The header that each caller sends, and `manage` besides; nobody gets in without one any more."""
    services.gate.stale_seconds = 0
    scopes = {f"anna{MARK}": Scope.SUBMIT, "ben": Scope.SUBMIT, "manager": Scope.MANAGE}
    headers = {}
    with services.backend.database.write() as session:
        for caller, scope in scopes.items():
            made = create_token(
                session, name=caller, scopes={scope}, caller=caller, expires_at=None, now=utc_now()
            )
            headers[caller.removesuffix(MARK)] = {"Authorization": f"Bearer {made.text}"}
    return headers


@pytest.fixture
def owned(
    client: FlaskClient, as_caller: dict[str, dict[str, str]], parts: Callable[..., dict]
) -> Callable[..., str]:
    """Submit a job of anna's; return its id."""

    def do(**fields: Any) -> str:
        body = parts(**{"reuse": "false", "options": FEW, **fields})
        answer = client.post(JOBS, data=body, headers=as_caller["anna"])
        assert answer.status_code == 202, answer.text
        return answer.json["id"]

    return do


@pytest.fixture
def share(client: FlaskClient, as_caller: dict[str, dict[str, str]]) -> Callable[..., TestResponse]:
    """Ask for a link to a job, as anna unless it is said otherwise."""

    def do(job_id: str, of: str = "page", caller: str = "anna", **fields: Any) -> TestResponse:
        return client.post(f"{JOBS}/{job_id}/shares", json={"of": of, **fields}, headers=as_caller[caller])

    return do


@pytest.fixture
def path_of(share: Callable[..., TestResponse], services: Services) -> Callable[..., str]:
    """Make a link, and return its path."""

    def do(job_id: str, of: str = "page", **fields: Any) -> str:
        made = share(job_id, of, **fields)
        assert made.status_code == 201, made.text
        return made.json["url"].removeprefix(services.backend.settings.public_url)

    return do


class Stranger(FlaskClient):
    """Someone who has nothing but a link; every answer is read to its end."""

    def open(self, *words: Any, **how: Any) -> TestResponse:
        return super().open(*words, buffered=True, **how)


@pytest.fixture
def stranger(app: Flask) -> FlaskClient:
    return Stranger(app, app.response_class)


def addresses(path: str) -> list[str]:
    return [path, *(f"{path}/{what}" for what in ("picture", "content", "style"))]


def seen(answer: TestResponse) -> tuple[int, bytes, dict[str, str]]:
    """What somebody learns from an answer."""
    return (
        answer.status_code,
        answer.data,
        {name: value for name, value in answer.headers if name != "X-Request-Id"},
    )


def test_a_link_is_told_once_whole_and_with_when_it_expires(owned, share, services):
    before = utc_now().replace(microsecond=0)
    made = share(owned(), expires_in_seconds=3600)
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    assert made.json.keys() == {"url", "of", "expires_at"}
    assert made.json["url"].startswith(f"{services.backend.settings.public_url}/share/")
    hour, week = timedelta(hours=1), timedelta(days=7)
    assert before + hour <= from_rfc3339(made.json["expires_at"]) <= utc_now() + hour
    assert before + week <= from_rfc3339(share(owned()).json["expires_at"]) <= utc_now() + week


def test_whoever_has_it_sees_the_page_and_its_pictures_without_a_token(
    owned, path_of, stranger, workshop: Workshop
):
    job_id = owned(name="Harbour")
    path = path_of(job_id)
    assert "It waits for a worker." in stranger.get(path).text
    workshop.claim(job_id)
    workshop.progress(job_id, 10)
    assert "Step 10 of 20." in stranger.get(path).text
    preview = stranger.get(f"{path}/picture")
    assert (preview.status_code, preview.mimetype) == (200, "image/jpeg")
    workshop.succeed(job_id)
    for address in addresses(path):
        answer = stranger.get(address)
        assert answer.status_code == 200, address
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Robots-Tag"] == "noindex"
    page = stranger.get(path).text
    for words in ("Harbour", "succeeded", "Done in 13 s.", "Style weight", "Result of 64 × 48 px"):
        assert words in page, words
    assert stranger.get(f"{path}/picture").mimetype == "image/png"
    for part in ("content", "style"):
        with Image.open(io.BytesIO(stranger.get(f"{path}/{part}").data)) as picture:
            assert picture.format == "JPEG"


def test_a_link_to_the_picture_is_of_the_picture_alone(
    client, owned, path_of, as_caller, stranger, workshop: Workshop
):
    job_id = owned()
    workshop.run_through(job_id)
    path = path_of(job_id, "output")
    answer = stranger.get(path)
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    assert "filename" not in answer.headers.get("Content-Disposition", "")
    with client.get(f"{JOBS}/{job_id}/output", headers=as_caller["anna"]) as download:
        assert answer.data == download.data
    for address in addresses(path)[1:]:
        assert stranger.get(address).status_code == 404


def test_a_picture_that_is_not_there_cannot_be_shared(client, owned, share, as_caller, problem_of, workshop):
    job_id = owned()
    refused = problem_of(share(job_id, "output"), 409, "not_ready")
    download = client.get(f"{JOBS}/{job_id}/output", headers=as_caller["anna"])
    assert refused["detail"] == problem_of(download, 409, "not_ready")["detail"]
    assert share(job_id).status_code == 201


def test_only_its_owner_and_who_manages_make_and_revoke_links(
    client, owned, share, path_of, as_caller, stranger, problem_of
):
    job_id = owned()
    path = path_of(job_id)
    problem_of(share(job_id, caller="ben"), 404, "not_found")
    problem_of(client.delete(f"{JOBS}/{job_id}/shares", headers=as_caller["ben"]), 404, "not_found")
    assert stranger.get(path).status_code == 200
    managed = share(job_id, caller="manager")
    assert managed.status_code == 201
    assert client.delete(f"{JOBS}/{job_id}/shares", headers=as_caller["manager"]).status_code == 204
    assert stranger.get(path).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "of is missing"),
        ({"of": "everything"}, 400, "of must be 'page' or 'output'"),
        ({"of": "page", "expires_in_seconds": 59}, 400, "expires_in_seconds must be 60 or more"),
        ({"of": "page", "expires_in_seconds": 31_536_001}, 400, "must be 31536000 or less"),
        ({"of": "page", "expires_in_seconds": None}, 400, "must be a whole number"),
        ({"of": "page", "expires": 60}, 400, "expires is not a field here"),
    ],
)
def test_what_a_link_cannot_be(client, owned, as_caller, body, status, said):
    refused = client.post(f"{JOBS}/{owned()}/shares", json=body, headers=as_caller["anna"])
    assert refused.status_code == status
    assert said in refused.json["detail"]


def test_all_links_of_a_job_are_revoked_at_once_and_those_of_others_stay(
    client, owned, path_of, as_caller, stranger, workshop
):
    job_id, other = owned(), owned()
    for one in (job_id, other):
        workshop.run_through(one)
    old = [path_of(job_id), path_of(job_id, "output"), path_of(job_id, expires_in_seconds=60)]
    kept = path_of(other)
    assert all(stranger.get(path).status_code == 200 for path in old)
    for _ in range(2):
        revoked = client.delete(f"{JOBS}/{job_id}/shares", headers=as_caller["anna"])
        assert (revoked.status_code, revoked.data) == (204, b"")
        for path in old:
            assert {stranger.get(address).status_code for address in addresses(path)} == {404}
    assert stranger.get(kept).status_code == 200
    new = path_of(job_id)
    assert stranger.get(new).status_code == 200
    assert new not in old


def test_it_is_of_no_use_from_when_it_expires(owned, path_of, services, stranger, monkeypatch):
    path = path_of(owned(), expires_in_seconds=60)
    token = path.removeprefix("/share/")
    end = datetime.fromtimestamp(int(token.split(".")[3]), tz=utc_now().tzinfo)
    assert open_share(services.backend, token, now=end - timedelta(seconds=1)).link.expires_at == end
    with pytest.raises(NotFound):
        open_share(services.backend, token, now=end)
    monkeypatch.setattr("web.pages.share.utc_now", lambda: end)
    assert stranger.get(path).status_code == 404


def test_whatever_is_wrong_with_a_link_the_answer_is_the_same(
    client, owned, path_of, as_caller, stranger, workshop, monkeypatch
):
    revoked, deleted, alive = owned(), owned(), owned()
    for job_id in (revoked, deleted, alive):
        workshop.run_through(job_id)
    good = path_of(alive)
    said, _, signature = good.rpartition(".")
    wrong = {
        "no link": "/share/nonsense",
        "an empty signature": f"{said}.",
        "another signature": f"{said}.{signature[::-1]}",
        "of another job": said.replace(alive, revoked) + f".{signature}",
        "of no job": said.replace(alive, "01a20000-0000-7000-8000-00000000000a") + f".{signature}",
        "for longer": re.sub(r"\d(?=$)", lambda digit: str(9 - int(digit[0])), said) + f".{signature}",
        "revoked": path_of(revoked),
        "of a job that is gone": path_of(deleted),
        "with nothing there": f"{good}/index",
        "with nothing further in": f"{good}/picture/a/b",
    }
    client.delete(f"{JOBS}/{revoked}/shares", headers=as_caller["anna"])
    assert client.delete(f"{JOBS}/{deleted}", headers=as_caller["anna"]).status_code == 204
    for headers in ({}, BROWSER, {"Accept": "application/json"}, as_caller["ben"]):
        answers = {why: seen(stranger.get(path, headers=headers)) for why, path in wrong.items()}
        pictures = [seen(stranger.get(f"{path}/picture", headers=headers)) for path in wrong.values()]
        with monkeypatch.context() as later:
            later.setattr("web.pages.share.utc_now", lambda: utc_now() + timedelta(days=8))
            answers["expired"] = seen(stranger.get(good, headers=headers))
        expected = answers["no link"]
        assert expected[0] == 404
        assert {why for why, answer in answers.items() if answer != expected} == set()
        assert all(answer == expected for answer in pictures)
    assert stranger.get(good).status_code == 200


def test_before_the_first_share_no_link_is_one(stranger, owned):
    assert stranger.get(f"/share/{owned()}.page.1.9999999999.x").status_code == 404


class Links(HTMLParser):
    """Everything that a page leads to, or loads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.forms = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.forms += tag == "form"
        for name, value in attrs:
            if name in ("href", "src", "action", "srcset", "content", "data-root", "poster") and value:
                self.found.add(value)


def test_nothing_else_is_reached_from_it(owned, path_of, stranger, workshop):
    shared, hidden = owned(name="Shown"), owned(name=f"Hidden{MARK}")
    workshop.run_through(hidden)
    paths = [path_of(shared)]
    workshop.run_through(shared)
    visited: set[str] = set()
    while paths:
        path = paths.pop()
        if path in visited:
            continue
        visited.add(path)
        answer = stranger.get(path, headers=BROWSER)
        assert answer.status_code == 200, path
        assert MARK.encode() not in answer.data, path
        if answer.mimetype == "text/html":
            assert Links(answer.text).forms == 0
            found = (link.partition("#")[0] for link in Links(answer.text).found)
            paths += [link for link in found if link.startswith("/")]
    pages = {path for path in visited if not path.startswith("/static/")}
    assert pages == set(addresses(next(path for path in pages if path.count("/") == 2)))
    # Nor from what is answered where there is nothing.
    gone = stranger.get("/share/nonsense", headers=BROWSER).text
    assert all(link.startswith("/static/") for link in Links(gone).found if link.startswith("/"))
    assert 'href="/"' not in gone


def with_secrets(seed: int) -> bytes:
    """A photo that says where and by whom it was made, in every way that a JPEG has."""
    exif = Image.Exif()
    exif[DESCRIPTION] = f"description {MARK}"
    exif[0x8769] = {USER_COMMENT: f"comment {MARK}".encode()}
    exif[GPS] = {1: "N", 2: (52.0, 31.0, 12.25), 3: "E", 4: (13.0, 24.0, 18.5), 29: MARK}
    exif[0x0112] = 6
    picture = Image.linear_gradient("L").resize((300, 200)).rotate(90 * seed).convert("RGB")
    buffer = io.BytesIO()
    picture.save(
        buffer,
        "JPEG",
        exif=exif,
        comment=f"comment {MARK}".encode(),
        xmp=f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{MARK}</x:xmpmeta>".encode(),
    )
    data = buffer.getvalue()
    assert data.count(MARK.encode()) >= 5
    return data


def submit_secrets(client: FlaskClient, headers: dict[str, str], **fields: Any) -> str:
    files = {
        part: (io.BytesIO(with_secrets(seed)), f"{MARK}.jpg")
        for seed, part in enumerate(("content", "style"))
    }
    words = {"reuse": "false", "labels": json.dumps({"who": MARK}), "options": json.dumps(FEW), **fields}
    answer = client.post(JOBS, data={**files, **words}, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json["id"]


def assert_tells_nothing(stranger: FlaskClient, path: str, *, pictures: int) -> None:
    found = 0
    for address in addresses(path):
        answer = stranger.get(address)
        assert MARK.encode() not in answer.data, address
        assert MARK not in str(answer.headers), address
        if not answer.mimetype.startswith("image/"):
            continue
        found += 1
        with Image.open(io.BytesIO(answer.data)) as picture:
            picture.load()
            assert not picture.getexif(), address
            assert not {"exif", "xmp", "photoshop"} & picture.info.keys(), address
            texts = " ".join(str(value) for value in picture.info.values())
            assert MARK not in texts, address
            if address.endswith(("/content", "/style")):
                assert not picture.info.get("comment"), address
                assert "icc_profile" not in picture.info
                assert picture.size == (200, 300), address  # upright
    assert found == pictures


def test_neither_place_nor_person_comes_out_of_a_share(
    client, path_of, share, as_caller, stranger, bench: Bench, services
):
    """The inputs are photos with GPS; their names, the labels and the caller are secret as well."""
    job_id = submit_secrets(client, as_caller["anna"])
    page = path_of(job_id)
    assert_tells_nothing(stranger, page, pictures=2)
    bench.work(job_id)  # by a real worker: what it writes into its files is what it writes
    assert_tells_nothing(stranger, page, pictures=3)
    alone = stranger.get(path_of(job_id, "output"))
    assert alone.mimetype == "image/png"
    assert MARK.encode() not in alone.data
    with Image.open(io.BytesIO(alone.data)) as picture:
        assert not picture.getexif()
        assert "atelier:options" in picture.text  # how it was made is told
    text = stranger.get(page).text
    for hidden in ("anna", "node-a", "who", "content.", "style.", "local"):
        assert hidden not in re.sub(r"/share/[^\"]+|/static/[^\"]+", "", text), hidden


def test_a_preview_tells_nothing_either(client, path_of, as_caller, stranger, workshop, services):
    job_id = submit_secrets(client, as_caller["anna"])
    workshop.connect(f"gpu-{MARK}")
    workshop.claim(job_id, worker_id=f"gpu-{MARK}")
    workshop.preview(job_id, with_no_secrets())
    assert_tells_nothing(stranger, path_of(job_id), pictures=3)
    workshop.fail(job_id)
    assert_tells_nothing(stranger, path_of(job_id), pictures=3)


def with_no_secrets() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(buffer, "JPEG")
    return buffer.getvalue()


def test_no_log_holds_a_token(owned, path_of, stranger, workshop, caplog, monkeypatch):
    job_id = owned()
    workshop.run_through(job_id)
    path = path_of(job_id)
    token = path.removeprefix("/share/")
    with capture_logs() as logs:
        for address in addresses(path):
            stranger.get(address)
        for other in (f"{path}/a/b", f"//share/{token}", f"/SHARE/{token}", f"/x/share/{token}"):
            stranger.get("/", environ_overrides={"PATH_INFO": other})
        stranger.post(path)

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("nobody expected this")

        monkeypatch.setattr("web.pages.share.read_view", fail)
        failed = stranger.get(path)
    assert failed.status_code == 500
    assert "Set-Cookie" not in failed.headers
    assert 'href="/"' not in failed.text
    signature = token.rpartition(".")[2]
    paths = [log["path"] for log in logs if log["event"] == "request"]
    assert len(paths) == 10
    assert set(paths) == {"/share/…", "//share/…", "/x/share/…"}
    assert "nobody expected this" in caplog.text
    assert signature not in f"{logs} {caplog.text}"


def test_below_a_path_it_is_told_and_leads_there(settings, parts):
    app = create_app(settings.model_copy(update={"url": "https://styles.example/styles"}))
    stranger = Stranger(app, app.response_class)
    job_id = stranger.post(f"/styles{JOBS}", data=parts()).json["id"]
    made = stranger.post(f"/styles{JOBS}/{job_id}/shares", json={"of": "page"})
    url = made.json["url"]
    assert url.startswith("https://styles.example/styles/share/")
    path = url.removeprefix("https://styles.example")
    page = stranger.get(path)
    assert page.status_code == 200
    assert f'src="{path}/content"' in page.text
    assert stranger.get(f"{path}/content").status_code == 200
    services_of(app).close()
