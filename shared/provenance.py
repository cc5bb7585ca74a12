"""Provenance: what a finished picture says of how it was made, and reading that back from its file."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

from PIL import Image

from shared.errors import PictureInvalid
from shared.options import StyleOptions
from shared.picture_file import DECODING_ERRORS

_PREFIX = "atelier:"
_SOFTWARE = "Software"


@dataclass(frozen=True)
class Provenance:
    """How a picture was made; everything that decides its bytes, so that it can be made again.

    The SHA-256s (hex) are of the two input files and of the network's weights.
    """

    engine_version: str
    content_sha256: str
    style_sha256: str
    options: StyleOptions
    step: int
    weights: str
    weights_sha256: str
    #: What people have to be told of the weights; most have none.
    notice: str | None = None

    def to_metadata(self) -> dict[str, str]:
        """Return the fields as they stand in a picture file: iTXt chunks of a PNG, the comment of a JPEG.

        Names, order and spelling are part of the result's bytes.
        """
        fields = {
            "content_sha256": self.content_sha256,
            "style_sha256": self.style_sha256,
            "options": self.options.model_dump_json(include=set(self.options.told_names)),
            "step": str(self.step),
            "weights": self.weights,
            "weights_sha256": self.weights_sha256,
        }
        if self.notice:
            fields["notice"] = self.notice
        software = {_SOFTWARE: f"Atelier engine {self.engine_version}"}
        return software | {_PREFIX + name: value for name, value in fields.items()}


def read_provenance(data: bytes) -> dict[str, str]:
    """Return the metadata that `Provenance.to_metadata` gave to a PNG or JPEG; empty for other pictures.

    The values are what the file says, unjudged: it may be of another version, or changed by anyone.

    Raises:
        PictureInvalid: when the file is no PNG or JPEG, or is damaged.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG", "JPEG"]) as picture:
            if picture.format == "JPEG":
                found = _read_comment(picture.info.get("comment", b""))
            else:
                found = picture.info
    except (*DECODING_ERRORS, Image.DecompressionBombError) as error:
        raise PictureInvalid(f"the picture's metadata cannot be read: {error}") from error
    texts = {str(name): str(value) for name, value in found.items() if isinstance(value, str)}
    ours = {name: text for name, text in texts.items() if name.startswith(_PREFIX)}
    return {_SOFTWARE: texts[_SOFTWARE]} | ours if ours and _SOFTWARE in texts else ours


def _read_comment(comment: bytes) -> dict[Any, Any]:
    try:
        found = json.loads(comment)
    except ValueError:
        return {}  # somebody else's comment
    return found if isinstance(found, dict) else {}
