"""The pocket models as LlamaIndex's objects, and a folder of drawn things with questions about them."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.postprocessor.qwen3_vl_rerank.base import Qwen3VLRerank
from qwen3_vl_pocket.world.facts import draw_facts
from qwen3_vl_pocket.world.files import write_clip, write_pdf
from qwen3_vl_pocket.world.pictures import draw_frames, draw_picture
from qwen3_vl_pocket.world.sentences import ask

_SEED = 5
_PICTURES = 4


@pytest.fixture(scope="session")
def embedding() -> Qwen3VLEmbedding:
    return Qwen3VLEmbedding(model_name="pocket")


@pytest.fixture(scope="session")
def rerank() -> Qwen3VLRerank:
    return Qwen3VLRerank(model="pocket")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`image-0.png` to `image-3.png`, `paper.pdf` of two pages, and `video.mp4`. No test changes them."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = random.Random(_SEED)
    for number in range(_PICTURES):
        draw_picture(_draw_facts(number), rng).save(folder / f"picture-{number}.png")
    pages = [draw_picture(draw_facts("page", rng, split="test"), rng) for _ in range(2)]
    write_pdf(pages, folder / "paper.pdf")
    write_clip(draw_frames(draw_facts("motion", rng, split="test"), rng), folder / "clip.mp4")
    return folder


@pytest.fixture(scope="session")
def questions() -> list[str]:
    """Question i asks for `image-i.png`."""
    rng = random.Random(_SEED)
    return [ask(_draw_facts(number), "en", rng) for number in range(_PICTURES)]


def _draw_facts(number: int):
    return draw_facts("pair", random.Random(_SEED + number), split="test")


@pytest.fixture(autouse=True, scope="module")
def without_loop():
    """The first synchronous call of LlamaIndex makes an event loop where one may be made, and leaves it open."""
    asyncio.set_event_loop(None)
