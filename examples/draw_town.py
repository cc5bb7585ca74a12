"""The harbour town of the content picture: a quay, rows of houses, a church, a dome and a lighthouse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from draw_tools import Colour, Pen, Point, mix, scaled

NEAR, FAR = (43.0, 50.0), (1.0, 124.0)
LENGTH = float(np.hypot(NEAR[0] - FAR[0], NEAR[1] - FAR[1]))
ALONG = ((NEAR[0] - FAR[0]) / LENGTH, (NEAR[1] - FAR[1]) / LENGTH)
INLAND = (-ALONG[1], ALONG[0])
QUAY = 1.7
SHADOW: Colour = (66, 62, 104)
LIT: list[Colour] = [(255, 214, 128), (255, 192, 96), (255, 232, 172), (252, 172, 84)]
WALLS: list[Colour] = [
    (214, 132, 92), (232, 190, 130), (186, 92, 78), (226, 204, 176),
    (158, 150, 164), (236, 168, 108), (126, 142, 150), (206, 112, 100),
]  # fmt: skip
ROOFS: list[Colour] = [(150, 74, 60), (120, 60, 62), (92, 80, 98), (172, 92, 66), (84, 90, 104)]
TRIM: Colour = (244, 226, 204)


def place(along: float, inland: float, height: float) -> Point:
    """A point of the world, from metres along the quay (0 is its far end), behind it and above the water."""
    return (
        FAR[0] + ALONG[0] * along + INLAND[0] * inland,
        height,
        FAR[1] + ALONG[1] * along + INLAND[1] * inland,
    )


@dataclass(frozen=True)
class House:
    """One house: where it stands, its size, and how it looks."""

    along: float
    inland: float
    base: float
    width: float
    depth: float
    tall: float
    roof: str
    wall: Colour
    tiles: Colour
    seed: int

    def front(self, u: float, v: float, out: float = 0.0) -> Point:
        """A point of the front, u metres from its far end and v metres up."""
        return place(self.along + u, self.inland - out, self.base + v)

    def side(self, u: float, v: float) -> Point:
        """A point of the near side, u metres from the front and v metres up."""
        return place(self.along + self.width, self.inland + u, self.base + v)


def shaded_wall(pen: Pen, house: House, colour: Colour) -> None:
    """The front, warmer towards its top, and the side in shadow."""
    steps = 10
    for i in range(steps):
        low, high = house.tall * i / steps, house.tall * (i + 1.15) / steps
        tone = mix(mix(colour, SHADOW, 0.42), mix(colour, (255, 196, 140), 0.12), (i + 1) / steps)
        high = min(high, house.tall)
        corners = [(0.0, low), (house.width, low), (house.width, high), (0.0, high)]
        pen.poly([house.front(u, v) for u, v in corners], tone)
        dark = mix(scaled(colour, 0.62), SHADOW, 0.62 - 0.2 * i / steps)
        corners = [(0.0, low), (house.depth, low), (house.depth, high), (0.0, high)]
        pen.poly([house.side(u, v) for u, v in corners], dark)


def window(pen: Pen, house: House, box: tuple[float, float, float, float], lit: Colour | None) -> None:
    """A window with its frame, sill and bars, dark or lit."""
    left, low, right, high = box

    def rect(a: float, b: float, c: float, d: float) -> list[Point]:
        return [house.front(a, b), house.front(c, b), house.front(c, d), house.front(a, d)]

    pen.poly(rect(left - 0.17, low - 0.17, right + 0.17, high + 0.2), mix(TRIM, house.wall, 0.35))
    if lit is None:
        pen.poly(rect(left, low, right, high), (58, 66, 98))
        pen.poly(rect(left, (low + high) / 2, right, high), (104, 104, 134))
    else:
        pen.glow(rect(left, low, right, high), lit, 0.85)
        pen.glow(rect(left, low, right, low + (high - low) * 0.4), mix(lit, (232, 120, 56), 0.45), 0.6)
    middle = (left + right) / 2
    pen.line([house.front(middle, low), house.front(middle, high)], scaled(TRIM, 0.72), 0.07)
    sill = [house.front(left - 0.25, low - 0.2), house.front(right + 0.25, low - 0.2)]
    pen.line(sill, scaled(TRIM, 0.9), 0.14)


def windows(pen: Pen, house: House, rng: np.random.Generator) -> None:
    """Rows of windows, with a shop or a door at the street."""
    floor = 3.1
    columns = max(2, int(house.width / 2.1))
    pitch = house.width / columns
    for row in range(int(house.tall / floor)):
        low = row * floor + (0.7 if row == 0 else 1.0)
        for column in range(columns):
            middle = (column + 0.5) * pitch
            lit = LIT[int(rng.integers(len(LIT)))] if rng.random() < (0.75 if row == 0 else 0.5) else None
            half = 0.62 if row == 0 else 0.47
            window(pen, house, (middle - half, low, middle + half, row * floor + 2.6), lit)
        if row:
            band = [house.front(0, row * floor), house.front(house.width, row * floor)]
            pen.line(band, mix(TRIM, house.wall, 0.55), 0.13)
    if house.inland < 8 and rng.random() < 0.6:
        awning(pen, house, LIT[0] if rng.random() < 0.3 else (188, 66, 58))


def awning(pen: Pen, house: House, colour: Colour) -> None:
    """A striped awning over the street."""
    stripes = max(4, int(house.width / 0.8))
    for i in range(stripes):
        a, b = house.width * i / stripes, house.width * (i + 1) / stripes
        upper, lower = [(a, 3.2, 0.0), (b, 3.2, 0.0)], [(b, 2.5, 1.3), (a, 2.5, 1.3)]
        pen.poly([house.front(*corner) for corner in upper + lower], colour if i % 2 else TRIM)


def roof(pen: Pen, house: House) -> None:
    """A roof of the house's kind: a ridge along the quay, a gable to the water, or a hip."""
    top, w, d = house.tall, house.width, house.depth
    over, rise = 0.35, min(4.6, 0.36 * min(w, d) + 1.5)
    eaves = [house.front(-over, top, over), house.front(w + over, top, over)]
    back = place(house.along + w + over, house.inland + d, house.base + top)
    dark = mix(scaled(house.tiles, 0.6), SHADOW, 0.45)
    if house.roof == "gable":
        peak = house.front(w / 2, top + rise)
        far_peak = house.front(w / 2, top + rise, -d)
        pen.poly([eaves[1], back, far_peak, peak], dark)
        pen.poly([house.front(0, top), house.front(w, top), peak], mix(house.wall, (255, 196, 140), 0.12))
        pen.line([eaves[0], peak, eaves[1]], TRIM, 0.3)
        window(pen, house, (w / 2 - 0.45, top + 0.5, w / 2 + 0.45, top + 1.7), LIT[0])
        return
    inset = 0.0 if house.roof == "ridge" else w * 0.28
    ridge = [
        place(house.along + s, house.inland + d / 2, house.base + top + rise) for s in (inset, w - inset)
    ]
    pen.poly([eaves[1], back, ridge[1]], dark if inset else mix(scaled(house.wall, 0.62), SHADOW, 0.42))
    pen.poly([*eaves, ridge[1], ridge[0]], house.tiles)
    for i in range(1, 7):
        row = [mix(a, b, i / 7) for a, b in zip(eaves, ridge, strict=True)]
        pen.line(row, scaled(house.tiles, 0.84 if i % 2 else 1.14), 0.1)
    pen.line(eaves, TRIM, 0.2)
    pen.line(ridge, scaled(house.tiles, 1.3), 0.2)


def chimney(pen: Pen, house: House, at: float) -> None:
    """A chimney behind the ridge."""
    small = House(at, house.inland + house.depth / 2, house.base + house.tall, 0.9, 0.9, 5.6, "flat",
                  (150, 96, 84), house.tiles, 0)  # fmt: skip
    shaded_wall(pen, small, small.wall)


def draw_house(pen: Pen, house: House) -> None:
    """A whole house."""
    rng = np.random.default_rng(house.seed)
    if rng.random() < 0.7:
        chimney(pen, house, house.along + house.width * (0.2 + 0.5 * rng.random()))
    shaded_wall(pen, house, house.wall)
    windows(pen, house, rng)
    roof(pen, house)


def make_row(rng: np.random.Generator, span: tuple[float, float], inland: float, base: float) -> list[House]:
    """A row of different houses, the far ones first."""
    houses, along = [], span[0]
    while along < span[1]:
        width = float(rng.uniform(5.6, 9.6))
        kind = ("gable", "ridge", "hip")[int(rng.choice(3, p=[0.45, 0.35, 0.2]))]
        houses.append(House(
            along, inland + float(rng.uniform(0, 1.0)), base, width, float(rng.uniform(8, 11)),
            3.1 * int(rng.integers(3, 6)) + 0.6, kind, WALLS[int(rng.integers(len(WALLS)))],
            ROOFS[int(rng.integers(len(ROOFS)))], int(rng.integers(1 << 30)),
        ))  # fmt: skip
        along += width + float(rng.choice([0.05, 0.05, 1.2]))
    return houses
