"""Assets: pictures that are uploaded once and used in many jobs."""

from __future__ import annotations

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.exceptions import UnsupportedMediaType

from shared.clock import utc_now
from shared.errors import (
    ArtifactMissing,
    DatabaseUnavailable,
    FileDamaged,
    MalformedRequest,
    MissingPart,
    NotFound,
    PictureRefused,
    PictureTooHeavy,
    PictureUnsupported,
    StorageFull,
    StorageUnavailable,
    TooManyBytes,
    TooManyStars,
    UploadsUnavailable,
)
from shared.storage.layout import asset_key
from shared.texts import Whole
from web.address import link
from web.api import API_PATH
from web.api.http import (
    FOREVER_SECONDS,
    MULTIPART,
    file_part,
    json_answer,
    make_token,
    read_query,
    read_token,
    receive_upload,
    refuse_body,
    send_stored,
)
from web.api.openapi import (
    CALLER,
    IF_NONE_MATCH,
    NOT_MODIFIED,
    RANGE,
    Answer,
    Operation,
    Parameter,
    binary_schema,
    part_of,
    query_parameters,
)
from web.api.schemas import AssetListOut, AssetOut
from web.assets.stars import AssetFilter, list_assets, star_asset, unstar_asset
from web.assets.uploads import get_asset
from web.db.models import Asset
from web.security import current_caller
from web.services import get_backend, get_services

assets = Blueprint("assets", __name__, url_prefix=f"{API_PATH}/assets")


@assets.post("")
@Operation(
    "Upload a picture",
    "assets",
    answers={
        201: Answer("Stored", (AssetOut,), headers={"Location": "The asset"}),
        200: Answer("The same bytes were uploaded before: their asset", (AssetOut,)),
    },
    refusals=(
        MalformedRequest,
        MissingPart,
        PictureTooHeavy,
        PictureUnsupported,
        PictureRefused,
        TooManyBytes,
        StorageFull,
        StorageUnavailable,
        DatabaseUnavailable,
        UploadsUnavailable,
    ),
    bodies={
        MULTIPART: {
            "type": "object",
            "required": ["file"],
            "properties": {"file": {**binary_schema("image/*"), "description": "The picture"}},
            "additionalProperties": False,
        }
    },
)
def create_asset() -> Response:
    """Upload a JPEG, PNG, WebP, AVIF, HEIC (with `pillow-heif`), TIFF, BMP or single-frame GIF.

    Its id serves any number of jobs; the same bytes are the same asset.
    """
    services, caller = get_services(), current_caller()
    if request.mimetype != MULTIPART:
        raise UnsupportedMediaType(f"send multipart/form-data, not {request.mimetype or 'nothing'}")
    receive_upload(services.backend.settings.picture_limits(), known=("file",))
    asset, is_new = services.uploads.add(file_part("file"), caller=caller, now=utc_now())
    location = {"Location": link(f"{API_PATH}/assets/{asset.id}")}
    return json_answer(_to_json(asset), 201 if is_new else 200, headers=location)


class ListQuery(BaseModel):
    """What the query of a list says."""

    model_config = ConfigDict(frozen=True, strict=True)

    starred: bool = Field(False, description="`true`: only those that are starred")
    page_size: Whole = Field(50, ge=1, le=200, description="How many pictures at most")


@assets.get("")
@Operation(
    "List pictures",
    "assets",
    answers={200: Answer("A page of assets, newest first", (AssetListOut,))},
    refusals=(MalformedRequest,),
    parameters=(
        *query_parameters(ListQuery),
        CALLER,
        Parameter("page_token", "The `next_page_token` of the page before; goes with the same filter only"),
    ),
)
def index_assets() -> Response:
    """List the pictures that you uploaded, newest first. Go on with `next_page_token` and the same filter."""
    asked = read_query(ListQuery, request.args)
    only, size, token = AssetFilter(starred=asked.starred), asked.page_size, request.args.get("page_token")
    before_id = read_token(token, only) if token else None
    with get_backend().database.read() as session:
        found = list_assets(session, caller=current_caller(), only=only, before_id=before_id, limit=size + 1)
    shown = found[:size]
    next_token = make_token(shown[-1].id, only) if len(found) > size else None
    return json_answer({"assets": [_to_json(asset) for asset in shown], "next_page_token": next_token})


@assets.get("/<asset_id>")
@Operation("Read an asset", "assets", answers={200: Answer("The asset", (AssetOut,))}, refusals=(NotFound,))
def read_asset(asset_id: str) -> Response:
    """Tell what is known of an uploaded picture."""
    return json_answer(_to_json(_find(asset_id)))


@assets.get("/<asset_id>/content")
@Operation(
    "Download an asset",
    "assets",
    answers={
        200: Answer("The bytes as they were uploaded", media_types=("image/*",)),
        206: part_of("image/*"),
        304: NOT_MODIFIED,
    },
    refusals=(NotFound, ArtifactMissing, FileDamaged, StorageUnavailable),
    parameters=(RANGE, IF_NONE_MATCH),
)
def read_content(asset_id: str) -> Response:
    """Give an uploaded picture back, byte by byte the same, under the type that its bytes have."""
    asset = _find(asset_id)
    try:
        file = get_services().thumbnails.files.open(
            asset_key(asset.sha256), sha256=asset.sha256, size_bytes=asset.size_bytes
        )
    except FileDamaged as error:
        raise FileDamaged(f"{error.detail}; upload the picture once more") from None
    return send_stored(
        file,
        content_type=asset.content_type,
        etag=asset.sha256,
        download_name=asset.filename,
        max_age=FOREVER_SECONDS,
    )


@assets.put("/<asset_id>/star")
@Operation(
    "Star a picture",
    "assets",
    answers={200: Answer("The asset", (AssetOut,))},
    refusals=(MalformedRequest, NotFound, TooManyStars, DatabaseUnavailable),
)
def star(asset_id: str) -> Response:
    """Star a picture: it is kept, whether a job uses it or not, and is at hand as a style on 'New job'.

    Asking again changes nothing.
    """
    refuse_body()
    return json_answer(_to_json(star_asset(get_backend(), asset_id, caller=current_caller(), now=utc_now())))


@assets.delete("/<asset_id>/star")
@Operation(
    "Take a star off",
    "assets",
    answers={200: Answer("The asset", (AssetOut,))},
    refusals=(MalformedRequest, NotFound, StorageUnavailable, DatabaseUnavailable),
)
def unstar(asset_id: str) -> Response:
    """Take the star off a picture; asking again changes nothing.

    From now on it is kept as one is that was just uploaded: as long as a job uses it, or for some hours.
    """
    refuse_body()
    return json_answer(_to_json(unstar_asset(get_backend(), asset_id, caller=current_caller())))


def _find(asset_id: str) -> Asset:
    with get_backend().database.read() as session:
        return get_asset(session, asset_id, caller=current_caller())


def _to_json(asset: Asset) -> dict[str, object]:
    return AssetOut(
        id=asset.id,
        sha256=asset.sha256,
        filename=asset.filename,
        content_type=asset.content_type,
        size_bytes=asset.size_bytes,
        width=asset.width,
        height=asset.height,
        created_at=asset.created_at,
        starred_at=asset.starred_at,
        url=link(f"{API_PATH}/assets/{asset.id}/content"),
    ).model_dump(mode="json")
