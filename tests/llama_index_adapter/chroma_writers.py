"""What another process does to a store: a module of its own, because a spawned process imports it by name."""

from __future__ import annotations

from llama_index.core.schema import TextNode

from langchain_adapter.hash_embedder import HashEmbedder
from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.indices.qwen3_vl import UnifiedMultiModalIndex
from llama_index.indices.qwen3_vl.stores import hold_store

WAIT_SECONDS = 120


def open_index(folder, **options):
    return UnifiedMultiModalIndex.from_nodes(
        [], persist_dir=folder, embed_model=Qwen3VLEmbedding(embedder=HashEmbedder()), **options
    )


def add_by_index(folder, text, row_id):
    open_index(folder).insert_nodes([TextNode(id_=row_id, text=text)])


def hold_by_index(folder, begun, may_end):
    with hold_store(open_index(folder).vector_store):
        begun.set()
        may_end.wait(WAIT_SECONDS)
