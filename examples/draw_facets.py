"""A style picture: facets of broken things in ochre, umber and grey, each shaded from one edge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from draw_tools import Array, Colour, blend, cloud_noise, plane, ramp, smooth, to_image
from PIL import Image, ImageDraw

SEED = 1910
SIZE = (512, 512)
FINE = 2
INK: Colour = (24, 18, 14)
#: The directions that most cuts follow, in radians.
DIRECTIONS = (0.42, 1.25, 1.62, 2.50, 2.95, 0.05)
WARM = [
    (0.0, (30, 20, 14)), (0.22, (88, 54, 26)), (0.42, (154, 100, 42)), (0.6, (202, 150, 72)),
    (0.8, (230, 198, 130)), (1.0, (248, 234, 196)),
]  # fmt: skip
COLD = [
    (0.0, (18, 24, 28)), (0.22, (46, 62, 64)), (0.42, (92, 110, 106)), (0.6, (140, 158, 148)),
    (0.8, (190, 202, 190)), (1.0, (236, 236, 222)),
]  # fmt: skip
#: Round things among the facets: middle, radius, from and to which angle (degrees), and how dark behind.
ARCS = [
    (196.0, 214.0, 66.0, 150, 350, 0.34), (196.0, 214.0, 40.0, 20, 210, -0.26),
    (330.0, 300.0, 84.0, 200, 420, 0.30),
    (342.0, 306.0, 50.0, 30, 200, -0.30), (286.0, 142.0, 38.0, 100, 300, 0.34),
    (166.0, 372.0, 54.0, 250, 430, 0.32),
    (402.0, 178.0, 46.0, 60, 240, -0.28), (262.0, 420.0, 44.0, 180, 350, 0.30),
]  # fmt: skip

Polygon = list[tuple[float, float]]


@dataclass(frozen=True)
class Facet:
    """A piece of the plane: its outline, the edge it is shaded from, and the tones there and far from it."""

    outline: Polygon
    edge: int
    near: float
    far: float
    warmth: float


def area(outline: Polygon) -> float:
    """The area of a polygon, in square units."""
    x, y = np.array(outline).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def beyond(outline: Polygon, point: tuple[float, float], angle: float) -> Polygon:
    """The part of a convex polygon that lies to the right of a line through the point."""
    cos, sin = np.cos(angle), np.sin(angle)
    kept: Polygon = []
    for (ax, ay), (bx, by) in zip(outline, outline[1:] + outline[:1], strict=True):
        a = (ay - point[1]) * cos - (ax - point[0]) * sin
        b = (by - point[1]) * cos - (bx - point[0]) * sin
        if a >= 0:
            kept.append((ax, ay))
        if (a >= 0) != (b >= 0):
            t = a / (a - b)
            kept.append((ax + (bx - ax) * t, ay + (by - ay) * t))
    return kept


def cut(rng: np.random.Generator, outline: Polygon) -> list[Polygon]:
    """Cut a polygon again and again, across its length; the pieces are smallest in the picture's middle."""
    corners = np.array(outline)
    middle = corners.mean(axis=0)
    from_middle = float(np.hypot(*(middle - (250, 256)))) / 360
    if area(outline) < (520 + 5_200 * from_middle**1.5) * rng.uniform(0.7, 1.8):
        return [outline]
    spread = corners - middle
    long = 0.5 * np.arctan2(
        2 * (spread[:, 0] * spread[:, 1]).sum(), (spread[:, 0] ** 2 - spread[:, 1] ** 2).sum()
    )
    across = [abs(np.sin(turn - long)) + rng.uniform(0, 0.5) for turn in DIRECTIONS]
    angle = DIRECTIONS[int(np.argmax(across))] + float(rng.normal(0, 0.06))
    point = middle + spread[int(rng.integers(len(spread)))] * rng.uniform(0, 0.34)
    at = (float(point[0]), float(point[1]))
    halves = [beyond(outline, at, angle), beyond(outline, at, angle + np.pi)]
    return [piece for half in halves if len(half) > 2 for piece in cut(rng, half)]


def make_facets(rng: np.random.Generator) -> list[Facet]:
    """All facets, with their tones: light and dark ones side by side, lightest around the middle."""
    facets = []
    whole = [(-8.0, -8.0), (SIZE[0] + 8.0, -8.0), (SIZE[0] + 8.0, SIZE[1] + 8.0), (-8.0, SIZE[1] + 8.0)]
    for outline in cut(rng, whole):
        middle = np.array(outline).mean(axis=0)
        glow = 0.20 * float(np.exp(-((np.hypot(*(middle - (262, 240))) / 170) ** 2)))
        near = float(rng.choice([0.0, 0.12, 0.34, 0.52], p=[0.3, 0.25, 0.25, 0.2])) + glow
        far = near + float(rng.uniform(0.24, 0.56))
        facets.append(Facet(outline, int(rng.integers(len(outline))), near, far, float(rng.random())))
    return facets


def shaded(facets: list[Facet], x: Array, y: Array, fine: float) -> tuple[Array, Array]:
    """The lightness and the warmth of every point, each about 0..1."""
    number = Image.new("I", (x.shape[1], x.shape[0]))
    pen = ImageDraw.Draw(number)
    for i, facet in enumerate(facets):
        pen.polygon([(a * fine, b * fine) for a, b in facet.outline], fill=i)
    at = np.asarray(number)
    ends = [(f.outline[f.edge], f.outline[(f.edge + 1) % len(f.outline)]) for f in facets]
    lines = np.array([[a[0], a[1], b[0] - a[0], b[1] - a[1]] for a, b in ends], np.float32)
    size = np.sqrt([area(f.outline) for f in facets]).astype(np.float32)
    lines[:, 2:] /= np.hypot(lines[:, 2], lines[:, 3])[:, None] + 1e-6
    line = lines[at]
    off = np.abs((y - line[..., 1]) * line[..., 2] - (x - line[..., 0]) * line[..., 3])
    share = np.clip(off / (0.95 * size[at]), 0, 1) ** 0.7
    near = np.array([f.near for f in facets], np.float32)[at]
    far = np.array([f.far for f in facets], np.float32)[at]
    return near + (far - near) * share, np.array([f.warmth for f in facets], np.float32)[at]


def lines(rng: np.random.Generator, facets: list[Facet], size: tuple[int, int], fine: float) -> Array:
    """The ink of the outlines, 0..1: each edge in its own strength, and the arcs."""
    image = Image.new("L", size)
    pen = ImageDraw.Draw(image)
    for facet in facets:
        for a, b in zip(facet.outline, facet.outline[1:] + facet.outline[:1], strict=True):
            strength = float(rng.choice([0.0, 150, 220, 255]))
            ends = [(a[0] * fine, a[1] * fine), (b[0] * fine, b[1] * fine)]
            pen.line(ends, fill=round(strength), width=max(1, round((1.0 + strength / 85) * fine)))
    for x, y, radius, start, end, _ in ARCS:
        box = [(x - radius) * fine, (y - radius) * fine, (x + radius) * fine, (y + radius) * fine]
        pen.arc(box, start, end, fill=235, width=max(1, round(4.2 * fine)))
    return np.asarray(image, np.float32) / 255


def round_things(x: Array, y: Array, light: Array, fine: float) -> Array:
    """The lightness with the arcs' own shadows: dark (or light) inside, fading to the far side."""
    for cx, cy, radius, start, end, dark in ARCS:
        away = np.hypot(x - cx, y - cy)
        half = np.radians((end - start) / 2)
        turned = np.arctan2(y - cy, x - cx) - np.radians((start + end) / 2)
        within = np.abs((turned + np.pi) % (2 * np.pi) - np.pi) < half
        inside = smooth(radius + 0.5 / fine, radius - 0.5 / fine, away) * within
        light = light - dark * inside * np.exp(-(radius - away) / (0.36 * radius))
    return light


def dabs(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Short level touches of a flat brush: a change of the lightness from one to the next."""
    row = np.floor(y / 7.0)
    place = np.floor((x + (row * 61.7) % 97) / 22)
    lattice = rng.random((97, 89), dtype=np.float32)
    touch = lattice[(row.astype(int) * 7) % 97, place.astype(int) % 89] - 0.5
    within = ((y / 7.0) % 1 - 0.5) * 2
    return 0.12 * touch * (1 - 0.6 * within**4) - 0.04 * within**3


def draw(scale: float = 1.0) -> Image.Image:
    """Draw the whole picture, 512×512 at scale 1."""
    rng = np.random.default_rng(SEED)
    fine = scale * FINE
    x, y = plane(SIZE, fine)
    facets = make_facets(rng)
    light, warm = shaded(facets, x, y, fine)
    light = round_things(x, y, light, fine)
    hand = cloud_noise(rng, x / 26, y / 26, 3) - 0.5
    light = light + dabs(rng, x + 9 * hand, y + 4 * hand) + 0.10 * hand
    pick = smooth(0.30, 0.62, warm + 0.4 * hand + 0.16)[..., None]
    pixels = ramp(light, COLD) * (1 - pick) + ramp(light, WARM) * pick
    bristle = cloud_noise(rng, x / 14, y / 1.5, 2) - 0.5
    pixels = np.clip(pixels * (1 + 0.10 * bristle)[..., None], 0, 255)
    ink = lines(rng, facets, (x.shape[1], x.shape[0]), fine)
    pixels = blend(pixels, INK, np.clip(0.9 * ink * (0.85 + hand), 0, 1))
    small = to_image(pixels)
    return small.resize((round(SIZE[0] * scale), round(SIZE[1] * scale)), Image.Resampling.LANCZOS)
