"""A content picture: a jug of garden flowers and fruit on a checked cloth, in light from a window."""

from __future__ import annotations

import numpy as np
from draw_shapes import Brush, Outline, Spot, Stops, ball, bent, oval, petal
from draw_tools import Array, Colour, blend, cloud_noise, mix, plane, ramp, scaled, smooth
from PIL import Image

SEED = 604
SIZE = (512, 640)
FINE = 2
TABLE = 424.0  # the far edge of the table
EDGE = 596.0  # its near edge, where the cloth hangs down
JUG = (246.0, 316.0, 520.0)  # its middle, its mouth and its foot
#: The jug's half width at shares of its height, from the mouth down.
PROFILE = [
    (0.0, 50.0),
    (0.06, 44.0),
    (0.2, 40.0),
    (0.4, 66.0),
    (0.6, 84.0),
    (0.78, 78.0),
    (0.92, 54.0),
    (1.0, 50.0),
]
STEM: Colour = (62, 112, 58)
RED: Stops = [(0, (84, 10, 28)), (0.5, (204, 30, 34)), (1, (255, 120, 84))]
YELLOW: Stops = [(0, (136, 84, 10)), (0.5, (240, 186, 40)), (1, (255, 242, 150))]
ORANGE: Stops = [(0, (128, 46, 4)), (0.5, (238, 128, 22)), (1, (255, 204, 110))]
GREEN: Stops = [(0, (48, 62, 14)), (0.5, (158, 178, 50)), (1, (232, 236, 140))]
PLUM: Stops = [(0, (20, 10, 46)), (0.5, (76, 44, 116)), (1, (172, 150, 214))]


def room(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """The wall with the window's light on it, and the table under its checked cloth."""
    hand = cloud_noise(rng, x / 110, y / 110, 5) - 0.5
    wall = ramp(
        x / SIZE[0] + 0.35 * y / TABLE, [(0, (104, 142, 138)), (0.6, (66, 98, 106)), (1.3, (32, 50, 66))]
    )
    for left, right in ((-60.0, 66.0), (90.0, 216.0)):
        for low, high in ((-40.0, 96.0), (118.0, 262.0)):
            at_x, at_y = x - 40 - 0.16 * y, y + 0.26 * x - 96
            pane = smooth(left - 9, left + 9, at_x) * smooth(right + 9, right - 9, at_x)
            pane = pane * smooth(low - 9, low + 9, at_y) * smooth(high + 9, high - 9, at_y)
            wall = blend(wall, (240, 224, 170), 0.62 * pane)
    wall = wall * (1 + 0.34 * hand)[..., None]
    return blend(wall, cloth(rng, x, y), smooth(-0.5, 0.5, y - TABLE))


def cloth(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """The checked cloth, flat on the table and falling in folds over its edge."""
    far = 1 / np.maximum(y - 250, 1.0)
    hangs = y > EDGE
    right = np.where(hangs, (x - 256) / (EDGE - 250), (x - 256) * far)
    down = np.where(hangs, -1 / (EDGE - 250) - (y - EDGE) * 0.000012, -far)
    a = np.floor(right / 0.085 + 0.5 + 0.25 * np.sin(down * 900)) % 2
    b = np.floor(down / 0.00043) % 2
    tones = np.array([(250, 246, 232), (222, 118, 104), (222, 118, 104), (184, 40, 44)], np.float32)
    pixels = tones[(a + 2 * b).astype(int)]
    weave = cloud_noise(rng, x / 3, y / 3, 2) - 0.5
    soft = cloud_noise(rng, x / 90, y / 40, 3) - 0.5
    light = 1.02 - 0.26 * smooth(140, 520, x) + 0.3 * soft + 0.08 * weave
    folds = 0.16 * np.sin(x / 17 + 1.4 * np.sin(x / 61)) - 0.18
    return pixels * np.where(hangs, light + folds, light)[..., None]


def jug_width(share: Array) -> Array:
    """Half the jug's width at shares of its height."""
    at = np.linspace(0, 1, 60)
    stops = np.interp(at, [s for s, _ in PROFILE], [w for _, w in PROFILE])
    soft = np.convolve(np.pad(stops, 4, mode="edge"), np.ones(9) / 9, mode="valid")
    return np.interp(share, at, soft).astype(np.float32)


def glaze(x: Array, y: Array) -> Array:
    """The jug's glaze: blue with a white band of waves and dots, and the window mirrored in it."""
    share = (y - JUG[1]) / (JUG[2] - JUG[1])
    across = np.clip((x - JUG[0]) / np.maximum(jug_width(share), 1), -1, 1)
    around = np.arcsin(across) / np.pi
    pixels = np.zeros((*x.shape, 3), np.float32) + np.array((44, 108, 190), np.float32)
    band = smooth(0.435, 0.44, share) * smooth(0.765, 0.76, share)
    pixels = blend(pixels, (246, 244, 232), band)
    wave = share - 0.60 - 0.070 * np.sin(around * 2 * np.pi * 5)
    pixels = blend(pixels, (36, 84, 170), band * smooth(0.022, 0.017, np.abs(wave)))
    cell = (around * 10 + 0.5) % 1 - 0.5
    for level, colour in ((0.485, (222, 92, 60)), (0.715, (238, 176, 50))):
        dot = np.hypot(cell * 0.26, share - level)
        pixels = blend(pixels, colour, smooth(0.022, 0.017, dot))
    for level in (0.08, 0.40, 0.80, 0.95):
        pixels = blend(pixels, (246, 240, 220), smooth(0.010, 0.007, np.abs(share - level)))
    facing = 0.55 - 0.5 * across - 0.3 * across * across
    pixels = pixels * (0.34 + 0.86 * np.clip(facing, 0, 1))[..., None]
    pixels = blend(pixels, (222, 120, 96), 0.35 * smooth(0.66, 1.0, across) * smooth(0.5, 0.9, share))
    window = smooth(0.12, 0.09, np.abs(across + 0.50)) * smooth(0.075, 0.065, np.abs(share - 0.53))
    return blend(pixels, (255, 255, 250), 0.8 * window * smooth(0.006, 0.01, np.abs(share - 0.53)))


def jug(brush: Brush) -> None:
    """The jug with its handle; its shadow falls to the right."""
    x, top, low = JUG
    brush.soft(x + 92, low - 12, 108, 20, (62, 22, 40), 0.8)
    handle = bent(
        [(x + 34, top + 34), (x + 88, top + 16), (x + 112, top + 62), (x + 78, top + 112)], closed=False
    )
    for wide, tone in ((19.0, (14, 34, 80)), (14.0, (30, 76, 148)), (6.0, (96, 150, 214))):
        brush.line(handle, tone, wide)
    shares = np.linspace(0, 1, 50, dtype=np.float32)
    wide = jug_width(shares)
    outline: Outline = [
        (float(x + w), float(top + s * (low - top))) for s, w in zip(shares, wide, strict=True)
    ]
    outline += oval(x, low, float(wide[-1]), 8)[1:24]
    outline += [
        (float(x - w), float(top + s * (low - top))) for s, w in zip(shares[::-1], wide[::-1], strict=True)
    ]
    brush.shade(outline, glaze)
    brush.poly(oval(x, top + 1, float(wide[0]), 10), (28, 60, 110))
    brush.poly(oval(x, top + 3, float(wide[0]) - 5, 7), (14, 26, 44))


def stem(brush: Brush, head: Spot, rng: np.random.Generator) -> None:
    """A stem from the jug's mouth to a flower, with a leaf or two."""
    foot = (JUG[0] + 0.16 * (head[0] - JUG[0]), JUG[1] + 6)
    middle = (foot[0] * 0.5 + head[0] * 0.5 + float(rng.normal(0, 7)), foot[1] * 0.5 + head[1] * 0.5 + 8)
    path = bent([foot, middle, head], closed=False)
    brush.line(path, scaled(STEM, 0.62), 4.4)
    brush.line([(x - 0.7, y) for x, y in path], scaled(STEM, 1.2), 1.9)


def leaf(brush: Brush, foot: Spot, angle: float, long: float, wide: float, lit: float) -> None:
    """A long leaf, one half in shadow, with its rib."""
    shape = petal(foot, angle, long, wide, 0.45)
    brush.shade(
        shape, ball(foot[0], foot[1] - 20, long, long, [(0, (22, 58, 42)), (1, scaled((118, 176, 84), lit))])
    )
    brush.poly([*shape[: len(shape) // 2 + 1], foot], scaled((38, 92, 56), lit))
    end = (foot[0] + 0.95 * long * float(np.cos(angle)), foot[1] + 0.95 * long * float(np.sin(angle)))
    brush.line([foot, end], scaled((158, 204, 120), lit), 1.2)


def daisy(brush: Brush, x: float, y: float, radius: float, rng: np.random.Generator) -> None:
    """A daisy: two rings of white petals around a yellow cushion."""
    for ring, tone in ((1.0, (206, 212, 226)), (0.86, (255, 253, 244))):
        for angle in np.arange(15) / 15 * 2 * np.pi + ring * 3:
            turn = float(angle + rng.normal(0, 0.06))
            shade = mix(tone, (168, 178, 208), 0.28 + 0.28 * float(np.sin(turn + 0.8)))
            shape = petal((x, y), turn, ring * radius * float(rng.uniform(0.92, 1.06)), radius * 0.36, 0.74)
            brush.poly(shape, shade)
            brush.line([*shape, shape[0]], (138, 150, 184), 0.5)
    brush.shade(
        oval(x, y, 0.30 * radius, 0.28 * radius), ball(x, y, 0.32 * radius, 0.3 * radius, YELLOW, 0.4)
    )
    for _ in range(30):
        angle, away = float(rng.uniform(0, 2 * np.pi)), 0.26 * radius * float(np.sqrt(rng.random()))
        brush.dab(x + away * float(np.cos(angle)), y + away * float(np.sin(angle)), 0.9, 0.9, (190, 110, 16))


def poppy(brush: Brush, x: float, y: float, radius: float, stops: Stops, rng: np.random.Generator) -> None:
    """A poppy: broad crumpled petals around a dark heart."""
    for ring, angles in ((1.0, (0.3, 1.9, 3.4, 5.0)), (0.84, (1.1, 2.7, 4.2, 5.8))):
        for angle in angles:
            turn = angle + float(rng.normal(0, 0.12))
            cos, sin = float(np.cos(turn)), float(np.sin(turn))
            cx, cy = x + 0.46 * ring * radius * cos, y + 0.46 * ring * radius * sin
            rim: Outline = []
            for i in range(14):
                around = turn + 2 * np.pi * i / 14
                reach = ring * radius * (0.56 + 0.05 * float(rng.normal()))
                rim.append((cx + reach * float(np.cos(around)), cy + 0.94 * reach * float(np.sin(around))))
            brush.shade(bent(rim, steps=4), ball(cx, cy, 0.66 * radius, 0.66 * radius, stops))
            for _ in range(9):
                spread = turn + float(rng.normal(0, 0.42))
                far = radius * float(rng.uniform(0.6, 0.92)) * ring
                crease = [(x + 0.25 * far * cos, y + 0.25 * far * sin),
                          (x + far * float(np.cos(spread)), y + far * float(np.sin(spread)))]  # fmt: skip
                brush.line(crease, mix(stops[0][1], stops[1][1], 0.55), 0.8)
    brush.dab(x, y, 0.25 * radius, 0.24 * radius, (28, 16, 34))
    brush.dab(x - 0.02 * radius, y - 0.03 * radius, 0.11 * radius, 0.10 * radius, (140, 160, 84))
    for angle in rng.uniform(0, 2 * np.pi, 26):
        far = radius * float(rng.uniform(0.26, 0.36))
        brush.dab(x + far * float(np.cos(angle)), y + far * float(np.sin(angle)), 1.2, 1.2, (236, 214, 150))


def tulip(brush: Brush, x: float, y: float, size: float, lean: float, stops: Stops) -> None:
    """A tulip seen from the side, leaning by so many radians."""
    up = -np.pi / 2 + lean
    foot = (x - size * float(np.cos(up)) * 0.5, y - size * float(np.sin(up)) * 0.5)
    for turn, wide in ((-0.40, 0.5), (0.40, 0.5), (0.0, 0.62), (-0.21, 0.44), (0.21, 0.44)):
        shape = petal(foot, up + turn, size * (1.06 - 0.2 * abs(turn)), size * wide, 0.5)
        brush.shade(shape, ball(x + size * turn * 0.5, y, 0.62 * size, 0.75 * size, stops))
        brush.line([*shape, shape[0]], mix(stops[0][1], stops[1][1], 0.35), 0.8)


def spray(
    brush: Brush, foot: Spot, angle: float, long: float, colour: Colour, rng: np.random.Generator
) -> None:
    """A spike of small bells on a stem."""
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    brush.line([foot, (foot[0] + long * cos, foot[1] + long * sin)], STEM, 2.2)
    for i in range(60):
        share = 0.25 + 0.75 * i / 60
        out = float(rng.normal(0, 1)) * 6.5 * (1.15 - share)
        x, y = foot[0] + long * share * cos - out * sin, foot[1] + long * share * sin + out * cos
        tone = mix(scaled(colour, 0.66), mix(colour, (255, 255, 255), 0.4), float(rng.random()))
        brush.dab(x, y, 3.4 - 1.6 * share, 3.8 - 1.8 * share, tone)


def bouquet(brush: Brush, rng: np.random.Generator) -> None:
    """The flowers, from the back to the front."""
    for x, y in ((120, 150), (176, 84), (252, 66), (334, 96), (392, 168), (300, 150), (196, 160),
                 (250, 190), (150, 236),
                 (352, 244), (98, 236), (404, 262)):  # fmt: skip
        stem(brush, (float(x), float(y)), rng)
    for at, colour in (
        ((204, 214), (112, 92, 206)),
        ((292, 206), (84, 104, 214)),
        ((228, 214), (150, 104, 206)),
    ):
        angle = -np.pi / 2 + (at[0] - 246) / 130 + 0.1
        spray(brush, (float(at[0]), float(at[1])), angle, 178, colour, rng)
    spray(brush, (318, 240), -0.86, 150, (112, 92, 206), rng)
    spray(brush, (176, 244), -2.42, 148, (84, 104, 214), rng)
    for angle, long, lit in ((-2.9, 150, 0.9), (-0.25, 150, 0.7), (-2.5, 170, 1.0), (-0.62, 168, 0.8),
                             (-1.95, 150, 1.1),
                             (-1.2, 150, 0.9), (-3.25, 110, 0.9), (0.16, 106, 0.7)):  # fmt: skip
        leaf(brush, (JUG[0] + 30 * float(np.cos(angle)), JUG[1] - 20), angle, long, 34, lit)
    pink: Stops = [(0, (128, 22, 72)), (0.5, (238, 104, 142)), (1, (255, 206, 210))]
    tulip(brush, 252, 62, 66, 0.02, YELLOW)
    tulip(brush, 338, 92, 66, 0.34, pink)
    tulip(brush, 172, 82, 64, -0.30, pink)
    tulip(brush, 98, 232, 58, -0.85, YELLOW)
    tulip(brush, 410, 254, 58, 0.95, YELLOW)
    poppy(brush, 122, 148, 46, RED, rng)
    poppy(brush, 392, 168, 44, ORANGE, rng)
    daisy(brush, 258, 136, 38, rng)
    poppy(brush, 186, 186, 50, ORANGE, rng)
    poppy(brush, 320, 198, 56, RED, rng)
    daisy(brush, 150, 262, 37, rng)
    daisy(brush, 364, 264, 35, rng)
    daisy(brush, 248, 232, 43, rng)
    poppy(brush, 206, 290, 34, RED, rng)
    poppy(brush, 294, 282, 36, [(0, (128, 22, 72)), (0.5, (238, 104, 142)), (1, (255, 206, 210))], rng)


def shadow(brush: Brush, x: float, y: float, size: float) -> None:
    """The soft shadow of a fruit on the cloth."""
    brush.soft(x + 0.62 * size, y + 0.74 * size, 1.25 * size, 0.34 * size, (58, 18, 36), 0.85)


def pear(brush: Brush, x: float, y: float, size: float, lean: float) -> None:
    """A pear with its stalk and freckles."""
    cos, sin = float(np.cos(lean)), float(np.sin(lean))

    def at(a: float, b: float) -> Spot:
        return (x + size * (a * cos - b * sin), y + size * (a * sin + b * cos))

    shape = [(0, -1.5), (0.36, -1.34), (0.5, -0.8), (0.86, -0.2), (0.96, 0.36), (0.6, 0.86), (0, 0.96),
             (-0.6, 0.86),
             (-0.96, 0.36), (-0.86, -0.2), (-0.5, -0.8), (-0.36, -1.34)]  # fmt: skip
    shadow(brush, x, y, size)
    brush.shade(
        bent([at(a, b) for a, b in shape]), ball(x, y - 0.1 * size, 1.05 * size, 1.5 * size, GREEN, 0.75)
    )
    brush.soft(*at(0.34, 0.2), 0.42 * size, 0.5 * size, (214, 92, 40), 0.5)
    brush.line(bent([at(0, -1.45), at(0.06, -1.72), at(0.2, -1.92)], closed=False), (84, 54, 30), 0.13 * size)


def orange(brush: Brush, x: float, y: float, size: float, rng: np.random.Generator) -> None:
    """An orange with its pores and the star of its stalk."""
    shadow(brush, x, y, size)
    brush.shade(oval(x, y, size, 0.96 * size), ball(x, y, size, 0.96 * size, ORANGE, 0.7))
    for _ in range(70):
        angle, away = float(rng.uniform(0, 2 * np.pi)), 0.9 * float(np.sqrt(rng.random()))
        at_x, at_y = x + away * size * float(np.cos(angle)), y + away * size * float(np.sin(angle))
        brush.soft(at_x, at_y, 1.0, 1.0, (176, 78, 8), 0.3)
    for angle in np.arange(5) / 5 * 2 * np.pi:
        brush.poly(
            petal((x + 0.2 * size, y - 0.6 * size), float(angle), 0.16 * size, 0.1 * size), (70, 96, 40)
        )


def apple(brush: Brush, x: float, y: float, size: float, rng: np.random.Generator) -> None:
    """An apple, red with yellow streaks, with a stalk and a leaf."""
    shadow(brush, x, y, size)
    shape = [(0, -0.78), (0.46, -0.95), (0.94, -0.56), (0.96, 0.1), (0.62, 0.8), (0.2, 0.93), (0, 0.86),
             (-0.2, 0.93),
             (-0.62, 0.8), (-0.96, 0.1), (-0.94, -0.56), (-0.46, -0.95)]  # fmt: skip
    brush.shade(bent([(x + a * size, y + b * size) for a, b in shape]), ball(x, y, size, size, RED, 0.85))
    for _ in range(46):
        out = float(rng.uniform(-0.75, 0.5))
        start = float(rng.uniform(-0.6, -0.1))
        streak = [(x + 0.6 * out * size, y + start * size), (x + out * size, y + (start + 0.5) * size)]
        brush.line(streak, (246, 150, 74) if out < 0.1 else (170, 24, 34), 0.8)
    brush.soft(x, y - 0.74 * size, 0.2 * size, 0.1 * size, (60, 20, 10), 0.9)
    brush.line([(x, y - 0.72 * size), (x + 0.12 * size, y - 1.22 * size)], (84, 54, 30), 0.12 * size)
    leaf(brush, (x + 0.06 * size, y - 0.95 * size), -0.5, 0.9 * size, 0.42 * size, 1.0)


def lemon(brush: Brush, x: float, y: float, size: float) -> None:
    """Half a lemon that shows its segments."""
    shadow(brush, x, y, 0.9 * size)
    brush.shade(oval(x + 0.1 * size, y + 0.1 * size, size, 0.94 * size), ball(x, y, size, size, YELLOW))
    brush.poly(oval(x, y, 0.94 * size, 0.86 * size), (246, 222, 120))
    brush.poly(oval(x, y, 0.86 * size, 0.78 * size), (255, 248, 214))
    for i in range(9):
        angle = 2 * np.pi * i / 9 + 0.2
        shape = petal((x, y), angle, 0.80 * size, 0.40 * size, 0.76)
        shape = [(a, y + (b - y) * 0.91) for a, b in shape]
        brush.shade(shape, ball(x, y, 1.1 * size, 1.1 * size, [(0, (214, 150, 20)), (1, (252, 214, 70))]))


def grapes(brush: Brush, x: float, y: float, rng: np.random.Generator) -> None:
    """A bunch of dark grapes that lies on the table."""
    brush.soft(x + 16, y + 32, 74, 18, (58, 18, 36), 0.85)
    spots = [(x + 15.0 * (i - 2) + 7 * (row % 2) + 4 * row,
              y - 22 + 14.0 * row) for row in range(4) for i in range(5)
             if not (row == 3 and i in (0, 4))]  # fmt: skip
    for at_x, at_y in spots:
        cx, cy = at_x + float(rng.normal(0, 1.6)), at_y + float(rng.normal(0, 1.6))
        brush.shade(oval(cx, cy, 11, 11), ball(cx, cy, 11, 11, PLUM, 0.9))
    brush.line(bent([(x - 6, y - 28), (x - 22, y - 42), (x - 44, y - 46)], closed=False), (104, 78, 40), 4)


def draw(scale: float = 1.0) -> Image.Image:
    """Draw the whole picture, 512×640 at scale 1."""
    rng = np.random.default_rng(SEED)
    x, y = plane(SIZE, scale * FINE)
    brush = Brush(room(rng, x, y), scale * FINE)
    brush.soft(390, 250, 120, 190, (20, 30, 42), 0.5)
    jug(brush)
    bouquet(brush, rng)
    pear(brush, 104, 482, 37, -0.12)
    orange(brush, 392, 492, 38, rng)
    grapes(brush, 340, 526, rng)
    pear(brush, 56, 520, 34, 0.16)
    apple(brush, 146, 534, 36, rng)
    lemon(brush, 436, 548, 34)
    orange(brush, 222, 556, 31, rng)
    return brush.finished((round(SIZE[0] * scale), round(SIZE[1] * scale)))
