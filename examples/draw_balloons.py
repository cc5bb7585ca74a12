"""A content picture: hot-air balloons in the morning over a patchwork of fields, a river and far hills."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from draw_shapes import Brush, Outline, Paint, bent
from draw_tools import Array, Colour, blend, cloud_noise, mix, plane, ramp, scaled, smooth
from PIL import Image

SEED = 1783
SIZE = (768, 512)
FINE = 2
LEVEL = 318.0  # where the plain meets the hills
RISE = 24.0
FIELDS: list[Colour] = [
    (232, 196, 92), (122, 170, 74), (176, 150, 206), (206, 216, 112), (86, 140, 78), (200, 146, 88),
    (244, 218, 132),
    (148, 190, 96), (190, 96, 84),
]  # fmt: skip
#: Each range of hills: where its crest lies, how high and how long its waves are, and its colour.
RANGES: list[tuple[float, float, float, Colour]] = [
    (252.0, 60.0, 0.006, (138, 158, 206)),
    (276.0, 44.0, 0.009, (110, 140, 176)),
    (302.0, 26.0, 0.013, (94, 142, 128)),
]
#: The houses of the village: where they stand and how large they are, the far ones first.
HOUSES = [
    (588, 352, 12), (652, 350, 13), (612, 356, 15), (676, 358, 15), (560, 358, 14), (636, 364, 18),
    (592, 368, 17), (700, 368, 18),
]  # fmt: skip


@dataclass(frozen=True)
class Balloon:
    """A balloon: the middle and radius of its envelope, its number of gores, its colours and its pattern."""

    x: float
    y: float
    radius: float
    gores: int
    colours: tuple[Colour, ...]
    pattern: str


RED, CREAM, NAVY, TEAL, GOLD, ROSE = (
    (214, 50, 44), (252, 238, 206), (34, 52, 112), (26, 140, 146), (246, 182, 44), (234, 112, 130),
)  # fmt: skip
BALLOONS = [
    Balloon(488, 236, 13, 12, (TEAL, CREAM), "gores"),
    Balloon(414, 216, 20, 12, (GOLD, RED), "bands"),
    Balloon(700, 226, 30, 16, (NAVY, GOLD), "gores"),
    Balloon(574, 122, 60, 16, (TEAL, CREAM, ROSE), "bands"),
    Balloon(232, 154, 124, 20, (RED, CREAM, GOLD, NAVY), "zigzag"),
]


def sky(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """The morning sky, with the glow of the sun on the right and fair-weather clouds in it."""
    pixels = ramp(
        y / LEVEL,
        [(0, (52, 122, 206)), (0.45, (128, 186, 232)), (0.8, (248, 220, 190)), (1, (255, 206, 150))],
    )
    away = np.hypot(x - 640, y - 272)
    pixels = blend(pixels, (255, 236, 176), 0.85 * np.exp(-away / 90))
    pixels = blend(pixels, (255, 252, 232), smooth(25, 23, away))
    for height, wide in ((70.0, 150.0), (180.0, 95.0), (232.0, 60.0)):
        body = cloud_noise(rng, x / wide + 9, y / (0.42 * wide), 6, 0.52)
        band = np.exp(-(((y - height) / (0.42 * wide)) ** 2))
        cover = smooth(0.52, 0.60, body + 0.16 * band - 0.10)
        tone = smooth(0.52, 0.76, body + 0.0022 * (y - height) + 0.02)
        lit = ramp(1 - tone, [(0, (176, 186, 220)), (0.45, (250, 226, 212)), (1, (255, 252, 244))])
        pixels = pixels + (lit - pixels) * (0.94 * cover * band)[..., None]
    return pixels


def hills(rng: np.random.Generator, x: Array, y: Array, pixels: Array) -> Array:
    """The far hills, range before range, with woods on the nearer ones and mist at their feet."""
    for level, tall, pitch, colour in RANGES:
        line = cloud_noise(rng, x[:1] * pitch + 5, np.full_like(x[:1], 2.2), 6, 0.48)
        below = y - (level - 2.1 * tall * (line - 0.45))
        folds = cloud_noise(rng, x * pitch * 3 + below * 0.012, below * pitch * 4, 5) - 0.5
        tone = np.asarray(colour, np.float32) * (1 + 0.7 * folds)[..., None]
        tone = blend(tone, (255, 228, 196), 0.75 * smooth(8, 74, below))
        pixels = pixels + (tone - pixels) * smooth(-0.4, 0.4, below)[..., None]
    return pixels


def ground(x: Array, y: Array) -> tuple[Array, Array]:
    """Where each pixel of the plain lies: to the right, and how far away, in units of the eye's height."""
    far = 100 / np.maximum(y - LEVEL + RISE, 1.0)
    return (x - 384) * far / 260, far


def river(far: Array) -> tuple[Array, Array]:
    """The middle and the half width of the river, at each distance."""
    return 0.10 + 0.52 * np.sin(far * 2.4 - 1.5) + 0.12 * far, 0.085 + 0.02 * np.sin(far * 5)


def fields(rng: np.random.Generator, x: Array, y: Array, pixels: Array) -> Array:
    """The plain: fields in many colours and in rows of their own, with hedges, a lane and the river."""
    roll = cloud_noise(rng, x / 170, y / 60, 2) - 0.5
    right, far = ground(x, y + 20 * roll * smooth(LEVEL, 420, y))
    u, v = right * 0.94 + far * 0.34, far * 0.94 - right * 0.34
    row = np.floor(v / 0.36)
    u = u + 0.37 * row + 0.05 * np.sin(7 * v)
    column = np.floor(u / 0.62)
    kind = rng.integers(len(FIELDS), size=(64, 64))[row.astype(int) % 64, column.astype(int) % 64]
    turned = rng.integers(2, size=(64, 64))[row.astype(int) % 64, column.astype(int) % 64]
    tone = np.array(FIELDS, np.float32)[kind]
    rows = np.sin(2 * np.pi * np.where(turned, u / 0.045, v / 0.030))
    tone = tone * (1 + (0.17 * smooth(1.9, 0.7, far)) * rows)[..., None]
    tone = tone * (1 + 0.5 * roll + 0.22 * (cloud_noise(rng, right * 9 + 40, far * 9, 3) - 0.5))[..., None]
    edge_u, edge_v = np.abs((u / 0.62) % 1 - 0.5) * 2, np.abs((v / 0.36) % 1 - 0.5) * 2
    hedge = np.maximum(smooth(0.93, 0.96, edge_u), smooth(0.90, 0.94, edge_v))
    tone = blend(tone, (62, 98, 66), 0.85 * hedge)
    lane = np.abs(right + 0.55 - 0.3 * np.sin(2.1 * far) - 0.1 * far)
    tone = blend(tone, (246, 226, 186), smooth(0.040, 0.032, lane))
    middle, half = river(far)
    off = np.abs(right - middle) / half
    tone = blend(tone, (70, 110, 70), smooth(1.5, 1.3, off))
    mirror = ramp((y - LEVEL) / 190, [(0, (255, 226, 184)), (0.35, (160, 200, 232)), (1, (58, 124, 190))])
    shimmer = 18 * np.sin(y * 1.1 + 6 * np.sin(x / 23))
    tone = tone + (mirror + shimmer[..., None] * 0.5 - tone) * smooth(1.03, 0.97, off)[..., None]
    tone = blend(tone, (255, 222, 178), 0.72 * smooth(1.6, 4.2, far))
    return pixels + (tone - pixels) * smooth(-0.5, 0.5, y - LEVEL)[..., None]


def tree(brush: Brush, x: float, y: float, size: float, colour: Colour, rng: np.random.Generator) -> None:
    """A round tree lit from the right, with its long shadow."""
    brush.poly([(x, y - 0.2 * size), (x - 2.4 * size, y + 0.30 * size), (x - 1.9 * size, y + 0.46 * size),
                (x + 0.2 * size, y + 0.12 * size)], scaled(colour, 0.55))  # fmt: skip
    brush.line([(x, y), (x, y - 0.9 * size)], (92, 66, 54), 0.16 * size)
    for _ in range(26):
        angle, away = float(rng.uniform(0, 2 * np.pi)), float(np.sqrt(rng.random()))
        at_x, at_y = 0.62 * away * float(np.cos(angle)), 0.68 * away * float(np.sin(angle))
        tone = mix(scaled(colour, 0.62), mix(colour, (255, 226, 130), 0.45), 0.5 + 0.62 * at_x - 0.45 * at_y)
        brush.dab(x + at_x * size, y + (at_y - 1.3) * size, 0.24 * size, 0.22 * size, tone)


def trees(brush: Brush, rng: np.random.Generator) -> None:
    """Trees over the plain, along the river and in front, the far ones first."""
    spots = [(float(rng.uniform(-10, 778)), LEVEL + 190 * float(rng.random()) ** 1.7 + 5) for _ in range(120)]
    for y in np.linspace(LEVEL + 8, 505, 36):
        far = 100 / (y - LEVEL + RISE)
        middle, half = river(np.float32(far))
        for side in (-1, 1):
            if rng.random() < 0.6:
                spots.append((384 + 260 * float(middle + side * 1.55 * half) / far, float(y)))
    greens: tuple[Colour, ...] = ((64, 122, 70), (92, 146, 66), (44, 100, 74), (204, 140, 60), (126, 158, 70))
    for x, y in sorted(spots, key=lambda spot: spot[1]):
        far = 100 / (y - LEVEL + RISE)
        middle, half = river(np.float32(far))
        if abs((x - 384) * far / 260 - middle) > 1.3 * half:
            colour = mix(greens[int(rng.integers(len(greens)))], (236, 206, 170), min(0.75, far / 5.2))
            tree(brush, x, y, 8.6 / far * float(rng.uniform(0.75, 1.3)), colour, rng)


def village(brush: Brush, rng: np.random.Generator) -> None:
    """A village with its church, on the plain to the right."""
    for x, y, size in HOUSES:
        wall = mix((255, 240, 214), (240, 206, 170), float(rng.random()))
        wide, high = 1.25 * size, 0.72 * size
        brush.poly(
            [(x, y), (x, y - high), (x - 0.5 * size, y - high + 1), (x - 0.5 * size, y)], scaled(wall, 0.62)
        )
        brush.poly([(x, y), (x + wide, y), (x + wide, y - high), (x, y - high)], wall)
        ridge = y - 1.35 * size
        roof = [(x - 0.6 * size, y - high + 1), (x - 0.22 * size, ridge), (x + wide - 0.25 * size, ridge)]
        roof += [(x + wide + 1, y - high), (x, y - high)]
        brush.poly(roof, scaled((204, 88, 62), float(rng.uniform(0.85, 1.1))))
        for i in range(3):
            brush.dab(x + (0.25 + 0.38 * i) * size, y - 0.4 * size, 0.08 * size, 0.13 * size, (92, 84, 110))
        if size == 15 and x < 640:
            brush.poly(
                [(x + 14, y - 8), (x + 14, y - 38), (x + 25, y - 38), (x + 25, y - 8)], (252, 232, 204)
            )
            brush.poly(
                [(x + 14, y - 8), (x + 14, y - 38), (x + 10, y - 36), (x + 10, y - 8)], (164, 138, 140)
            )
            brush.poly([(x + 9, y - 36), (x + 18, y - 66), (x + 26, y - 38)], (84, 116, 128))
            brush.dab(x + 19.5, y - 31, 2.6, 2.6, (250, 250, 240))


def half_width(balloon: Balloon, y: Array) -> Array:
    """Half the envelope's width at a height: round above, drawn in towards its mouth below."""
    t = np.clip((y - balloon.y) / balloon.radius, -1, 1.56)
    above = np.sqrt(np.clip(1 - t * t, 0, 1))
    s = np.clip(t / 1.5, 0, 1)
    below = 1 - 0.84 * s**2.1 * (1.0 - 0.06 * s)
    return (balloon.radius * np.where(t < 0, above, below)).astype(np.float32)


def cloth(balloon: Balloon) -> Paint:
    """The coloured cloth: its gores and pattern, bulging between the seams, lit from the right."""

    def paint(x: Array, y: Array) -> Array:
        wide = np.maximum(half_width(balloon, y), 0.5)
        across = np.clip((x - balloon.x) / wide, -1, 1)
        around = np.arcsin(across) / np.pi + 0.5
        gore = around * balloon.gores
        up = (y - balloon.y) / balloon.radius
        count = len(balloon.colours)
        if balloon.pattern == "gores":
            kind = np.floor(gore) % count
        elif balloon.pattern == "bands":
            kind = np.floor((up + 1) / 0.36) % count
        else:
            tooth = np.abs(gore % 2 - 1)
            kind = np.floor((up + 1.02 + 0.20 * tooth) / 0.29) % count
        tone = np.array(balloon.colours, np.float32)[kind.astype(int)]
        bulge = np.abs(gore % 1 - 0.5) * 2
        facing = 0.62 * across - 0.45 * up + 0.5 * np.sqrt(np.clip(1 - across * across, 0, 1))
        light = 0.50 + 0.56 * smooth(-0.85, 0.95, facing) - 0.16 * bulge**4
        tone = tone * light[..., None]
        tone = blend(tone, (86, 80, 140), 0.34 * smooth(0.0, -1.0, facing))
        glow = np.exp(-(((up - 1.3) / 0.42) ** 2)) * np.exp(-((across / 0.7) ** 2))
        tone = blend(np.clip(tone, 0, 255), (255, 214, 120), 0.45 * glow)
        shine = np.exp(-(((across - 0.42) / 0.18) ** 2) - ((up + 0.46) / 0.3) ** 2)
        return blend(tone, (255, 255, 244), 0.42 * shine)

    return paint


def fly(brush: Brush, balloon: Balloon) -> None:
    """Draw one balloon with its ropes, flame and basket."""
    x, y, radius = balloon.x, balloon.y, balloon.radius
    levels = np.concatenate(
        [y - radius * np.cos(np.linspace(0, np.pi / 2, 24)), y + radius * np.linspace(0.06, 1.5, 24)]
    )
    wide = half_width(balloon, levels.astype(np.float32))
    outline: Outline = [(float(x + w), float(v)) for v, w in zip(levels, wide, strict=True)]
    outline += [(float(x - w), float(v)) for v, w in zip(levels[::-1], wide[::-1], strict=True)]
    mouth, basket = y + 1.5 * radius, y + 1.86 * radius
    narrow, size = float(wide[-1]), 0.15 * radius
    for share in (-1.0, -0.4, 0.4, 1.0):
        rope = [(x + share * narrow, mouth - 0.02 * radius), (x + share * size, basket)]
        brush.line(rope, (88, 66, 60), max(0.7, 0.012 * radius))
    brush.poly(bent([(x - 0.05 * radius, basket - 0.10 * radius), (x, basket - 0.34 * radius),
                     (x + 0.05 * radius, basket - 0.10 * radius)]), (255, 206, 84))  # fmt: skip
    brush.shade(outline, cloth(balloon))
    brush.poly([(x - narrow, mouth - 1), (x + narrow, mouth - 1), (x + 0.8 * narrow, mouth + 0.05 * radius),
                (x - 0.8 * narrow, mouth + 0.05 * radius)], scaled(balloon.colours[0], 0.55))  # fmt: skip
    low = basket + 0.26 * radius
    for i in range(8):
        a, b = -1 + i / 4, -1 + (i + 1) / 4
        tone = mix((98, 60, 40), (206, 148, 84), (i + 0.5) / 8)
        brush.poly(
            [
                (x + a * size, basket),
                (x + b * size, basket),
                (x + 0.86 * b * size, low),
                (x + 0.86 * a * size, low),
            ],
            tone,
        )
    for i in range(1, 4):
        level = basket + (low - basket) * i / 4
        brush.line(
            [(x - 0.95 * size, level), (x + 0.95 * size, level)], (84, 52, 38), max(0.6, 0.014 * radius)
        )
    brush.line([(x - 1.1 * size, basket), (x + 1.1 * size, basket)], (72, 44, 36), max(1.0, 0.04 * radius))
    if radius > 50:
        for share, coat in ((-0.45, NAVY), (0.35, RED)):
            brush.poly([(x + (share - 0.3) * size, basket - 1),
                        (x + (share - 0.2) * size, basket - 0.12 * radius),
                        (x + (share + 0.2) * size, basket - 0.12 * radius),
                        (x + (share + 0.3) * size, basket - 1)], coat)  # fmt: skip
            brush.dab(
                x + share * size, basket - 0.16 * radius, 0.045 * radius, 0.05 * radius, (236, 184, 150)
            )


def draw(scale: float = 1.0) -> Image.Image:
    """Draw the whole picture, 768×512 at scale 1."""
    scale = round(scale * 256) / 256
    rng = np.random.default_rng(SEED)
    x, y = plane(SIZE, scale * FINE)
    brush = Brush(fields(rng, x, y, hills(rng, x, y, sky(rng, x, y))), scale * FINE)
    village(brush, rng)
    trees(brush, rng)
    for balloon in BALLOONS:
        fly(brush, balloon)
    return brush.finished((round(SIZE[0] * scale), round(SIZE[1] * scale)))
