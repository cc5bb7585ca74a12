"""The store in a bucket: removal between any two requests, and a server that fails in every way."""

from __future__ import annotations

import base64
import hashlib
import io
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from shared.clock import utc_now
from shared.errors import ArtifactExists, ArtifactMissing, InvalidSettings, StorageUnavailable
from shared.settings import Settings
from shared.storage import open_store, s3
from shared.storage.s3 import S3Store
from shared.storage.s3_requests import S3Access
from tests.support.killing import Killed, die
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.s3_server import S3Server

pytestmark = pytest.mark.process

KEY = f"assets/ab/{'ab' * 32}"
SOON, MOMENT = utc_now() + timedelta(days=1), utc_now() - timedelta(hours=12)
DATA = b"picture of a harbour"


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    return s3_server.make_bucket()


@pytest.fixture
def store(s3_server: S3Server, bucket: str) -> S3Store:
    store = S3Store(bucket, access=S3Access(endpoint=s3_server.endpoint))
    store.write(KEY, DATA)
    return store


class Watched:
    """A client before some of whose requests something else happens; `seen` are the names of all.

    To it, files that nobody has touched are a day old; once it is killed it asks for nothing more.
    """

    def __init__(self, client: Any, acts: Mapping[int, Callable[[], None]]) -> None:
        self._client, self._acts = client, acts
        self._is_dead = False
        self.seen: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(**words: Any) -> Any:
            if self._is_dead:
                raise Killed
            self.seen.append(name)
            try:
                self._acts.get(len(self.seen), lambda: None)()
            except Killed:
                self._is_dead = True
                raise
            answer = method(**words)
            if name == "head_object" and "touched" not in answer["Metadata"]:
                answer["LastModified"] -= timedelta(days=1)
            return answer

        return call


@pytest.fixture
def other(s3_server: S3Server, bucket: str, store: S3Store, monkeypatch: pytest.MonkeyPatch):
    """Return another store of the same files, which does something before some of its requests."""

    def make(acts: Mapping[int, Callable[[], None]]) -> tuple[S3Store, Watched]:
        other = S3Store(bucket, access=S3Access(endpoint=s3_server.endpoint))
        watched = Watched(store._client, acts)
        monkeypatch.setattr(other, "_client_at", lambda _: watched)
        return other, watched

    return make


@pytest.fixture
def requests(other: Callable[..., tuple[S3Store, Watched]], store: S3Store) -> int:
    """How many requests a removal makes."""
    remover, watched = other({})
    assert remover.delete_older(KEY, MOMENT)
    store.write(KEY, DATA)
    return len(watched.seen)


def bury(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store put back what a killed process has left, once that is known to be dead."""
    with monkeypatch.context() as patch:
        patch.setattr(s3, "_DECIDING_SECONDS", -1.0)
        store.put_back("assets")  # finds out that nobody decides any more
        store.put_back("assets")


def test_killed_at_any_request_garbage_is_whole_or_gone(
    store: S3Store, s3_server: S3Server, bucket: str, other, requests: int, monkeypatch
):
    assert requests >= 7
    for number in range(1, requests + 1):
        store.write(KEY, DATA)
        with pytest.raises(Killed):
            other({number: die})[0].delete_older(KEY, MOMENT)
        if number == requests:  # all but the word that somebody decides is gone
            assert list(store.list("assets")) == []
            break
        assert store.read(KEY) == DATA, number
        with store.open(KEY) as file:
            assert file.read() == DATA
        assert (store.stat(KEY).key, store.stat(KEY).size_bytes) == (KEY, len(DATA))
        assert list(store.list("assets")) == [KEY]
        bury(store, monkeypatch)
        assert store.read(KEY) == DATA, number
        assert not any(file.is_aside for file in store.inventory("assets"))
        with monkeypatch.context() as patch:
            patch.setattr(s3, "_DECIDING_SECONDS", -1.0)
            assert any(store.delete_older(KEY, SOON) for _ in range(2))
        assert s3_server.keys(bucket) == []


def test_uploaded_again_at_any_moment_it_stays_whoever_is_killed_then(
    store: S3Store, other, requests: int, monkeypatch
):
    def upload() -> None:
        try:
            store.touch(KEY)
        except ArtifactMissing:
            store.create(KEY, DATA)

    for first in range(1, requests + 1):
        for last in range(first + 1, requests + 4):
            store.write(KEY, DATA)
            remover, watched = other({first: upload, last: die})
            try:
                assert not remover.delete_older(KEY, MOMENT) or first > requests - 2
                was_killed = False
            except Killed:
                was_killed = True
            assert store.read(KEY) == DATA, (first, last)
            bury(store, monkeypatch)
            assert store.read(KEY) == DATA, (first, last)
            store.delete_tree("assets")
            if not was_killed:
                assert len(watched.seen) < last
                break


def test_a_reader_at_any_moment_finds_what_is_not_gone(store: S3Store, other, requests: int):
    for number in range(1, requests + 1):
        store.write(KEY, DATA)
        found: list[bytes | None] = []

        def read(found: list[bytes | None] = found) -> None:
            try:
                found.append(store.read(KEY))
            except ArtifactMissing:
                found.append(None)

        assert other({number: read})[0].delete_older(KEY, MOMENT)
        assert found == [DATA if number < requests else None]


def test_what_another_decides_about_is_left_to_it(store: S3Store):
    with store._deciding(KEY) as is_mine:
        assert is_mine
        assert not store.delete_older(KEY, SOON)
        store._copy(KEY, KEY.replace("/ab/", "/ab/.aside-"))
        store.delete(KEY)
        store.put_back("assets")
        assert any(file.is_aside for file in store.inventory("assets"))
    assert store.put_back("assets") == [KEY]
    assert [file.key for file in store.inventory("assets")] == [KEY]


def test_what_was_written_anew_is_not_replaced_by_what_was_set_aside(store: S3Store):
    store._copy(KEY, KEY.replace("/ab/", "/ab/.aside-"))
    store.write(KEY, b"newer")
    assert store.put_back("assets") == [KEY]
    assert store.read(KEY) == b"newer"


def test_two_prefixes_of_a_bucket_are_two_storages(s3_server: S3Server, bucket: str):
    stores = [
        S3Store(bucket, name, access=S3Access(endpoint=s3_server.endpoint)) for name in ("a", "a/b", "ab")
    ]
    for store in stores:
        store.write("jobs/x/file", store.name.encode())
    for store in (stores[1], stores[2]):
        assert list(store.list(".")) == ["jobs/x/file"]
        assert store.read("jobs/x/file") == store.name.encode()


def reached(port: int, bucket: str, *, timeout_seconds: float = 5) -> S3Store:
    return S3Store(
        bucket, access=S3Access(endpoint=f"http://127.0.0.1:{port}", timeout_seconds=timeout_seconds)
    )


EVERYTHING: list[Callable[[S3Store], object]] = [
    lambda store: store.read(KEY),
    lambda store: store.write(KEY, b"other"),
    lambda store: store.check(),
]


@pytest.mark.parametrize("act", EVERYTHING)
def test_a_server_that_is_not_there_is_unavailable(bucket: str, act: Callable[[S3Store], object]):
    with pytest.raises(StorageUnavailable, match="Could not connect"):
        act(reached(free_port(), bucket))


@pytest.mark.parametrize("act", EVERYTHING)
def test_a_server_that_does_not_answer_is_unavailable(
    s3_server: S3Server, bucket: str, act: Callable[[S3Store], object]
):
    with Proxy(s3_server.port) as proxy:
        proxy.swallow()
        with pytest.raises(StorageUnavailable, match="timeout"):
            act(reached(proxy.port, bucket, timeout_seconds=0.1))


#: Such an answer has no checksum.
UNWELL = {b"HTTP/1.1 200": b"HTTP/1.1 503", b"x-amz-checksum": b"x-amz-nonesuch"}


def test_a_server_that_says_503_is_asked_again_and_then_unavailable(
    store: S3Store, s3_server: S3Server, bucket: str
):
    with Proxy(s3_server.port, told=UNWELL) as proxy:
        with pytest.raises(StorageUnavailable, match="503"):
            reached(proxy.port, bucket).read(KEY)
        with pytest.raises(ArtifactExists):  # the first try has written it
            reached(proxy.port, bucket).create("jobs/a/result.json", b"{}")
    assert store.read("jobs/a/result.json") == b"{}"


def test_a_connection_that_breaks_once_changes_nothing(store: S3Store, s3_server: S3Server, bucket: str):
    for act in (
        lambda other: other.write("jobs/a/new", DATA),
        lambda other: other.create("jobs/a/created", DATA),
        lambda other: other.write("jobs/a/read", io.BytesIO(DATA)),
    ):
        with Proxy(s3_server.port, cut_at=b"PUT /", cuts=1) as proxy:
            act(reached(proxy.port, bucket))
            assert proxy.cuts_left == 0
    assert [store.read(key) for key in store.list("jobs")] == [DATA] * 3
    with Proxy(s3_server.port, cut_at=b"GET /", cuts=1) as proxy:
        assert reached(proxy.port, bucket).read(KEY) == DATA


def test_a_write_that_is_cut_off_leaves_nothing(store: S3Store, s3_server: S3Server, bucket: str):
    end = b"the end of it"
    for key in (KEY, "jobs/a/new"):
        with (
            Proxy(s3_server.port, cut_at=end, cuts=100) as proxy,
            pytest.raises(StorageUnavailable),
        ):
            reached(proxy.port, bucket).write(key, bytes(3_000_000) + end)
    assert store.read(KEY) == DATA
    assert list(store.list(".")) == [KEY]


def test_bytes_that_change_on_the_way_are_not_taken(store: S3Store, s3_server: S3Server, bucket: str):
    with (
        Proxy(s3_server.port, told={b"harbour": b"harvest"}) as proxy,
        pytest.raises(StorageUnavailable, match="checksum"),
    ):
        reached(proxy.port, bucket).read(KEY)
    # Amazon refuses such a write; this server takes it, and with it the checksum of what was sent.
    with Proxy(s3_server.port, asked={b"harbour": b"harvest"}) as proxy:
        reached(proxy.port, bucket).write("jobs/a/new", DATA)
    with pytest.raises(StorageUnavailable, match="checksum"):
        store.read("jobs/a/new")


def test_an_answer_that_ends_early_is_none(store: S3Store, s3_server: S3Server, bucket: str):
    length = f"Content-Length: {len(DATA)}".encode()
    with (
        Proxy(s3_server.port, told={length: length.replace(b"20", b"99")}) as proxy,
        pytest.raises(StorageUnavailable),
    ):
        reached(proxy.port, bucket, timeout_seconds=0.3).read(KEY)


def test_a_large_file_is_read_on_where_its_stream_broke(store: S3Store, s3_server: S3Server, bucket: str):
    data = bytes(range(256)) * 50_000
    store.write("jobs/a/large", data)
    with Proxy(s3_server.port) as proxy, reached(proxy.port, bucket).open("jobs/a/large") as file:
        begin = file.read(3_000_000)
        proxy.break_all()
        assert begin + file.read() == data


def test_a_large_file_that_is_replaced_while_it_is_read_is_not_mixed(store: S3Store):
    store.write("jobs/a/large", bytes(12_000_000))
    with store.open("jobs/a/large") as file:
        file.read(1)
        store.write("jobs/a/large", b"\1" * 12_000_000)
        file.seek(11_000_000)
        with pytest.raises(StorageUnavailable):
            file.read()


def test_a_bucket_that_is_not_there_is_unavailable_and_is_not_made(s3_server: S3Server, store: S3Store):
    other = S3Store("nobody-has-this-one", access=S3Access(endpoint=s3_server.endpoint))
    for act in (other.make_root, other.check, lambda: other.read(KEY), lambda: other.write(KEY, b"")):
        with pytest.raises(StorageUnavailable):
            act()
    names = [each["Name"] for each in s3_server.client().list_buckets()["Buckets"]]
    assert "nobody-has-this-one" not in names


def test_a_store_that_writes_twice_what_may_be_written_once_is_refused(
    store: S3Store, s3_server: S3Server, bucket: str
):
    with (
        Proxy(s3_server.port, asked={b"If-None-Match": b"If-Nobody-Mind"}) as proxy,
        pytest.raises(StorageUnavailable, match="If-None-Match"),
    ):
        reached(proxy.port, bucket).check()
    assert list(store.list(".")) == [KEY]


def test_who_has_no_credentials_is_told_so(bucket: str, s3_server: S3Server, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageUnavailable, match="credentials"):
        reached(s3_server.port, bucket).read(KEY)


def test_a_direct_address_gives_the_file_and_names_it(store: S3Store, s3_server: S3Server, bucket: str):
    address = store.direct_url(
        KEY, seconds=60, content_type="image/png", disposition='inline; filename="harbour.png"'
    )
    assert address is not None
    answer = httpx2.get(address)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["Content-Type"] == "image/png"
    assert "harbour.png" in answer.headers["Content-Disposition"]
    public = S3Access(endpoint=s3_server.endpoint, public_endpoint="https://pictures.example")
    address = S3Store(bucket, access=public).direct_url(KEY, seconds=60, content_type="", disposition="")
    assert address is not None
    assert address.startswith(f"https://pictures.example/{bucket}/assets/")


def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "shared.storage.s3", None)
    with pytest.raises(InvalidSettings, match=r"requirements/s3\.txt"):
        open_store("s3://bucket", Settings())


def test_a_file_is_hashed_as_it_is_written(store: S3Store, s3_server: S3Server, bucket: str):
    facts = s3_server.client().head_object(Bucket=bucket, Key=KEY, ChecksumMode="ENABLED")
    assert base64.b64decode(facts["ChecksumSHA256"]) == hashlib.sha256(DATA).digest()
