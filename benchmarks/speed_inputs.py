"""What is embedded and judged: texts of the small world's words, pages and photos as JPEG files, clips."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from qwen3_vl_pocket.world.files import write_clip
from qwen3_vl_pocket.world.sentences import list_words

_WORDS = list_words()


def draw_texts(count: int, *, fewest: int, most: int, seed: int = 0) -> list[str]:
    """Returns texts of `fewest` to `most` words."""
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(_WORDS, k=drawn.randint(fewest, most))) for _ in range(count)]


def write_pages(folder: Path, count: int, *, size: tuple[int, int] = (800, 1040), seed: int = 0) -> list[Path]:
    """Writes pages of printed lines as JPEG, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"page-{size[0]}-{seed}-{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if path.exists():
            continue
        drawn = random.Random(seed * 1000 + number)
        page = Image.new("RGB", size, "white")
        pen = ImageDraw.Draw(page)
        for line in range(size[1] // 20 - 4):
            pen.text((40, 40 + line * 20), " ".join(drawn.choices(_WORDS, k=12))[:100], fill="black")
        page.save(path, quality=90)
    return paths


def write_clips(folder: Path, count: int, *, seconds: int = 4) -> list[Path]:
    """Writes clips of a moving square at 4 frames a second, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"clip-{number}.mp4" for number in range(count)]
    for number, path in enumerate(paths):
        if path.exists():
            continue
        frames: list[Image.Image] = []
        for place in range(4 * seconds):
            frame = np.full((240, 320, 3), 200, np.uint8)
            frame[80:160, 10 + 8 * place : 60 + 8 * place] = (40 * number, 90, 160)
            frames.append(Image.fromarray(frame))
        write_clip(frames, path)
    return paths
