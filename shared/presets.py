"""The presets: named sets of defaults for the style options, each with a line that says what it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

PresetName = Literal["classic", "draft", "gentle", "bold", "fine"]


@dataclass(frozen=True)
class Preset:
    """What a preset is called, what it is for, and the options in which it differs from `classic`."""

    title: str
    line: str
    values: Mapping[str, Any] = field(default_factory=dict)


PRESETS: Mapping[PresetName, Preset] = {
    "classic": Preset("Classic", "As Gatys et al. 2015 have it: the style is clear, the scene too."),
    "draft": Preset(
        "Draft", "A quick look before the long run: small, few steps.", {"steps": 40, "size": 256}
    ),
    "gentle": Preset("Gentle", "The scene comes first, the style is a hint.", {"style_weight": 1e-4}),
    "bold": Preset(
        "Bold",
        "The style takes over; the scene shines through.",
        {"style_weight": 1.0, "learning_rate": 0.04},
    ),
    "fine": Preset("Fine", "Large and patient, for a print.", {"steps": 200, "size": 1024}),
}
