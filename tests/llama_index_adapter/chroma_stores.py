"""Stores of both frameworks in Chroma, filled with the same few things, and what is found in them.

`PYTHONPATH=tests uv run python tests/llama_index_adapter/chroma_stores.py FOLDER` writes both, with the hits of this
version beside them in `expected.json`. Those in `tests/data` were written by commit a390432, into `/srv/stores`.
"""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from llama_index.core.schema import MediaResource, Node, QueryBundle, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from PIL import Image

from langchain_adapter.hash_embedder import HashEmbedder
from langchain_qwen3_vl import MultimodalChroma, Qwen3VLEmbeddings, image_document
from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.indices.qwen3_vl import UnifiedMultiModalIndex

READINGS = ("viewer", "reference")
"""Each is the name of a collection, too, and says how its images were read."""

COLORS = ("red", "green", "blue")
QUERIES = ("note 3", "note 11", "the red one", "anything at all")


def open_langchain(folder: Path, collection: str, reading: str) -> MultimodalChroma:
    embeddings = Qwen3VLEmbeddings(model=HashEmbedder(image_reading=reading))
    return MultimodalChroma(collection, embeddings, persist_directory=folder)


def open_llama_index(folder: Path, collection: str, reading: str) -> UnifiedMultiModalIndex:
    embedding = Qwen3VLEmbedding(embedder=HashEmbedder(image_reading=reading))
    return UnifiedMultiModalIndex.from_persist_dir(folder, collection_name=collection, embed_model=embedding)


def list_langchain_hits(store: MultimodalChroma) -> dict[str, Any]:
    found = {query: store.similarity_search_with_score(query, k=20) for query in QUERIES}
    found["first"] = store.similarity_search_with_score("anything at all", k=20, filter={"batch": "first"})
    return {
        query: [[hit.id, hit.page_content, hit.metadata, round(score, 6)] for hit, score in hits]
        for query, hits in found.items()
    }


def list_llama_index_hits(index: UnifiedMultiModalIndex) -> dict[str, Any]:
    retriever = index.as_retriever(similarity_top_k=20)
    filters = MetadataFilters(filters=[MetadataFilter(key="batch", value="first")])
    found = {query: retriever.retrieve(QueryBundle(query)) for query in QUERIES}
    found["first"] = index.as_retriever(similarity_top_k=20, filters=filters).retrieve("anything at all")
    return {
        query: [[hit.node.node_id, hit.node.get_content(), hit.node.metadata, round(hit.score, 6)] for hit in hits]
        for query, hits in found.items()
    }


def write_langchain(folder: Path, pictures: list[Path]) -> None:
    for reading in READINGS:
        store = open_langchain(folder, reading, reading)
        store.add_texts(
            [f"note {number}" for number in range(12)],
            [{"batch": "first" if number < 6 else "second", "number": number} for number in range(12)],
            [f"note-{number}" for number in range(12)],
        )
        store.add_images(pictures, ids=list(COLORS))
        store.add_documents([image_document(pictures[0], text="the red one", id="mixed")])
        store.delete(["note-1"])
        store.add_documents([Document("note 2, changed", metadata={"tags": ["a", "b"], "share": 0.5}, id="note-2")])
        del store


def write_llama_index(folder: Path, pictures: list[Path]) -> None:
    for reading in READINGS:
        embedding = Qwen3VLEmbedding(embedder=HashEmbedder(image_reading=reading))
        nodes = [
            TextNode(
                id_=f"note-{number}",
                text=f"note {number}",
                metadata={"batch": "first" if number < 6 else "second", "number": number},
            )
            for number in range(12)
        ]
        images = [
            Node(id_=color, image_resource=MediaResource(path=path))
            for color, path in zip(COLORS, pictures, strict=True)
        ]
        index = UnifiedMultiModalIndex.from_nodes(
            [*nodes, *images], persist_dir=folder, collection_name=reading, embed_model=embedding
        )
        index.delete_nodes(["note-1"])
        index.insert_nodes([TextNode(id_="note-2", text="note 2, changed", metadata={"share": 0.5})])


KINDS = {
    "langchain": (write_langchain, open_langchain, list_langchain_hits),
    "llama-index": (write_llama_index, open_llama_index, list_llama_index_hits),
}
"""How a store of each kind is written, opened and searched."""


def main() -> None:
    root = Path(sys.argv[1])
    for kind, (write, open_store, list_hits) in KINDS.items():
        folder = root / kind
        folder.mkdir(parents=True)
        pictures = [folder / f"{color}.png" for color in COLORS]
        for color, path in zip(COLORS, pictures, strict=True):
            Image.new("RGB", (16, 12), color).save(path)
        write(folder, pictures)
        expected = {reading: list_hits(open_store(folder, reading, reading)) for reading in READINGS}
        (folder / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True), encoding="utf-8")
        with tarfile.open(root / f"{kind}-chroma.tar.xz", "w:xz", preset=9) as archive:
            archive.add(folder, arcname=".", filter=_keep_data)


def _keep_data(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return None if entry.name.endswith(".lock") else entry


if __name__ == "__main__":
    main()
