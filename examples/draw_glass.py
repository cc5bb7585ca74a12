"""A style picture: a leaded window, a sun with rays over hills, in panes of coloured glass."""

from __future__ import annotations

import numpy as np
from draw_tools import Array, Colour, blend, blurred, cloud_noise, lit_from_left, plane, smooth, to_image
from PIL import Image

SEED = 4711
SIZE = (512, 512)
FINE = 2
SUN = (318.0, 176.0)
LEAD: Colour = (22, 22, 28)
LEAD_WIDTH = 6.4
#: Where one ring of panes around the sun ends, how many panes it has, and the glass it is cut from.
RINGS: list[tuple[float, int, tuple[Colour, ...]]] = [
    (24, 1, ((255, 246, 176),)),
    (56, 10, ((255, 222, 84), (255, 204, 50))),
    (100, 20, ((250, 168, 30), (255, 208, 70), (236, 110, 28))),
    (152, 20, ((222, 58, 34), (244, 128, 40), (188, 24, 44))),
    (216, 28, ((156, 16, 62), (206, 34, 52), (104, 24, 110))),
    (290, 28, ((40, 54, 176), (92, 40, 142), (28, 92, 200))),
    (372, 36, ((20, 70, 170), (36, 126, 206), (22, 40, 128))),
    (900, 36, ((16, 34, 112), (24, 90, 176), (64, 158, 212))),
]
#: The glass of the hills, from the farthest down.
HILLS: list[tuple[Colour, ...]] = [
    ((38, 150, 96), (92, 182, 84), (22, 118, 104)),
    ((14, 108, 74), (130, 190, 66), (30, 140, 92)),
    ((14, 124, 132), (20, 86, 118), (60, 172, 160)),
    ((16, 76, 60), (196, 196, 60), (24, 112, 66)),
]
BORDER: tuple[Colour, ...] = ((196, 26, 44), (24, 62, 160), (240, 176, 44), (24, 62, 160))
FRAME = 24.0


def sun_panes(x: Array, y: Array) -> tuple[Array, Array]:
    """The ring of every point around the sun and its place there; each ring is turned against the last."""
    away = np.hypot(x - SUN[0], y - SUN[1])
    angle = np.arctan2(y - SUN[1], x - SUN[0]) / (2 * np.pi) + 0.5
    away = away * (1 + 0.05 * np.sin(2 * np.pi * 5 * angle))
    ring = np.searchsorted(np.array([end for end, _, _ in RINGS]), away.ravel()).reshape(away.shape)
    ring = np.minimum(ring, len(RINGS) - 1)
    count = np.array([panes for _, panes, _ in RINGS])[ring]
    bent = angle + 0.00016 * away + 0.5 * (ring % 2) / count
    return ring, np.floor(bent * count) % count


def hill_panes(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """How many hills lie at or before each point, and the row and place of its pane in its hill."""
    hill = np.zeros(x.shape, int)
    row, place = np.zeros(x.shape), np.zeros(x.shape)
    for i in range(len(HILLS)):
        crest = 336 + 40 * i + (34 - 4 * i) * np.sin(x / (74 + 9 * i) + 1.9 * i + 0.4)
        inside = y > crest
        depth = (y - crest) + 6 * np.sin(x / 31 + i)
        hill = np.where(inside, i + 1, hill)
        row = np.where(inside, np.floor(depth / 25), row)
        slant = x + (26 if i % 2 else -26) * depth / 25
        place = np.where(inside, np.floor((slant + 19 * np.floor(depth / 25)) / (56 - 5 * i)), place)
    return hill, row, place


def panes(rng: np.random.Generator, x: Array, y: Array) -> tuple[Array, Array]:
    """A number for the pane that each point lies in, and the colour of its glass."""
    ring, sector = sun_panes(x, y)
    hill, row, place = hill_panes(x, y)
    edge = np.minimum(np.minimum(x, SIZE[0] - x), np.minimum(y, SIZE[1] - y))
    framed = edge < FRAME
    upright = np.minimum(x, SIZE[0] - x) < np.minimum(y, SIZE[1] - y)
    along = np.floor(np.where(upright, y, x) / 32)
    corner = (np.minimum(x, SIZE[0] - x) < FRAME) & (np.minimum(y, SIZE[1] - y) < FRAME)
    number = np.where(hill > 0, 100_000 * hill + 1000 * row + place + 5500, 100 * ring + sector)
    number = np.where(framed, 900_000 + 1000 * upright + along + 100 * (x > 256) + 200 * (y > 256), number)
    number = np.where(corner, 990_000 + (x > 256) + 2 * (y > 256), number)
    names, where = np.unique(number.astype(int), return_inverse=True)
    glass = np.zeros((len(names), 3), np.float32)
    for i, name in enumerate(names.tolist()):
        if name >= 990_000:
            kinds: tuple[Colour, ...] = ((250, 214, 110),)
        elif name >= 900_000:
            kinds = (BORDER[name % 4],)
        elif name >= 100_000:
            kinds = HILLS[name // 100_000 - 1]
        else:
            kinds = RINGS[name // 100][2]
        glass[i] = np.array(kinds[int(rng.integers(len(kinds)))]) * rng.uniform(0.82, 1.14)
    return number, glass[where.reshape(number.shape)]


def leads(number: Array, fine: float) -> tuple[Array, Array]:
    """How far the lead covers each point, and how high it stands there."""
    seam = np.zeros(number.shape, np.float32)
    seam[:, 1:] = number[:, 1:] != number[:, :-1]
    seam[1:] = np.maximum(seam[1:], number[1:] != number[:-1])
    soft = blurred(seam, LEAD_WIDTH * fine * 0.28)
    peak = float(np.quantile(soft[seam > 0], 0.4)) + 1e-6
    return smooth(0.22, 0.42, soft / peak), np.minimum(soft / peak, 1)


def draw(scale: float = 1.0) -> Image.Image:
    """Draw the whole window, 512×512 at scale 1."""
    rng = np.random.default_rng(SEED)
    fine = scale * FINE
    x, y = plane(SIZE, fine)
    bend = cloud_noise(rng, x / 60, y / 60, 2) - 0.5
    number, pixels = panes(rng, x + 7 * bend, y + 9 * bend)
    cover, height = leads(number, fine)
    streaks = cloud_noise(rng, x / 46 + y / 90, y / 15 - x / 60, 4) - 0.5
    seeds = smooth(0.70, 0.78, cloud_noise(rng, x / 4, y / 4, 1)) * 0.10
    middle = 1 - blurred(height, 9 * fine)
    pixels = pixels * (0.62 + 0.62 * middle + 0.5 * streaks + seeds)[..., None]
    pixels = blend(np.minimum(pixels, 255), (255, 255, 255), 0.22 * smooth(0.1, 0.3, streaks) * middle)
    metal = np.asarray(LEAD, np.float32) + 70 * np.clip(lit_from_left(height, 0.5 / fine), 0, 1)[..., None]
    pixels = np.clip(pixels, 0, 255) * (1 - cover[..., None]) + metal * cover[..., None]
    small = to_image(pixels)
    return small.resize((round(SIZE[0] * scale), round(SIZE[1] * scale)), Image.Resampling.LANCZOS)
