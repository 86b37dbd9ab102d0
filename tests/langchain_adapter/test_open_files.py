"""A vector store that is forgotten lets go of its files."""

from __future__ import annotations

import itertools

from langchain_core.embeddings import DeterministicFakeEmbedding

from langchain_qwen3_vl import MultimodalChroma
from open_files import count_left_open, needs_proc

pytestmark = needs_proc


def test_a_vector_store_that_is_forgotten_leaves_nothing_open(tmp_path):
    numbers = itertools.count()

    def work():
        embeddings = DeterministicFakeEmbedding(size=32)
        store = MultimodalChroma("things", embeddings, persist_directory=tmp_path / f"store{next(numbers)}")
        store.add_texts(["a text"])
        assert store.similarity_search("a text")

    assert count_left_open(work) <= 0
