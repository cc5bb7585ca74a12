"""The strips below both halves of 'New job': the project's own pictures, and starred and recent styles."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from shared.errors import NotFound
from web.address import link
from web.api import API_PATH
from web.db.models import Asset
from web.pages.job_stage import shown_url

#: The project's own pictures by the part that they are for: file names without their end, and their titles,
#: as examples/README.md has them.
EXAMPLES = {
    "content": {
        "content": "Harbour at sunset",
        "content-balloons": "Balloons over fields",
        "content-owl": "Owl and moon",
        "content-still-life": "Flowers and fruit",
    },
    "style": {
        "style": "Currents of paint",
        "style-dots": "Dots",
        "style-facets": "Facets",
        "style-glass": "Leaded glass",
        "style-marbled": "Marbled paper",
        "style-woodcut": "Woodcut",
    },
}
#: Beside the examples; a strip is looked over, not searched.
MOST_STARRED, MOST_RECENT = 24, 8
#: What an example's name follows in the form, where another picture has its asset's id.
_EXAMPLE = "example:"
_FOLDER = Path(__file__).parents[1] / "static" / "examples"


@dataclass(frozen=True)
class ExamplePick:
    """One of the project's pictures: its title, its file and a small one, both below `static`.

    `value` is what the form says of it.
    """

    title: str
    value: str
    file: str
    small: str


@dataclass(frozen=True)
class ExampleFile:
    """The file of an example, as an upload."""

    filename: str
    stream: IO[bytes]


@dataclass(frozen=True)
class KnownPick:
    """A picture that the service has: what the half shows of it; `url` is of a kind that browsers show."""

    asset_id: str
    filename: str
    url: str
    thumbnail: str
    width: int
    height: int
    size_bytes: int
    is_starred: bool


@dataclass(frozen=True)
class PictureStrip:
    """What there is to choose from for a part; `known` are the caller's own, which only styles are."""

    part: str
    examples: Sequence[ExamplePick]
    known: Sequence[KnownPick] = ()


def picture_strips(starred: Sequence[Asset] = (), recent: Sequence[Asset] = ()) -> dict[str, PictureStrip]:
    """Return the strips by their parts: of the styles the starred ones first, then the recent ones.

    No picture is there twice: a recent one that is among the examples, or starred, is left out.
    """
    others = [asset for asset in recent if asset.starred_at is None and asset.sha256 not in example_hashes()]
    known = [known_pick(asset) for asset in [*starred[:MOST_STARRED], *others[:MOST_RECENT]]]
    return {
        part: PictureStrip(
            part,
            [
                ExamplePick(title, f"{_EXAMPLE}{name}", f"examples/{name}.jpg", f"examples/small/{name}.jpg")
                for name, title in titles.items()
            ],
            known if part == "style" else (),
        )
        for part, titles in EXAMPLES.items()
    }


def is_example(value: str) -> bool:
    """Whether a form names an example with this, not an asset."""
    return value.startswith(_EXAMPLE)


def example_file(part: str, value: str) -> ExampleFile:
    """Return the file of the example that a form names for a part, as a browser would upload it.

    Raises:
        NotFound: when there is no such example.
    """
    name = value.removeprefix(_EXAMPLE)
    if name not in EXAMPLES[part]:
        raise NotFound(f"there is no example {part} called '{name}'")
    filename = f"{name}.jpg"
    return ExampleFile(filename, io.BytesIO((_FOLDER / filename).read_bytes()))


def known_pick(asset: Asset) -> KnownPick:
    """Return a picture as a strip offers it."""
    content_url = link(f"{API_PATH}/assets/{asset.id}/content")
    return KnownPick(
        asset_id=asset.id,
        filename=asset.filename,
        url=shown_url(content_url, asset.content_type),
        thumbnail=link(f"{API_PATH}/assets/{asset.id}/thumbnail"),
        width=asset.width,
        height=asset.height,
        size_bytes=asset.size_bytes,
        is_starred=asset.starred_at is not None,
    )


@cache
def example_hashes() -> frozenset[str]:
    """Return the SHA-256 of the example styles, as a browser uploads them."""
    names = EXAMPLES["style"]
    return frozenset(hashlib.sha256((_FOLDER / f"{name}.jpg").read_bytes()).hexdigest() for name in names)
