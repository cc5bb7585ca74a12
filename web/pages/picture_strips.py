"""The strips below both halves of 'New job': the project's own pictures, and styles that were used lately."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

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
MOST_RECENT = 8
_FOLDER = Path(__file__).parents[1] / "static" / "examples"


@dataclass(frozen=True)
class ExamplePick:
    """One of the project's pictures: its title, its file and a small one, both below `static`."""

    title: str
    file: str
    small: str


@dataclass(frozen=True)
class RecentPick:
    """A picture that the service has: what the half shows of it; `url` is of a kind that browsers show."""

    asset_id: str
    filename: str
    url: str
    thumbnail: str
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True)
class PictureStrip:
    """What there is to choose from for a part."""

    part: str
    examples: Sequence[ExamplePick]
    recent: Sequence[RecentPick] = ()


def picture_strips(recent_styles: Sequence[Asset] = ()) -> dict[str, PictureStrip]:
    """Return the strips by their parts; what is among the examples is not among the recent ones, too."""
    known = example_hashes()
    recent = [recent_pick(asset) for asset in recent_styles if asset.sha256 not in known][:MOST_RECENT]
    return {
        part: PictureStrip(
            part,
            [
                ExamplePick(title, f"examples/{name}.jpg", f"examples/small/{name}.jpg")
                for name, title in titles.items()
            ],
            recent if part == "style" else (),
        )
        for part, titles in EXAMPLES.items()
    }


def recent_pick(asset: Asset) -> RecentPick:
    """Return a picture as a strip offers it."""
    content_url = link(f"{API_PATH}/assets/{asset.id}/content")
    return RecentPick(
        asset_id=asset.id,
        filename=asset.filename,
        url=shown_url(content_url, asset.content_type),
        thumbnail=link(f"{API_PATH}/assets/{asset.id}/thumbnail"),
        width=asset.width,
        height=asset.height,
        size_bytes=asset.size_bytes,
    )


@cache
def example_hashes() -> frozenset[str]:
    """Return the SHA-256 of the example styles, as a browser uploads them."""
    names = EXAMPLES["style"]
    return frozenset(hashlib.sha256((_FOLDER / f"{name}.jpg").read_bytes()).hexdigest() for name in names)
