"""What the page of a new job shows: pictures, presets, fields, and each fault at its place. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shared.errors import Fault
from shared.picture import CONTENT_TYPES, PictureLimits
from shared.presets import PRESETS
from web.api import API_PATH
from web.models import Asset
from web.pages.new_form import NewForm, preset_values
from web.pages.option_fields import OptionField, option_texts

#: The size of the presets' pictures, in pixels, for all of them.
PRESET_PICTURE_PX = (320, 213)
MAX_LABELS = 16
#: Empty rows for labels, where no script adds any.
_SPARE_ROWS = 2
_HINTS = {"content": "the scene that is kept", "style": "the hand it is painted in"}


@dataclass(frozen=True)
class PresetCard:
    """A preset: its picture's file, and as JSON what it makes of the options."""

    name: str
    title: str
    line: str
    picture: str
    values: str


@dataclass(frozen=True)
class PictureWell:
    """One half of the page: the picture that is there already, if any."""

    part: str
    title: str
    hint: str
    asset: Asset | None = None

    @property
    def url(self) -> str | None:
        """Where the picture is."""
        return f"{API_PATH}/assets/{self.asset.id}/content" if self.asset else None


@dataclass(frozen=True)
class FaultsAt:
    """Faults by the pointer of the field where they are shown; `elsewhere` are those without one."""

    by_pointer: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Sequence[str] = ()

    @property
    def count(self) -> int:
        """How many places are at fault."""
        return len(self.by_pointer) + len(self.elsewhere)

    def at(self, pointer: str) -> str:
        """Return what is wrong with a field; nothing is an empty text."""
        return self.by_pointer.get(pointer, "")

    def under(self, pointers: Iterable[str]) -> bool:
        """Whether one of some fields is at fault, or something in it."""
        heads = tuple(pointers)
        return any(
            known == head or known.startswith(f"{head}/") for known in self.by_pointer for head in heads
        )


def preset_cards() -> list[PresetCard]:
    """Return the presets in their order."""
    return [
        PresetCard(
            name, preset.title, preset.line, f"presets/{name}.webp", _json(option_texts(preset_values(name)))
        )
        for name, preset in PRESETS.items()
    ]


def picture_wells(assets: Mapping[str, Asset]) -> list[PictureWell]:
    """Return both halves, with the pictures that are known."""
    return [PictureWell(part, part.capitalize(), hint, assets.get(part)) for part, hint in _HINTS.items()]


def label_rows(form: NewForm) -> list[tuple[str, str]]:
    """Return the rows of labels: those given, and some to fill."""
    spare = max(0, min(_SPARE_ROWS, MAX_LABELS - len(form.labels)))
    return [*form.labels, *[("", "")] * spare]


def place_faults(faults: Iterable[Fault], fields: Iterable[OptionField], form: NewForm) -> FaultsAt:
    """Return faults at their places; several at one place are said one after the other."""
    known = {"/content", "/style", "/options", "/preset", "/name", "/labels", "/reuse"}
    known |= {"/queue_timeout_seconds", "/run_timeout_seconds", "/options/preset"}
    known |= {entry.pointer for entry in fields} | {f"/labels/{key}" for key, _ in form.labels}
    by_pointer: dict[str, str] = {}
    elsewhere: list[str] = []
    for fault in faults:
        pointer = next((head for head in _heads(fault.pointer) if head in known), None)
        if pointer is None:
            elsewhere.append(fault.detail)
        else:
            by_pointer[pointer] = "; ".join(filter(None, (by_pointer.get(pointer), fault.detail)))
    return FaultsAt(by_pointer, elsewhere)


def said_options(form: NewForm, fields: Iterable[OptionField]) -> str:
    """Return in a few words which options are not the preset's."""
    said = [
        f"{entry.title.lower()} {form.options[entry.name]}" for entry in fields if entry.name in form.options
    ]
    return ", ".join(said) or "as the preset has them"


def accepted_types() -> str:
    """Return the media types of pictures, as a file input takes them."""
    return ",".join(sorted(set(CONTENT_TYPES.values())))


def largest_file(limits: PictureLimits) -> str:
    """Return how large a picture may be, in words."""
    return f"{limits.max_bytes / 1e6:g} MB"


def _heads(pointer: str) -> list[str]:
    """Return a pointer and all that lie above it, nearest first."""
    parts = pointer.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 1, -1)]


def _json(values: Mapping[str, str]) -> str:
    return json.dumps(values)
