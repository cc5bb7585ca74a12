"""Single things of the content picture: towers, the quay, lamps, trees and boats."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from draw_tools import Colour, Pen, Point, mix, scaled
from draw_town import LENGTH, QUAY, SHADOW, TRIM, House, place, shaded_wall

SUNLIT: Colour = (255, 206, 148)


def lathe(pen: Pen, foot: Point, profile: list[tuple[float, float, Colour]]) -> None:
    """A round thing, from (height, radius, colour) rings upwards, lit from the left."""
    x, y, z = foot
    edges = np.cos(np.linspace(np.pi, 0, 15))
    for (low, wide, colour), (high, narrow, _) in pairwise(profile):
        for a, b in pairwise(edges):
            facing = float(a + b) / 2
            tone = mix(mix(colour, SUNLIT, max(0.0, -0.45 * facing)), SHADOW, max(0.0, 0.32 + 0.5 * facing))
            pen.poly(
                [(x + wide * a, y + low, z), (x + wide * b, y + low, z),
                 (x + narrow * b, y + high, z), (x + narrow * a, y + high, z)], tone,
            )  # fmt: skip


def lighthouse(pen: Pen, foot: Point) -> None:
    """A striped lighthouse with its lamp burning."""
    red, white = (196, 62, 52), (246, 232, 214)
    rings = [(i * 2.3, 1.75 - 0.1 * i, red if i % 2 else white) for i in range(8)]
    rock = (120, 104, 112)
    lathe(pen, (foot[0], foot[1] - 2, foot[2]), [(0, 3.4, rock), (2, 3.0, rock), (2.2, 0, white)])
    lathe(pen, foot, rings)
    lathe(pen, foot, [(16.1, 1.6, (70, 60, 76)), (16.7, 1.6, (70, 60, 76))])
    x, y, z = foot
    pen.glow([(x - 0.7, y + 16.7, z), (x + 0.7, y + 16.7, z), (x + 0.7, y + 18.5, z), (x - 0.7, y + 18.5, z)],
             (255, 240, 190), 1.0)  # fmt: skip
    pen.line([(x, y + 16.7, z), (x, y + 18.5, z)], (120, 80, 60), 0.15)
    lathe(pen, foot, [(18.5, 1.15, red), (20.1, 0.1, red), (21.4, 0.05, red)])


def church(pen: Pen, along: float, inland: float, base: float) -> None:
    """A church tower with a clock, a belfry and a tall green spire."""
    tower = House(along, inland, base, 6.4, 6.4, 25.0, "flat", (222, 190, 158), (92, 132, 122), 0)
    shaded_wall(pen, tower, tower.wall)
    for level in (9.0, 18.0, 24.8):
        pen.line([tower.front(0, level), tower.front(6.4, level), tower.side(6.4, level)], TRIM, 0.35)
    for u in (1.7, 4.1):
        arch = [tower.front(u, 19.2), tower.front(u + 1.0, 19.2), tower.front(u + 1.0, 22.2),
                tower.front(u + 0.5, 23.1), tower.front(u, 22.2)]  # fmt: skip
        pen.glow(arch, (255, 190, 104), 0.6)
    dial = [(3.2 + 1.7 * np.cos(t), 14.2 + 1.7 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 33)]
    pen.poly([tower.front(u, v) for u, v in dial], (80, 66, 84))
    face = [tower.front(3.2 + 0.84 * (u - 3.2), 14.2 + 0.84 * (v - 14.2)) for u, v in dial]
    pen.glow(face, (255, 236, 196), 0.5)
    for u, v in ((3.2, 15.4), (4.0, 13.7)):
        pen.line([tower.front(3.2, 14.2), tower.front(u, v)], (60, 44, 52), 0.18)
    tip = place(along + 3.2, inland + 3.2, base + 43)
    a, b, c = tower.front(-0.4, 25, 0.4), tower.front(6.8, 25, 0.4), tower.side(6.8, 25)
    pen.poly([b, c, tip], mix((60, 96, 98), SHADOW, 0.5))
    pen.poly([a, b, tip], (120, 162, 142))
    middle = tuple(np.add(a, b) / 2)
    pen.poly([a, middle, tip], (150, 182, 150))
    pen.line([tip, (tip[0], tip[1] + 2.2, tip[2])], (250, 206, 120), 0.2)


def dome(pen: Pen, along: float, inland: float, base: float) -> None:
    """A round hall with columns, a drum and a copper dome."""
    foot = place(along, inland, base)
    stone, copper = (232, 206, 176), (92, 150, 142)
    walls = [(0, 6.2), (11, 6.2), (11.5, 6.6), (12.2, 6.6), (12.3, 5.2), (16, 5.2), (16.3, 5.5)]
    lathe(pen, foot, [(high, radius, stone) for high, radius in walls])
    for t in np.linspace(-0.86, 0.86, 7):
        x, z = foot[0] + 5.2 * float(np.sin(t * 1.4)), foot[2]
        half = 0.36 * float(np.cos(t * 1.3))
        pen.glow([(x - half, base + 12.9, z), (x + half, base + 12.9, z), (x + half, base + 15.4, z),
                  (x - half, base + 15.4, z)], (255, 200, 112), 0.7)  # fmt: skip
    bowl = [(16.3 + 5.6 * float(np.sin(a)), 5.4 * float(np.cos(a)), copper) for a in np.linspace(0, 1.42, 12)]
    lathe(pen, foot, bowl)
    lathe(pen, foot, [(21.7, 0.9, stone), (23.6, 0.9, stone)])
    lathe(pen, foot, [(23.6, 1.1, copper), (25.2, 0.1, copper), (27, 0.06, TRIM)])


def quay(pen: Pen, rng: np.random.Generator) -> None:
    """The stone quay with its pavement."""
    end = LENGTH + 14
    edge = [place(-6, 0, QUAY), place(end, 0, QUAY)]
    pen.poly([*edge, place(end, 40, QUAY), place(-6, 40, QUAY)], (176, 132, 116))
    pen.poly([*edge, place(end, 0, 0), place(-6, 0, 0)], (112, 90, 98))
    for course in range(3):
        low = 0.1 + course * 0.52
        at = -6.0
        while at < end:
            wide = float(rng.uniform(0.9, 1.9))
            tone = scaled(mix((150, 118, 110), (96, 84, 104), rng.random()), 0.8 + 0.12 * course)
            right = at + wide - 0.1
            stone = [(at, low), (right, low), (right, low + 0.44), (at, low + 0.44)]
            pen.poly([place(x, 0, y) for x, y in stone], tone)
            at += wide
    pen.line(edge, (236, 190, 150), 0.2)


def lamp(pen: Pen, along: float) -> None:
    """A street lamp on the quay."""
    x, y, z = place(along, 1.0, QUAY)
    pen.line([(x, y, z), (x, y + 4.0, z)], (52, 46, 62), 0.13)
    pen.dab((x, y + 4.3, z), 0.36, 0.42, (255, 234, 180), 1.0)


def trunk(pen: Pen, foot: Point, tall: float, rng: np.random.Generator) -> None:
    """A trunk and a few boughs."""
    x, y, z = foot
    pen.line([(x, y, z), (x + 0.02 * tall, y + tall * 0.6, z)], (74, 52, 56), tall * 0.045)
    for _ in range(5):
        lean, up = float(rng.uniform(-0.28, 0.28)), float(rng.uniform(0.25, 0.5))
        tip = (x + lean * tall, y + (up + 0.3) * tall, z)
        pen.line([(x, y + up * tall, z), tip], (74, 52, 56), tall * 0.02)


def leafy(pen: Pen, foot: Point, tall: float, tones: tuple[Colour, Colour], seed: int) -> None:
    """A broad tree: clumps of leaves, dark below and to the right, sunlit to the left."""
    rng = np.random.default_rng(seed)
    trunk(pen, foot, tall, rng)
    x, y, z = foot
    clumps = np.column_stack([rng.normal(0, 0.15, 22), rng.uniform(0.4, 0.88, 22)])
    clumps[:, 0] = np.clip(clumps[:, 0], -0.24, 0.24)
    clumps[:, 0] *= 1.35 - 2.2 * np.abs(clumps[:, 1] - 0.58)
    for cx, cy in clumps[np.argsort(-clumps[:, 1] - 0.4 * rng.random(22))]:
        size = tall * float(rng.uniform(0.07, 0.115))
        angle, out = rng.uniform(0, 2 * np.pi, 150), np.sqrt(rng.uniform(0, 1.35, 150))
        spread = np.column_stack([out * np.cos(angle), out * np.sin(angle)])
        for dx, dy in spread[np.argsort(spread[:, 1] - spread[:, 0] + rng.normal(0, 0.3, 150))]:
            facing = 0.38 + 0.3 * (dy - dx) + 0.5 * (cy - 0.62) - 0.7 * cx
            tone = mix(tones[0], tones[1], float(np.clip(facing + rng.normal(0, 0.14), 0, 1)))
            leaf = tall * float(rng.uniform(0.006, 0.015))
            pen.dab((x + cx * tall + dx * size, y + cy * tall + dy * size * 0.8, z), leaf, leaf * 0.7, tone)


def fir(pen: Pen, foot: Point, tall: float, tones: tuple[Colour, Colour], seed: int) -> None:
    """A fir: drooping boughs in tiers, narrower towards the top."""
    rng = np.random.default_rng(seed)
    x, y, z = foot
    pen.line([(x, y, z), (x, y + tall * 0.5, z)], (66, 48, 54), tall * 0.03)
    for level in np.linspace(0.08, 0.98, 34):
        reach = tall * 0.23 * (1 - level) ** 0.85 * float(rng.uniform(0.75, 1.1)) + 0.05
        for _ in range(14):
            off = float(rng.uniform(-1, 1))
            tone = mix(tones[0], tones[1], float(np.clip(0.4 - 0.5 * off + rng.normal(0, 0.16), 0, 1)))
            tip = (x + off * reach, y + (level - 0.07 * abs(off)) * tall, z)
            pen.line(
                [(x + off * reach * 0.15, y + (level + 0.025) * tall, z), tip],
                tone,
                tall * 0.013 * (1.15 - level),
            )


def sail(pen: Pen, corners: tuple[Point, Point, Point], belly: float, tones: tuple[Colour, Colour]) -> None:
    """A sail between its head, tack and clew, in bands that shade from luff to leech."""
    head, tack, clew = (np.array(corner) for corner in corners)
    t = np.linspace(0, 1, 25)
    for i in range(18):
        edges = []
        for share in (i / 18, min(1.0, (i + 1.3) / 18)):
            foot = tack + (clew - tack) * share
            bow = np.sin(np.pi * t)[:, None] * np.array([belly * share, 0, 0])
            edges.append(head + (foot - head) * t[:, None] + bow)
        outline = [tuple(p) for p in edges[0]] + [tuple(p) for p in edges[1][::-1]]
        pen.poly(outline, mix(tones[0], tones[1], (i / 17) ** 1.3))


def sailing_boat(pen: Pen, x: float, z: float) -> None:
    """A small sailing boat with a red hull and cream sails, seen from the side."""

    def at(dx: float, y: float) -> Point:
        return (x + dx, y, z)

    t = np.linspace(0, 1, 20)
    sheer = [(-2.5 + 5.3 * s, 0.62 + 0.85 * (s - 0.42) ** 2) for s in t]
    keel = [(-2.2 + 4.4 * s, -0.05) for s in t]
    pen.poly([at(*p) for p in sheer] + [at(*p) for p in keel[::-1]], (150, 48, 46))
    band = [(a, b - 0.17) for a, b in sheer]
    pen.poly([at(*p) for p in sheer] + [at(*p) for p in band[::-1]], (250, 230, 200))
    pen.poly([at(-2.28, 0.2), at(2.3, 0.2), at(2.2, -0.05), at(-2.2, -0.05)], (84, 34, 50))
    pen.poly([at(-1.5, 0.66), at(0.5, 0.62), at(0.3, 1.1), at(-1.3, 1.1)], (214, 166, 116))
    for dx in (-1.05, -0.55, -0.05):
        pen.glow([at(dx, 0.78), at(dx + 0.24, 0.78), at(dx + 0.24, 0.98), at(dx, 0.98)], (255, 214, 130), 0.8)
    pen.line([at(0.55, 0.6), at(0.5, 7.2)], (92, 62, 54), 0.11)
    sail(pen, (at(0.42, 7.0), at(0.42, 1.35), at(-2.35, 1.45)), -0.75, ((255, 240, 212), (226, 164, 128)))
    sail(pen, (at(0.62, 6.3), at(2.7, 0.95), at(0.75, 1.25)), 0.35, ((255, 226, 184), (206, 132, 112)))
    for low in (0.3, 0.52, 0.74):
        leech = 0.42 - 2.77 * low - 0.72 * float(np.sin(np.pi * low))
        pen.line([at(0.42, 7.0 - 5.6 * low), at(leech, 7.0 - 5.55 * low)], (214, 170, 140), 0.035)
    pen.dab(at(-1.85, 0.86), 0.16, 0.27, (52, 74, 112))
    pen.dab(at(-1.82, 1.2), 0.1, 0.12, (214, 150, 116))
    pen.line([at(0.5, 1.32), at(-2.45, 1.4)], (92, 62, 54), 0.09)
    pen.line([at(0.5, 7.15), at(2.8, 0.9)], (92, 70, 70), 0.03)
    pen.poly([at(0.5, 7.5), at(0.5, 7.15), at(-0.35, 7.3)], (200, 60, 50))


def rowing_boat(pen: Pen, x: float, z: float, wide: float, colour: Colour) -> None:
    """A small open boat lying at the quay."""
    t = np.linspace(-1, 1, 16)
    rim = [(x + wide * s, 0.42 + 0.28 * s * s, z) for s in t]
    keel = [(x + wide * 0.8 * s, -0.05, z) for s in t[::-1]]
    pen.poly(rim + keel, colour)
    pen.line(rim, TRIM, 0.12)
