"""What another process does to a store: a module of its own, because a spawned process imports it by name."""

from __future__ import annotations

import chromadb

from langchain_adapter.hash_embedder import HashEmbedder
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.vectorstores import MultimodalChroma


def add_by_store(folder, texts, ids):
    store = MultimodalChroma("things", Qwen3VLEmbeddings(model=HashEmbedder()), persist_directory=folder)
    store.add_texts(texts, ids=ids)


def add_by_chroma(folder, row_id, vector):
    client = chromadb.PersistentClient(str(folder))
    client.get_collection("things").add(ids=[row_id], embeddings=[vector], documents=["by another program"])
