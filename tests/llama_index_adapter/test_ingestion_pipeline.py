from __future__ import annotations

import asyncio
import random
import shutil
from typing import ClassVar

import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.schema import Document, ImageDocument, ImageNode, MediaResource, MetadataMode, Node
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.vector_stores.chroma import ChromaVectorStore

from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.node_parser.qwen3_vl import (
    MediaNodeParser,
    MultiModalIngestionPipeline,
    multimodal_ingestion_pipeline,
)
from qwen3_vl_retrieval import InputError
from rounding import bound


def _hold(path, **fields) -> Document:
    return Document(image_resource=MediaResource(path=path), **fields)


class _Counting(Qwen3VLEmbedding):
    """Keeps the names of the files that it embedded."""

    # No field: what is one tells models apart in the cache.
    embedded: ClassVar[list[str]] = []

    def __call__(self, nodes, **options):
        self.embedded.extend(str(node.metadata.get("file_name")) for node in nodes)
        return super().__call__(nodes, **options)

    async def acall(self, nodes, **options):
        self.embedded.extend(str(node.metadata.get("file_name")) for node in nodes)
        return await super().acall(nodes, **options)


@pytest.fixture
def counting() -> _Counting:
    _Counting.embedded.clear()
    return _Counting(model_name="pocket")


def _build_store(name: str) -> ChromaVectorStore:
    import chromadb

    client = chromadb.EphemeralClient()
    number = random.randrange(10**9)
    return ChromaVectorStore(chroma_collection=client.create_collection(f"{name}-{number}"))


def test_two_images_without_text_collide_in_llama_index_and_not_here(pictures, embedding):
    def run(pipeline, number):
        (node,) = pipeline.run(nodes=[Node(image_resource=MediaResource(path=pictures / f"picture-{number}.png"))])
        return node

    theirs = IngestionPipeline(transformations=[embedding])
    assert run(theirs, 0).image_resource.path == run(theirs, 1).image_resource.path
    for ours in (
        MultiModalIngestionPipeline(transformations=[embedding]),
        multimodal_ingestion_pipeline(embed_model=embedding),
    ):
        first, second = run(ours, 0), run(ours, 1)
        assert [first.image_resource.path.name, second.image_resource.path.name] == ["picture-0.png", "picture-1.png"]
        assert second.embedding != first.embedding
        assert second.embedding == pytest.approx(
            embedding.get_image_embedding(str(pictures / "picture-1.png")), abs=bound(1e-5)
        )


def test_the_cache_still_saves_the_work(pictures, counting):
    embedding = counting
    cache = IngestionCache()
    for _ in range(2):
        pipeline = multimodal_ingestion_pipeline(embed_model=embedding, cache=cache)
        (node,) = pipeline.run(documents=[_hold(pictures / "picture-0.png", id_="a")])
        assert node.embedding is not None
        assert node.image_resource.path == pictures / "picture-0.png"
    assert embedding.embedded == ["picture-0.png"]


def test_an_image_replaced_behind_its_path_is_no_cache_hit(pictures, tmp_path, counting):
    pipeline = multimodal_ingestion_pipeline(embed_model=counting)
    path = tmp_path / "picture.png"
    vectors = []
    for number in (0, 1):
        shutil.copy(pictures / f"picture-{number}.png", path)
        for document in (_hold(path, id_="a"), ImageNode(id_="a", image_path=str(path))):
            (node,) = pipeline.run(nodes=[document])
            vectors.append(node.embedding)
    assert vectors[0] == pytest.approx(vectors[1], abs=bound(1e-5))
    assert vectors[2] == pytest.approx(vectors[3], abs=bound(1e-5))
    assert vectors[0] != pytest.approx(vectors[2], abs=1e-3)


@pytest.mark.parametrize("is_async", [False, True])
def test_with_a_docstore_unchanged_documents_are_skipped_and_replaced_images_embedded_again(
    pictures, tmp_path, counting, is_async
):
    store = _build_store("docstore")
    pipeline = multimodal_ingestion_pipeline(embed_model=counting, vector_store=store, docstore=SimpleDocumentStore())
    paths = [tmp_path / f"{number}.png" for number in range(2)]

    def run():
        counting.embedded.clear()
        documents = [_hold(path, id_=path.name) for path in paths]
        if is_async:
            asyncio.run(pipeline.arun(documents=documents))
        else:
            pipeline.run(documents=documents)
        return list(counting.embedded)

    for number, path in enumerate(paths):
        shutil.copy(pictures / f"picture-{number}.png", path)
    assert run() == ["0.png", "1.png"]
    assert run() == []
    shutil.copy(pictures / "picture-2.png", paths[1])
    assert run() == ["1.png"]
    rows = store._collection.get(include=["metadatas", "embeddings"])
    vectors = {about["file_name"]: vector for about, vector in zip(rows["metadatas"], rows["embeddings"], strict=True)}
    assert len(rows["ids"]) == 2
    for name, number in (("0.png", 0), ("1.png", 2)):
        wanted = counting.get_image_embedding(str(pictures / f"picture-{number}.png"))
        assert vectors[name].tolist() == pytest.approx(wanted, abs=bound(1e-5))


def test_llama_index_alone_does_not_see_that_an_image_was_replaced(pictures, tmp_path, counting):
    store = _build_store("theirs")
    theirs = IngestionPipeline(
        transformations=[MediaNodeParser(), counting], vector_store=store, docstore=SimpleDocumentStore()
    )
    path = tmp_path / "picture.png"
    for number in (0, 1):
        shutil.copy(pictures / f"picture-{number}.png", path)
        theirs.run(documents=[_hold(path, id_="a")])
    assert counting.embedded == ["picture.png"]


def test_images_pages_videos_and_texts_go_through_one_pipeline(pictures, embedding, tmp_path):
    documents = [
        Document(id_="text", text="Red mugs. " * 400),
        ImageDocument(id_="image", image_path=str(pictures / "picture-0.png"), text="a caption"),
        Document(id_="pdf", metadata={"file_path": str(pictures / "paper.pdf")}),
        Document(id_="clip", metadata={"file_path": str(pictures / "clip.mp4")}),
    ]
    before = [document.to_dict() for document in documents]
    store = _build_store("all")
    pipeline = multimodal_ingestion_pipeline(
        embed_model=embedding,
        vector_store=store,
        segment_seconds=1.0,
        overlap_seconds=0.0,
        media_dir=tmp_path,
        text_splitter=TokenTextSplitter(chunk_size=200, chunk_overlap=0),
    )
    nodes = pipeline.run(documents=documents)
    assert [document.to_dict() for document in documents] == before
    kinds = [node.metadata.get("media_type", "text") for node in nodes]
    assert kinds.count("text") >= 2
    assert kinds.count("page") == 2
    assert kinds.count("video") >= 2
    assert kinds.count("mixed") == 1
    assert all(node.embedding is not None for node in nodes)
    stored = {node.node_id: node for node in store.get_nodes(node_ids=None)}
    assert stored.keys() == {node.node_id for node in nodes}
    for node in nodes:
        back = stored[node.node_id]
        assert back.get_content(MetadataMode.NONE) == node.get_content(MetadataMode.NONE)
        assert embedding([back])[0].embedding == pytest.approx(node.embedding, abs=bound(1e-5))


def test_broken_files_are_named_or_left_out(pictures, tmp_path, embedding):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    documents = [_hold(broken, id_="bad"), _hold(pictures / "picture-0.png", id_="good")]
    with pytest.raises(InputError, match=r"document 0: .*broken\.png"):
        multimodal_ingestion_pipeline(embed_model=embedding).run(documents=documents)
    nodes = multimodal_ingestion_pipeline(embed_model=embedding, on_error="skip").run(documents=documents)
    assert [node.ref_doc_id for node in nodes] == ["good"]
    with pytest.raises(InputError, match=r"gone\.png"):
        multimodal_ingestion_pipeline().run(documents=[_hold("gone.png")])


def test_what_is_behind_a_url_is_known_by_the_url():
    urls = [f"https://example.org/{number}.png" for number in range(2)]
    pipeline = multimodal_ingestion_pipeline()
    found = [pipeline.run(documents=[Document(id_=url, image_resource=MediaResource(url=url))])[0] for url in urls]
    assert [str(node.image_resource.url) for node in found] == urls


def test_transformations_may_be_the_callers(pictures):
    class Named(BaseEmbedding):
        def _get_text_embedding(self, text):
            return [1.0]

        def _get_query_embedding(self, query):
            return [1.0]

        async def _aget_query_embedding(self, query):
            return [1.0]

    pipeline = multimodal_ingestion_pipeline(transformations=[MediaNodeParser()], embed_model=Named())
    assert [type(one).__name__ for one in pipeline.transformations] == ["MediaNodeParser", "Named"]
    (node,) = pipeline.run(documents=[_hold(pictures / "picture-0.png")])
    assert node.embedding == [1.0]


def test_a_persisted_cache_gives_the_images_back(pictures, tmp_path, embedding):
    pipeline = multimodal_ingestion_pipeline(embed_model=embedding)
    documents = [_hold(pictures / "picture-0.png", id_="a")]
    (first,) = pipeline.run(documents=documents)
    pipeline.persist(str(tmp_path))
    other = multimodal_ingestion_pipeline(embed_model=_Counting(model_name="pocket"))
    other.load(str(tmp_path))
    again = multimodal_ingestion_pipeline(embed_model=embedding, cache=other.cache)
    (second,) = again.run(documents=documents)
    assert second.to_dict() == first.to_dict()
