"""The artifact store in a bucket: that of S3 itself, or of a store that speaks its protocol.

An object is whole or not there, and whoever reads after a write sees it: more is asked of the store only in
one place, that a write with ``If-None-Match: *`` fails where there is an object already.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import PurePosixPath
from time import sleep
from typing import Any, BinaryIO, TypeVar

from botocore.exceptions import ClientError

from shared.errors import ArtifactExists, ArtifactMissing, StorageUnavailable
from shared.protocol import new_id
from shared.storage.layout import is_touched, set_aside_key
from shared.storage.s3_requests import (
    BODY_TRIES,
    BROKEN_BODY,
    ObjectReader,
    S3Access,
    client_of,
    is_missing,
    status_of,
    storage_errors,
)
from shared.storage.store import Room, StoredFile, prove_store
from shared.storage.verify import sha256_of

#: Hidden names beside a file, while its removal is decided: the file itself, that somebody decides, and that
#: somebody needs it meanwhile.
_ASIDE, _DECIDING, _TOUCHED = ".aside-", ".deciding-", ".touched-"
#: A write with a condition that meets another one of the same key is refused with 409, and asked again.
_CONFLICT_TRIES, _CONFLICT_SECONDS = 6, 0.1
#: Whoever decides makes five requests; what is left after this, its process was killed.
_DECIDING_SECONDS = 300.0
_WAIT_SECONDS, _WAITS = 0.2, 25
#: Up to this size a file that is opened is fetched at once, and its checksum compared.
_SMALL_BYTES = 8 << 20
_BUFFER_BYTES = 1 << 20
#: Times are told in whole seconds.
_TICK = timedelta(seconds=1)
_MOST_AT_ONCE = 1000
_LAST_LETTER = "\U0010ffff"
_Found = TypeVar("_Found")


class S3Store:
    """Objects below one prefix of a bucket.

    Nothing can be renamed there, and only a write can have a condition. So who decides whether an uploaded
    picture is removed says so under a hidden name, and keeps the bytes under another one until it is decided:
    readers look for them there, too, and what a killed process left so is put back (`put_back`).
    """

    def __init__(self, bucket: str, prefix: str = "", *, access: S3Access) -> None:
        self.bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._access = access

    @property
    def name(self) -> str:
        """Where the files are, in one word."""
        return f"s3://{self.bucket}/{self._prefix}".rstrip("/")

    def make_root(self) -> None:
        """See `ArtifactStore.make_root`; a bucket is made by whoever runs the store, with what it costs."""
        with storage_errors(self.name, writes=True):
            self._client.head_bucket(Bucket=self.bucket)

    def write(self, key: str, data: bytes | BinaryIO) -> None:
        """See `ArtifactStore.write`."""
        with storage_errors(key, writes=True):
            self._put(key, data)

    def write_volatile(self, key: str, data: bytes) -> None:
        """See `ArtifactStore.write_volatile`; here every write lasts."""
        self.write(key, data)

    def create(self, key: str, data: bytes) -> None:
        """See `ArtifactStore.create`.

        Where the answer to a write was lost, the next try finds the file there, and this raises
        `ArtifactExists`: as everywhere, the file then has these bytes.
        """
        for tries_left in reversed(range(_CONFLICT_TRIES)):
            with storage_errors(key, writes=True):
                try:
                    self._put(key, data, IfNoneMatch="*")
                except ClientError as error:
                    if status_of(error) == 412:
                        raise ArtifactExists(f"{key} is already there") from None
                    if status_of(error) != 409 or not tries_left:
                        raise
                else:
                    return
            sleep(_CONFLICT_SECONDS)

    def read(self, key: str) -> bytes:
        """See `ArtifactStore.read`; the checksum that was stored with the bytes is compared."""
        with storage_errors(key):
            return self._find(key, self._get)

    def open(self, key: str) -> BinaryIO:
        """See `ArtifactStore.open`; all that is read from it is of one and the same file."""
        with storage_errors(key):
            return self._find(key, self._open)

    def copy(self, source: str, target: str) -> None:
        """See `ArtifactStore.copy`; the store itself copies."""
        with storage_errors(source):
            self._find(source, lambda found: self._copy(found, target))

    def list(self, prefix: str) -> Iterator[str]:
        """See `ArtifactStore.list`."""
        # The same name may be there twice: set aside, and written again.
        found = {file.key: file for file in self._files(prefix)}
        yield from sorted({_own_key(file.key) for file in found.values() if not file.is_partial})

    def delete(self, key: str) -> None:
        """See `ArtifactStore.delete`."""
        with storage_errors(key, writes=True):
            self._client.delete_object(Bucket=self.bucket, Key=self._key(key))

    def delete_tree(self, prefix: str) -> None:
        """See `ArtifactStore.delete_tree`."""
        keys = [file.key for file in self._files(prefix)]
        for first in range(0, len(keys), _MOST_AT_ONCE):
            objects = [{"Key": self._key(key)} for key in keys[first : first + _MOST_AT_ONCE]]
            with storage_errors(prefix, writes=True):
                answer = self._client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True}
                )
            if answer.get("Errors"):
                fault = answer["Errors"][0]
                raise StorageUnavailable(f"storage failed at {prefix}: {fault.get('Code')} for one file")

    def move_tree(self, prefix: str, target: str) -> bool:
        """See `ArtifactStore.move_tree`: all is copied before any of it is removed."""
        keys = list(self.list(prefix))
        for key in keys:
            self.copy(key, target + key.removeprefix(prefix))
        self.delete_tree(prefix)
        return bool(keys)

    def folders(self, prefix: str, *, after: str = "", limit: int) -> Sequence[str]:
        """See `ArtifactStore.folders`."""
        place = self._folder(prefix)
        asked: dict[str, Any] = {"Bucket": self.bucket, "Prefix": place, "Delimiter": "/"}
        if after:
            asked["StartAfter"] = f"{place}{after}/{_LAST_LETTER}"
        found: list[str] = []
        while len(found) < limit:
            asked["MaxKeys"] = min(limit - len(found), _MOST_AT_ONCE)
            with storage_errors(prefix):
                answer = self._client.list_objects_v2(**asked)
            for each in answer.get("CommonPrefixes", ()):
                name = each["Prefix"].removeprefix(place).rstrip("/")
                found += [name] if name > after else []
            if not answer.get("IsTruncated"):
                break
            asked["ContinuationToken"] = answer["NextContinuationToken"]
        return sorted(found)[:limit]

    def inventory(self, prefix: str) -> Sequence[StoredFile]:
        """See `ArtifactStore.inventory`."""
        return sorted(self._files(prefix), key=lambda file: file.key)

    def stat(self, key: str) -> StoredFile:
        """See `ArtifactStore.stat`."""
        with storage_errors(key):
            return replace(self._find(key, self._stat), key=key, is_aside=False)

    def touch(self, key: str) -> None:
        """See `ArtifactStore.touch`.

        Whoever decides about the file meanwhile has looked at its time before, or after: then it is young.
        Else a hidden file tells that it is needed, which is looked for once it is gone.
        """
        with storage_errors(key):
            with suppress(ArtifactMissing), storage_errors(key):
                # Only a copy with other metadata may lie in its own place.
                self._copy(key, key, MetadataDirective="REPLACE", Metadata={"touched": new_id()})
            if self._is_there(_hidden(_DECIDING, key)):
                self._put(_hidden(_TOUCHED, key), b"")
            if not self._is_there(key) and not self._restore(key):
                raise ArtifactMissing(f"{key} is not in the storage")

    def delete_older(self, key: str, moment: datetime) -> bool:
        """See `ArtifactStore.delete_older`; nothing but uploaded pictures is touched.

        Killed at any point, this leaves the file at its own place or aside, or removed by a decision.
        """
        with storage_errors(key):
            try:
                if self._is_younger(key, moment):
                    return False
                if not is_touched(key):
                    self.delete(key)
                    return True
                with self._deciding(key) as is_mine:
                    return is_mine and self._decide(key, moment)
            except ArtifactMissing:  # others removed it, or put it back
                return False

    def put_back(self, prefix: str) -> Sequence[str]:
        """See `ArtifactStore.put_back`."""
        keys = sorted({_own_key(file.key) for file in self._files(prefix) if file.is_aside})
        for key in keys:
            with storage_errors(key), self._deciding(key) as is_mine:
                if is_mine:
                    self._restore(key)
                    self.delete(_hidden(_ASIDE, key))
        return keys

    def set_aside(self, key: str, *, sha256: str) -> bool:
        """See `ArtifactStore.set_aside`; one at a time: nobody removes what another has written anew."""
        with storage_errors(key):
            for _ in range(_WAITS):
                with self._deciding(key) as is_mine:
                    if is_mine:
                        return self._set_aside(key, sha256)
                sleep(_WAIT_SECONDS)
        raise StorageUnavailable(f"storage failed at {key}: somebody else has been setting it aside for long")

    def room(self) -> Room | None:
        """See `ArtifactStore.room`: a bucket has no bound."""
        return None

    def direct_url(self, key: str, *, seconds: int, content_type: str, disposition: str) -> str | None:
        """See `ArtifactStore.direct_url`."""
        asked = {
            "Bucket": self.bucket,
            "Key": self._key(key),
            "ResponseContentType": content_type,
            "ResponseContentDisposition": disposition,
        }
        with storage_errors(key):
            client = self._client_at(self._access.public_endpoint or self._access.endpoint)
            return str(client.generate_presigned_url("get_object", Params=asked, ExpiresIn=seconds))

    def check(self) -> None:
        """See `ArtifactStore.check`.

        A store that takes no notice of the condition would let a zombie replace a result: it is refused.
        """
        key = f"check/{new_id()}"
        prove_store(self, key, self.name)
        try:
            self.create(key, b"first")
            self.create(key, b"second")
        except ArtifactExists:
            return
        finally:
            self.delete(key)
        raise StorageUnavailable(
            f"{self.name} writes twice what may be written once: it knows no If-None-Match"
        )

    def _decide(self, key: str, moment: datetime) -> bool:
        """Remove a file that is old, unless it is touched before it is gone; the caller alone decides."""
        aside, touched = _hidden(_ASIDE, key), _hidden(_TOUCHED, key)
        if self._is_younger(key, moment):  # touched before anybody could see that it is decided about
            return False
        self._copy(key, aside)
        self.delete(key)
        is_needed = self._is_there(touched)
        if is_needed:
            self._restore(key)
            self.delete(touched)
        self.delete(aside)
        return not is_needed

    @contextmanager
    def _deciding(self, key: str) -> Iterator[bool]:
        """Say that this process decides about a file; the block is told whether no other one does."""
        lock = _hidden(_DECIDING, key)
        try:
            self.create(lock, b"")
        except ArtifactExists:
            if self._age_seconds(lock) > _DECIDING_SECONDS:
                self.delete(lock)  # its process was killed; the next look may begin
            yield False
            return
        try:
            yield True
        finally:
            self.delete(lock)

    def _age_seconds(self, key: str) -> float:
        """Return a file's age by the clock of the store, for ours may be another; 0 of one that is gone."""
        try:
            answer = self._client.head_object(Bucket=self.bucket, Key=self._key(key))
        except ClientError as error:
            if is_missing(error):
                return 0.0
            raise
        told = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return float((told - answer["LastModified"]).total_seconds())

    def _set_aside(self, key: str, sha256: str) -> bool:
        try:
            with storage_errors(key):
                file = self._open(key)
        except ArtifactMissing:
            return False
        with file:
            if sha256_of(file) != sha256:
                return False
        self._copy(key, set_aside_key(key, new_id()))
        self.delete(key)
        return True

    def _restore(self, key: str) -> bool:
        """Write a file that is set aside to its own place, unless it was written anew; False if it is not."""
        try:
            with storage_errors(key):
                data = self._get(_hidden(_ASIDE, key))
        except ArtifactMissing:
            return self._is_there(key)
        with suppress(ArtifactExists):
            self.create(key, data)
        return True

    def _find(self, key: str, look: Callable[[str], _Found]) -> _Found:
        """Look at a file, or where it is while its removal is decided; then once more at its own place."""
        places = (key, _hidden(_ASIDE, key), key) if is_touched(key) else (key,)
        for place in places[:-1]:
            try:
                return look(place)
            except ClientError as error:
                if not is_missing(error):
                    raise
        return look(places[-1])

    def _is_there(self, key: str) -> bool:
        try:
            self._stat(key)
        except ClientError as error:
            if is_missing(error):
                return False
            raise
        return True

    def _is_younger(self, key: str, moment: datetime) -> bool:
        with storage_errors(key):
            return self._stat(key).modified_at + _TICK > moment

    def _stat(self, key: str) -> StoredFile:
        answer = self._client.head_object(Bucket=self.bucket, Key=self._key(key))
        return _stored_file(key, answer["ContentLength"], answer["LastModified"])

    def _files(self, prefix: str) -> Sequence[StoredFile]:
        place, files = self._folder(prefix), []
        with storage_errors(prefix):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=place):
                for each in page.get("Contents", ()):
                    key = each["Key"].removeprefix(self._prefix)
                    if not key.endswith("/"):  # some tools make an object for a folder
                        files.append(_stored_file(key, each["Size"], each["LastModified"]))
        return files

    def _put(self, key: str, data: bytes | BinaryIO, **conditions: str) -> None:
        self._client.put_object(
            Bucket=self.bucket, Key=self._key(key), Body=data, ChecksumAlgorithm="SHA256", **conditions
        )

    def _copy(self, source: str, target: str, **changes: object) -> None:
        self._client.copy_object(
            Bucket=self.bucket,
            Key=self._key(target),
            CopySource={"Bucket": self.bucket, "Key": self._key(source)},
            **changes,
        )

    def _get(self, key: str) -> bytes:
        """Return a file's bytes; an answer that breaks off is asked for again."""
        for _ in range(BODY_TRIES - 1):
            with suppress(*BROKEN_BODY):
                return bytes(self._fetch(key)["Body"].read())
        return bytes(self._fetch(key)["Body"].read())

    def _open(self, key: str) -> BinaryIO:
        answer = self._fetch(key)
        body, size, etag = answer["Body"], answer["ContentLength"], answer["ETag"]
        if size <= _SMALL_BYTES:
            try:
                return io.BytesIO(body.read())
            except BROKEN_BODY:
                return io.BytesIO(self._get(key))

        def fetch(first: int) -> Any:  # noqa: ANN401
            return self._fetch(key, Range=f"bytes={first}-", IfMatch=etag)["Body"]

        return io.BufferedReader(ObjectReader(fetch, key, size, body), _BUFFER_BYTES)

    def _fetch(self, key: str, **parts: str) -> Mapping[str, Any]:
        asked = {"Bucket": self.bucket, "Key": self._key(key), "ChecksumMode": "ENABLED", **parts}
        answer: Mapping[str, Any] = self._client.get_object(**asked)
        return answer

    def _key(self, key: str) -> str:
        if not key or key.startswith("/") or ".." in PurePosixPath(key).parts:
            raise ArtifactMissing(f"{key!r} is not a key")
        return self._prefix + key

    def _folder(self, prefix: str) -> str:
        return self._prefix if prefix == "." else f"{self._key(prefix)}/"

    @property
    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes its clients' classes as it runs
        return self._client_at(self._access.endpoint)

    def _client_at(self, endpoint: str) -> Any:  # noqa: ANN401
        with storage_errors(self.name):
            return client_of(self._access, endpoint)


def _hidden(kind: str, key: str) -> str:
    """Return a hidden name beside a file."""
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}{kind}{name}"


def _own_key(key: str) -> str:
    """Return the key of a file that may have been set aside."""
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}{name.removeprefix(_ASIDE)}"


def _stored_file(key: str, size_bytes: int, modified_at: datetime) -> StoredFile:
    name = key.rpartition("/")[2]
    return StoredFile(
        key=key,
        size_bytes=size_bytes,
        modified_at=modified_at,
        is_partial=name.startswith((_DECIDING, _TOUCHED)),
        is_aside=name.startswith(_ASIDE),
    )
