"""The documentation: the OpenAPI document, and a page that shows the same without any script."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response, current_app, render_template, request
from markupsafe import Markup, escape

from shared.release import this_release
from web.address import Address, parse_address
from web.api.http import MAX_WAIT_SECONDS, json_answer
from web.api.openapi import build_document
from web.api.problems import known_codes
from web.services import get_backend
from web.words import sentence

docs = Blueprint("docs", __name__)


@docs.get("/openapi.json")
def read_document() -> Response:
    """Give the OpenAPI document."""
    return json_answer(_document())


@docs.get("/docs")
def read_docs() -> Response:
    """Show the documentation."""
    document = _document()
    page = render_template(
        "docs.html",
        document=document,
        marked=_marked,
        said=_said,
        as_json=_as_json,
        address=service_address(parse_address(get_backend().settings.public_url), asked=request.url_root),
        wait_seconds=MAX_WAIT_SECONDS,
        exact_seconds=f"{get_backend().settings.exact_seconds:g}",
        operations=_by_tag(document),
        schemas=document["components"]["schemas"],
        codes=known_codes(),
    )
    return Response(page, content_type="text/html; charset=utf-8")


def service_address(configured: Address, *, asked: str) -> str:
    """Return the address that examples name, without a slash at its end.

    A service that is said to be on this machine alone may be reached through a tunnel or another port all the
    same: the address that was asked for works for whoever reads it. Any other name is the one for people.
    """
    return asked.rstrip("/") if configured.is_local else configured.url


def _document() -> dict[str, Any]:
    url = parse_address(get_backend().settings.public_url).url
    return build_document(current_app, version=this_release().version, contact_url=url)


def _by_tag(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups[operation["tags"][0]].append({"path": path, "method": method.upper(), **operation})
    return groups


def _said(text: str) -> Markup:
    """Return a description as a sentence, marked; nothing stays nothing."""
    return _marked(sentence(text))


def _as_json(value: object) -> str:
    """Return a value as one writes it into a request: true, not True, and 10000, not 10000.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _marked(text: str) -> Markup:
    """Return a text whose words in backticks are shown as code."""
    pieces = (
        Markup("<code>{}</code>").format(piece) if number % 2 else escape(piece)
        for number, piece in enumerate(text.split("`"))
    )
    return Markup("").join(pieces)
