"""A few pages, images, a video and notes that the pocket models know their way about, and names that mean harm."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

from hit_samples import BLUE, RED, encode_clip
from qwen3_vl_pocket.office_files import write_shelf
from qwen3_vl_pocket.world.facts import draw_facts
from qwen3_vl_pocket.world.sentences import ask
from qwen3_vl_retrieval import Embedder, Reranker
from qwen3_vl_retrieval.index import MultimodalIndex

__all__ = ["HOSTILE_NAME", "HOSTILE_TEXT", "NOTE", "SHOWN_NAME", "SmallOffice", "open_office", "write_office"]

HOSTILE_NAME = "<img src=x onerror=document.title='owned'>\u202etxt.exe.txt"
SHOWN_NAME = HOSTILE_NAME.replace("\u202e", "\ufffd")
"""Without the mark that turns the direction of writing."""

HOSTILE_TEXT = "zanzibar <script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> &amp;"
NOTE = "The orange kettle belongs to the kitchen.\n" + "Nobody may take it away, not even for a moment. " * 12


class SmallOffice(NamedTuple):
    """Where the office is, and a question with its answer.

    Attributes:
        folder: What is searched.
        question: The question.
        answer: Name of the file that answers it, as results show it.
        page: Number of the page there.
    """

    folder: Path
    question: str
    answer: str
    page: int


def write_office(folder: Path) -> SmallOffice:
    """Writes seven pages in PDFs, two images, a video of two windows, and two notes into `folder / "office"`."""
    office = folder / "office"
    rng = random.Random("small office")
    facts = [draw_facts("page", rng, split="test") for _ in range(7)]
    place = write_shelf(office, "pages", facts, rng)[0]
    write_shelf(office, "photos", [draw_facts("pair", rng, split="test") for _ in range(2)], rng)
    (office / "clips").mkdir()
    encode_clip(office / "clips" / "turning.mp4", [BLUE] * 16 + [RED] * 16)
    (office / "notes").mkdir()
    (office / "notes" / "kettle.txt").write_text(NOTE, encoding="utf-8")
    (office / "notes" / HOSTILE_NAME).write_text(HOSTILE_TEXT, encoding="utf-8")
    question = ask(facts[0], "en", rng, mentioned=("type", "title", "tens", "ones"))
    assert place.page is not None
    return SmallOffice(office, question, place.file, place.page)


def open_office(
    office: SmallOffice, store: Path, embedder: Embedder, reranker: Reranker | None = None
) -> MultimodalIndex:
    """Returns the index of the office, made in `store`."""
    index = MultimodalIndex.open(store, embedder, reranker, window_seconds=4, overlap_seconds=0)
    report = index.sync(office.folder)
    assert not report.failures
    return index
