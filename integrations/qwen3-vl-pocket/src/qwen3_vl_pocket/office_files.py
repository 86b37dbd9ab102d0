"""The files of the office: each shelf is a folder with one sort of files, whose names tell nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from PIL import Image

from qwen3_vl_pocket.world.artefacts import add_scan_artefacts
from qwen3_vl_pocket.world.clips import CLIP_SECONDS
from qwen3_vl_pocket.world.facts import Facts
from qwen3_vl_pocket.world.files import write_clip, write_pdf
from qwen3_vl_pocket.world.pictures import draw_frames, draw_picture
from qwen3_vl_pocket.world.sentences import LANGUAGES, describe

__all__ = ["Place", "Shelf", "write_shelf"]

Shelf: TypeAlias = Literal["pages", "scans", "charts", "screenshots", "photos", "clips", "notes"]

_PDF_PAGES = 4
_SCALE = 3.0
_NAMES = {"scans": "scan", "charts": "chart", "screenshots": "screen", "photos": "photo"}


class Place(NamedTuple):
    """Where something is found.

    Attributes:
        file: Its path from the office's folder on, with slashes.
        page: Number of the page of a PDF, from 1.
        start: Second at which the scene of a longer video begins.
    """

    file: str
    page: int | None = None
    start: float | None = None


def write_shelf(folder: Path, shelf: Shelf, facts: Sequence[Facts], rng: random.Random) -> list[Place]:
    """Writes what is true of each of `facts` into `folder / shelf`, in an order that tells nothing.

    The first is what is asked for, and where it lies is chosen so that it has to be searched: it is no first page of a
    PDF, a scene of a longer video, and among notes it is in English.

    Returns:
        The place of each.
    """
    (folder / shelf).mkdir(parents=True, exist_ok=True)
    order = list(range(len(facts)))
    rng.shuffle(order)
    if shelf == "pages":
        found = _write_pdfs(folder, facts, order, rng)
    elif shelf == "clips":
        found = _write_clips(folder, facts, order, rng)
    elif shelf == "notes":
        found = _write_notes(folder, facts, order, rng)
    else:
        found = _write_pictures(folder, shelf, facts, order, rng)
    return [found[number] for number in range(len(facts))]


def _write_pictures(
    folder: Path, shelf: Shelf, facts: Sequence[Facts], order: Sequence[int], rng: random.Random
) -> dict[int, Place]:
    found: dict[int, Place] = {}
    for turn, number in enumerate(order, start=1):
        place = Place(f"{shelf}/{_NAMES[shelf]}-{turn:02}.png")
        picture = draw_picture(facts[number], rng, scale=_SCALE)
        if shelf == "scans":
            picture = add_scan_artefacts(picture, rng, strength=0.3)
        picture.save(folder / place.file)
        found[number] = place
    return found


def _write_pdfs(folder: Path, facts: Sequence[Facts], order: Sequence[int], rng: random.Random) -> dict[int, Place]:
    """Papers of one type together, three to five pages in a file."""
    found: dict[int, Place] = {}
    for paper in dict.fromkeys(told["type"] for told in facts):
        own = [number for number in order if facts[number]["type"] == paper]
        files = max(1, round(len(own) / _PDF_PAGES))
        for file in range(files):
            numbers = own[file::files]
            if numbers[0] == 0:
                # A page that is asked for is never the first of its file: it has to be found by its number.
                numbers.append(numbers.pop(0))
            name = f"pages/{paper}s-{file + 1:02}.pdf"
            write_pdf([draw_picture(facts[number], rng, scale=_SCALE) for number in numbers], folder / name)
            found |= {number: Place(name, page=page) for page, number in enumerate(numbers, start=1)}
    return found


def _write_clips(folder: Path, facts: Sequence[Facts], order: Sequence[int], rng: random.Random) -> dict[int, Place]:
    """Two longer videos of four scenes, the first of the facts and near misses of it among them, and short videos."""
    last = len(facts) - 1
    films = ((1, last, 0, 2), (last - 1, 3, last - 2, last - 3))
    found: dict[int, Place] = {}
    for turn, scenes in enumerate(films, start=1):
        name = f"clips/film-{turn:02}.mp4"
        frames: list[Image.Image] = []
        for scene, number in enumerate(scenes):
            frames += draw_frames(facts[number], rng, scale=_SCALE)
            found[number] = Place(name, start=scene * CLIP_SECONDS)
        write_clip(frames, folder / name)
    rest = [number for number in order if number not in found]
    for turn, number in enumerate(rest, start=1):
        place = Place(f"clips/clip-{turn:02}.mp4")
        write_clip(draw_frames(facts[number], rng, scale=_SCALE), folder / place.file)
        found[number] = place
    return found


def _write_notes(folder: Path, facts: Sequence[Facts], order: Sequence[int], rng: random.Random) -> dict[int, Place]:
    found: dict[int, Place] = {}
    for turn, number in enumerate(order, start=1):
        place = Place(f"notes/note-{turn:02}.txt")
        language = LANGUAGES[number % len(LANGUAGES)]
        text = describe(facts[number], language, rng) + "\n"
        (folder / place.file).write_text(text, encoding="utf-8", newline="\n")
        found[number] = place
    return found
