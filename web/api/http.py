"""Requests read and answers written: bodies, parts, queries, page tokens; JSON, stored files and bytes."""

from __future__ import annotations

import base64
import binascii
import difflib
import hashlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, BinaryIO, TypeVar
from urllib.parse import quote

from flask import Request, Response, request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.formparser import FormDataParser
from werkzeug.http import dump_options_header, parse_list_header
from werkzeug.wsgi import FileWrapper

from shared.errors import Fault, MalformedRequest, MissingPart, PictureTooHeavy, UploadsUnavailable
from shared.options import StyleOptions
from shared.picture import PictureLimits
from shared.texts import field_schemas, read_texts, reason_of
from web.api.conditional import ConditionalResponse
from web.assets.stars import AssetFilter
from web.assets.uploads import max_body_bytes, too_heavy
from web.jobs.lists import JobFilter

#: A proxy that waits 60 s, as the usual ones do, must still hear the answer.
MAX_WAIT_SECONDS = 50
#: For what never changes: a year, the most that caches care for.
FOREVER_SECONDS = 31_536_000
MULTIPART = "multipart/form-data"
JSON_TYPE = "application/json"
#: It may be kept, and is asked for again each time.
NO_CACHE = "no-cache"
#: What messages call the body of a request.
BODY = "the body"
_MAX_TEXT_BYTES = 500_000
#: What is read of a file at once.
_SENT_BYTES = 64 * 1024
_WAIT = re.compile(r'\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?:;.*)?', re.IGNORECASE)
Model = TypeVar("Model", bound=BaseModel)


def json_answer(
    data: Mapping[str, object],
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
    media_type: str = JSON_TYPE,
) -> ConditionalResponse:
    """Return a response of `data`, written as `json_bytes` does."""
    return written_answer(json_bytes(data), status, headers=headers, media_type=media_type)


def json_bytes(data: Mapping[str, object]) -> bytes:
    """Return `data` as it is sent; what cannot be written as UTF-8 becomes a question mark."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"


def written_answer(
    content: bytes,
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
    media_type: str = JSON_TYPE,
) -> ConditionalResponse:
    """Return a response of JSON that is written already."""
    response = ConditionalResponse(content, status=status, content_type=media_type)
    response.headers["Cache-Control"] = NO_CACHE
    response.headers.update(headers or {})
    return response


def wait_seconds(header: str | None) -> int:
    """Return how long a client wants to wait, 0 to 50 s; a preference that is not understood is none."""
    for part in parse_list_header(header or ""):
        match = _WAIT.fullmatch(part)
        if match:
            return min(int(match[1]), MAX_WAIT_SECONDS)
    return 0


def parse_json(text: str | bytes, *, name: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a JSON text; `name` is what messages call it.

    Raises:
        MalformedRequest: saying where it is not well formed.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object)
        # Half a surrogate pair is JSON, but no text that could be stored or shown.
        json.dumps(value, ensure_ascii=False).encode()
    except _Repeated as error:
        detail = f"{error.args[0]} is there twice in {name}; give it once"
        raise MalformedRequest.at(_pointer(name), detail, code="repeated_field") from None
    except json.JSONDecodeError as error:
        detail = f"{name} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise MalformedRequest.at(_pointer(name), detail, code="not_json") from None
    except (ValueError, RecursionError):
        detail = f"{name} is not JSON that can be read"
        raise MalformedRequest.at(_pointer(name), detail, code="not_json") from None
    return value


class _Repeated(Exception):
    """An object of a JSON text has a name twice: which value is meant is anybody's guess."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise _Repeated(name[:100])
    return values


def _pointer(name: str) -> str:
    """Return where something is that messages call by this name."""
    return "" if name == BODY else f"/{name}"


def refuse_unknown(kind: str, given: Iterable[str], *, known: Iterable[str]) -> None:
    """Refuse names that mean nothing here: a misspelt one must not be passed over.

    Raises:
        MalformedRequest: naming them, and what they may have been meant to be.
    """
    names = sorted(known)
    faults = []
    for name in sorted(set(given) - set(names)):
        hint = _hint(kind, name, given, names)
        faults.append(Fault(f"/{name}", f"unknown_{kind}", f"{name} is not a {kind} here; {hint}"))
    if faults:
        raise MalformedRequest("; ".join(fault.detail for fault in faults), faults=tuple(faults))


def _hint(kind: str, name: str, given: Iterable[str], known: Sequence[str]) -> str:
    """Say what to do instead of sending something by a name that means nothing here."""
    if "options" in known and name in StyleOptions.model_fields:
        value = given.get(name) if isinstance(given, Mapping) else None
        text = json.dumps(
            read_texts(StyleOptions, {name: value}) if isinstance(value, str) else {name: value}
        )
        how = f"options={text}" if kind == "part" else f'"options": {text}'
        return f"it is an option: put it into options, as in {how}"
    options = [*StyleOptions.model_fields] if "options" in known else []
    near = difflib.get_close_matches(name, [*known, *options], n=1)
    if near and near[0] in options:
        return f"did you mean the option {near[0]}? Put it into options"
    if near:
        return f"did you mean {near[0]}?"
    return f"known are {', '.join(known) or 'none'}"


def read_query(kind: type[Model], query: Mapping[str, str]) -> Model:
    """Return what a query says of the fields of a model; other parameters are passed over.

    Raises:
        MalformedRequest: naming the parameter that cannot be read, and what is allowed.
    """
    schemas = field_schemas(kind)
    texts = {name: query[name] for name in schemas if name in query}
    try:
        return kind.model_validate(read_texts(kind, texts))
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        detail = f"{name} is '{texts[name]}'; allowed {_allowed(schemas[name])}"
        raise MalformedRequest.at(f"/{name}", detail) from None


def _allowed(schema: Mapping[str, Any]) -> str:
    return (
        "are true and false"
        if schema["type"] == "boolean"
        else f"is {schema['minimum']} to {schema['maximum']}"
    )


def file_part(name: str) -> FileStorage:
    """Return the one file of this name in a multipart request.

    Raises:
        MissingPart: when there is none.
        MalformedRequest: when there are several.
    """
    files = [file for file in request.files.getlist(name) if file.filename]
    if not files:
        hint = f"{name} was sent as text; send it as a file" if name in request.form else f"{name} is missing"
        raise MissingPart(
            f"{hint} (with curl: -F {name}=@picture.jpg)", faults=(Fault(f"/{name}", "missing_part", hint),)
        )
    if len(files) > 1:
        raise MalformedRequest.at(f"/{name}", f"{name} was sent {len(files)} times; send it once")
    return files[0]


def text_part(name: str) -> str | None:
    """Return a part that is text, also when it was sent as a file; None when it is not there.

    Raises:
        MalformedRequest: when it is not UTF-8, or larger than 500 kB.
    """
    file = request.files.get(name)
    if file is None:
        return request.form.get(name)
    data = file.stream.read(_MAX_TEXT_BYTES + 1)
    if len(data) > _MAX_TEXT_BYTES:
        raise MalformedRequest.at(f"/{name}", f"{name} has more than {_MAX_TEXT_BYTES // 1000} kB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MalformedRequest.at(f"/{name}", f"{name} is not UTF-8 text") from None


class FormReader(FormDataParser):
    """Reads a form; one that cannot be read is refused, where Werkzeug takes it for an empty one."""

    def parse(
        self,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]:
        """Return the stream, the texts and the files.

        Raises:
            MalformedRequest: saying what is wrong with the form as a whole.
        """
        if not content_length:  # the front tells the length of every body
            return stream, self.cls(), self.cls()
        self.silent, make, made = False, self.stream_factory, []

        def note(*words: Any, **how: Any) -> IO[bytes]:  # noqa: ANN401 - Werkzeug's
            made.append(make(*words, **how))
            return made[-1]

        self.stream_factory = note
        try:
            return super().parse(stream, mimetype, content_length, options)
        except Exception as error:
            for file in made:
                file.close()
            if not isinstance(error, ValueError):
                raise
            detail = _form_fault(error, mimetype, (options or {}).get("boundary", ""))
            raise MalformedRequest.at("", detail, code="not_a_form") from None


class FormRequest(Request):
    """A request whose form is read by `FormReader`, whichever view reads it."""

    form_data_parser_class = FormReader


def _form_fault(error: ValueError, mimetype: str, boundary: str) -> str:
    if mimetype != MULTIPART:
        return "the form is not UTF-8 text"
    shown = boundary[:80]
    if not boundary:
        return (
            "the Content-Type names no boundary between the parts, as in multipart/form-data; boundary=x; "
            "programs add it by themselves when they are not told a Content-Type"
        )
    if not boundary.isascii():
        return f"the boundary '{shown}' in the Content-Type has other characters than ASCII"
    if "PREAMBLE" in str(error):
        return f"the body has no line '--{shown}', the boundary that its Content-Type names"
    if "Content-Disposition" in str(error):
        return "a part has no Content-Disposition; with it each is named"
    return (
        f"a part of the body is not whole: headers, an empty line, what it holds; '--{shown}--' is behind all"
    )


def receive_upload(limits: PictureLimits, *, known: Iterable[str]) -> None:
    """Receive a multipart request with pictures; its files lie on disk until they are read.

    Raises:
        PictureTooHeavy: when the whole has more bytes than two pictures may have.
        MalformedRequest: for parts that mean nothing here.
        UploadsUnavailable: when the folder for temporary files does not take them.
    """
    request.max_content_length = max_body_bytes(limits)
    try:
        names = [*request.files, *request.form]
        sent = {**dict.fromkeys(request.files), **request.form}
    except (ConnectionError, TimeoutError):
        raise  # of the client, not of the disk
    except OSError as error:
        # Also when no folder for temporary files can be had at all: a full one looks like that at first.
        raise UploadsUnavailable(
            f"the folder for temporary files (TMPDIR) does not take the upload: {error.strerror or error}"
        ) from error
    except RequestEntityTooLarge:
        size = request.content_length
        if size is not None and size <= request.max_content_length:
            detail = "a part that is text has more than 500 kB, or there are too many"
            raise MalformedRequest.at("", detail) from None
        heavy = too_heavy("the request", size, limits)
        raise PictureTooHeavy.at("", heavy.detail, code=heavy.code) from None
    if not all(names):  # whatever the types say, it may be None
        hint = "a part has no name; name each in its Content-Disposition"
        raise MalformedRequest(hint, faults=(Fault("", "invalid_value", hint),))
    refuse_unknown("part", sent, known=known)


def read_body(kind: type[Model]) -> Model:
    """Return the body of this kind that was sent; nothing sent is as good as an empty object.

    Raises:
        MalformedRequest, MissingPart: naming each field that is unknown, missing or not valid.
        UnsupportedMediaType: when something else than JSON was sent.
    """
    values = _read_object()
    refuse_unknown("field", values, known=field_schemas(kind))
    return check_values(kind, values)


def refuse_body() -> None:
    """Refuse a body with something in it, where there is nothing to say.

    Raises:
        MalformedRequest, UnsupportedMediaType: as `read_body` does.
    """
    refuse_unknown("field", _read_object(), known=())


def _read_object() -> dict[str, object]:
    data = request.get_data(cache=False)
    if not data.strip():
        return {}
    if not request.is_json:
        raise UnsupportedMediaType(f"send application/json, not {request.mimetype or 'nothing'}")
    values = parse_json(data, name=BODY)
    if not isinstance(values, dict):
        raise MalformedRequest.at("", "the body must be a JSON object", code="wrong_type")
    return values


def check_values(kind: type[Model], values: Mapping[str, object]) -> Model:
    """Return values as a model.

    Raises:
        MalformedRequest, MissingPart: naming each field that is unknown, missing or not valid.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = tuple(_fault(dict(item)) for item in error.errors())
    detail = "; ".join(fault.detail for fault in faults)
    only_missing = all(fault.code == "missing_part" for fault in faults)
    raise (MissingPart if only_missing else MalformedRequest)(detail, faults=faults)


def _fault(item: dict[str, Any]) -> Fault:
    parts = [str(part) for part in item["loc"] if part != "[key]"]
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
    name = ".".join(parts) or "the body"
    if item["type"] == "missing":
        return Fault(pointer, "missing_part", f"{name} is missing")
    if item["type"] == "extra_forbidden":
        return Fault(pointer, "unknown_field", f"{name} is not a field here")
    return Fault(pointer, "invalid_value", f"{name} {reason_of(item)}")


def send_stored(
    file: BinaryIO, *, content_type: str, etag: str, download_name: str | None = None, max_age: int = 0
) -> Response:
    """Return a response of a seekable file, which is closed with it; `max_age` is in seconds.

    A file that never changes has a `max_age`; any other is asked for again with its ETag each time.

    Raises:
        PreconditionFailed, RequestedRangeNotSatisfiable: as `ConditionalResponse`; the file is closed.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    response = ConditionalResponse(
        FileWrapper(file, _SENT_BYTES), content_type=content_type, direct_passthrough=True
    )
    response.call_on_close(file.close)
    response.content_length = size
    response.set_etag(etag)
    response.headers["Cache-Control"] = f"private, max-age={max_age}, immutable" if max_age else "no-cache"
    if download_name is not None:
        response.headers["Content-Disposition"] = disposition(download_name)
    return response.make_conditional(request, accept_ranges=True, complete_length=size)


def send_bytes(data: bytes, *, content_type: str, etag: str, max_age: int = 0) -> Response:
    """Return a response of bytes; without a `max_age` they may be others the next time."""
    return send_stored(io.BytesIO(data), content_type=content_type, etag=etag, max_age=max_age)


def disposition(name: str) -> str:
    """Return a `Content-Disposition` that names a file for browsers old and new.

    Quotes and separators would end the name or make it a path.
    """
    safe = "".join("_" if letter in '/\\"' else letter for letter in name)
    plain = safe.encode("ascii", "replace").decode().replace("?", "_")
    header = dump_options_header("inline", {"filename": plain})
    if plain != safe:
        header += f"; filename*=UTF-8''{quote(safe, safe='')}"
    return header


def make_token(last_id: str, only: JobFilter | AssetFilter) -> str:
    """Return the token of the page after the job, or asset, `last_id`."""
    text = json.dumps({"before": last_id, "filters": _digest(only)})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(token: str, only: JobFilter | AssetFilter) -> str:
    """Return the id of the job, or asset, that the page before ended with.

    Raises:
        MalformedRequest: when it is not one of ours, or was made for other filters.
    """
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        before, filters = str(values["before"]), values["filters"]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        detail = "page_token is damaged; take it from next_page_token as it is"
        raise MalformedRequest.at("/page_token", detail) from None
    if filters != _digest(only):
        detail = "page_token belongs to a list with other filters; begin again without it"
        raise MalformedRequest.at("/page_token", detail)
    return before


def _digest(only: JobFilter | AssetFilter) -> str:
    if isinstance(only, AssetFilter):
        return _digest_of({"assets": {"starred": only.starred}})
    values = {
        "statuses": sorted(only.statuses),
        "labels": sorted(only.labels.items()),
        "batch_id": only.batch_id,
        "created_after": only.created_after.isoformat() if only.created_after else None,
        "name": only.name.lower(),
        **({"id_prefix": only.id_prefix} if only.id_prefix else {}),
    }
    return _digest_of(values)


def _digest_of(values: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
