"""Every type of node through every store: what LlamaIndex loses by itself, and what comes back from our index."""

from __future__ import annotations

import base64
import uuid
from pathlib import Path

import chromadb
import pytest
from llama_index.core.schema import (
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    QueryBundle,
    TextNode,
)
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.vector_stores.chroma import ChromaVectorStore

from llama_index.indices.qwen3_vl import UnifiedMultiModalIndex
from llama_index.indices.qwen3_vl.media_folders import MediaFolder
from llama_index.indices.qwen3_vl.stored_nodes import prepare_node
from llama_index.retrievers.qwen3_vl.found_nodes import restore_node
from llama_index.schema.qwen3_vl.nodes import build_node_item
from qwen3_vl_retrieval import InputError
from rounding import bound

NAMES = (
    "text",
    "image_path",
    "image_base64",
    "image_captioned",
    "node_text_image",
    "node_image",
    "node_bytes",
    "node_video",
    "node_text_video",
    "node_text_image_video",
    "image_document",
    "document_image",
    "document_text",
    "index",
    "page",
)


def make_node(name, pictures):
    picture, clip = pictures / "picture-0.png", pictures / "clip.mp4"
    content = picture.read_bytes()
    image, video = MediaResource(path=picture), MediaResource(path=clip)
    text = MediaResource(text="a caption")
    return {
        "text": lambda: TextNode(text="words", metadata={"title": "a title"}),
        "image_path": lambda: ImageNode(image_path=str(picture)),
        "image_base64": lambda: ImageNode(image=base64.b64encode(content).decode()),
        "image_captioned": lambda: ImageNode(image_path=str(picture), text="a caption"),
        "node_text_image": lambda: Node(text_resource=text, image_resource=image),
        "node_image": lambda: Node(image_resource=image),
        "node_bytes": lambda: Node(image_resource=MediaResource(data=content)),
        "node_video": lambda: Node(video_resource=video, metadata={"start": 0.0, "end": 1.0}),
        "node_text_video": lambda: Node(text_resource=text, video_resource=video),
        "node_text_image_video": lambda: Node(text_resource=text, image_resource=image, video_resource=video),
        "image_document": lambda: ImageDocument(image_path=str(picture)),
        "document_image": lambda: Document(image_resource=image, text="a caption"),
        "document_text": lambda: Document(text="words"),
        "index": lambda: IndexNode(text="words", index_id="elsewhere"),
        "page": lambda: Node(metadata={"media_type": "page", "source": str(pictures / "paper.pdf"), "page": 2}),
    }[name]()


def list_media(node):
    """What a node holds besides its text: the bytes of each medium, by its name."""
    if isinstance(node, ImageNode):
        content = Path(node.image_path).read_bytes() if node.image_path else node.resolve_image().read()
        return {"image": content}
    if not isinstance(node, Node):
        return {}
    found = {}
    for medium in ("image", "video"):
        resource = getattr(node, f"{medium}_resource")
        if resource is not None:
            found[medium] = resource.path.read_bytes() if resource.path else base64.b64decode(resource.data)
    return found


@pytest.mark.parametrize("kind", ["chroma", "simple"])
@pytest.mark.parametrize("name", NAMES)
def test_every_node_comes_back_with_its_text_its_pixels_and_its_place_in_the_space(
    kind, name, embedding, pictures, tmp_path
):
    node = make_node(name, pictures)
    vector = embedding.get_node_embeddings([node])[0]
    index = UnifiedMultiModalIndex.from_nodes(
        [node],
        embed_model=embedding,
        persist_dir=tmp_path / "store" if kind == "chroma" else None,
        media_dir=tmp_path / "media",
    )
    (found,) = index.as_retriever().retrieve(QueryBundle("", embedding=vector))
    assert found.score == pytest.approx(1.0, abs=bound(1e-4))
    back = found.node
    assert back.node_id == node.node_id
    assert back.get_content(MetadataMode.NONE) == node.get_content(MetadataMode.NONE)
    assert list_media(back) == list_media(node)
    assert not isinstance(back, Document)
    assert {key: back.metadata[key] for key in node.metadata} == node.metadata
    # What it means is what it meant, so that it is judged, and embedded again, as it was embedded.
    again = embedding.get_node_embeddings([back])[0]
    assert embedding.similarity(vector, again) == pytest.approx(1.0, abs=bound(1e-4))
    if not node.get_content(MetadataMode.NONE) and isinstance(back, Node):
        assert back.text_resource is None
        assert all(block.block_type != "text" for block in back.get_content_blocks())
    for value in back.metadata.values():
        assert isinstance(value, (str, int, float, bool))
        assert len(str(value)) < 2_000


@pytest.mark.parametrize("kind", ["chroma", "simple"])
def test_a_node_that_comes_back_has_the_same_hash_each_time(kind, embedding, pictures, tmp_path):
    nodes = [make_node(name, pictures) for name in ("text", "image_path", "node_image", "node_text_video", "page")]
    index = UnifiedMultiModalIndex.from_nodes(
        nodes, embed_model=embedding, persist_dir=tmp_path if kind == "chroma" else None
    )
    first, second = (
        {one.node.node_id: one.node.hash for one in index.as_retriever().retrieve(query)} for query in ("a", "b")
    )
    assert first == second
    assert len(set(first.values())) == len(nodes)


def read_back(node):
    """What LlamaIndex's own store gives back."""
    collection = chromadb.EphemeralClient().create_collection(f"plain-{uuid.uuid4().hex}")
    store = ChromaVectorStore(chroma_collection=collection)
    node.embedding = [1.0, 0.0]
    store.add([node])
    result = store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=1))
    return result.nodes[0]


def test_what_the_plain_store_does_to_each_type(pictures):
    assert read_back(make_node("image_path", pictures)).image_path == str(pictures / "picture-0.png")
    encoded = read_back(make_node("image_base64", pictures))
    assert len(encoded.image) > 1_000
    assert read_back(make_node("node_text_image", pictures)).image_resource.path == pictures / "picture-0.png"
    bare = read_back(make_node("node_image", pictures))
    assert bare.text_resource.text == ""
    assert restore_node(bare).text_resource is None
    assert read_back(make_node("node_bytes", pictures)).image_resource.data is None
    for name in ("image_document", "document_image"):
        assert type(read_back(make_node(name, pictures))) is TextNode


def test_a_node_whose_data_a_store_has_lost_says_so(pictures):
    with pytest.raises(InputError, match="neither data nor path nor url"):
        build_node_item(read_back(make_node("node_bytes", pictures)))


def test_metadata_that_chroma_does_not_keep_are_named(embedding, pictures, tmp_path):
    index = UnifiedMultiModalIndex.from_nodes([], embed_model=embedding, persist_dir=tmp_path)
    with pytest.raises(InputError, match="node 1: the metadatum 'tags' is list"):
        index.insert_nodes([TextNode(text="a"), TextNode(text="b", metadata={"tags": ["c"]})])
    node = TextNode(text="a", metadata={"path": pictures, "none": None, "flag": True})
    index.insert_nodes([node])
    (found,) = index.as_retriever().retrieve("a")
    assert found.node.metadata == {"path": str(pictures), "none": None, "flag": True}
    simple = UnifiedMultiModalIndex.from_nodes([TextNode(text="b", metadata={"tags": ["c"]})], embed_model=embedding)
    assert simple.as_retriever().retrieve("b")[0].node.metadata == {"tags": ["c"]}


def test_a_text_node_of_a_store_that_names_an_image_has_its_pixels(pictures):
    row = TextNode(
        text="a caption", metadata={"media_type": "mixed", "image": (pictures / "picture-0.png").as_uri(), "number": 1}
    )
    node = restore_node(row)
    assert node.image_resource.path == pictures / "picture-0.png"
    assert node.get_content() == "a caption"
    assert node.node_id == row.node_id
    assert node.excluded_llm_metadata_keys == ["media_type", "image"]
    remote = restore_node(TextNode(metadata={"media_type": "image", "image": "https://example.org/a.png"}))
    assert str(remote.image_resource.url) == "https://example.org/a.png"
    plain = TextNode(text="words", metadata={"image": "on the wall"})
    assert restore_node(plain) is plain


def test_metadata_say_what_a_node_is_and_are_hidden_from_models(pictures, tmp_path):
    folder = MediaFolder(folder=tmp_path, policy=None)
    picture = Node(image_resource=MediaResource(path=pictures / "picture-0.png"), metadata={"width": 7})
    told = prepare_node(picture, folder).metadata
    assert {key: told[key] for key in ("media_type", "mime_type", "width")} == {
        "media_type": "image",
        "mime_type": "image/png",
        # The caller's own.
        "width": 7,
    }
    assert len(told["sha256"]) == 64
    captioned = make_node("node_text_image", pictures)
    assert prepare_node(captioned, folder).metadata["media_type"] == "mixed"
    assert prepare_node(captioned, folder, caption_mode="image_only").metadata["media_type"] == "image"
    prepared = prepare_node(captioned, folder)
    assert prepared.get_metadata_str(MetadataMode.LLM) == prepared.get_metadata_str(MetadataMode.EMBED) == ""
    assert captioned.metadata == {}
    assert prepare_node(TextNode(text="a"), folder).metadata == {}
