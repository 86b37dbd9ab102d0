"""An index of a page and a text, whose words explain why they were found; without a model."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.testing import FakeEmbedder, FakeReranker
from written_pdfs import write_pdf

__all__ = ["QUERY", "open_explained_index"]

QUERY = "invoice of Acme"


@contextmanager
def open_explained_index(folder: Path) -> Generator[MultimodalIndex, None, None]:
    """Yields an index in `folder / "store"`, of a page and a text that have words of `QUERY`."""
    (folder / "paper.pdf").write_bytes(write_pdf("Invoice 57 of Acme"))
    (folder / "note.txt").write_text("Acme is closed on Friday.", encoding="utf-8")
    with MultimodalIndex.open(folder / "store", FakeEmbedder(), FakeReranker()) as index:
        index.add([folder / "paper.pdf", folder / "note.txt"])
        yield index
