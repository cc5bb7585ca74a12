"""The content picture: a harbour town at sunset under mountains, mirrored in rippled water."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from draw_props import church, dome, fir, lamp, leafy, lighthouse, quay, rowing_boat, sailing_boat
from draw_sky import SUN, backdrop, grid, sun_distance
from draw_tools import (
    CENTRE,
    EYE,
    FOCAL,
    HEIGHT,
    HORIZON,
    OVERSAMPLE,
    WIDTH,
    Array,
    Colour,
    Pen,
    cloud_noise,
    ramp,
    smooth,
    to_array,
    to_image,
)
from draw_town import LENGTH, QUAY, draw_house, make_row, place
from PIL import Image, ImageChops, ImageFilter

SEED = 20240621
LEAVES: tuple[Colour, Colour] = ((34, 44, 62), (214, 160, 84))
AUTUMN: tuple[Colour, Colour] = ((70, 42, 60), (240, 150, 74))
NEEDLES: tuple[Colour, Colour] = ((22, 40, 56), (112, 122, 82))


def far_shore(pen: Pen) -> None:
    """A hazy wooded shore across the water."""
    rng = np.random.default_rng(SEED + 1)
    pen.poly([(-230, 0, 380), (110, 0, 380), (110, 5, 380), (-230, 4, 380)], (58, 58, 92))
    for at in np.sort(rng.uniform(-230, 110, 1500)):
        tall = 5 + 3.5 * float(np.sin(at / 17) + np.sin(at / 41 + 1)) + float(rng.uniform(0, 4))
        up = float(rng.random())
        tone = (56 + 26 * up + float(rng.uniform(0, 14)), 58 + 14 * up, 90 - 6 * up)
        pen.dab((float(at), 2.0 + tall * up, 380), 1.5, 2.6, tone)
    for at in rng.uniform(-150, 60, 16):
        pen.dab((float(at), 2.0, 379), 0.7, 0.7, (255, 214, 140), 0.6)


def gulls(pen: Pen) -> None:
    """A few gulls in the evening sky."""
    flock = ((-6, 32, 90, 1.5), (-1, 35, 95, 1.3), (2.5, 31, 90, 1.1), (9, 41, 100, 1.4), (-30, 47, 110, 1.3))
    for x, y, z, span in flock:
        wings = [(x - span, y + 0.35 * span, z), (x - 0.4 * span, y + 0.5 * span, z), (x, y, z),
                 (x + 0.45 * span, y + 0.42 * span, z), (x + 1.1 * span, y + 0.1 * span, z)]  # fmt: skip
        pen.line(wings, (70, 58, 88), 0.2)


def hillside(pen: Pen) -> None:
    """The wooded hill behind the town."""
    rng = np.random.default_rng(SEED + 2)
    at = np.linspace(0, 1, 30)
    crest = [(10 + 150 * t, 4 + 47 * t**0.8 + 3 * np.sin(9 * t), 190.0) for t in at]
    pen.poly([(10, 0, 190), *crest, (160, 0, 190)], (62, 64, 84))
    spots = [(t, float(rng.uniform(0, 1))) for t in rng.random(1500)]
    for t, up in sorted(spots, key=lambda spot: -spot[1]):
        top = 4 + 47 * t**0.8 + 3 * np.sin(9 * t)
        tone = 0.75 + 0.5 * rng.random() + 0.25 * up
        size = float(rng.uniform(1.0, 2.4))
        colour = ((84, 78, 78), (112, 86, 72), (58, 72, 82), (150, 104, 76))[int(rng.integers(4))]
        pen.dab((10 + 150 * float(t), up * top + 1, 190), size, size * 1.1, tuple(c * tone for c in colour))


def town(pen: Pen) -> None:
    """The quay and all that stands behind it, the far things first."""
    rng = np.random.default_rng(SEED + 3)
    hillside(pen)
    for house in make_row(rng, (20, LENGTH + 6), 38, 15.5):
        draw_house(pen, house)
    dome(pen, 32, 32, 13)
    for house in make_row(rng, (4, LENGTH + 8), 21, 8.5):
        draw_house(pen, house)
        if rng.random() < 0.5:
            leafy(pen, place(house.along + 6, 17, 6), 13, LEAVES, house.seed)
    church(pen, 53, 19, 5)
    lighthouse(pen, place(-5, 4, QUAY + 1))
    quay(pen, rng)
    for house in make_row(rng, (3, LENGTH + 10), 6.5, QUAY):
        draw_house(pen, house)
    for i, along in enumerate(np.linspace(2, LENGTH + 6, 9)):
        if i % 2:
            leafy(pen, place(float(along) + 3, 3.5, QUAY), 5.6, AUTUMN, SEED + i)
        lamp(pen, float(along))
    boats = ((14, (92, 120, 150)), (33, (196, 92, 66)), (49, (232, 214, 184)), (64, (70, 110, 120)))
    for along, colour in boats:
        x, _, z = place(along, -2.2, 0)
        rowing_boat(pen, x, z, 2.4, colour)


def headland(pen: Pen) -> None:
    """The near bank on the left, with its trees."""
    rng = np.random.default_rng(SEED + 4)
    bank = [(-34, 3.4), (-26, 3.0), (-21, 2.2), (-17, 1.2), (-13.5, 0.35), (-12, -0.2), (-34, -0.2)]
    pen.poly([(x, y, 56.0) for x, y in bank], (54, 50, 66))
    for _ in range(900):
        x = float(rng.uniform(-34, -13))
        top = float(np.interp(x, [-34, -26, -21, -17, -13], [3.4, 3.0, 2.2, 1.2, 0.2]))
        y = top * float(rng.random())
        tone = 0.6 + 0.5 * y / 3 + 0.3 * float(rng.random())
        blade = [(x, y, 56.0), (x + float(rng.normal(0, 0.2)), y + 0.5, 56.0)]
        pen.line(blade, (118 * tone, 98 * tone, 70 * tone), 0.1)
    for x, tall, z in ((-27.5, 21, 60), (-19.6, 14, 59)):
        fir(pen, (x, 1.6, z), tall, NEEDLES, SEED + int(tall))
    leafy(pen, (-23.6, 2.2, 57), 19, LEAVES, SEED + 8)
    leafy(pen, (-17.2, 0.9, 56), 8.5, AUTUMN, SEED + 9)
    fir(pen, (-29.5, 2.4, 55), 17, NEEDLES, SEED + 10)
    for _ in range(60):
        x = float(rng.uniform(-20, -11.4))
        pen.dab((x, 0.05, 54), float(rng.uniform(0.2, 0.6)), 0.25, (84, 74, 84))


def things(pen: Pen) -> None:
    """Everything that stands in the small world."""
    far_shore(pen)
    gulls(pen)
    town(pen)
    headland(pen)
    sailing_boat(pen, -1.2, 27)


def ripples(rng: np.random.Generator, scale: float, top: int) -> tuple[Array, Array, Array]:
    """The slope of the water towards the eye and across it, and its distance, for the rows below the top."""
    x, y = (part[top:] for part in grid(scale))
    z = FOCAL * EYE / np.maximum(y - HORIZON, 0.6)
    across = (x - CENTRE) * z / FOCAL
    swell = cloud_noise(rng, across * 0.22 + 60, z * 0.42 + 0.1 * across, 2) - 0.5
    chop = cloud_noise(rng, across * 0.8 + 60, z * 1.5, 3) - 0.5
    calm = np.clip(22 / z, 0.12, 1)
    return (0.7 * swell + chop) * calm, (chop - 0.3 * swell) * calm, z


def water(rng: np.random.Generator, scale: float, mirror: Array, picture: Array) -> Array:
    """Lay the rippled reflection, the water's own colour and the sun's path over the lower part."""
    top = round(HORIZON * scale)
    slope, sway, z = ripples(rng, scale, top)
    rows, columns = np.mgrid[top : picture.shape[0], 0 : picture.shape[1]]
    near = np.clip((rows / scale - HORIZON) / (HEIGHT - HORIZON), 0, 1)
    rows = np.clip(rows + slope * (8 + 95 * near) * scale, top, picture.shape[0] - 1).astype(int)
    columns = np.clip(columns + sway * (3 + 20 * near) * scale, 0, picture.shape[1] - 1).astype(int)
    seen = mirror[rows, columns]
    deep = ramp(near, [(0, (150, 130, 150)), (0.35, (66, 88, 124)), (1, (18, 50, 82))])
    through = np.clip(0.16 + 0.3 * near + slope * (1.1 + near), 0.06, 0.85)[..., None]
    seen = seen * (1 - through) + deep * through
    x = grid(scale)[0][top:]
    path = np.exp(-(((x - SUN[0]) / (13 + 62 * near)) ** 2))
    sparkle = smooth(0.02, 0.16, -slope / np.clip(22 / z, 0.12, 1) + 0.1 * (1 - near) - 0.03) * path
    seen += (np.array([255, 222, 158], np.float32) - seen) * (0.92 * sparkle)[..., None]
    result = picture.copy()
    result[top:] = seen
    return result


def finish(pen: Pen, scale: float) -> Image.Image:
    """Bloom around the lights, a warm veil around the sun, a slight vignette; then down to size."""
    size = (round(WIDTH * scale), round(HEIGHT * scale))
    small = pen.image.resize(size, Image.Resampling.LANCZOS)
    light = pen.light.resize(size, Image.Resampling.BOX)
    for radius in (2.5, 9.0):
        small = ImageChops.screen(small, light.filter(ImageFilter.GaussianBlur(radius * scale)))
    x, y = grid(scale)
    pixels = to_array(small)
    veil = (0.2 * np.exp(-sun_distance(x, y) / 60))[..., None]
    pixels += (255 - pixels) * veil * np.array([1.0, 0.8, 0.5], np.float32)
    edge = np.hypot((x - WIDTH / 2) / WIDTH, (y - HEIGHT / 2) / HEIGHT)
    pixels = 255 * (0.62 * pixels / 255 + 0.38 * smooth(-0.02, 0.98, pixels / 255))
    grey = pixels.mean(axis=-1, keepdims=True)
    pixels = grey + (pixels - grey) * 1.12
    return to_image(pixels * (1.03 - 0.32 * smooth(0.38, 0.85, edge))[..., None])


def draw(scale: float = 1.0) -> Image.Image:
    """Draw the whole picture, 768×512 at scale 1; other scales go to the nearest that gives whole pixels."""
    scale = round(scale * 256) / 256
    rng = np.random.default_rng(SEED)
    fine = scale * OVERSAMPLE
    size = (round(WIDTH * scale) * OVERSAMPLE, round(HEIGHT * scale) * OVERSAMPLE)
    behind = to_image(backdrop(rng, scale)).resize(size, Image.Resampling.BICUBIC)
    pen = Pen(behind, Image.new("RGB", size), fine)
    turned = to_array(behind)
    level = round(HORIZON * fine)
    rows = np.clip(2 * level - np.arange(size[1]), 0, size[1] - 1)
    mirror = pen.reflection(to_image(turned[rows]))
    things(mirror)
    pen = replace(pen, image=to_image(water(rng, fine, to_array(mirror.image), turned)))
    things(pen)
    return finish(pen, scale)
