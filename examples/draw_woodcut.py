"""A style picture: a woodcut of a red sun over hills and firs, in black and vermilion on cream paper."""

from __future__ import annotations

import numpy as np
from draw_tools import Array, Colour, blend, cloud_noise, plane, smooth, to_image
from PIL import Image, ImageDraw

SEED = 1493
SIZE = (640, 512)
FINE = 2
SUN = (392.0, 168.0, 84.0)
PAPER: Colour = (240, 228, 200)
BLACK: Colour = (24, 20, 22)
RED: Colour = (206, 52, 30)
#: Each hill: where its crest lies, how high and how long it waves, the slant of its cuts and their distance.
HILLS = [
    (300.0, 30.0, 92.0, 0.42, 12.0),
    (342.0, 26.0, 70.0, -0.60, 13.0),
    (392.0, 24.0, 104.0, 0.30, 15.0),
    (446.0, 18.0, 84.0, -0.26, 17.0),
]
#: The firs: foot, height and half width; the far ones first.
FIRS = [
    (60.0, 352.0, 84.0, 22.0), (96.0, 362.0, 66.0, 18.0), (566.0, 344.0, 92.0, 24.0),
    (604.0, 356.0, 70.0, 19.0),
    (530.0, 352.0, 60.0, 16.0), (46.0, 500.0, 252.0, 56.0), (132.0, 512.0, 186.0, 46.0),
    (598.0, 510.0, 168.0, 44.0),
]  # fmt: skip


def cuts(across: Array, gap: float, dark: Array, fine: float) -> Array:
    """Ink (0..1) of parallel cuts, so far apart: the darker, the thinner the wood that was cut away."""
    place = np.abs((across / gap) % 1 - 0.5) * 2
    soft = 1.6 / (gap * fine)
    return 1 - smooth(-soft, soft, place - dark)


def sky(rng: np.random.Generator, x: Array, y: Array, fine: float) -> Array:
    """The ink of the sky: rings of cuts around the sun, lighter near it, broken by long clouds."""
    away = np.hypot(x - SUN[0], y - SUN[1])
    wave = cloud_noise(rng, x / 150, y / 90, 3) - 0.5
    hand = cloud_noise(rng, x / 24, y / 24, 2) - 0.5
    dark = 0.10 + 0.62 * smooth(90, 400, away) + 0.5 * hand + 0.5 * wave
    dark = np.where(away < SUN[2] + 9, -1, dark)
    band = cloud_noise(rng, x / 190 + 3, y / 34 + 8, 3) - 0.25 * smooth(150, 110, away)
    cloud = smooth(0.576, 0.584, band)
    rim = smooth(0.536, 0.544, band) - cloud
    flat = 0.12 + 0.9 * (band - 0.58) * 4 + 0.4 * hand
    ink = cuts(away + 30 * wave, 13, dark, fine)
    return np.maximum(ink * (1 - cloud), cuts(y + 12 * wave, 11, flat, fine) * cloud) * (1 - rim) + rim


def hills(rng: np.random.Generator, x: Array, y: Array, fine: float, ink: Array) -> tuple[Array, Array]:
    """The ink with the hills in front of the sky, and how much of the second hill is printed in red."""
    red = np.zeros(x.shape, np.float32)
    for i, (level, tall, wide, slant, gap) in enumerate(HILLS):
        crest = level - tall * np.sin(x / wide + 1.7 * i) - 10 * np.sin(x / 37 + i)
        below = y - crest
        hand = cloud_noise(rng, x / 30, y / 30, 2) - 0.5
        dark = 0.98 - 0.9 * smooth(0, 52, below) + 0.34 * smooth(36, 80, below) + 0.45 * hand
        bow = 26 * np.sin(x / wide + 1.7 * i + 0.8)
        own = cuts(y * (1 - abs(slant)) + slant * x + bow, gap, dark, fine)
        cross = cuts(y * 0.6 - slant * 2 * x, gap * 1.1, 2.4 * (dark - 0.62), fine)
        own = np.maximum(own, cross)
        own = np.where(below < 3.4, 1, np.where(below < 6.6, 0, own))
        inside = smooth(-0.7 / fine, 0.7 / fine, below)
        ink = ink * (1 - inside) + own * inside
        field = inside * smooth(14, 20, below) if i in (1, 3) else np.zeros(x.shape, np.float32)
        red = red * (1 - inside) + field
    return ink, red


def firs(rng: np.random.Generator, scale: float) -> tuple[Array, Array]:
    """Firs as black shapes with cuts of light in them: what they cover and their ink, both 0..1."""
    size = (round(SIZE[0] * scale), round(SIZE[1] * scale))
    cover, ink = Image.new("L", size), Image.new("L", size)
    on_cover, on_ink = ImageDraw.Draw(cover), ImageDraw.Draw(ink)
    for x, foot, tall, half in FIRS:
        layers = max(6, round(tall / 15))
        for draw, grown, fill in ((on_cover, 3.0, 255), (on_ink, 3.0, 0), (on_ink, 0.0, 255)):
            edge = np.random.default_rng(round(x))
            left, right = [], []
            for i in range(layers):
                top, low = foot - tall * (1 - i / layers), foot - tall * (1 - (i + 1.25) / layers)
                wide = half * (i + 1) / layers
                left += [(x - 0.45 * wide - grown, top), (x - wide * edge.uniform(0.85, 1.1) - grown, low)]
                right += [(x + 0.45 * wide + grown, top), (x + wide * edge.uniform(0.85, 1.1) + grown, low)]
            shape = [(x, foot - tall - 4 - 2 * grown), *right, *left[::-1]]
            draw.polygon([(a * scale, b * scale) for a, b in shape], fill=fill)
        for _ in range(round(tall * 0.42)):
            up = float(rng.uniform(0.06, 0.96))
            at = x + half * (1 - up) * float(rng.uniform(-0.25, 0.85))
            long = half * (1 - up) * 0.38 + 3
            line = [(at, foot - tall * up), (at + long, foot - tall * up + 0.62 * long)]
            on_ink.line([(a * scale, b * scale) for a, b in line], fill=0, width=max(1, round(1.7 * scale)))
    return np.asarray(cover, np.float32) / 255, np.asarray(ink, np.float32) / 255


def draw(scale: float = 1.0) -> Image.Image:
    """Draw the whole print, 640×512 at scale 1."""
    rng = np.random.default_rng(SEED)
    fine = scale * FINE
    x, y = plane(SIZE, fine)
    sway = 5 * (cloud_noise(rng, x / 40, y / 40, 2) - 0.5)
    black, red = hills(rng, x + sway, y + sway, fine, sky(rng, x + sway, y + sway, fine))
    sun = smooth(0.7, -0.7, np.hypot(x - SUN[0] - 2, y - SUN[1] - 2) - SUN[2])
    behind = smooth(
        0.7, -0.7, y - (HILLS[0][0] - HILLS[0][1] * np.sin(x / HILLS[0][2]) - 10 * np.sin(x / 37))
    )
    cover, wood = firs(rng, fine)
    black = black * (1 - cover) + wood * cover
    red = np.maximum(red, sun * behind) * (1 - cover * (1 - wood))
    grain = cloud_noise(rng, x / 1.6, y / 1.6, 2)
    fibre = cloud_noise(rng, x / 30, y / 2.4, 3) - 0.5
    pixels = np.asarray(PAPER, np.float32) * (1 + 0.05 * fibre + 0.05 * (grain - 0.5))[..., None]
    pixels = blend(pixels, RED, red * (0.94 - 0.5 * smooth(0.66, 0.8, grain + 0.3 * fibre)))
    pixels = blend(pixels, BLACK, black * (0.97 - 0.45 * smooth(0.74, 0.86, grain + 0.3 * fibre)))
    small = to_image(pixels)
    return small.resize((round(SIZE[0] * scale), round(SIZE[1] * scale)), Image.Resampling.LANCZOS)
