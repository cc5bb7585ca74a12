"""The views of tokens: one's own, and for admins all of them."""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

from shared.clock import from_rfc3339, utc_now
from shared.errors import DatabaseUnavailable, MalformedRequest, MissingPart, NotFound, TokenNameTaken
from web.access.tokens import NAME_RULE, Scope, create_token, list_tokens, read_scopes, revoke_token
from web.address import link
from web.api import API_PATH
from web.api.http import json_answer, read_body, refuse_body
from web.api.openapi import JSON, Answer, Operation
from web.api.schemas import Moment
from web.db.models import TokenRow
from web.security import current_access
from web.services import get_backend

tokens = Blueprint("tokens", __name__, url_prefix=API_PATH)


class TokenBody(BaseModel):
    """What a token is made of."""

    model_config = ConfigDict(frozen=True, strict=True)

    name: str = Field(description=f"What people call it: {NAME_RULE}")
    caller: str = Field(description=f"Whom it belongs to; several may belong to one. {NAME_RULE}")
    scopes: list[str] = Field(
        min_length=1,
        max_length=20,
        description="What it may do; each scope may do all that those before it may",
    )
    expires_at: str | None = Field(None, description="From then on it is of no use; null is never")


class TokenOut(BaseModel):
    """A token, without its text."""

    id: str
    name: str
    caller: str
    scopes: list[Scope]
    shown: str = Field(description="How it begins")
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    last_used_at: Moment | None = Field(description="To a minute")


class NewTokenOut(TokenOut):
    """A token that was made just now."""

    token: str = Field(description="Its text: shown this once, and kept nowhere")


class TokensOut(BaseModel):
    """All tokens, newest first."""

    tokens: list[TokenOut]


class OwnAccessOut(BaseModel):
    """For whom this request asks, and what it may do."""

    caller: str
    scopes: list[Scope]
    token_id: str | None = Field(description="`null` where no token is needed")


@tokens.get("/token")
@Operation(
    "Tell who you are",
    "tokens",
    answers={200: Answer("For whom you ask, and what you may do", (OwnAccessOut,))},
    refusals=(DatabaseUnavailable,),
)
def read_own() -> Response:
    """Tell for whom this request asks, and what it may do."""
    access = current_access()
    scopes = [scope for scope in Scope if scope in access.scopes]
    return json_answer(
        OwnAccessOut(caller=access.caller, scopes=scopes, token_id=access.token_id).model_dump(mode="json")
    )


@tokens.get("/tokens")
@Operation(
    "List tokens",
    "tokens",
    answers={200: Answer("All tokens, newest first", (TokensOut,))},
    refusals=(DatabaseUnavailable,),
)
def index() -> Response:
    """List all tokens, those that were revoked or have expired too. It needs the scope `admin`."""
    with get_backend().database.read() as session:
        rows = [token_out(row) for row in list_tokens(session)]
    return json_answer(TokensOut(tokens=rows).model_dump(mode="json"))


@tokens.post("/tokens")
@Operation(
    "Make a token",
    "tokens",
    answers={201: Answer("The token, with its text", (NewTokenOut,), headers={"Location": "All tokens"})},
    refusals=(MalformedRequest, MissingPart, TokenNameTaken, DatabaseUnavailable),
    bodies={JSON: TokenBody},
)
def create() -> Response:
    """Make a token; its text is in this answer and nowhere else. It needs the scope `admin`."""
    body = read_body(TokenBody)
    scopes = _read_scopes(body.scopes)
    expires_at = _read_moment(body.expires_at)
    with get_backend().database.write() as session:
        made = create_token(
            session, name=body.name, scopes=scopes, caller=body.caller, expires_at=expires_at, now=utc_now()
        )
        shown = NewTokenOut(**token_out(made.row).model_dump(), token=made.text)
    answer = json_answer(shown.model_dump(mode="json"), 201, headers={"Location": link(f"{API_PATH}/tokens")})
    answer.headers["Cache-Control"] = "no-store"
    return answer


@tokens.delete("/tokens/<token_id>")
@Operation(
    "Revoke a token",
    "tokens",
    answers={200: Answer("The token", (TokenOut,))},
    refusals=(MalformedRequest, NotFound, DatabaseUnavailable),
)
def revoke(token_id: str) -> Response:
    """Take a token out of use, by its id or its name, within a second; asking again changes nothing.

    It needs the scope `admin`.
    """
    refuse_body()
    with get_backend().database.write() as session:
        shown = token_out(revoke_token(session, token_id, now=utc_now()))
    return json_answer(shown.model_dump(mode="json"))


def token_out(row: TokenRow) -> TokenOut:
    """Return a token as it is shown."""
    known = read_scopes(row)
    return TokenOut(
        id=row.id,
        name=row.name,
        caller=row.caller,
        scopes=[scope for scope in Scope if scope in known],
        shown=row.shown,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )


def _read_scopes(names: list[str]) -> set[Scope]:
    known = {scope.value: scope for scope in Scope}
    for number, name in enumerate(names):
        if name not in known:
            detail = f"'{name[:100]}' is no scope; allowed are {', '.join(known)}"
            raise MalformedRequest.at(f"/scopes/{number}", detail)
    return {known[name] for name in names}


def _read_moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else from_rfc3339(text)
    except (ValueError, OverflowError):
        detail = f"'{str(text)[:100]}' is no moment with its zone, such as 2026-11-23T08:47:41Z"
        raise MalformedRequest.at("/expires_at", detail) from None
