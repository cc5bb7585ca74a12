"""Stars over HTTP: set, taken off, listed, bounded; and what is starred is kept."""

from __future__ import annotations

import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from shared.clock import from_rfc3339, utc_now
from shared.errors import NotFound, StorageUnavailable, TooManyStars
from tests.support.app import change_backend, stored_files
from tests.support.rows import add_picture
from web.assets.stars import AssetFilter, list_assets, star_asset, starred_assets, unstar_asset
from web.assets.uploads import get_asset
from web.services import services_of

ASSETS = "/api/v1/assets"
UNKNOWN = "01a20000-0000-7000-8000-000000000000"


@pytest.fixture
def upload(client, make_picture):
    """Upload a small picture of a seed, and return its asset."""

    def do(seed: int = 1) -> dict:
        file = io.BytesIO(make_picture(seed=seed)), f"{seed}.png"
        return client.post(ASSETS, data={"file": file}).json

    return do


def listed(client, query=""):
    return [asset["id"] for asset in client.get(f"{ASSETS}{query}").json["assets"]]


def test_a_star_is_set_and_taken_off_and_asking_again_changes_nothing(client, upload):
    asset = upload()
    assert asset["starred_at"] is None
    star = f"{ASSETS}/{asset['id']}/star"
    starred = client.put(star)
    assert starred.status_code == 200
    assert {**starred.json, "starred_at": None} == asset
    assert from_rfc3339(starred.json["starred_at"]) <= utc_now()
    assert client.put(star).json == starred.json
    assert client.get(f"{ASSETS}/{asset['id']}").json == starred.json
    # Uploaded once more it is the same picture, with its star.
    assert upload() == starred.json
    for _ in range(2):
        answer = client.delete(star)
        assert (answer.status_code, answer.json) == (200, asset)
    assert client.get(f"{ASSETS}/{asset['id']}").json == asset


def test_what_is_not_there_cannot_be_starred(client, problem_of):
    for method in ("PUT", "DELETE"):
        problem = problem_of(client.open(f"{ASSETS}/{UNKNOWN}/star", method=method), 404, "not_found")
        assert [fault["pointer"] for fault in problem["errors"]] == ["/asset_id"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_nothing_else_is_said_with_a_star(client, upload, problem_of, method):
    star = f"{ASSETS}/{upload()['id']}/star"
    problem_of(client.open(star, method=method, json={"colour": "red"}), 400, "invalid_request")
    problem_of(client.open(f"{star}?colour=red", method=method), 400, "invalid_request")
    assert client.open(star, method=method, json={}).status_code == 200


def test_pictures_are_listed_newest_first_in_pages(client, upload, problem_of):
    ids = [upload(seed)["id"] for seed in range(5)]
    for one in (3, 0, 4):
        client.put(f"{ASSETS}/{ids[one]}/star")
    assert listed(client) == ids[::-1]
    assert listed(client, "?starred=false") == ids[::-1]
    assert listed(client, "?starred=true") == [ids[4], ids[3], ids[0]]
    first = client.get(f"{ASSETS}?starred=true&page_size=2").json
    assert [asset["id"] for asset in first["assets"]] == [ids[4], ids[3]]
    assert all(asset["starred_at"] for asset in first["assets"])
    token = first["next_page_token"]
    rest = client.get(f"{ASSETS}?starred=true&page_size=2&page_token={token}").json
    assert ([asset["id"] for asset in rest["assets"]], rest["next_page_token"]) == ([ids[0]], None)
    # A token goes with the list that it is of.
    for query in (f"{ASSETS}?page_token={token}", f"/api/v1/jobs?page_token={token}"):
        problem = problem_of(client.get(query), 400, "invalid_request")
        assert [fault["pointer"] for fault in problem["errors"]] == ["/page_token"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("starred=yes", "/starred"), ("page_size=0", "/page_size"), ("page_token=x", "/page_token")],
)
def test_a_parameter_that_cannot_be_read_is_named(client, problem_of, query, pointer):
    problem = problem_of(client.get(f"{ASSETS}?{query}"), 400, "invalid_request")
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]


def test_one_star_too_many_is_refused_until_another_is_taken_off(app, client, services, upload, problem_of):
    ids = [upload(seed)["id"] for seed in range(3)]
    change_backend(app, settings=services.backend.settings.model_copy(update={"max_stars": 2}))
    for asset_id in ids[:2]:
        assert client.put(f"{ASSETS}/{asset_id}/star").status_code == 200
    problem = problem_of(client.put(f"{ASSETS}/{ids[2]}/star"), 409, "too_many_stars")
    assert problem["detail"] == "2 of your pictures are starred; at most 2 may be"
    assert "Take the star off" in problem["suggestion"]
    # One that has its star needs no place.
    assert client.put(f"{ASSETS}/{ids[0]}/star").status_code == 200
    client.delete(f"{ASSETS}/{ids[0]}/star")
    assert client.put(f"{ASSETS}/{ids[2]}/star").status_code == 200


def test_many_at_once_do_not_get_beyond_the_bound(app, services, upload):
    ids = [upload(seed)["id"] for seed in range(8)]
    change_backend(app, settings=services.backend.settings.model_copy(update={"max_stars": 3}))
    backend = services_of(app).backend
    at_once = threading.Barrier(len(ids))

    def star(asset_id: str) -> bool:
        at_once.wait()
        try:
            star_asset(backend, asset_id, caller="local", now=utc_now())
        except TooManyStars:
            return False
        return True

    with ThreadPoolExecutor(len(ids)) as pool:
        assert sorted(pool.map(star, ids)) == [False] * 5 + [True] * 3


def test_the_pictures_and_stars_of_another_caller_are_not_ones_own(services, upload):
    backend, own = services.backend, upload()
    star_asset(backend, own["id"], caller="local", now=utc_now())
    with backend.database.write() as session:
        other_id = add_picture(session, now=utc_now(), sha256=own["sha256"], caller="other").id
    for change in (
        lambda: star_asset(backend, other_id, caller="local", now=utc_now()),
        lambda: unstar_asset(backend, own["id"], caller="other"),
    ):
        with pytest.raises(NotFound):
            change()
    with backend.database.read() as session:
        everything = AssetFilter()
        assert [one.id for one in list_assets(session, caller="other", only=everything, limit=9)] == [
            other_id
        ]
        assert starred_assets(session, caller="other", limit=9) == []
        assert [one.id for one in starred_assets(session, caller="local", limit=9)] == [own["id"]]


def test_the_one_starred_last_comes_first(client, services, upload):
    ids = [upload(seed)["id"] for seed in range(4)]
    for one in (2, 0, 3):
        client.put(f"{ASSETS}/{ids[one]}/star")
    with services.backend.database.read() as session:
        assert [one.id for one in starred_assets(session, caller="local", limit=2)] == [ids[3], ids[0]]


def prune(bench, *, rounds: int = 4) -> None:
    for _ in range(rounds):
        bench.hours += 0.1
        bench.control.round()


def test_a_starred_picture_is_kept_and_one_without_goes(client, upload, bench, settings):
    kept, gone = upload(1), upload(2)
    client.put(f"{ASSETS}/{kept['id']}/star")
    bench.hours = 2 * settings.garbage_hours
    prune(bench)
    assert client.get(f"{ASSETS}/{gone['id']}").status_code == 404
    assert client.get(f"{ASSETS}/{kept['id']}").status_code == 200
    assert len(stored_files(settings)) == 1


def test_the_starred_style_of_a_draft_stays_when_the_draft_goes(client, parts, bench, settings):
    draft = client.post("/api/v1/jobs", data=parts(kind="draft")).json
    client.post(draft["urls"]["cancel"])
    style = draft["input"]["style"]["asset_id"]
    client.put(f"{ASSETS}/{style}/star")
    bench.hours = settings.draft_hours + settings.garbage_hours + 1
    prune(bench, rounds=6)
    assert client.get(draft["urls"]["self"]).status_code == 404
    assert listed(client) == [style]


def test_without_its_star_a_picture_is_as_one_that_was_just_uploaded(
    client, services, upload, bench, settings
):
    """A star that was taken off by mistake can be put back: the picture does not go at once."""
    asset = upload()
    star_asset(services.backend, asset["id"], caller="local", now=utc_now())
    long_ago = utc_now() - timedelta(hours=3 * settings.garbage_hours)
    with services.backend.database.write() as session:
        get_asset(session, asset["id"], caller="local").created_at = long_ago
    (file,) = stored_files(settings)
    os.utime(file, (long_ago.timestamp(), long_ago.timestamp()))
    client.delete(f"{ASSETS}/{asset['id']}/star")
    prune(bench)
    assert client.get(f"{ASSETS}/{asset['id']}").status_code == 200
    assert file.is_file()
    # Asked for again there was no star, and nothing is put off.
    os.utime(file, (long_ago.timestamp(), long_ago.timestamp()))
    client.delete(f"{ASSETS}/{asset['id']}/star")
    prune(bench)
    assert client.get(f"{ASSETS}/{asset['id']}").status_code == 404


def test_a_star_stays_where_the_storage_fails(services, upload, monkeypatch):
    backend, asset_id = services.backend, upload()["id"]
    star_asset(backend, asset_id, caller="local", now=utc_now())

    def fail(store: object, key: str) -> None:
        raise StorageUnavailable("the disk is gone")

    monkeypatch.setattr(type(backend.storage), "touch", fail)
    with pytest.raises(StorageUnavailable):
        unstar_asset(backend, asset_id, caller="local")
    with backend.database.read() as session:
        assert len(starred_assets(session, caller="local", limit=9)) == 1


def test_a_star_can_be_taken_off_a_picture_whose_file_is_gone(client, services, upload, settings):
    asset = upload()
    client.put(f"{ASSETS}/{asset['id']}/star")
    (file,) = stored_files(settings)
    file.unlink()
    assert client.delete(f"{ASSETS}/{asset['id']}/star").json["starred_at"] is None
