"""A content picture: an owl on a branch before the full moon, with autumn leaves."""

from __future__ import annotations

import numpy as np
from draw_shapes import Brush, Outline, Spot, ball, bent, oval, petal
from draw_tools import Array, Colour, blend, cloud_noise, mix, plane, ramp, scaled, smooth
from PIL import Image

SEED = 31
SIZE = (512, 640)
FINE = 3
MOON = (330.0, 190.0, 146.0)
MIDDLE = 250.0
CREAM: Colour = (246, 228, 190)
RUST: Colour = (176, 92, 40)
BROWN: Colour = (110, 62, 36)
DARK: Colour = (46, 28, 28)
LEAVES: list[Colour] = [(216, 92, 34), (238, 150, 40), (178, 48, 40), (232, 188, 70), (140, 60, 44)]


def night(rng: np.random.Generator, scale: float) -> Array:
    """Sky, stars and the moon with its seas and its halo."""
    x, y = plane(SIZE, scale)
    pixels = ramp(
        y / SIZE[1], [(0, (16, 26, 74)), (0.45, (26, 66, 122)), (0.8, (58, 124, 150)), (1, (120, 168, 160))]
    )
    mist = cloud_noise(rng, x / 170, y / 46, 4)
    pixels = blend(pixels, (128, 160, 190), 0.5 * smooth(0.5, 0.78, mist))
    away = np.hypot(x - MOON[0], y - MOON[1])
    pixels = blend(pixels, (236, 220, 170), 0.62 * np.exp(-np.maximum(away - MOON[2], 0) / 46))
    seas = smooth(0.46, 0.62, cloud_noise(rng, x / 70 + 4, y / 70, 4))
    disc = ramp(0.25 + 0.75 * (1 - (away / MOON[2]) ** 4 * 0.3) - 0.34 * seas,
                [(0, (196, 166, 112)), (0.55, (240, 220, 164)), (1, (255, 250, 226))])  # fmt: skip
    cover = smooth(0.7, -0.7, away - MOON[2])[..., None]
    return (pixels * (1 - cover) + disc * cover).astype(np.float32)


def stars_and_woods(brush: Brush, rng: np.random.Generator) -> None:
    """Stars in the upper sky, and two rows of firs in the mist below."""
    for _ in range(90):
        x, y = float(rng.uniform(0, SIZE[0])), float(rng.uniform(0, 380))
        if np.hypot(x - MOON[0], y - MOON[1]) > MOON[2] + 24:
            size = float(rng.choice([0.9, 1.3, 2.1], p=[0.6, 0.3, 0.1]))
            brush.dab(x, y, size, size, (255, 246, 214))
    for level, tall, colour in ((612.0, 150.0, (54, 108, 132)), (652.0, 120.0, (24, 62, 84))):
        for x in np.arange(-10, SIZE[0] + 20, 27.0):
            high, at = tall * float(rng.uniform(0.55, 1.1)), float(x + rng.uniform(-9, 9))
            left, right = [], []
            for i in range(8):
                top, low = level - high * (1 - i / 8), level - high * (1 - (i + 1.3) / 8)
                wide = high * 0.2 * (i + 1) / 8
                left += [(at - 0.5 * wide, top), (at - wide, low)]
                right += [(at + 0.5 * wide, top), (at + wide, low)]
            brush.poly(
                [(at, level - high - 8), *right, *left[::-1]], scaled(colour, float(rng.uniform(0.9, 1.12)))
            )
        brush.poly([(0, level - 8), (SIZE[0], level - 8), (SIZE[0], 640), (0, 640)], colour)


def feather(
    brush: Brush,
    foot: Spot,
    angle: float,
    long: float,
    wide: float,
    colours: tuple[Colour, Colour],
    pale: float = 0.0,
) -> None:
    """One feather: pale from its root as far as told, then dark, with a pale edge and a shaft."""
    root, tip = colours
    cos, sin = np.cos(angle), np.sin(angle)

    def along(x: Array, y: Array) -> Array:
        share = ((x - foot[0]) * cos + (y - foot[1]) * sin) / long
        side = np.abs((y - foot[1]) * cos - (x - foot[0]) * sin) / wide
        tone = smooth(0.36 + pale, 0.66 + pale, share + 0.8 * side) * smooth(1.02, 0.86, share + 0.3 * side)
        return blend(np.zeros((*x.shape, 3), np.float32) + np.asarray(root, np.float32), tip, tone)

    shape = petal(foot, angle, long, wide, 0.72)
    brush.shade(shape, along)
    brush.line([*shape, shape[0]], mix(root, DARK, 0.62), 0.9)
    brush.line([foot, (foot[0] + 0.9 * long * cos, foot[1] + 0.9 * long * sin)], mix(tip, DARK, 0.4), 1.0)


def tail(brush: Brush) -> None:
    """The tail below the branch."""
    for shift in (-44, 44, -24, 24, 0):
        long = 118 - 0.5 * abs(shift)
        feather(
            brush, (MIDDLE + 0.7 * shift, 496), np.pi / 2 - 0.004 * shift, long, 34, ((150, 92, 52), DARK)
        )


def breast(brush: Brush, rng: np.random.Generator) -> None:
    """The body: rows of small feathers like tiles, from the lowest up."""
    body = bent([(250, 190), (344, 250), (366, 340), (350, 440), (302, 512), (250, 524), (198, 512),
                 (150, 440),
                 (134, 340), (156, 250)])  # fmt: skip
    brush.shade(body, ball(250, 360, 130, 190, [(0, (92, 56, 40)), (0.6, (206, 164, 112)), (1, CREAM)]))
    for row in range(11, -1, -1):
        y = 262 + 21.0 * row
        half = 104 * float(np.sqrt(max(0.05, 1 - ((y - 372) / 168) ** 2)))
        count = max(3, round(half / 12.5))
        for i in range(count):
            share = (i + 0.5 * (row % 2)) / max(1, count - 1) * 2 - 1
            if abs(share) > 1.02:
                continue
            lit = 1.04 - 0.24 * max(0.0, share) + 0.05 * float(rng.normal())
            colours = scaled(mix(CREAM, (226, 176, 112), 0.6 * abs(share)), lit), scaled(RUST, lit)
            feather(brush, (MIDDLE + half * share, y), np.pi / 2 - 0.22 * share, 40, 28, colours, 0.3)


def wing(brush: Brush, side: int, rng: np.random.Generator) -> None:
    """A folded wing: long quills below, then coverts in rows up to the shoulder."""
    lit = 1.12 if side < 0 else 0.84
    for i in range(6):
        foot = (MIDDLE + side * (124 - 8 * i), 350 + 12 * i)
        angle = np.pi / 2 + side * (0.26 - 0.015 * i)
        feather(brush, foot, angle, 158 - 13 * i, 32, (scaled((150, 94, 54), lit), scaled(DARK, lit)))
    for row in range(6, -1, -1):
        y = 250 + 25.0 * row
        for i in range(4):
            out = 54 + 15 * i + 36 * float(np.sin(np.pi * (row + 1.4) / 11.5)) - (8 if row % 2 else 0)
            tone = lit * (1 + 0.07 * float(rng.normal()))
            colours = (scaled((204, 146, 84), tone), scaled(BROWN, tone))
            feather(brush, (MIDDLE + side * out, y + 4 * i), np.pi / 2 + side * 0.14, 46, 27, colours)


def head(brush: Brush, rng: np.random.Generator) -> None:
    """The head with its tufts, covered with short strokes of down."""
    for side in (-1, 1):
        for i, (x, y, long) in enumerate(((92, 176, 84), (58, 150, 80), (80, 164, 100), (68, 152, 92))):
            angle = -np.pi / 2 + side * (0.62 - 0.11 * i)
            feather(brush, (MIDDLE + side * x, y), angle, long, 30, (scaled(BROWN, 1.05 + 0.08 * i), DARK))
    skull = bent([(250, 116), (322, 132), (364, 190), (352, 252), (300, 292), (250, 300), (200, 292),
                  (148, 252),
                  (136, 190), (178, 132)])  # fmt: skip
    brush.shade(skull, ball(250, 206, 118, 100, [(0, (70, 40, 32)), (0.55, BROWN), (1, (222, 154, 84))]))
    for _ in range(900):
        angle, away = float(rng.uniform(0, 2 * np.pi)), float(np.sqrt(rng.random()))
        x, y = 250 + 108 * away * np.cos(angle), 206 + 86 * away * np.sin(angle)
        fall = np.arctan2(y - 216, x - 250)
        tone = mix(mix(BROWN, (232, 170, 96), float(rng.random())), DARK, 0.25 + 0.25 * np.cos(angle))
        brush.line([(x, y), (x + 9 * np.cos(fall), y + 9 * np.sin(fall))], tone, 1.5)


def face(brush: Brush, side: int, rng: np.random.Generator) -> None:
    """One half of the face: a disc of fine rays, its dark rim, and the eye."""
    cx, cy = MIDDLE + side * 48, 208.0
    brush.poly(oval(cx + side * 4, cy + 4, 60, 68, side * 0.16), DARK)
    brush.poly(oval(cx + side * 3, cy + 4, 55, 63, side * 0.16), (226, 178, 118))
    for _ in range(620):
        angle, start = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(28, 48))
        end = start + float(rng.uniform(8, 18))
        tone = mix(mix((255, 244, 216), RUST, (start - 26) / 36), DARK, 0.22 * float(rng.random()))
        cos, sin = float(np.cos(angle)), 1.12 * float(np.sin(angle))
        ray = [(cx + start * cos, cy + start * sin), (cx + end * cos, cy + end * sin)]
        brush.line(ray, tone, 1.4)
    brush.poly(oval(cx, cy, 33, 34), DARK)
    iris = [(0.0, (150, 54, 10)), (0.5, (236, 128, 16)), (1.0, (255, 214, 70))]
    brush.shade(oval(cx, cy, 29, 30), ball(cx + 4, cy + 8, 32, 32, iris))
    for angle in rng.uniform(0, 2 * np.pi, 70):
        cos, sin = float(np.cos(angle)), float(np.sin(angle))
        brush.line([(cx + 16 * cos, cy + 16 * sin), (cx + 27 * cos, cy + 27 * sin)], (255, 190, 50), 0.7)
    brush.poly(oval(cx - side * 2, cy, 16, 17), (12, 10, 16))
    brush.dab(cx - 8, cy - 10, 6, 6.5, (255, 252, 240))
    brush.dab(cx + 8, cy + 9, 2.4, 2.4, (150, 170, 210))
    brow = [
        (cx - side * 44, cy + 6),
        (cx - side * 26, cy - 24),
        (cx + side * 8, cy - 37),
        (cx + side * 38, cy - 30),
    ]
    brush.line(bent(brow, closed=False), DARK, 6.5)


def brows_and_beak(brush: Brush, rng: np.random.Generator) -> None:
    """The white brows that run up into the tufts, the bristles, and the beak."""
    for side in (-1, 1):
        for _ in range(240):
            t = float(rng.random())
            x = MIDDLE + side * (4 + 84 * t)
            y = 196 - 62 * t**0.8 + float(rng.uniform(-9, 5)) * (1.2 - 0.5 * t)
            tone = mix((255, 248, 226), RUST, 0.5 * t * float(rng.random()))
            brush.line([(x, y), (x + side * 12, y - 11)], tone, 1.6)
    for _ in range(160):
        x, y = float(rng.normal(MIDDLE, 8)), float(rng.uniform(206, 236))
        lean = (x - MIDDLE) / 12
        brush.line(
            [(x, y), (x + 9 * lean, y + 16)], mix((255, 246, 222), (200, 150, 96), float(rng.random())), 1.4
        )
    beak = bent([(250, 214), (265, 232), (262, 252), (250, 272), (238, 252), (235, 232)])
    brush.shade(
        beak, ball(246, 236, 22, 36, [(0, (20, 18, 24)), (0.55, (70, 62, 66)), (1, (170, 156, 146))], 0.6)
    )


def limb(brush: Brush, spine: Outline, thick: tuple[float, float], rng: np.random.Generator) -> None:
    """A branch along a curve, from one thickness to another, lit from above, with bark."""
    path = np.array(bent(spine, closed=False, steps=14))
    ahead = np.gradient(path, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-6
    normal = np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1)
    half = np.linspace(thick[0], thick[1], len(path))[:, None] / 2
    for i, share in enumerate(np.linspace(1, -1, 12)):
        tone = mix((38, 26, 32), (178, 134, 98), (i / 11) ** 1.6)
        edge = path + normal * half * share
        low = path + normal * half
        brush.poly(
            [(float(a), float(b)) for a, b in [*(path - normal * half), *(low if i == 0 else edge)[::-1]]],
            tone,
        )
    for _ in range(int(2.6 * len(path))):
        at = int(rng.integers(0, len(path) - 4))
        share = float(rng.uniform(-0.9, 0.9))
        part = path[at : at + 4] + normal[at : at + 4] * half[at : at + 4] * share
        tone = (30, 20, 26) if rng.random() < 0.6 else (206, 164, 118)
        brush.line([(float(a), float(b)) for a, b in part], tone, float(rng.uniform(0.8, 1.8)))


def leaf(brush: Brush, foot: Spot, angle: float, long: float, rng: np.random.Generator) -> None:
    """A lobed autumn leaf with its ribs."""
    colour = scaled(LEAVES[int(rng.integers(len(LEAVES)))], float(rng.uniform(0.85, 1.12)))
    profile = [
        (0.0, 0.0),
        (0.16, 0.16),
        (0.3, 0.34),
        (0.4, 0.18),
        (0.58, 0.40),
        (0.68, 0.18),
        (0.86, 0.22),
        (1.0, 0.0),
    ]
    shape = profile + [(along, -side) for along, side in profile[-2:0:-1]]
    cos, sin = np.cos(angle), np.sin(angle)

    def at(along: float, side: float) -> Spot:
        return (
            float(foot[0] + long * (along * cos - side * sin)),
            float(foot[1] + long * (along * sin + side * cos)),
        )

    brush.poly(bent([at(a, b) for a, b in shape], steps=5), colour)
    brush.poly(bent([at(a, b) for a, b in [*profile, (0.5, 0.02)]], steps=5), scaled(colour, 0.78))
    for along, side in ((0.3, 0.28), (0.58, 0.33), (0.3, -0.28), (0.58, -0.33)):
        brush.line([at(along - 0.16, 0), at(along, side)], scaled(colour, 1.3), 0.9)
    brush.line([at(-0.16, 0), at(0.96, 0)], scaled(colour, 1.35), 1.3)


def perch(brush: Brush, rng: np.random.Generator) -> None:
    """The branch, its twigs and its leaves."""
    limb(brush, [(404, 512), (440, 470), (486, 438), (530, 420)], (16, 8), rng)
    limb(brush, [(96, 544), (64, 500), (52, 452), (20, 420)], (14, 6), rng)
    limb(brush, [(-20, 566), (90, 546), (220, 528), (340, 526), (440, 508), (540, 512)], (46, 30), rng)
    places = [
        (524, 420),
        (486, 440),
        (456, 462),
        (508, 474),
        (20, 424),
        (50, 462),
        (64, 500),
        (30, 520),
        (470, 520),
    ]
    for x, y in places:
        for _ in range(4):
            angle = float(rng.uniform(0, 2 * np.pi))
            leaf(brush, (x + float(rng.uniform(-10, 10)), y), angle, float(rng.uniform(34, 58)), rng)
    limb(brush, [(-10, 60), (40, 46), (96, 50), (150, 28)], (16, 4), rng)
    for x, y in ((14, 62), (50, 46), (90, 50), (128, 36), (150, 28), (26, 30)):
        for _ in range(3):
            leaf(brush, (float(x), float(y)), float(rng.uniform(0, np.pi)), float(rng.uniform(32, 54)), rng)


def feet(brush: Brush) -> None:
    """Two feet with three toes each, that hold the branch."""
    for side in (-1, 1):
        for shift in (-18, 0, 18):
            x = MIDDLE + side * 44 + shift
            toe = bent([(x - 9, 510), (x + 9, 510), (x + 8, 540), (x, 546), (x - 8, 540)])
            brush.shade(
                toe, ball(x, 524, 14, 26, [(0, (120, 84, 48)), (0.6, (226, 184, 112)), (1, (255, 232, 176))])
            )
            brush.poly(
                bent([(x - 5, 539), (x + 5, 539), (x + 3, 552), (x - 1, 562), (x - 4, 551)]), (24, 20, 24)
            )


def draw(scale: float = 1.0) -> Image.Image:
    """Draw the whole picture, 512×640 at scale 1."""
    rng = np.random.default_rng(SEED)
    brush = Brush(night(rng, scale * FINE), scale * FINE)
    stars_and_woods(brush, rng)
    tail(brush)
    perch(brush, rng)
    breast(brush, rng)
    for side in (-1, 1):
        wing(brush, side, rng)
    feet(brush)
    head(brush, rng)
    for side in (-1, 1):
        face(brush, side, rng)
    brows_and_beak(brush, rng)
    return brush.finished((round(SIZE[0] * scale), round(SIZE[1] * scale)))
