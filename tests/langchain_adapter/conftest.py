"""The pocket models as LangChain's objects, and a folder of drawn things with questions about them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from langchain_core.documents import Document

from hit_samples import write_samples
from langchain_adapter.drawn_papers import PAGES, draw_page_facts, fill_store
from langchain_adapter.shelf_tools import ShelfRetriever
from langchain_qwen3_vl.documents import image_document
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.rerank import Qwen3VLRerank
from qwen3_vl_pocket.world.facts import draw_facts
from qwen3_vl_pocket.world.files import write_clip, write_pdf
from qwen3_vl_pocket.world.pictures import draw_frames, draw_picture
from qwen3_vl_pocket.world.sentences import ask

_SEED = 5
_IMAGES = 4


@pytest.fixture(scope="session")
def embeddings() -> Qwen3VLEmbeddings:
    return Qwen3VLEmbeddings(model="pocket")


@pytest.fixture(scope="session")
def rerank() -> Qwen3VLRerank:
    return Qwen3VLRerank(model="pocket")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`image-0.png` to `image-3.png`, `paper.pdf` of two pages, and `video.mp4`. No test changes them."""
    folder = tmp_path_factory.mktemp("images")
    rng = random.Random(_SEED)
    for number in range(_IMAGES):
        draw_picture(_draw_facts(number), rng).save(folder / f"picture-{number}.png")
    pages = [draw_picture(draw_facts("page", rng, split="test"), rng) for _ in range(2)]
    write_pdf(pages, folder / "paper.pdf")
    write_clip(draw_frames(draw_facts("motion", rng, split="test"), rng), folder / "clip.mp4")
    return folder


@pytest.fixture(scope="session")
def questions() -> list[str]:
    """Question i asks for `image-i.png`."""
    rng = random.Random(_SEED)
    return [ask(_draw_facts(number), "en", rng) for number in range(_IMAGES)]


def _draw_facts(number: int):
    return draw_facts("pair", random.Random(_SEED + number), split="test")


@pytest.fixture(scope="session")
def samples(tmp_path_factory) -> Path:
    return write_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture
def shelf(samples):
    page = {"media_type": "page", "source": str(samples / "pages.pdf"), "page": 2, "relevance_score": 0.9312}
    return ShelfRetriever(
        documents=[
            Document(id="order", page_content="Order of May", metadata=page),
            image_document(samples / "red.png", id="red"),
            Document(id="note", page_content="Doors close at six."),
        ]
    )


@pytest.fixture(scope="session")
def paper(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("papers") / "paper.pdf"
    rng = random.Random(3)
    write_pdf([draw_picture(facts, rng, scale=3.0) for facts in draw_page_facts()], path)
    return path


@pytest.fixture(scope="session")
def page_documents(paper) -> list[Document]:
    return [
        Document(
            id=f"page-{page}", page_content="", metadata={"media_type": "page", "source": str(paper), "page": page}
        )
        for page in range(1, PAGES + 1)
    ]


@pytest.fixture(scope="session")
def page_questions() -> list[str]:
    rng = random.Random(4)
    return [ask(facts, "en", rng) for facts in draw_page_facts()]


@pytest.fixture(scope="session")
def page_store(embeddings, page_documents):
    return fill_store(embeddings, page_documents)
