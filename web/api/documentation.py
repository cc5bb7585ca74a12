"""The documentation: the OpenAPI document, and a page that shows the same without any script."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, render_template
from markupsafe import Markup, escape

from shared.release import this_release
from web.api.http import json_answer
from web.api.openapi import build_document
from web.api.problems import known_codes
from web.services import get_backend

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
        operations=_by_tag(document),
        schemas=document["components"]["schemas"],
        codes=known_codes(),
    )
    return Response(page, content_type="text/html; charset=utf-8")


def _document() -> dict[str, Any]:
    url = get_backend().settings.public_url
    return build_document(current_app, version=this_release().version, contact_url=url)


def _by_tag(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups[operation["tags"][0]].append({"path": path, "method": method.upper(), **operation})
    return groups


def _marked(text: str) -> Markup:
    """Return a text whose words in backticks are shown as code."""
    pieces = (
        Markup("<code>{}</code>").format(piece) if number % 2 else escape(piece)
        for number, piece in enumerate(text.split("`"))
    )
    return Markup("").join(pieces)
