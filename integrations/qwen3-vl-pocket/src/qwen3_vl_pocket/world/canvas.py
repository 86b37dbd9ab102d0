"""What every image is drawn with: sizes, colours, fonts, and a canvas that measures in pixels at scale 1."""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

from qwen3_vl_pocket.world.facts import Kind

__all__ = ["INK", "PALETTE", "SIZES", "Canvas", "Color", "choose_ink", "draw_tint", "vary_color"]

Color: TypeAlias = tuple[int, int, int]

SIZES: Mapping[Kind, tuple[int, int]] = {
    "pair": (128, 128),
    "count": (128, 128),
    "page": (128, 160),
    "chart": (160, 128),
    "screenshot": (160, 128),
    "motion": (96, 96),
    "change": (96, 96),
    "recolor": (96, 96),
    "product": (128, 128),
}
"""Width and height in pixels of each kind at scale 1; of a video, of its frames."""

PALETTE: Mapping[str, Color] = {
    "red": (214, 32, 36),
    "blue": (32, 84, 214),
    "green": (34, 148, 62),
    "yellow": (246, 208, 24),
    "purple": (122, 44, 166),
    "orange": (246, 124, 20),
    "black": (25, 25, 25),
    "pink": (250, 132, 188),
}
"""Red, green and blue (0-255) of each colour of the world."""

INK: Color = (28, 28, 32)
"""What words on light ground are written with."""

_WHITE: Color = (255, 255, 255)
_LIGHTEST_FOR_WHITE = 130.0
_COLOR_SPREAD = 8


def choose_ink(ground: Color) -> Color:
    """Returns near-black or white, whichever reads better on a ground."""
    red, green, blue = ground
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    return _WHITE if luminance < _LIGHTEST_FOR_WHITE else INK


def vary_color(name: str, rng: random.Random) -> Color:
    """Returns a colour of the palette, each channel up to 8 of 255 off."""
    red, green, blue = PALETTE[name]
    return (_vary_channel(red, rng), _vary_channel(green, rng), _vary_channel(blue, rng))


def draw_tint(rng: random.Random, *, darkest: int = 225) -> Color:
    """Returns a light ground: each channel from `darkest` to 255."""
    return (rng.randint(darkest, 255), rng.randint(darkest, 255), rng.randint(darkest, 255))


class Canvas:
    """An image under way. Everything is given in pixels at scale 1 and drawn `scale` times as large.

    Attributes:
        image: The image (RGB).
        scale: How many of its pixels are one at scale 1.
    """

    __slots__ = ("_draw", "image", "scale")

    def __init__(self, size: tuple[int, int], *, scale: float, ground: Color) -> None:
        self.scale = scale
        self.image = Image.new("RGB", (round(size[0] * scale), round(size[1] * scale)), ground)
        self._draw = ImageDraw.Draw(self.image)

    @classmethod
    def over(cls, image: Image.Image, *, scale: float) -> Canvas:
        """Returns a canvas that draws on top of an existing image, in place."""
        canvas = cls.__new__(cls)
        canvas.scale = scale
        canvas.image = image
        canvas._draw = ImageDraw.Draw(image)
        return canvas

    def fill_box(self, left: float, top: float, right: float, bottom: float, color: Color) -> None:
        """Fills a rectangle."""
        self._draw.rectangle(self._box(left, top, right, bottom), fill=color)

    def outline_box(
        self, left: float, top: float, right: float, bottom: float, color: Color, *, ground: Color | None = None
    ) -> None:
        """Draws a frame one pixel wide, on a ground if one is given."""
        box = self._box(left, top, right, bottom)
        self._draw.rectangle(box, fill=ground, outline=color, width=max(1, round(self.scale)))

    def round_box(
        self, left: float, top: float, right: float, bottom: float, radius: float, *, ground: Color, edge: Color
    ) -> None:
        """Fills a rectangle with round corners and draws its edge."""
        box = self._box(left, top, right, bottom)
        width = max(1, round(self.scale))
        self._draw.rounded_rectangle(box, radius * self.scale, fill=ground, outline=edge, width=width)

    def fill_disc(self, x: float, y: float, radius: float, color: Color, *, height: float | None = None) -> None:
        """Fills a disc, or an ellipse if its vertical radius is given too."""
        vertical = radius if height is None else height
        self._draw.ellipse(self._box(x - radius, y - vertical, x + radius, y + vertical), fill=color)

    def draw_ring(self, x: float, y: float, radius: float, width: float, color: Color) -> None:
        """Draws a ring of an outer radius and a thickness; what is inside stays."""
        box = self._box(x - radius, y - radius, x + radius, y + radius)
        self._draw.ellipse(box, outline=color, width=round(width * self.scale))

    def fill_polygon(self, points: Sequence[tuple[float, float]], color: Color) -> None:
        """Fills a polygon."""
        self._draw.polygon([(x * self.scale, y * self.scale) for x, y in points], fill=color)

    def draw_line(self, points: Sequence[tuple[float, float]], width: float, color: Color) -> None:
        """Draws a line through points."""
        scaled = [(x * self.scale, y * self.scale) for x, y in points]
        self._draw.line(scaled, fill=color, width=max(1, round(width * self.scale)), joint="curve")

    def write(self, x: float, y: float, text: str, size: float, *, color: Color = INK, anchor: str = "lm") -> float:
        """Writes a text in one line.

        Args:
            x: Where its anchor is.
            y: Where its anchor is.
            text: What to write.
            size: The size of the typeface.
            color: What to write with.
            anchor: Pillow's two letters: left, middle or right; ascender, middle or baseline.

        Returns:
            The width of the text, in pixels at scale 1.
        """
        word = _render_word(text, round(size * self.scale), anchor)
        self.image.paste(color, (round(x * self.scale) + word.left, round(y * self.scale) + word.top), word.mask)
        return word.length / self.scale

    def _box(self, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        scale = self.scale
        return (left * scale, top * scale, right * scale - 1, bottom * scale - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """How much ink each pixel of a word gets, where its corner lies from its anchor, and how long it is."""

    mask: Image.Image
    left: int
    top: int
    length: float


@functools.lru_cache(maxsize=4096)
def _render_word(text: str, pixels: int, anchor: str) -> _Word:
    """Returns a word in Pillow's embedded typeface; the words of the world are few, so most are rendered once."""
    font = _load_font(pixels)
    left, top, right, bottom = (int(edge) for edge in font.getbbox(text, anchor=anchor))
    mask = Image.new("L", (right - left + 1, bottom - top + 1))
    ImageDraw.Draw(mask).text((-left, -top), text, fill=255, font=font, anchor=anchor)
    return _Word(mask=mask, left=left, top=top, length=font.getlength(text))


@functools.cache
def _load_font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=pixels)


def _vary_channel(value: int, rng: random.Random) -> int:
    return min(255, max(0, value + rng.randint(-_COLOR_SPREAD, _COLOR_SPREAD)))
