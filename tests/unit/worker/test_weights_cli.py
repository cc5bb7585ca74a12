"""`atelier-worker weights`: the published file on a machine that cannot download it."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import h5py
import pytest
from click.testing import CliRunner, Result

from shared.errors import WeightsInvalid
from worker.cli.main import main
from worker.engine.vgg19 import CONVOLUTIONS, kernel_shape
from worker.engine.weights.fetch import import_file
from worker.engine.weights.source import ImagenetSource, resolve_weights


def write_network(path: Path, fill: float = 0.5) -> Path:
    """Write a file with the layers of a VGG19; all of a layer's values are one, so it takes no room."""
    with h5py.File(path, "w") as file:
        for layer in CONVOLUTIONS:
            group = file.create_group(layer)
            for name, shape in (("kernel:0", kernel_shape(layer)), ("bias:0", kernel_shape(layer)[-1:])):
                group.create_dataset(name, shape=shape, dtype="f4", fillvalue=fill)
    return path


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return write_network(tmp_path / "downloaded elsewhere.h5")


@pytest.fixture(params=["md5", "sha256"])
def source(request, tmp_path: Path, published: Path) -> ImagenetSource:
    digest = hashlib.new(request.param, published.read_bytes()).hexdigest().upper()
    return ImagenetSource("http://127.0.0.1:1/files/vgg19.h5", digest, tmp_path / "cache")


def call(source: ImagenetSource, *words: str | Path) -> Result:
    environ = {
        "ATELIER_VGG19_WEIGHTS_URL": source.url,
        "ATELIER_VGG19_WEIGHTS_HASH": source.hash,
        "ATELIER_CACHE_DIR": str(source.cache_dir),
    }
    return CliRunner(env=environ).invoke(main, ["weights", *map(str, words)])


def left(source: ImagenetSource) -> list[str]:
    if not source.cache_dir.is_dir():
        return []
    return sorted(path.name for path in source.cache_dir.iterdir() if not path.name.endswith(".lock"))


def test_the_published_file_is_put_where_a_worker_finds_it(source: ImagenetSource, published: Path):
    answer = call(source, "import", published)
    assert answer.exit_code == 0, answer.output
    assert str(source.path) in answer.stdout
    assert source.path.read_bytes() == published.read_bytes()
    assert left(source) == ["vgg19.h5"]
    # Nothing listens at the address: there was no download.
    assert resolve_weights("imagenet", source).path == source.path
    again = call(source, "import", published, "--json")
    assert json.loads(again.stdout) == {
        "path": str(source.path),
        "hash": source.hash.lower(),
        "imported": False,
    }
    assert call(source, "check").exit_code == call(source, "check", published).exit_code == 0


def test_a_file_in_its_own_place_is_already_there(source: ImagenetSource, published: Path):
    assert call(source, "import", published).exit_code == 0
    assert "already" in call(source, "import", source.path).stdout
    assert source.path.read_bytes() == published.read_bytes()


def test_a_damaged_file_in_the_place_is_replaced(source: ImagenetSource, published: Path):
    source.path.parent.mkdir()
    source.path.write_bytes(published.read_bytes()[:-100])
    assert call(source, "check").exit_code == 3
    assert call(source, "import", published).exit_code == 0
    assert call(source, "check").exit_code == 0


@pytest.mark.parametrize("act", ["import", "check"])
@pytest.mark.parametrize("wrong", ["truncated", "changed", "empty", "a page", "missing", "a folder"])
def test_another_file_is_refused_and_leaves_nothing(
    source: ImagenetSource, published: Path, tmp_path: Path, wrong: str, act: str
):
    data, given = published.read_bytes(), tmp_path / "given.h5"
    contents = {
        "truncated": data[: len(data) // 2],
        "changed": data[:-1] + b"x",
        "empty": b"",
        "a page": b"<html>Please log in</html>",
    }
    if wrong in contents:
        given.write_bytes(contents[wrong])
    elif wrong == "a folder":
        given.mkdir()
    answer = call(source, act, given)
    assert answer.exit_code == 3
    assert str(given) in answer.stderr
    assert "Traceback" not in answer.output
    if wrong in contents:
        kind = "md5" if len(source.hash) == 32 else "sha256"
        assert hashlib.new(kind, contents[wrong]).hexdigest() in answer.stderr
        assert source.hash.lower() in answer.stderr
        assert f"{len(contents[wrong])} bytes" in answer.stderr
    assert left(source) == []


def test_a_network_of_ones_own_is_not_the_published_one_but_of_use(source: ImagenetSource, tmp_path: Path):
    own = write_network(tmp_path / "own.h5", fill=0.25)
    answer = call(source, "import", own, "--json")
    assert answer.exit_code == 3
    assert f"ATELIER_VGG19_WEIGHTS={own}" in answer.stderr
    assert json.loads(answer.stdout)["error"]["code"] == "weights_invalid"
    assert left(source) == []


def test_a_file_whose_hash_is_set_but_holds_no_network_is_refused(tmp_path: Path):
    given = tmp_path / "given.h5"
    given.write_bytes(b"anything")
    source = ImagenetSource("http://h/vgg19.h5", hashlib.sha256(b"anything").hexdigest(), tmp_path / "cache")
    assert call(source, "import", given).exit_code == 3
    assert left(source) == []


def test_a_cache_that_cannot_be_written_is_told(source: ImagenetSource, published: Path):
    source.cache_dir.write_text("a file where the folder should be")
    answer = call(source, "import", published)
    assert answer.exit_code == 3
    assert str(source.cache_dir) in answer.stderr


def test_a_hash_that_is_none_is_told(source: ImagenetSource, published: Path):
    wrong = ImagenetSource(source.url, "abc", source.cache_dir)
    answer = call(wrong, "import", published)
    assert answer.exit_code == 2
    assert "ATELIER_VGG19_WEIGHTS_HASH is 'abc': allowed are 32 hex digits" in answer.stderr


def test_many_at_once_put_it_there_once(source: ImagenetSource, published: Path):
    done: list[bool] = []
    threads = [
        threading.Thread(target=lambda: done.append(import_file(published, source.hash, source.path)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False] * 5 + [True]
    assert left(source) == ["vgg19.h5"]


def test_a_file_that_is_exchanged_after_it_was_looked_at_is_still_refused(
    source: ImagenetSource, tmp_path: Path
):
    given = tmp_path / "given.h5"
    given.write_bytes(b"other")
    with pytest.raises(WeightsInvalid, match="5 bytes"):
        import_file(given, source.hash, source.path)
    assert left(source) == []
