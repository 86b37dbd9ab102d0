"""Images of products and places, in the colour modes that image files come in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

__all__ = ["draw_text", "write_pictures"]

Color: TypeAlias = tuple[int, int, int]

_WALL: Color = (236, 231, 222)
_FLOOR: Color = (203, 186, 160)
_WHITE: Color = (250, 250, 248)
_BLACK: Color = (30, 32, 36)
_GREY: Color = (128, 132, 138)
_RED: Color = (200, 42, 42)
_BLUE: Color = (38, 84, 170)
_GREEN: Color = (46, 140, 84)
_YELLOW: Color = (240, 190, 40)
_ORANGE: Color = (232, 122, 32)
_BROWN: Color = (120, 78, 48)


def write_pictures(folder: Path) -> list[Path]:
    """Writes the images into `folder/products` and `folder/places`; returns their paths."""
    products, places = folder / "products", folder / "places"
    for made in (products, places):
        made.mkdir(parents=True, exist_ok=True)
    pictures = {
        products / "red-mug.png": _cut_out(_draw_mug),
        products / "green-lamp.png": _room(_draw_lamp).quantize(32),
        products / "blue-chair.jpg": _room(_draw_chair),
        products / "yellow-umbrella.jpg": _room(_draw_umbrella),
        products / "black-headphones.jpg": _room(_draw_headphones).convert("L"),
        products / "orange-kettle-print.jpg": _room(_draw_kettle).convert("CMYK"),
        places / "floor-plan.png": _sheet(_draw_floor_plan).quantize(16),
        places / "sales-chart.png": _sheet(_draw_chart),
        places / "loading-dock.jpg": _room(_draw_dock),
    }
    for path, picture in pictures.items():
        if path.suffix == ".jpg":
            picture.save(path, quality=85)
        else:
            picture.save(path, optimize=True)
    return list(pictures)


def draw_text(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, *, size: int, fill: Color | int
) -> None:
    """Writes `text` with its upper left corner at `place`, `size` pixels high, in the typeface that Pillow carries."""
    draw.text(place, text, fill=fill, font=ImageFont.load_default(size=size))


def _room(draw_thing: Callable[[ImageDraw.ImageDraw], None]) -> Image.Image:
    """A thing before a wall, drawn at twice its size for smooth edges."""
    canvas = Image.new("RGB", (640, 480), _WALL)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 340, 640, 480), fill=_FLOOR)
    draw.line((0, 340, 640, 340), fill=_GREY, width=4)
    draw_thing(draw)
    return canvas.resize((320, 240), Image.Resampling.LANCZOS)


def _cut_out(draw_thing: Callable[[ImageDraw.ImageDraw], None]) -> Image.Image:
    """A thing on a transparent ground."""
    canvas = Image.new("RGBA", (640, 480), (0, 0, 0, 0))
    draw_thing(ImageDraw.Draw(canvas))
    return canvas.resize((320, 240), Image.Resampling.LANCZOS)


def _sheet(draw_thing: Callable[[ImageDraw.ImageDraw], None]) -> Image.Image:
    canvas = Image.new("RGB", (480, 360), _WHITE)
    draw_thing(ImageDraw.Draw(canvas))
    return canvas


def _draw_mug(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((370, 190, 500, 330), outline=_RED, width=30)
    draw.rounded_rectangle((200, 140, 420, 400), radius=36, fill=_RED)
    draw.ellipse((200, 112, 420, 176), fill=(150, 24, 24))
    draw.ellipse((220, 122, 400, 166), fill=(70, 40, 24))


def _draw_lamp(draw: ImageDraw.ImageDraw) -> None:
    draw.polygon([(250, 90), (390, 90), (450, 220), (190, 220)], fill=_GREEN)
    draw.ellipse((290, 205, 350, 260), fill=(255, 236, 150))
    draw.rectangle((312, 250, 328, 400), fill=_BROWN)
    draw.ellipse((240, 385, 400, 425), fill=_BROWN)


def _draw_chair(draw: ImageDraw.ImageDraw) -> None:
    draw.rounded_rectangle((220, 80, 420, 270), radius=24, fill=_BLUE)
    draw.rounded_rectangle((200, 260, 440, 310), radius=16, fill=(28, 62, 130))
    for left in (215, 405):
        draw.rectangle((left, 310, left + 18, 440), fill=_BROWN)


def _draw_umbrella(draw: ImageDraw.ImageDraw) -> None:
    draw.pieslice((140, 70, 500, 430), 180, 360, fill=_YELLOW)
    for left in (140, 260, 380):
        draw.pieslice((left, 220, left + 120, 280), 180, 360, fill=_WALL)
    draw.rectangle((314, 240, 326, 410), fill=_BLACK)
    draw.arc((270, 380, 326, 440), 0, 180, fill=_BLACK, width=12)


def _draw_headphones(draw: ImageDraw.ImageDraw) -> None:
    draw.arc((190, 90, 450, 400), 180, 360, fill=_BLACK, width=26)
    for left in (170, 410):
        draw.rounded_rectangle((left, 230, left + 60, 370), radius=26, fill=_BLACK)


def _draw_kettle(draw: ImageDraw.ImageDraw) -> None:
    draw.polygon([(400, 230), (520, 150), (535, 175), (420, 300)], fill=_ORANGE)
    draw.ellipse((190, 170, 440, 410), fill=_ORANGE)
    draw.rectangle((230, 390, 400, 412), fill=_BLACK)
    draw.arc((220, 90, 410, 280), 180, 360, fill=_BLACK, width=20)
    draw.ellipse((300, 158, 330, 188), fill=_BLACK)


def _draw_dock(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((60, 140, 290, 360), fill=_WHITE, outline=_GREY, width=4)
    draw.polygon([(290, 210), (370, 210), (410, 280), (410, 360), (290, 360)], fill=_RED)
    draw.polygon([(310, 228), (360, 228), (388, 280), (310, 280)], fill=(180, 210, 230))
    for left in (100, 200, 330):
        draw.ellipse((left, 330, left + 60, 390), fill=_BLACK)
    for top, left in ((380, 480), (310, 500), (380, 560)):
        draw.rectangle((left, top - 10, left + 66, top + 56), fill=_BROWN, outline=_BLACK, width=3)


def _draw_floor_plan(draw: ImageDraw.ImageDraw) -> None:
    draw_text(draw, (20, 14), "FLOOR PLAN, 2ND FLOOR", size=20, fill=_BLACK)
    for box, name in (
        ((20, 60, 200, 200), "Workshop"),
        ((200, 60, 330, 200), "Kitchen"),
        ((330, 60, 460, 200), "Archive"),
        ((20, 200, 260, 340), "Open office"),
        ((260, 200, 460, 340), "Meeting room"),
    ):
        draw.rectangle(box, outline=_BLACK, width=4)
        draw_text(draw, (box[0] + 16, box[1] + 50), name, size=18, fill=_BLUE)
    for door in ((90, 198, 130, 202), (380, 198, 420, 202), (258, 250, 262, 290)):
        draw.rectangle(door, fill=_WHITE)


def _draw_chart(draw: ImageDraw.ImageDraw) -> None:
    draw_text(draw, (20, 14), "Umbrellas sold per quarter", size=20, fill=_BLACK)
    draw.line([(60, 60), (60, 310), (460, 310)], fill=_BLACK, width=3)
    for place, (name, height) in enumerate((("Q1", 90), ("Q2", 60), ("Q3", 130), ("Q4", 220))):
        left = 90 + place * 90
        draw.rectangle((left, 310 - height, left + 54, 310), fill=_YELLOW if name == "Q4" else _BLUE)
        draw_text(draw, (left + 12, 318), name, size=18, fill=_BLACK)
        draw_text(draw, (left + 10, 284 - height), str(height * 10), size=16, fill=_BLACK)
