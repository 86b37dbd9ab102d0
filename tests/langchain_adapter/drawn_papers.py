"""Pages that are told apart by what is drawn on them, and a store of documents."""

from __future__ import annotations

import random

from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from qwen3_vl_pocket.world.facts import Facts, draw_facts

__all__ = ["PAGES", "draw_page_facts", "fill_store"]

PAGES = 4


def draw_page_facts() -> list[Facts]:
    """Facts of pages of which no two have a title, a company or a number in common."""
    rng = random.Random(11)
    found: list[Facts] = []
    while len(found) < PAGES:
        facts = draw_facts("page", rng, split="test")
        if all(facts[slot] != other[slot] for other in found for slot in ("title", "company", "tens")):
            found.append(facts)
    return found


def fill_store(embeddings, documents: list[Document]) -> InMemoryVectorStore:
    store = InMemoryVectorStore(embeddings)
    for document, vector in zip(documents, embeddings.embed_documents(documents), strict=True):
        store.store[document.id] = {
            "id": document.id, "vector": vector, "text": document.page_content, "metadata": document.metadata
        }  # fmt: skip
    return store
