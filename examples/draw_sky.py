"""The far part of the content picture: sky, sun, clouds and mountains."""

from __future__ import annotations

import numpy as np
from draw_tools import CENTRE, HEIGHT, HORIZON, WIDTH, Array, cloud_noise, plane, ramp, smooth

SUN = (204.0, 212.0)
SKY = [
    (0.0, (44, 66, 128)), (0.28, (92, 112, 170)), (0.5, (176, 150, 178)), (0.68, (240, 176, 152)),
    (0.84, (252, 190, 124)), (1.0, (255, 212, 150)),
]  # fmt: skip
RIDGES = [
    (248.0, 92.0, 0.0052, (170, 134, 168), 0.42),
    (276.0, 70.0, 0.0080, (126, 104, 152), 0.36),
    (304.0, 44.0, 0.0120, (84, 82, 128), 0.30),
]


def grid(scale: float) -> tuple[Array, Array]:
    """The x and y of every pixel, in units of the full-size picture."""
    return plane((WIDTH, HEIGHT), scale)


def sun_distance(x: Array, y: Array) -> Array:
    """How far each pixel lies from the sun."""
    return np.hypot(x - SUN[0], y - SUN[1])


def clouds(rng: np.random.Generator, x: Array, y: Array, sky: Array) -> Array:
    """Lay two decks of cloud over the sky, lit from the low sun."""
    near_sun = np.exp(-sun_distance(x, y) / 210)
    for height, stretch, low, high, most in ((60.0, 1.6, 0.50, 0.70, 0.8), (26.0, 1.0, 0.515, 0.66, 0.95)):
        depth = height * 9 / np.maximum(HORIZON + 14 - y, 4)
        u, v = (x - CENTRE) * depth / (90 * stretch), depth * 3.1
        shape = np.random.default_rng(rng.integers(1 << 30))
        state = shape.bit_generator.state
        body = cloud_noise(shape, u + 40, v + 40, 6)
        shape.bit_generator.state = state
        toward = cloud_noise(shape, u + 40 + 0.16 * np.tanh((SUN[0] - x) / 160), v + 40.22, 6)
        cover = smooth(low, high, body) * most * smooth(HORIZON - 8, HORIZON - 70, y)
        light = np.clip(0.5 + (body - toward) * 4.2 - (body - low) * 1.1 + near_sun * 0.3, 0, 1)
        tones = ramp(light, [(0.0, (96, 88, 138)), (0.35, (176, 130, 160)), (0.62, (250, 176, 142)),
                             (0.85, (255, 216, 172)), (1.0, (255, 242, 214))])  # fmt: skip
        sky = sky + (tones - sky) * cover[..., None]
    return sky


def draw_sky(rng: np.random.Generator, scale: float) -> Array:
    """Sky, sun and clouds."""
    x, y = grid(scale)
    sky = ramp(y / HORIZON, SKY)
    away = sun_distance(x, y)
    sky += np.exp(-away / 130)[..., None] * np.array([40, 20, -16], np.float32)
    sky = clouds(rng, x, y, np.minimum(sky, 255))
    sky += (0.8 * np.exp(-away / 30))[..., None] * np.array([80, 76, 52], np.float32)
    disc = smooth(19.5, 17.5, away)[..., None]
    return np.clip(sky * (1 - disc) + disc * np.array([255, 250, 222], np.float32), 0, 255)


def relief(rng: np.random.Generator, u: Array, v: Array) -> tuple[Array, Array]:
    """How far rocky slopes face the sun on the left, and how high they stand out."""
    state = rng.bit_generator.state
    rock = np.abs(cloud_noise(rng, u + 0.5 * v, v + 9, 6, 0.55) - 0.5)
    rng.bit_generator.state = state
    leftward = np.abs(cloud_noise(rng, u + 0.5 * v - 0.10, v + 9.05, 6, 0.55) - 0.5)
    return smooth(-0.035, 0.035, leftward - rock), 1 - 6 * rock


def mountains(rng: np.random.Generator, scale: float, picture: Array) -> Array:
    """Three ridges, bluer and darker the nearer, with folds that catch the light and haze at their feet."""
    x, y = grid(scale)
    for level, tall, pitch, colour, mist in RIDGES:
        line = cloud_noise(rng, x[:1] * pitch + 7, np.full_like(x[:1], 3.3), 7, 0.52)
        crest = level - tall * (line - 0.42) * 1.9 - 26 * np.exp(-(((x[:1] - 500) / 190) ** 2))
        below = y - crest
        facing, folds = relief(rng, x * pitch * 2.6, below * pitch * 2.4)
        sunny = np.exp(-sun_distance(x, y) / 330)
        tone = np.array(colour, np.float32) * (0.70 + 0.2 * facing)[..., None]
        tone += (facing * (22 + 50 * sunny))[..., None] * np.array([1.0, 0.62, 0.34], np.float32)
        snow = smooth(-0.2, 0.5, folds + 0.3 * facing - 0.25 - below / 50) * (level < 250)
        tone += (np.array([255, 218, 204], np.float32) - tone) * (0.75 * snow)[..., None]
        foot = mist * smooth(20, HORIZON - level + 30, below) + 0.12 * sunny
        tone += (np.array([250, 192, 150], np.float32) - tone) * np.clip(foot, 0, 0.85)[..., None]
        cover = smooth(-0.5 / scale, 0.5 / scale, below)[..., None]
        picture = picture + (tone - picture) * cover
    return picture


def backdrop(rng: np.random.Generator, scale: float) -> Array:
    """Everything too far away to have a place in the small world."""
    return mountains(rng, scale, draw_sky(rng, scale))
