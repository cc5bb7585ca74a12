"""The style picture: currents of thick paint, thousands of bristly strokes along a swirling flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from draw_tools import Array, cloud_noise, ramp, rgb8, to_array, to_image
from PIL import Image, ImageDraw, ImageFilter

SEED = 77
WIDTH, HEIGHT = 640, 512
FINE = 2
STEPS = 18
# Each whirl: its middle, how far it reaches, how strong it is and which way it turns.
WHIRLS = [
    (190, 190, 165, 0.95), (470, 330, 175, -0.95), (590, 60, 110, 0.8), (60, 470, 120, -0.75),
    (350, 40, 70, -0.5),
]  # fmt: skip
COOL = [
    (0.0, (10, 22, 66)), (0.18, (20, 52, 120)), (0.36, (30, 96, 160)), (0.5, (18, 122, 140)),
    (0.64, (62, 160, 162)), (0.8, (150, 200, 186)), (1.0, (232, 236, 206)),
]  # fmt: skip
WARM = [
    (0.0, (92, 30, 30)), (0.18, (166, 58, 30)), (0.36, (216, 98, 30)), (0.52, (236, 146, 42)),
    (0.68, (232, 184, 84)), (0.84, (246, 218, 150)), (1.0, (254, 244, 216)),
]  # fmt: skip


@dataclass(frozen=True)
class Coat:
    """One coat of strokes: how many, how wide and long, and how far their colours stray."""

    count: int
    width: float
    length: float
    stray: float
    accents: float


COATS = [
    Coat(520, 30, 190, 0.05, 0.0),
    Coat(1300, 17, 130, 0.08, 0.03),
    Coat(2700, 10, 88, 0.11, 0.07),
    Coat(2600, 6, 56, 0.14, 0.16),
]


class Field:
    """The flow that the strokes follow and the colours that lie along it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.seeds = rng.integers(1 << 30, size=3)

    def noise(self, which: int, x: Array, y: Array, size: float, octaves: int = 2) -> Array:
        """One of the field's own noises, with features of about this size."""
        return cloud_noise(np.random.default_rng(self.seeds[which]), x / size + 20, y / size + 20, octaves)

    def stream(self, x: Array, y: Array) -> Array:
        """The stream function: paint runs along the lines where it stays the same."""
        total = 0.5 * y + 0.34 * x + 34 * np.sin(x / 95 - y / 130) + 110 * (self.noise(0, x, y, 130) - 0.5)
        for cx, cy, reach, turn in WHIRLS:
            away = np.hypot(x - cx, (y - cy) * 1.12)
            total = total + turn * reach * 1.25 * np.exp(-((away / reach) ** 2) * 0.9)
        return total

    def flow(self, x: Array, y: Array) -> tuple[Array, Array]:
        """The direction of the flow, as unit vectors: along the stream, but turned a little across it."""
        step = 1.0
        along_x = self.stream(x, y + step) - self.stream(x, y - step)
        along_y = self.stream(x - step, y) - self.stream(x + step, y)
        length = np.hypot(along_x, along_y) + 1e-6
        along_x, along_y = along_x / length, along_y / length
        turn = 0.30 + 0.9 * (self.noise(2, x, y, 90) - 0.5)
        cos, sin = np.cos(turn), np.sin(turn)
        return along_x * cos - along_y * sin, along_x * sin + along_y * cos

    def warmth(self, x: Array, y: Array) -> Array:
        """Where the warm colours lie: in broad ribbons along the stream, more of them to the lower right."""
        stream = self.stream(x, y)
        ribbons = np.sin(stream / 30.0 + 0.6) + 0.35 * np.sin(stream / 12.5)
        corner = (x / WIDTH + 0.8 * y / HEIGHT) - 0.9
        return 0.42 + 0.5 * ribbons + 0.7 * corner + 0.8 * (self.noise(1, x, y, 110) - 0.5)

    def colours(self, x: Array, y: Array, rng: np.random.Generator, coat: Coat) -> Array:
        """A colour for a stroke at each place: near what lies there, now and then a bold accent."""
        tone = 0.40 + 0.30 * np.sin(self.stream(x, y) / 13.0) + 0.5 * (self.noise(2, x, y, 60) - 0.5)
        tone = tone + rng.normal(0, coat.stray, x.shape)
        warm = self.warmth(x, y) + rng.normal(0, coat.stray, x.shape)
        accent = rng.random(x.shape)
        warm = np.where(accent < coat.accents * 0.4, 0.84 - warm, warm)
        tone = np.where(accent > 1 - coat.accents * 0.55, tone + 0.42, tone)
        pick = np.clip((warm - 0.42) / 0.14, 0, 1)[:, None]
        paint = ramp(tone, COOL) * (1 - pick) + ramp(tone * 0.95 + 0.08, WARM) * pick
        return np.clip(paint * rng.normal(1, 0.05, paint.shape), 0, 255)


def starts(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Scattered but even places to begin strokes, in random order, a little past the edges too."""
    columns = int(np.sqrt(count * WIDTH / HEIGHT))
    rows = -(-count // columns)
    cells = rng.permutation(columns * rows)
    x = ((cells % columns) + rng.random(cells.size)) / columns * (WIDTH + 40) - 20
    y = ((cells // columns) + rng.random(cells.size)) / rows * (HEIGHT + 40) - 20
    return x.astype(np.float32), y.astype(np.float32)


def trace(field: Field, x: Array, y: Array, length: Array) -> Array:
    """The paths of all strokes of a coat, centred on their places: strokes × steps × 2."""
    paths = []
    for sign in (-1.0, 1.0):
        px, py, half = x, y, []
        for _ in range(STEPS // 2):
            dx, dy = field.flow(px, py)
            px, py = px + sign * dx * length / STEPS, py + sign * dy * length / STEPS
            half.append(np.stack([px, py], axis=-1))
        paths.append(half if sign > 0 else half[::-1])
    middle = [np.stack([x, y], axis=-1)]
    return np.stack([*paths[0], *middle, *paths[1]], axis=1)


def bristles(path: Array, width: float, rng: np.random.Generator) -> list[tuple[list[float], float]]:
    """The bristle lines of one stroke, each with its place across the stroke from -1 to 1."""
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-6
    normal = np.stack([-along[:, 1], along[:, 0]], axis=-1)
    press = np.sin(np.linspace(0.35, np.pi - 0.22, len(path)))[:, None] ** 0.5
    lines = []
    for across in np.linspace(-1, 1, max(4, round(width * 0.95))):
        if abs(across) > 0.55 and rng.random() < 0.14:
            continue
        first = int(rng.integers(0, 2) + 2.2 * across * across)
        last = len(path) - int(rng.integers(0, 4) + 2.2 * across * across)
        points = path + normal * press * (across * width / 2)
        lines.append((points[first:last].ravel().tolist(), float(across)))
    return lines


class Canvas:
    """The paint and how thickly it lies."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.paint = Image.new("RGB", size, (24, 34, 66))
        self.relief = Image.new("L", size, 60)
        self.on_paint, self.on_relief = ImageDraw.Draw(self.paint), ImageDraw.Draw(self.relief)

    def stroke(self, path: Array, width: float, colour: Array, rng: np.random.Generator) -> None:
        """One stroke of many bristles, each of slightly other colour and thickness."""
        body = float(rng.uniform(90, 150))
        lean = float(rng.normal(0, 0.07))
        for line, across in bristles(path, width, rng):
            shade = 1 + lean * across + float(rng.normal(0, 0.075))
            tint = tuple(colour * shade)
            thick = 2 if width < 40 else 3
            self.on_paint.line(line, fill=rgb8(tint), width=thick, joint="curve")
            ridge = body + 46 * across**4 + float(rng.normal(0, 20))
            self.on_relief.line(line, fill=int(np.clip(ridge, 0, 255)), width=thick)

    def lit(self) -> Image.Image:
        """The paint under light from the upper left: slopes shaded, ridges glinting."""
        height = np.asarray(self.relief.filter(ImageFilter.GaussianBlur(1.0)), dtype=np.float32)
        down, right = np.gradient(height)
        slope = np.clip((down + right) / 46, -1, 1)[..., None]
        pixels = to_array(self.paint) * (1 + 0.26 * slope)
        glint = np.clip(slope - 0.34, 0, 1)
        return to_image(pixels + glint * np.array([120, 114, 100], np.float32))


def draw(scale: float = 1.0) -> Image.Image:
    """Draw the whole picture, 640×512 at scale 1, with fewer strokes when it is smaller."""
    rng = np.random.default_rng(SEED)
    size = (round(WIDTH * scale), round(HEIGHT * scale))
    canvas = Canvas((size[0] * FINE, size[1] * FINE))
    field = Field(rng)
    for coat in COATS:
        x, y = starts(rng, max(12, round(coat.count * min(1.0, scale))))
        length = (coat.length * rng.uniform(0.65, 1.2, x.shape)).astype(np.float32)
        paths = trace(field, x, y, length) * np.float32(scale * FINE)
        colours = field.colours(x, y, rng, coat)
        for path, colour in zip(paths, colours, strict=True):
            width = coat.width * float(rng.uniform(0.7, 1.25)) * scale * FINE
            canvas.stroke(path, width, colour, rng)
    return canvas.lit().resize(size, Image.Resampling.LANCZOS)
