"""Files of the pocket world for the benchmarks: pictures, PDF pages, clips and notes that no training has seen."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

from qwen3_vl_pocket.world.collection import Query, draw_collection
from qwen3_vl_pocket.world.files import write_pdf

_PDF_PAGES = 5


def write_files(folder: Path, count: int, *, seed: int) -> tuple[list[str], list[Query]]:
    """Writes `count` units into `folder`; pages of a kind share PDFs of five.

    Returns:
        For each item the id of its place, `name` or `name#page`, and the queries about them.
    """
    items, queries = draw_collection(count, seed=seed)
    rng = random.Random(seed)
    places: list[str] = []
    pages: list[tuple[int, Image.Image]] = []
    folder.mkdir(parents=True, exist_ok=True)
    for number, item in enumerate(items):
        if isinstance(item.content, str):
            name = f"{number:05}.txt"
            (folder / name).write_text(item.content, encoding="utf-8")
        elif "video" in item.content:
            name = f"{number:05}.mp4"
            (folder / name).write_bytes(item.content["video"])
        elif item.group == "page" and rng.random() < 0.8:
            pages.append((number, item.content["image"]))
            name = ""
        else:
            name = f"{number:05}.png"
            item.content["image"].save(folder / name)
        places.append(name)
    for first in range(0, len(pages), _PDF_PAGES):
        group = pages[first : first + _PDF_PAGES]
        name = f"{group[0][0]:05}.pdf"
        write_pdf([picture for _, picture in group], folder / name)
        for page, (number, _) in enumerate(group, start=1):
            places[number] = f"{name}#{page}"
    return places, queries
