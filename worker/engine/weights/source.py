"""Which weights a process uses, decided from its settings. Loads no TensorFlow, no numpy, no h5py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from shared.errors import WeightsUnavailable
from worker.engine.weights.fetch import fetch_file, fetch_file_within, file_matches

if TYPE_CHECKING:
    from shared.settings import Settings

_UNTRAINED_NOTICE = (
    "The network behind this picture was never trained: it is a stylisation of another, weaker kind than one "
    "with the ImageNet weights."
)


@dataclass(frozen=True)
class WeightsChoice:
    """The weights to load: their kind, their file (none for `untrained`), and what people have to be told."""

    kind: Literal["imagenet", "file", "untrained"]
    path: Path | None = None
    notice: str | None = None


@dataclass(frozen=True)
class ImagenetSource:
    """Where the ImageNet weights come from.

    Attributes:
        url: http(s) address of a Keras file of VGG19.
        hash: Hex digest of that file: MD5 if it has 32 digits (what Keras publishes), SHA-256 if 64.
        cache_dir: Folder that the processes of a machine share.
        auto_timeout_seconds: How long `auto` may take over it in all; default 10.
    """

    url: str
    hash: str
    cache_dir: Path
    auto_timeout_seconds: float = 10

    @classmethod
    def of(cls, settings: Settings) -> ImagenetSource:
        """Return the source that the settings name."""
        return cls(
            url=settings.vgg19_weights_url,
            hash=settings.vgg19_weights_hash,
            cache_dir=settings.cache_dir,
            auto_timeout_seconds=settings.weights_auto_seconds,
        )

    @property
    def path(self) -> Path:
        """Where the file lies, or should lie, on this machine."""
        return self.cache_dir / (PurePosixPath(urlsplit(self.url).path).name or "vgg19.h5")


def resolve_weights(setting: str, source: ImagenetSource) -> WeightsChoice:
    """Decide which weights to use, downloading them if that is what it takes.

    Args:
        setting: ``imagenet``, ``auto`` (ImageNet if it can be had soon, else untrained), ``untrained``, or
            the path of a file.
        source: Where the ImageNet weights come from.

    Raises:
        WeightsUnavailable: saying what was tried, where the file should lie, and what to do.
    """
    if setting == "untrained":
        return WeightsChoice("untrained", notice=_UNTRAINED_NOTICE)
    if setting == "imagenet":
        return WeightsChoice("imagenet", _imagenet(source, timeout_seconds=None))
    if setting == "auto":
        try:
            return WeightsChoice("imagenet", _imagenet(source, timeout_seconds=source.auto_timeout_seconds))
        except WeightsUnavailable as error:
            return WeightsChoice("untrained", notice=_fallback_notice(error, source))
    path = Path(setting).expanduser()
    if not path.is_file():
        raise WeightsUnavailable(
            f"there is no weights file {path.absolute()}. Set ATELIER_VGG19_WEIGHTS to the path of a Keras "
            ".h5 file of VGG19, or to 'imagenet', 'auto' or 'untrained'"
        )
    return WeightsChoice("file", path)


def check_weights(choice: WeightsChoice) -> None:
    """Read the chosen file through, so that a process can refuse to start with weights that it could not use.

    Raises:
        WeightsUnavailable: when the file cannot be read.
        WeightsInvalid: when it does not hold a VGG19.
    """
    from worker.engine.weights.keras_file import read_convolutions  # here: it needs h5py

    if choice.path is not None:
        read_convolutions(choice.path)


def find_weights(setting: str, source: ImagenetSource) -> WeightsChoice | None:
    """Return the weights that are there without a download; None where one is still needed.

    Raises:
        WeightsUnavailable: when the setting names a file that is not there, or the hash is none.
    """
    if setting in ("imagenet", "auto"):
        require_hash(source)
        return WeightsChoice("imagenet", source.path) if file_matches(source.path, source.hash) else None
    return resolve_weights(setting, source)


def require_hash(source: ImagenetSource) -> None:
    """Refuse a hash that is set and is none; raise `WeightsUnavailable`."""
    if len(source.hash) not in (32, 64) or not set(source.hash.lower()) <= set("0123456789abcdef"):
        raise WeightsUnavailable(
            f"the hash set for the ImageNet weights, '{source.hash}', is neither an MD5 (32 hex digits) nor "
            "a SHA-256 (64): set ATELIER_VGG19_WEIGHTS_HASH"
        )


def _imagenet(source: ImagenetSource, *, timeout_seconds: float | None) -> Path:
    require_hash(source)
    if file_matches(source.path, source.hash):
        return source.path
    try:
        if timeout_seconds is None:
            fetch_file(source.url, source.hash, source.path)
        else:
            fetch_file_within(timeout_seconds, source.url, source.hash, source.path)
    except WeightsUnavailable as error:
        raise WeightsUnavailable(
            f"{error.detail}. The file should lie at {source.path}: download it from {source.url} on any "
            "machine, and put it there with 'atelier-worker weights import FILE'"
        ) from error
    return source.path


def _fallback_notice(error: WeightsUnavailable, source: ImagenetSource) -> str:
    """Return what everybody is told; where this machine keeps its files concerns nobody else."""
    reason = error.detail.partition(". ")[0].replace(str(source.cache_dir), "the cache")
    return (
        f"The ImageNet weights could not be had ({reason}). {_UNTRAINED_NOTICE} For the real thing, download "
        f"{source.url} on any machine, and type 'atelier-worker weights import FILE' on that of the worker."
    )
