"""True cosines from what vector stores call a score."""

from __future__ import annotations

import math

import chromadb
import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.vector_stores.chroma import ChromaVectorStore

from llama_index.retrievers.qwen3_vl.multimodal_index import MultimodalIndexStore
from llama_index.retrievers.qwen3_vl.vector_stores import find_chroma_collection, find_cosine


def make_store(space, name):
    client = chromadb.EphemeralClient()
    configuration = None if space is None else {"hnsw": {"space": space}}
    collection = client.get_or_create_collection(name, configuration=configuration)
    store = ChromaVectorStore(chroma_collection=collection)
    store.add([TextNode(id_="a", text="a", embedding=[0.6, 0.8]), TextNode(id_="b", text="b", embedding=[-1.0, 0.0])])
    return store


@pytest.mark.parametrize(("space", "raw"), [("cosine", 0.670), ("ip", 0.670), ("l2", 0.449), (None, 0.449)])
def test_chroma_scores_become_cosines_by_the_space_of_the_collection(space, raw):
    store = make_store(space, f"scores-{space}")
    result = store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=2))
    assert result.ids == ["a", "b"]
    assert result.similarities[0] == pytest.approx(raw, abs=1e-3)
    cosine = find_cosine(store)
    assert [cosine(score) for score in result.similarities] == pytest.approx([0.6, -1.0], abs=1e-5)


def test_the_simple_store_gives_cosines_already():
    store = SimpleVectorStore()
    store.add([TextNode(id_="a", text="a", embedding=[0.6, 0.8])])
    result = store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=1))
    assert find_cosine(store)(result.similarities[0]) == pytest.approx(0.6)
    assert find_chroma_collection(store) is None


def test_of_an_unknown_store_nothing_is_claimed():
    assert find_cosine(MultimodalIndexStore.model_construct()) is None


def test_the_conversion_is_exact_to_the_digits_of_a_float():
    store = make_store("cosine", "scores-exact")
    cosine = find_cosine(store)
    for value in (-1.0, -0.25, 0.0, 0.5, 0.999, 1.0):
        assert cosine(math.exp(-(1.0 - value))) == pytest.approx(value, abs=1e-12)
