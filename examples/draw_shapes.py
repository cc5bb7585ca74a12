"""Rounded shapes for the content pictures: a brush in the picture's own units, outlines and their shading."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from draw_tools import Array, Colour, ramp, rgb8, to_image
from PIL import Image, ImageDraw

Spot = tuple[float, float]
Outline = list[Spot]
Stops = list[tuple[float, Colour]]
Paint = Callable[[Array, Array], Array]


def bent(points: Outline, closed: bool = True, steps: int = 10) -> Outline:
    """A smooth curve through the points, closed or open."""
    count = len(points)
    corners = np.array(points, np.float64)
    curve: Outline = []
    t = np.arange(steps)[:, None] / steps
    for i in range(count if closed else count - 1):
        if closed:
            a, b, c, d = (corners[(i + k) % count] for k in (-1, 0, 1, 2))
        else:
            a, b, c, d = (corners[min(max(i + k, 0), count - 1)] for k in (-1, 0, 1, 2))
        part = 0.5 * (
            2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
        )
        curve += [(float(x), float(y)) for x, y in part]
    return curve if closed else [*curve, points[-1]]


def oval(x: float, y: float, across: float, high: float, turn: float = 0.0, steps: int = 48) -> Outline:
    """An ellipse of these half sizes, turned by so many radians."""
    angle = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    a, b = across * np.cos(angle), high * np.sin(angle)
    cos, sin = np.cos(turn), np.sin(turn)
    return list(zip((x + a * cos - b * sin).tolist(), (y + a * sin + b * cos).tolist(), strict=True))


def petal(foot: Spot, angle: float, long: float, wide: float, tip: float = 0.6) -> Outline:
    """A leaf or petal from its foot in a direction; it is widest at a share (tip) of its length."""
    shape = [(0.0, 0.0), (tip * 0.5, 0.38), (tip, 0.5), ((1 + tip) / 2, 0.38), (1.0, 0.0)]
    shape += [(along, -side) for along, side in shape[-2:0:-1]]
    cos, sin = np.cos(angle), np.sin(angle)
    points = [(a * long, b * wide) for a, b in shape]
    return bent(
        [(float(foot[0] + a * cos - b * sin), float(foot[1] + a * sin + b * cos)) for a, b in points], steps=6
    )


def ball(x: float, y: float, across: float, high: float, stops: Stops, shine: float = 0.0) -> Paint:
    """The shading of a round thing, from dark (0) to light (1), lit from the upper left, with a highlight."""

    def paint(at_x: Array, at_y: Array) -> Array:
        nx, ny = (at_x - x) / across, (at_y - y) / high
        nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0, 1))
        facing = np.clip(0.5 + 0.5 * (-0.52 * nx - 0.52 * ny + 0.68 * nz) - 0.06, 0, 1)
        spot = np.exp(-((nx + 0.36) ** 2 + (ny + 0.42) ** 2) / 0.025)
        pixels = ramp(facing, stops)
        return pixels + (255 - pixels) * (shine * spot)[..., None]

    return paint


class Brush:
    """Paints shapes on a picture; places and sizes are in units of the picture at scale 1."""

    def __init__(self, ground: Array, fine: float) -> None:
        self.image = to_image(ground)
        self.fine = fine
        self.pen = ImageDraw.Draw(self.image)

    def _on(self, points: Outline) -> Outline:
        return [(x * self.fine, y * self.fine) for x, y in points]

    def poly(self, points: Outline, colour: Colour) -> None:
        """Fill an outline."""
        self.pen.polygon(self._on(points), fill=rgb8(colour))

    def line(self, points: Outline, colour: Colour, wide: float) -> None:
        """Draw a line with round joints."""
        width = max(1, round(wide * self.fine))
        self.pen.line(self._on(points), fill=rgb8(colour), width=width, joint="curve")

    def dab(self, x: float, y: float, across: float, high: float, colour: Colour) -> None:
        """Fill an ellipse of these half sizes."""
        box = (
            (x - across) * self.fine,
            (y - high) * self.fine,
            (x + across) * self.fine,
            (y + high) * self.fine,
        )
        self.pen.ellipse(box, fill=rgb8(colour))

    def shade(self, points: Outline, paint: Paint, strength: float = 1.0) -> None:
        """Fill an outline with colours that depend on the place; only what lies on the picture."""
        spots = np.array(self._on(points))
        left, top = np.maximum(np.floor(spots.min(axis=0)).astype(int), 0)
        right, low = np.minimum(np.ceil(spots.max(axis=0)).astype(int) + 1, self.image.size)
        if right <= left or low <= top:
            return
        mask = Image.new("L", (int(right - left), int(low - top)))
        ImageDraw.Draw(mask).polygon([(a - left, b - top) for a, b in spots], fill=round(255 * strength))
        x, y = np.meshgrid(
            (np.arange(left, right) + 0.5) / self.fine, (np.arange(top, low) + 0.5) / self.fine
        )
        colours = paint(x.astype(np.float32), y.astype(np.float32))
        self.image.paste(to_image(colours), (int(left), int(top)), mask)

    def soft(self, x: float, y: float, across: float, high: float, colour: Colour, strength: float) -> None:
        """Lay a soft spot of a colour over what is there: a shadow or a glow."""
        box = [
            round(side * self.fine) for side in (x - 2 * across, y - 2 * high, x + 2 * across, y + 2 * high)
        ]
        left, top, right, low = box
        if right <= left or low <= top:
            return
        at_y, at_x = np.mgrid[top:low, left:right] / self.fine
        cover = np.exp(-(((at_x - x) / across) ** 2 + ((at_y - y) / high) ** 2) * 1.2)
        cover *= np.clip(2 - np.hypot((at_x - x) / across, (at_y - y) / high), 0, 1)
        mask = Image.fromarray(np.rint(255 * strength * cover).astype(np.uint8))
        self.image.paste(rgb8(colour), (left, top), mask)

    def finished(self, size: tuple[int, int]) -> Image.Image:
        """The picture, brought down to its size in pixels."""
        return self.image.resize(size, Image.Resampling.LANCZOS)
