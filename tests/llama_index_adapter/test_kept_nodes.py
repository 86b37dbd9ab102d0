"""What stores must hold whatever the caller has: odd names of files, odd metadata, and very many ids."""

from __future__ import annotations

import math
import os
import sys

import numpy as np
import pytest
from llama_index.core import Document
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import ImageNode, MediaResource, Node, TextNode
from PIL import Image

from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.indices.qwen3_vl import UnifiedMultiModalIndex
from llama_index.indices.qwen3_vl.stores import list_stored_ids
from llama_index.node_parser.qwen3_vl import MediaNodeParser
from llama_index_adapter.plain_models import PlainEmbedder
from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.paths import decode_path, encode_path

NAMES = [b"caf\xe9.png", b"gr\xfc\xdfe 100%41#1?2.png", b"line\nbreak.png", b"data:,x.png", "👩‍🔬 \u202e.png".encode()]

needs_bytes = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")


@pytest.fixture
def plain():
    return Qwen3VLEmbedding(embedder=PlainEmbedder())


@pytest.fixture(params=["chroma", "memory"])
def index(request, plain, tmp_path):
    persist_dir = tmp_path / "store" if request.param == "chroma" else None
    return UnifiedMultiModalIndex([], embed_model=plain, persist_dir=persist_dir, media_dir=tmp_path / "media")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / os.fsdecode(b"ordner \xfc")
    folder.mkdir()
    for place, name in enumerate(NAMES):
        Image.new("RGB", (64, 64), (40 * place, 0, 0)).save(folder / os.fsdecode(name))
    return folder


def find_all(index):
    return [one.node for one in index.as_retriever(similarity_top_k=99).retrieve("anything")]


@needs_bytes
def test_a_folder_with_names_that_are_no_utf8_becomes_nodes_that_are_found_and_opened(index, folder):
    (folder / os.fsdecode(b"broken\xff.png")).write_bytes(b"no picture")
    [failure] = index.add_files(folder, on_error="skip")
    assert os.fsencode(failure.path.name) == b"broken\xff.png"
    (folder / os.fsdecode(b"broken\xff.png")).unlink()
    nodes = find_all(index)
    assert {decode_path(node.metadata["image"]) for node in nodes} == set(folder.iterdir())
    assert len({node.hash for node in nodes}) == len(NAMES)
    for node in nodes:
        assert Node.from_dict(node.to_dict()).image_resource == node.image_resource
        assert node.model_dump_json()
    index.add_files(folder)
    assert len(find_all(index)) == len(NAMES)
    index.delete_ref_doc(str(folder / os.fsdecode(NAMES[0])), delete_from_docstore=True)
    index.delete_ref_doc(encode_path(folder / os.fsdecode(NAMES[1])), delete_from_docstore=True)
    assert len(find_all(index)) == len(NAMES) - 2


@needs_bytes
def test_nodes_and_documents_that_name_such_a_file_in_any_way_are_kept(index, folder):
    paths = [folder / os.fsdecode(name) for name in NAMES]
    index.insert_nodes(
        [
            ImageNode(image_path=str(paths[0])),
            Node(image_resource=MediaResource(path=paths[1])),
            ImageNode(image_url=paths[2].as_uri()),
            TextNode(text="read by another reader", metadata={"file_path": str(paths[3])}),
        ]
    )
    nodes = find_all(index)
    assert {decode_path(node.metadata["image"]) for node in nodes if "image" in node.metadata} == set(paths[:3])
    assert all(node.hash for node in nodes)


@needs_bytes
def test_parsers_make_nodes_of_such_files_that_a_pipeline_can_hash_and_keep(folder):
    paths = [folder / os.fsdecode(name) for name in NAMES]
    documents = [Document(text="", metadata={"media_type": "image", "image": encode_path(path)}) for path in paths]
    pipeline = IngestionPipeline(transformations=[MediaNodeParser()])
    nodes = pipeline.run(documents=documents)
    assert {decode_path(node.metadata["source"]) for node in nodes} == set(paths)
    assert nodes[0].metadata["file_name"] == "caf\N{REPLACEMENT CHARACTER}.png"
    assert all(node.hash and node.model_dump_json() for node in nodes)


@needs_bytes
def test_an_index_of_the_command_line_gives_nodes_of_such_files(folder, tmp_path, embedding):
    for name in NAMES[1:]:
        (folder / os.fsdecode(name)).unlink()
    with MultimodalIndex.open(tmp_path / "library", embedding.embedder) as library:
        library.add(folder)
        view = UnifiedMultiModalIndex.from_multimodal_index(library)
        nodes = find_all(view)
        assert {decode_path(node.metadata["image"]) for node in nodes} == set(folder.iterdir())
        assert all(node.hash and node.image_resource is not None for node in nodes)


@pytest.mark.parametrize(
    "metadata",
    [{"x": math.nan}, {"x": np.float32("inf")}, {"x": "half \ud83d"}, {"half \udc80": 1}, {"x": {"y": [math.nan]}}],
    ids=ascii,
)
def test_a_node_of_bad_metadata_is_named_before_anything_is_embedded(index, plain, metadata):
    nodes = [TextNode(text="a", id_="a"), TextNode(text="b", id_="b", metadata=metadata)]
    with pytest.raises(InputError, match="node 1: "):
        index.insert_nodes(nodes)
    assert find_all(index) == []
    index.insert_nodes(nodes[:1])
    assert [node.node_id for node in find_all(index)] == ["a"]


def test_ids_and_texts_that_no_database_holds_are_named(index):
    for node in (TextNode(text="a", id_="half \udc80"), TextNode(text="half \ud83d", id_="a")):
        with pytest.raises(InputError, match=r"node 0: .*surrogate"):
            index.insert_nodes([node])


def test_metadata_of_files_are_checked_before_the_files_are_read(index, tmp_path):
    (tmp_path / "note.txt").write_text("a note")
    with pytest.raises(InputError, match="'price'"):
        index.add_files(tmp_path / "note.txt", metadata={"price": math.nan}, on_error="skip")
    index.add_files(tmp_path / "note.txt", metadata={"price": np.float64(2), "none": None})
    assert find_all(index)[0].metadata["price"] == 2.0


def test_more_ids_than_sqlite_has_variables_are_asked_for_and_deleted(plain, tmp_path):
    index = UnifiedMultiModalIndex([], embed_model=plain, persist_dir=tmp_path / "store")
    index.insert_nodes([TextNode(text="a", id_="a"), TextNode(text="b", id_="b")])
    many = ["a", *(f"none {number}" for number in range(40_000)), "b"]
    assert list_stored_ids(index.vector_store, many) == {"a", "b"}
    index.delete_nodes(many[:-1])
    assert [node.node_id for node in find_all(index)] == ["b"]
