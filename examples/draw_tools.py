"""What the pictures are drawn with: colour ramps, noise, blends, and a pen that sees in perspective."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[np.float32]
Colour = tuple[float, float, float]
Point = tuple[float, float, float]

OVERSAMPLE = 3
WIDTH, HEIGHT = 768, 512
CENTRE, HORIZON = 300.0, 330.0
FOCAL, EYE = 600.0, 5.0
HAZE: Colour = (236, 176, 142)


def ramp(at: Array, stops: list[tuple[float, Colour]]) -> Array:
    """Colours along a ramp of (position, colour) stops, one for each value."""
    where = [stop for stop, _ in stops]
    channels = [np.interp(at, where, [colour[i] for _, colour in stops]) for i in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def mix(a: Colour, b: Colour, amount: float) -> Colour:
    """The colour that lies the given share of the way from one to the other."""
    return (a[0] + (b[0] - a[0]) * amount, a[1] + (b[1] - a[1]) * amount, a[2] + (b[2] - a[2]) * amount)


def scaled(colour: Colour, by: float) -> Colour:
    """A colour made lighter or darker."""
    return (colour[0] * by, colour[1] * by, colour[2] * by)


def rgb8(colour: Colour) -> tuple[int, int, int]:
    """A colour as the whole numbers that Pillow draws with."""
    red, green, blue = (min(255, max(0, round(part))) for part in colour)
    return red, green, blue


def smooth(low: float, high: float, at: Array) -> Array:
    """A soft step from 0 at low to 1 at high."""
    t = np.clip((at - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def value_noise(lattice: Array, u: Array, v: Array) -> Array:
    """Smooth noise in 0..1, looked up at (u, v) on a lattice that repeats."""
    rows, columns = lattice.shape
    iu, iv = np.floor(u), np.floor(v)
    fu, fv = u - iu, v - iv
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    x0, y0 = iu.astype(int) % columns, iv.astype(int) % rows
    x1, y1 = (x0 + 1) % columns, (y0 + 1) % rows
    top = lattice[y0, x0] * (1 - fu) + lattice[y0, x1] * fu
    bottom = lattice[y1, x0] * (1 - fu) + lattice[y1, x1] * fu
    return (top * (1 - fv) + bottom * fv).astype(np.float32)


def cloud_noise(rng: np.random.Generator, u: Array, v: Array, octaves: int = 5, gain: float = 0.5) -> Array:
    """Fractal noise in about 0..1: octaves of value noise, each finer and fainter."""
    total = np.zeros(np.broadcast(u, v).shape, np.float32)
    weight, norm, step = 1.0, 0.0, 1.0
    for _ in range(octaves):
        lattice = rng.random((128, 128), dtype=np.float32)
        total += weight * value_noise(lattice, u * step, v * step)
        norm, weight, step = norm + weight, weight * gain, step * 2.03
    return total / np.float32(norm)


def plane(size: tuple[int, int], scale: float) -> tuple[Array, Array]:
    """The x and y of every pixel of a picture (width, height), in units of the full-size picture."""
    wide, high = (round(side * scale) for side in size)
    x, y = np.meshgrid((np.arange(wide) + 0.5) / scale, (np.arange(high) + 0.5) / scale)
    return x.astype(np.float32), y.astype(np.float32)


def blend(pixels: Array, colour: Array | Colour, cover: Array) -> Array:
    """Pixels with a colour laid over them, as far as the cover (0..1, one for each pixel) hides them."""
    return (pixels + (np.asarray(colour, np.float32) - pixels) * cover[..., None]).astype(np.float32)


def blurred(field: Array, pixels: float) -> Array:
    """A field (rows × columns) softened over about so many pixels, by three running means."""
    reach = max(0, round(pixels))
    if reach == 0:
        return field
    for axis in (0, 1, 0, 1, 0, 1):
        pad = [(reach + 1, reach) if axis == own else (0, 0) for own in (0, 1)]
        sums = np.cumsum(np.pad(field, pad, mode="edge"), axis=axis, dtype=np.float64)
        span = 2 * reach + 1
        high, low = [slice(None)] * 2, [slice(None)] * 2
        high[axis], low[axis] = slice(span, None), slice(None, -span)
        field = ((sums[tuple(high)] - sums[tuple(low)]) / span).astype(np.float32)
    return field


def lit_from_left(height: Array, steep: float) -> Array:
    """How far each place of a relief faces a light at the upper left, from -1 to 1."""
    down, right = np.gradient(height)
    return np.clip((down + right) / steep, -1, 1).astype(np.float32)


def to_image(pixels: Array) -> Image.Image:
    """An array of 0..255 colours as a picture."""
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))


def to_array(image: Image.Image) -> Array:
    """A picture as an array of 0..255 colours."""
    return np.asarray(image.convert("RGB"), dtype=np.float32)


@dataclass
class Pen:
    """Draws points of a small world: metres right of, above the water at, and away from the eye.

    A mirrored pen draws what the still water would show of the same things. What is drawn with
    `glow` also goes on a second picture, the light that later blooms around lamps and windows.
    """

    image: Image.Image
    light: Image.Image
    pixels: float
    mirrored: bool = False
    haze: float = 1 / 640
    draw: ImageDraw.ImageDraw = field(init=False)
    draw_light: ImageDraw.ImageDraw = field(init=False)

    def __post_init__(self) -> None:
        self.draw = ImageDraw.Draw(self.image)
        self.draw_light = ImageDraw.Draw(self.light)

    def reflection(self, image: Image.Image) -> Pen:
        """The same pen, drawing mirrored on another picture and lighting nothing."""
        return replace(self, image=image, light=Image.new("RGB", image.size), mirrored=True)

    def spot(self, point: Point) -> tuple[float, float]:
        """Where a point of the world lies on the picture, in its pixels."""
        x, y, z = point
        height = -y if self.mirrored else y
        return (
            (CENTRE + FOCAL * x / z) * self.pixels,
            (HORIZON - FOCAL * (height - EYE) / z) * self.pixels,
        )

    def tint(self, colour: Colour, distance: float) -> tuple[int, int, int]:
        """A colour as the hazy air leaves it at a distance."""
        return rgb8(mix(colour, HAZE, 1 - float(np.exp(-distance * self.haze))))

    def poly(self, points: list[Point], colour: Colour) -> None:
        """Fill a polygon."""
        spots = [self.spot(point) for point in points]
        self.draw.polygon(spots, fill=self.tint(colour, points[0][2]))
        self.draw_light.polygon(spots, fill=(0, 0, 0))

    def glow(self, points: list[Point], colour: Colour, strength: float = 1.0) -> None:
        """Fill a polygon that shines."""
        spots = [self.spot(point) for point in points]
        self.draw.polygon(spots, fill=rgb8(colour))
        self.draw_light.polygon(spots, fill=rgb8(scaled(colour, strength)))

    def line(self, points: list[Point], colour: Colour, metres: float) -> None:
        """Draw a line that is so many metres wide."""
        width = max(1, round(metres * FOCAL / points[0][2] * self.pixels))
        spots = [self.spot(point) for point in points]
        self.draw.line(spots, fill=self.tint(colour, points[0][2]), width=width, joint="curve")
        self.draw_light.line(spots, fill=(0, 0, 0), width=width)

    def dab(self, point: Point, across: float, high: float, colour: Colour, shine: float = 0.0) -> None:
        """Fill an ellipse of these half sizes, in metres."""
        x, y = self.spot(point)
        to_pixels = FOCAL / point[2] * self.pixels
        box = (x - across * to_pixels, y - high * to_pixels, x + across * to_pixels, y + high * to_pixels)
        self.draw.ellipse(box, fill=rgb8(colour) if shine else self.tint(colour, point[2]))
        self.draw_light.ellipse(box, fill=rgb8(scaled(colour, shine)))
