"""Reading requests: JSON bodies, multipart parts, and query parameters, each refused with its name."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any

from flask import request
from pydantic import ValidationError
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from shared.errors import Fault, MalformedRequest, MissingPart
from shared.picture import PictureLimits
from web.picture_intake import max_body_bytes, too_heavy

_MAX_TEXT_BYTES = 500_000


def parse_json(text: str | bytes, *, name: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a JSON text; `name` is what messages call it.

    Raises:
        MalformedRequest: saying where it is not well formed.
    """
    try:
        value = json.loads(text)
        # Half a surrogate pair is JSON, but no text that could be stored or shown.
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise MalformedRequest(
            f"{name} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except (ValueError, RecursionError):
        raise MalformedRequest(f"{name} is not JSON that can be read") from None
    return value


def refuse_unknown(kind: str, given: Iterable[str], *, known: Iterable[str]) -> None:
    """Refuse names that mean nothing here: a misspelt one must not be passed over.

    Raises:
        MalformedRequest: naming them, and what they may have been meant to be.
    """
    names = sorted(known)
    faults = []
    for name in sorted(set(given) - set(names)):
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names) or 'none'}"
        faults.append(Fault(f"/{name}", f"unknown_{kind}", f"{name} is not a {kind} here; {hint}"))
    if faults:
        raise MalformedRequest("; ".join(fault.detail for fault in faults), faults=tuple(faults))


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
        raise MalformedRequest(f"{name} was sent {len(files)} times; send it once")
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
        raise MalformedRequest(f"{name} has more than {_MAX_TEXT_BYTES // 1000} kB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MalformedRequest(f"{name} is not UTF-8 text") from None


def receive_upload(limits: PictureLimits, *, known: Iterable[str]) -> None:
    """Receive a multipart request with pictures; its files lie on disk until they are read.

    Raises:
        PictureTooHeavy: when the whole has more bytes than two pictures may have.
        MalformedRequest: for parts that mean nothing here.
    """
    request.max_content_length = max_body_bytes(limits)
    try:
        refuse_unknown("part", [*request.files, *request.form], known=known)
    except RequestEntityTooLarge:
        size = request.content_length
        if size is not None and size <= request.max_content_length:
            raise MalformedRequest(
                "a part that is text has more than 500 kB, or there are too many"
            ) from None
        raise too_heavy("the request", size, limits) from None


def body_faults(error: ValidationError) -> MalformedRequest | MissingPart:
    """Return the refusal of a body that a model does not accept."""
    faults = tuple(_fault(dict(item)) for item in error.errors())
    detail = "; ".join(fault.detail for fault in faults)
    only_missing = all(fault.code == "missing_part" for fault in faults)
    return (MissingPart if only_missing else MalformedRequest)(detail, faults=faults)


def _fault(item: dict[str, Any]) -> Fault:
    parts = [str(part) for part in item["loc"] if part != "[key]"]
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
    name = ".".join(parts) or "the body"
    if item["type"] == "missing":
        return Fault(pointer, "missing_part", f"{name} is missing")
    if item["type"] == "extra_forbidden":
        return Fault(pointer, "unknown_field", f"{name} is not a field here")
    return Fault(pointer, "invalid_value", f"{name}: {item['msg'].removeprefix('Value error, ')}")
