from __future__ import annotations

import contextlib
import hashlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shared.errors import WeightsUnavailable
from shared.settings import Settings
from worker.engine.weights.source import ImagenetSource, resolve_weights

DATA = bytes(range(256)) * 5000
MD5 = hashlib.md5(DATA).hexdigest()
SHA256 = hashlib.sha256(DATA).hexdigest()


class _Server(ThreadingHTTPServer):
    """Serves one file, and counts who asked; `hold` keeps every answer back until it is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[str] = []
        self.asked = threading.Event()
        self.hold = threading.Event()
        self.hold.set()
        self.trickle = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files/vgg19.h5"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self.server.asked.set()
        if "missing" in self.path:
            self.send_error(404)
            return
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.send_header("Content-Length", str(len(DATA)))
            self.end_headers()
            if self.server.trickle:
                self.wfile.write(DATA[:100])
                self.wfile.flush()
            self.server.hold.wait()
            self.wfile.write(DATA[100:] if self.server.trickle else DATA)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.hold.set()
        server.shutdown()


@pytest.fixture
def source(server: _Server, tmp_path: Path) -> ImagenetSource:
    return ImagenetSource(url=server.url, hash=MD5, cache_dir=tmp_path / "cache", auto_timeout_seconds=30)


def _left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


@pytest.mark.parametrize("setting", ["imagenet", "auto"])
@pytest.mark.parametrize("digest", [MD5, SHA256, MD5.upper()])
def test_the_file_is_downloaded_once_and_then_found(server, source, setting, digest):
    source = replace(source, hash=digest)
    for _ in range(2):
        choice = resolve_weights(setting, source)
        assert (choice.kind, choice.path, choice.notice) == ("imagenet", source.path, None)
    assert source.path.read_bytes() == DATA
    assert server.requests == ["/files/vgg19.h5"]
    assert _left_in(source.cache_dir) == ["vgg19.h5"]


def test_a_download_with_a_wrong_hash_is_refused_and_thrown_away(server, source):
    with pytest.raises(WeightsUnavailable) as caught:
        resolve_weights("imagenet", replace(source, hash="0" * 32))
    assert MD5 in caught.value.detail
    assert str(source.path) in caught.value.detail
    assert _left_in(source.cache_dir) == []


def test_a_cached_file_with_a_wrong_hash_is_downloaded_again(server, source):
    source.cache_dir.mkdir()
    source.path.write_bytes(b"half a file")
    assert resolve_weights("imagenet", source).path.read_bytes() == DATA
    assert len(server.requests) == 1


def test_a_half_download_of_a_killed_process_is_cleared_away(source):
    source.cache_dir.mkdir()
    (source.cache_dir / ".vgg19.h5.999999.part").write_bytes(b"half")
    resolve_weights("imagenet", source)
    assert _left_in(source.cache_dir) == ["vgg19.h5"]


def test_a_missing_file_says_what_was_tried_and_what_to_do(server, source):
    source = replace(source, url=server.url.replace("files", "missing"))
    with pytest.raises(WeightsUnavailable) as caught:
        resolve_weights("imagenet", source)
    for part in (source.url, "404", str(source.path), "put it there"):
        assert part in caught.value.detail
    assert "untrained" in caught.value.suggestion


def test_a_server_that_does_not_answer_the_door(source):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        source = replace(source, url=f"http://127.0.0.1:{closed.getsockname()[1]}/vgg19.h5")
        with pytest.raises(WeightsUnavailable, match="refused"):
            resolve_weights("imagenet", source)
        choice = resolve_weights("auto", source)
    assert choice.kind == "untrained"
    assert "refused" in choice.notice


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "nonsense", "http://"])
def test_other_addresses_are_refused(source, url):
    with pytest.raises(WeightsUnavailable):
        resolve_weights("imagenet", replace(source, url=url))


@pytest.mark.parametrize("digest", ["", "abc", "g" * 32])
def test_a_hash_that_is_none_is_refused(server, source, digest):
    with pytest.raises(WeightsUnavailable, match="ATELIER_VGG19_WEIGHTS_HASH"):
        resolve_weights("imagenet", replace(source, hash=digest))
    assert server.requests == []


@pytest.mark.parametrize("trickle", [False, True], ids=["silent", "trickling"])
def test_auto_gives_up_in_time_and_says_so(server, source, trickle):
    server.hold.clear()
    server.trickle = trickle
    choice = resolve_weights("auto", replace(source, auto_timeout_seconds=1.5))
    assert choice.kind == "untrained"
    assert choice.path is None
    for part in ("longer than 1.5 s", "never trained", "weaker", server.url, "weights import"):
        assert part in choice.notice
    assert str(source.cache_dir) not in choice.notice  # it is shown to everybody
    assert _left_in(source.cache_dir) == []


def test_auto_says_why_when_the_file_is_missing(server, source):
    choice = resolve_weights("auto", replace(source, url=server.url.replace("files", "missing")))
    assert choice.kind == "untrained"
    assert "404" in choice.notice


def test_a_folder_that_cannot_be_written(source, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(WeightsUnavailable, match="failed"):
        resolve_weights("imagenet", source)
    assert resolve_weights("auto", source).kind == "untrained"


@pytest.mark.process
def test_two_processes_at_once_download_once(server, source):
    server.hold.clear()
    code = (
        "import sys; from pathlib import Path; from worker.engine.weights.source import *\n"
        "source = ImagenetSource(sys.argv[1], sys.argv[2], Path(sys.argv[3]))\n"
        "print('ready', flush=True); sys.stdin.read()\n"
        "print(resolve_weights('imagenet', source).path)"
    )
    command = [sys.executable, "-c", code, source.url, source.hash, str(source.cache_dir)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        for process in (one, other):
            assert process.stdout.readline() == "ready\n"
        for process in (one, other):
            process.stdin.close()
        assert server.asked.wait(60)
        server.hold.set()
        assert [process.stdout.read().strip() for process in (one, other)] == [str(source.path)] * 2
    assert (one.returncode, other.returncode) == (0, 0)
    assert len(server.requests) == 1
    assert source.path.read_bytes() == DATA


def test_untrained_needs_nothing_and_says_what_it_is(server, source):
    choice = resolve_weights("untrained", source)
    assert (choice.kind, choice.path) == ("untrained", None)
    assert "never trained" in choice.notice
    assert server.requests == []


def test_a_path_is_taken_if_it_is_there(source, tmp_path):
    path = tmp_path / "mine.h5"
    with pytest.raises(WeightsUnavailable, match=f"no weights file {path}.*ATELIER_VGG19_WEIGHTS"):
        resolve_weights(str(path), source)
    path.touch()
    assert resolve_weights(str(path), source).path == path
    assert resolve_weights(str(path), source).kind == "file"


def test_the_defaults_are_what_keras_publishes():
    from keras.src.applications import vgg19

    settings = Settings()
    assert settings.vgg19_weights_url == vgg19.WEIGHTS_PATH_NO_TOP
    assert settings.vgg19_weights_hash in Path(vgg19.__file__).read_text()
