"""A style picture: marbled paper, drops of colour on a bath, raked and combed.

Every pixel is followed backwards: through the strokes of the comb, then through the drops from the last to
the first, each of which pushed away what lay around it, until it comes to lie in a drop.
"""

from __future__ import annotations

import numpy as np
from draw_tools import Array, Colour, cloud_noise, plane, smooth, to_image
from PIL import Image

SEED = 90210
SIZE = (512, 512)
FINE = 2
BATH: Colour = (8, 40, 44)
INKS: list[Colour] = [
    (10, 84, 68), (244, 238, 214), (38, 152, 112), (164, 220, 188), (238, 104, 122), (240, 192, 92),
    (8, 38, 48),
]  # fmt: skip
SHARES = [0.22, 0.22, 0.16, 0.13, 0.1, 0.08, 0.09]
DROPS = 170


def comb(
    x: Array, y: Array, angle: float, gap: float, pull: float, sharp: float, start: float
) -> tuple[Array, Array]:
    """Where points came from that a comb of teeth, so far apart, has pulled along in one direction."""
    along_x, along_y = np.cos(angle), np.sin(angle)
    across = -x * along_y + y * along_x - start
    away = np.abs((across / gap + 0.5) % 1 - 0.5) * gap
    shift = pull * sharp / (away + sharp)
    return x - shift * along_x, y - shift * along_y


def swirl(x: Array, y: Array, middle: tuple[float, float], reach: float, turn: float) -> tuple[Array, Array]:
    """Where points came from that a stick has stirred around a middle, by so many radians there."""
    dx, dy = x - middle[0], y - middle[1]
    angle = -turn * np.exp(-np.hypot(dx, dy) / reach)
    cos, sin = np.cos(angle), np.sin(angle)
    return middle[0] + dx * cos - dy * sin, middle[1] + dx * sin + dy * cos


def before_combing(x: Array, y: Array) -> tuple[Array, Array]:
    """Undo the strokes, the last first: the curls, the fine comb, and the rakes to and fro."""
    for middle, reach, turn in (
        ((130.0, 150.0), 40.0, 3.6), ((392.0, 118.0), 34.0, -3.4), ((262.0, 330.0), 44.0, 3.8),
        ((70.0, 420.0), 32.0, -3.2), ((450.0, 410.0), 36.0, 3.4),
    ):  # fmt: skip
        x, y = swirl(x, y, middle, reach, turn)
    x, y = comb(x, y, np.pi / 2 + 0.04, 46, 60, 7, 10)
    x, y = comb(x, y, 0.06, 92, 120, 16, 0)
    return comb(x, y, np.pi + 0.06, 92, 120, 16, 46)


def drops(rng: np.random.Generator) -> list[tuple[float, float, float, int]]:
    """The drops in their order: where, how large, and of which ink; late ones are small."""
    order = []
    for i in range(DROPS):
        large = 92 * (1 - i / DROPS) ** 1.4 + 15
        where = rng.uniform(-140, 652, 2)
        ink = int(rng.choice(len(INKS), p=SHARES))
        order.append((float(where[0]), float(where[1]), float(large * rng.uniform(0.6, 1.1)), ink))
    return order


def inked(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """The colour at each point of the bath before the comb."""
    shape = x.shape
    left = np.arange(x.size)
    x, y = x.ravel().copy(), y.ravel().copy()
    pixels = np.tile(np.array(BATH, np.float32), (x.size, 1))
    for cx, cy, radius, ink in reversed(drops(rng)):
        dx, dy = x - cx, y - cy
        square = dx * dx + dy * dy
        inside = square < radius * radius
        depth = np.sqrt(square[inside]) / radius
        tone = 0.90 + 0.12 * depth + 0.10 * smooth(0.86, 1.0, depth)
        pixels[left[inside]] = np.array(INKS[ink], np.float32) * tone[:, None]
        left, square = left[~inside], square[~inside]
        push = np.sqrt(1 - radius * radius / square)
        x, y = cx + dx[~inside] * push, cy + dy[~inside] * push
    return pixels.reshape(*shape, 3)


def draw(scale: float = 1.0) -> Image.Image:
    """Draw the whole paper, 512×512 at scale 1."""
    rng = np.random.default_rng(SEED)
    x, y = plane(SIZE, scale * FINE)
    sway = cloud_noise(rng, x / 120, y / 120, 2) - 0.5
    from_x, from_y = before_combing(x + 22 * sway, y + 14 * sway)
    pixels = inked(rng, from_x.astype(np.float32), from_y.astype(np.float32))
    grain = cloud_noise(rng, x / 2.2, y / 2.2, 2) - 0.5
    pixels = pixels * (1 + 0.10 * grain)[..., None]
    small = to_image(pixels)
    return small.resize((round(SIZE[0] * scale), round(SIZE[1] * scale)), Image.Resampling.LANCZOS)
