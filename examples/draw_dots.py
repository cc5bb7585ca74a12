"""A style picture: a bay on a summer noon, set in dots of pure colour on pale ground."""

from __future__ import annotations

import numpy as np
from draw_tools import Array, Colour, blend, cloud_noise, plane, ramp, rgb8, smooth
from PIL import Image, ImageDraw

SEED = 1886
SIZE = (576, 448)
FINE = 3
GROUND: Colour = (250, 244, 228)
#: The pure colours that every dot is taken from.
PAINTS = np.array([
    (255, 253, 240), (255, 238, 132), (255, 204, 50), (255, 140, 46), (236, 70, 62), (246, 148, 172),
    (214, 60, 140),
    (158, 100, 204), (76, 62, 176), (34, 34, 108), (30, 94, 206), (74, 172, 238), (164, 222, 244),
    (22, 156, 170),
    (12, 96, 92), (26, 140, 84), (104, 190, 74), (196, 226, 88), (134, 30, 70),
], np.float32)  # fmt: skip
#: Each coat: how far apart its dots lie, how wide they are, and how far their colours stray.
COATS = [(13.0, 15.0, 14.0), (12.4, 12.0, 22.0), (19.0, 9.0, 50.0)]


def scene(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """The colours of the bay before they are taken apart."""
    noise = cloud_noise(rng, x / 70, y / 40, 3)
    pixels = ramp(y, [(10, (170, 120, 214)), (90, (212, 158, 192)), (170, (255, 196, 170))])
    pixels = blend(pixels, (255, 246, 222), smooth(0.54, 0.64, noise) * smooth(190, 120, y))
    pixels = blend(pixels, (255, 238, 130), np.exp(-np.hypot(x - 150, y - 92) / 44))
    pixels = blend(pixels, (255, 252, 214), smooth(34, 32, np.hypot(x - 150, y - 92)))
    for level, tall, wide, colour, lit in (
        (186.0, 40.0, 96.0, (96, 76, 186), (238, 150, 184)), (210.0, 22.0, 60.0, (48, 50, 140),
                                                              (92, 166, 140)),
    ):  # fmt: skip
        crest = level - tall * np.maximum(np.sin(x / wide + 0.4), -0.4) * smooth(200, 420, x)
        sunny = smooth(0.0, 0.9, np.cos(x / wide + 0.4))
        pixels = blend(pixels, colour, smooth(-1, 1, y - crest))
        pixels = blend(pixels, lit, smooth(-1, 1, y - crest) * sunny * 0.8)
    sea = smooth(-1, 1, y - 214)
    pixels = blend(pixels, (16, 128, 156), sea)
    pixels = blend(pixels, (110, 206, 190), sea * smooth(250, 330, y + 26 * noise))
    pixels = blend(pixels, (255, 236, 170), sea * smooth(0.5, 0.62, cloud_noise(rng, x / 50, y / 9, 2))
                   * np.exp(-(((x - 150) / 92) ** 2)))  # fmt: skip
    shore = y - (338 + 26 * np.sin(x / 98 + 2.4) + 0.10 * (x - 288))
    pixels = blend(pixels, (255, 226, 160), smooth(-1, 1, shore))
    pixels = blend(pixels, (124, 196, 72), smooth(22, 26, shore))
    pixels = blend(
        pixels, (20, 108, 84), smooth(0.5, 0.6, cloud_noise(rng, x / 60, y / 22, 2)) * smooth(26, 60, shore)
    )
    flowers = cloud_noise(rng, x / 17, y / 11, 1)
    pixels = blend(pixels, (240, 92, 110), smooth(0.66, 0.72, flowers) * smooth(30, 40, shore))
    pixels = blend(pixels, (255, 214, 70), smooth(0.34, 0.28, flowers) * smooth(30, 40, shore))
    return trees(rng, x, y, pixels)


def trees(rng: np.random.Generator, x: Array, y: Array, pixels: Array) -> Array:
    """A pine over the bay on the right, its crown in lobes lit from the left, and its violet shadow."""
    for level, wide in ((418.0, 120.0), (432.0, 90.0)):
        pixels = blend(
            pixels, (56, 48, 140), 0.9 * smooth(1.0, 0.8, np.hypot((x - 500) / wide, (y - level) / 12))
        )
    trunk = np.abs(x - 470 - 16 * np.sin(y / 60)) - (5 + (y - 200) / 44)
    pixels = blend(pixels, (130, 32, 70), smooth(1, -1, trunk) * smooth(170, 175, y) * smooth(424, 418, y))
    for cx, cy, rx, ry in (
        (470, 120, 96, 40), (540, 150, 76, 38), (408, 164, 66, 28), (486, 178, 82, 30), (520, 84, 70, 34),
    ):  # fmt: skip
        lobe = np.hypot((x - cx) / rx, (y - cy) / ry) + 0.5 * (cloud_noise(rng, x / 22, y / 22, 2) - 0.5)
        pixels = blend(pixels, (14, 84, 88), smooth(1.03, 0.97, lobe))
        pixels = blend(
            pixels, (150, 206, 80), smooth(0.75, 0.3, np.hypot((x - cx + 22) / rx, (y - cy + 16) / ry))
        )
    return pixels


def nearest_paint(rng: np.random.Generator, wanted: Array, stray: float) -> Array:
    """One of the pure colours for each dot: the nearest to what is wanted, which strays by so much."""
    wanted = wanted + rng.normal(0, stray, wanted.shape)
    away = ((wanted[:, None, :] - PAINTS[None]) ** 2).sum(axis=-1)
    return PAINTS[away.argmin(axis=1)] * rng.uniform(0.90, 1.04, (len(wanted), 1))


def draw(scale: float = 1.0) -> Image.Image:
    """Draw the whole picture, 576×448 at scale 1."""
    rng = np.random.default_rng(SEED)
    x, y = plane(SIZE, 1.0)
    colours = scene(rng, x, y)
    fine = scale * FINE
    size = (round(SIZE[0] * scale) * FINE, round(SIZE[1] * scale) * FINE)
    image = Image.new("RGB", size, rgb8(GROUND))
    pen = ImageDraw.Draw(image)
    for gap, wide, stray in COATS:
        columns, rows = int(SIZE[0] / gap) + 2, int(SIZE[1] / gap * 1.15) + 2
        cells = rng.permutation(columns * rows)
        row = cells // columns
        at_x = (cells % columns + 0.5 * (row % 2) + rng.normal(0, 0.16, cells.size)) * gap
        at_y = (row + rng.normal(0, 0.16, cells.size)) * gap / 1.15
        seen_x = np.clip(at_x, 0, SIZE[0] - 1).astype(int)
        seen_y = np.clip(at_y, 0, SIZE[1] - 1).astype(int)
        paints = nearest_paint(rng, colours[seen_y, seen_x], stray)
        radii = wide / 2 * rng.uniform(0.8, 1.12, cells.size)
        for cx, cy, radius, paint in zip(
            at_x * fine, at_y * fine, radii * fine, paints.tolist(), strict=True
        ):
            pen.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), fill=rgb8(tuple(paint)))
    return image.resize((size[0] // FINE, size[1] // FINE), Image.Resampling.LANCZOS)
