"""Downloading one file once per machine: behind a lock, to a temporary name, checked, then put in place."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from shared.errors import WeightsInvalid, WeightsUnavailable
from shared.processes import own_python

_SILENCE_SECONDS = 30.0
_CHUNK_BYTES = 1 << 20


def file_matches(path: Path, sha: str) -> bool:
    """Tell whether a file is there and has this digest (hex; MD5 if 32 digits long, else SHA-256)."""
    try:
        return file_digest(path, sha) == sha.lower()
    except OSError:
        return False


def file_digest(path: Path, sha: str) -> str:
    """Return a file's digest of the kind that `sha` is; raise `OSError` when it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _algorithm(sha)).hexdigest()


def import_file(given: Path, sha: str, destination: Path) -> bool:
    """Copy a file that somebody brought to where a download would lie; return whether that was needed.

    It is checked as a download is, and put in place in one step; one that is there already is kept.

    Raises:
        WeightsInvalid: when it has another digest, with both; nothing is left behind.
        WeightsUnavailable: when it cannot be read, or not be written there.
    """
    try:
        with given.open("rb") as source:
            destination.parent.mkdir(parents=True, exist_ok=True)
            with locked(destination.with_name(f".{destination.name}.lock")):
                if file_matches(destination, sha):
                    return False
                temporary = _temporary(destination, os.getpid())
                try:
                    _copy(source, sha, temporary, name=str(given))
                    temporary.replace(destination)
                finally:
                    temporary.unlink(missing_ok=True)
                return True
    except OSError as error:
        raise WeightsUnavailable(
            f"{error.filename or given} cannot be read or written: {error.strerror}"
        ) from error


def _copy(source: BinaryIO, sha: str, temporary: Path, *, name: str) -> None:
    digest, size = hashlib.new(_algorithm(sha), usedforsecurity=False), 0
    with temporary.open("wb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != sha.lower():
        raise WeightsInvalid(hash_fault(name, size, digest.hexdigest(), sha))


def hash_fault(name: str, size_bytes: int, found: str, sha: str) -> str:
    """Return what is wrong with a file of another digest, in words."""
    kind = "MD5" if len(sha) == 32 else "SHA-256"
    return (
        f"{name} has {size_bytes} bytes and the {kind} {found}; the published file has {sha.lower()}: it is "
        "another file, or was damaged on its way"
    )


def fetch_file(url: str, sha: str, destination: Path) -> None:
    """Download `url` to `destination` unless a file with this digest is there by the time the lock is had.

    One process of a machine downloads at a time; the others wait, and find its file. There is no limit on the
    whole time, only 30 s on silence: the file is large, and links are slow.

    Raises:
        WeightsUnavailable: saying what failed; nothing is left behind.
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with locked(destination.with_name(f".{destination.name}.lock")):
            if not file_matches(destination, sha):
                _download(url, sha, destination)
    except urllib.error.HTTPError as error:
        error.close()  # it is the response too, and holds its connection
        raise WeightsUnavailable(f"downloading {url} failed: {error}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise WeightsUnavailable(f"downloading {url} failed: {reason}") from error


def fetch_file_within(timeout_seconds: float, url: str, sha: str, destination: Path) -> None:
    """As `fetch_file`, but give up after `timeout_seconds` in all: waiting, look-up and download together.

    Raises:
        WeightsUnavailable: saying what failed, or that the time was up.
    """
    # Another process, because neither a name look-up nor a server that trickles can be interrupted in this
    # one, and a thread left behind would be a danger to a parent that forks.
    command = own_python(__name__, url, sha, str(destination))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            _, messages = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            _temporary(destination, process.pid).unlink(missing_ok=True)
            raise WeightsUnavailable(f"downloading {url} took longer than {timeout_seconds:g} s") from error
    if process.returncode != 0:
        lines = messages.strip().splitlines() or [f"exit code {process.returncode}"]
        raise WeightsUnavailable(lines[-1])


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that the system frees when its holder dies, however it dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download(url: str, sha: str, destination: Path) -> None:
    for leftover in destination.parent.glob(f".{destination.name}.*.part"):
        leftover.unlink(missing_ok=True)
    temporary = _temporary(destination, os.getpid())
    if not url.startswith(("http://", "https://")):
        raise WeightsUnavailable(f"{url} is not an http or https address")
    try:
        digest = hashlib.new(_algorithm(sha), usedforsecurity=False)
        with (
            urllib.request.urlopen(url, timeout=_SILENCE_SECONDS) as response,  # noqa: S310 (checked above)
            temporary.open("wb") as file,
        ):
            while chunk := response.read(_CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != sha.lower():
            raise WeightsUnavailable(
                f"{url} gave a file with the hash {digest.hexdigest()}, not {sha}: it was thrown away"
            )
        temporary.replace(destination)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(destination: Path, process_id: int) -> Path:
    return destination.with_name(f".{destination.name}.{process_id}.part")


def _algorithm(sha: str) -> str:
    return "md5" if len(sha) == 32 else "sha256"


def main(arguments: list[str]) -> int:
    """Carry out `fetch_file` for `fetch_file_within`; the reason of a failure is the last line on stderr."""
    url, sha, destination = arguments
    try:
        fetch_file(url, sha, Path(destination))
    except WeightsUnavailable as error:
        sys.stderr.write(error.detail.replace("\n", " ") + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
