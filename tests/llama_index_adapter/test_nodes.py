"""What models are given for a node of every type, and after every store."""

from __future__ import annotations

import base64
from pathlib import Path

import chromadb
import pytest
from llama_index.core.schema import (
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeWithScore,
    TextNode,
)
from llama_index.core.storage.docstore.utils import doc_to_json, json_to_doc
from llama_index.core.vector_stores import VectorStoreQuery
from llama_index.vector_stores.chroma import ChromaVectorStore
from PIL import Image

from llama_index.schema.qwen3_vl.nodes import build_node_item, build_node_items, read_caption
from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy, MediaPolicyError
from qwen3_vl_retrieval.index import build_item

VECTOR = [1.0, 0.0]


@pytest.fixture(scope="module")
def picture(pictures):
    return str(pictures / "picture-0.png")


@pytest.fixture(scope="module")
def data(picture):
    return Path(picture).read_bytes()


@pytest.fixture
def chroma():
    client = chromadb.EphemeralClient()
    store = ChromaVectorStore(chroma_collection=client.create_collection("nodes"))
    yield store
    client.delete_collection("nodes")


def pass_through(store, node):
    node.embedding = VECTOR
    store.add([node])
    [found] = store.query(VectorStoreQuery(query_embedding=VECTOR, similarity_top_k=1)).nodes
    return found


def resource(**options):
    return MediaResource(**options)


def test_a_text_has_its_metadata_as_in_llama_index():
    node = TextNode(text="a mug", metadata={"shop": "north", "hidden": "1"}, excluded_embed_metadata_keys=["hidden"])
    assert build_node_item(node) == "shop: north\n\na mug"
    assert build_node_item(Document(text="a mug", metadata={"shop": "north"})) == "shop: north\n\na mug"
    assert build_node_item(Node(text_resource=resource(text="a mug"))) == "a mug"


def test_a_text_that_looks_like_a_path_is_a_text(picture):
    for text in (picture, "https://example.org/a.png", "data:image/png;base64,AAAA"):
        assert build_node_item(TextNode(text=text)) == text
        assert build_node_item(TextNode(text=text, metadata={"file_path": picture})).endswith(text)


def test_every_form_of_an_image_node_is_its_image(picture, data):
    encoded = base64.b64encode(data).decode()
    assert build_node_item(ImageNode(image_path=picture)) == {"image": picture}
    assert build_node_item(ImageNode(image=encoded)) == {"image": data}
    assert build_node_item(ImageNode(image=f"data:image/png;base64,{encoded}"))["image"].startswith("data:image/png")
    assert build_node_item(ImageNode(image_url="https://example.org/a.png")) == {"image": "https://example.org/a.png"}


def test_every_form_of_a_resource_is_its_image_or_video(picture, data):
    assert build_node_item(Node(image_resource=resource(path=picture))) == {"image": Path(picture)}
    assert build_node_item(Node(image_resource=resource(data=data))) == {"image": data}
    assert build_node_item(Node(image_resource=resource(url="https://example.org/a.png"))) == {
        "image": "https://example.org/a.png"
    }
    assert build_node_item(Node(video_resource=resource(path="clip.mp4"))) == {"video": Path("clip.mp4")}
    assert build_node_item(ImageDocument(image_path=picture)) == {"image": Path(picture)}
    assert build_node_item(ImageDocument(image=base64.b64encode(data).decode())) == {"image": data}
    assert build_node_item(Document(image_resource=resource(path=picture))) == {"image": Path(picture)}


@pytest.mark.parametrize("mode", ["fuse", "image_only"])
def test_a_caption_is_seen_with_its_image_or_not_at_all(mode, picture):
    text = {"text": "sold out"} if mode == "fuse" else {}
    image = ImageNode(text="sold out", image_path=picture)
    node = Node(text_resource=resource(text="sold out"), image_resource=resource(path=picture))
    clip = Node(text_resource=resource(text="sold out"), video_resource=resource(path="clip.mp4"))
    assert build_node_item(image, caption_mode=mode) == {"image": picture} | text
    assert build_node_item(node, caption_mode=mode) == {"image": Path(picture)} | text
    assert build_node_item(clip, caption_mode=mode) == {"video": Path("clip.mp4")} | text


def test_names_of_files_are_not_read_to_the_model(picture):
    metadata = {"file_path": picture, "shop": "north"}
    node = Node(text_resource=resource(text="sold out"), image_resource=resource(path=picture), metadata=metadata)
    assert build_node_item(ImageNode(image_path=picture, metadata=metadata)) == {"image": picture}
    assert build_node_item(node)["text"] == "sold out"
    # LlamaIndex embeds this one as the text "file_path: …".
    assert build_node_item(ImageNode(metadata=metadata)) == {"image": picture}


def test_metadata_say_what_the_models_see(picture):
    named = {"image": picture}
    for media_type, expected in (
        ("image", {"image": picture}),
        ("mixed", {"image": picture, "text": "sold out"}),
        ("text", "sold out"),
    ):
        metadata = {"media_type": media_type, **named, "note": "x"}
        node = TextNode(text="sold out", metadata=metadata)
        assert build_node_item(node) == expected == build_item("sold out", metadata)
    node = Node(
        text_resource=resource(text="a caption"),
        image_resource=resource(path=picture),
        metadata={"media_type": "image", "image": picture},
    )
    assert build_node_item(node) == {"image": Path(picture)}
    mixed = TextNode(text="sold out", metadata={"media_type": "mixed", **named})
    assert build_node_item(mixed, caption_mode="image_only") == {"image": picture}


def test_a_window_of_a_video_is_kept(pictures):
    clip = str(pictures / "clip.mp4")
    window = {"media_type": "video", "start": 1, "end": "2.5"}
    node = Node(video_resource=resource(path=clip), text_resource=resource(text="said"), metadata=window)
    assert build_node_item(node) == {"video": Path(clip), "start": 1.0, "end": 2.5}
    assert build_node_item(TextNode(text="", metadata={"video": clip, **window})) == {
        "video": clip,
        "start": 1.0,
        "end": 2.5,
    }


def test_a_page_is_rendered_as_the_core_renders_it(pictures, tmp_path):
    metadata = {"media_type": "page", "source": str(pictures / "paper.pdf"), "page": 2}
    found = build_node_item(TextNode(text="the text layer", metadata=metadata))
    assert isinstance(found, Image.Image)
    assert found.tobytes() == build_item("the text layer", metadata).tobytes()
    with pytest.raises(MediaPolicyError):
        build_node_item(TextNode(text="", metadata=metadata), media_policy=MediaPolicy(allow_dirs=(tmp_path,)))


def test_what_a_node_holds_goes_before_what_its_metadata_name(picture):
    metadata = {"media_type": "page", "source": "gone.pdf", "page": 1}
    assert build_node_item(Node(image_resource=resource(path=picture), metadata=metadata)) == {"image": Path(picture)}


def test_empty_metadata_of_stores_are_none(picture):
    node = TextNode(text="words", metadata={"media_type": "", "image": "", "video": "", "start": ""})
    assert build_node_item(node).endswith("words")
    clip = TextNode(text="", metadata={"media_type": "video", "video": "clip.mp4", "start": "", "end": ""})
    assert build_node_item(clip) == {"video": "clip.mp4"}


def test_a_mime_type_of_others_is_no_media_type():
    node = TextNode(
        text="words", metadata={"media_type": "application/pdf"}, excluded_embed_metadata_keys=["media_type"]
    )
    assert build_node_item(node) == "words"
    with pytest.raises(InputError, match="media_type='imgae' is unknown"):
        build_node_item(TextNode(text="words", metadata={"media_type": "imgae"}))


def test_a_reference_is_its_text_or_else_its_object(picture):
    assert build_node_item(IndexNode(text="about mugs", index_id="1")) == "about mugs"
    target = ImageNode(image_path=picture)
    assert build_node_item(IndexNode(text="", index_id="1", obj=target)) == {"image": picture}


def test_a_node_with_nothing_in_it_is_refused():
    for node in (TextNode(text=" "), Node(), Document(), IndexNode(text="", index_id="1")):
        with pytest.raises(InputError, match="has neither text nor image nor video; leave it out"):
            build_node_item(node)
    with pytest.raises(InputError, match="sound cannot be embedded: transcribe it"):
        build_node_item(Node(audio_resource=resource(path="talk.mp3")))
    with pytest.raises(InputError, match="neither text"):
        build_node_item(TextNode(text="", metadata={"media_type": "text", "source": "empty.txt"}))


def test_an_image_that_llama_index_drops_is_missed(data):
    lost = ImageNode(text="a caption", image_resource=resource(data=data))
    assert lost.image is None
    with pytest.raises(InputError, match=r"the image of the ImageNode .* is missing"):
        build_node_item(lost)


def test_data_that_is_no_base64_or_too_much_of_it_is_refused(data):
    with pytest.raises(InputError, match=r"the base64 of the image cannot be decoded"):
        build_node_item(ImageNode(image="%%%"))
    with pytest.raises(MediaPolicyError, match=r"above max_bytes=100; give a smaller one"):
        build_node_item(Node(image_resource=resource(data=data)), media_policy=MediaPolicy(max_bytes=100))


def test_positions_of_nodes_are_told(picture):
    nodes = [TextNode(text="fine"), NodeWithScore(node=ImageNode(image_path=picture)), TextNode(text="")]
    assert build_node_items(nodes[:2]) == ["fine", {"image": picture}]
    with pytest.raises(InputError, match=r"^node 2: the TextNode"):
        build_node_items(nodes)


def test_the_caption_is_the_text_without_metadata(picture):
    node = ImageNode(text="sold out", image_path=picture, metadata={"shop": "north"})
    assert read_caption(node) == read_caption(NodeWithScore(node=node)) == "sold out"
    assert read_caption(Node(image_resource=resource(path=picture))) == ""


# What Chroma gives back of each type: the table of the report.


def test_an_image_node_comes_back_whole(chroma, picture):
    node = ImageNode(image_path=picture, text="sold out")
    assert build_node_item(pass_through(chroma, node)) == {"image": picture, "text": "sold out"}


def test_an_image_node_of_data_comes_back_whole(chroma, data):
    node = ImageNode(image=base64.b64encode(data).decode())
    assert build_node_item(pass_through(chroma, node)) == {"image": data}


def test_a_node_with_text_and_paths_comes_back_whole(chroma, picture):
    node = Node(
        text_resource=resource(text="sold out"),
        image_resource=resource(path=picture),
        video_resource=resource(path="clip.mp4"),
    )
    found = build_node_item(pass_through(chroma, node))
    assert found == {"video": Path("clip.mp4"), "image": Path(picture), "text": "sold out"}


def test_a_node_of_an_image_alone_comes_back_as_that(chroma, picture):
    found = pass_through(chroma, Node(image_resource=resource(path=picture)))
    assert found.text_resource.text == ""
    assert build_node_item(found) == {"image": Path(picture)}


def test_lost_data_of_a_node_is_missed_and_not_replaced_by_its_caption(chroma, data):
    node = Node(image_resource=resource(data=data), text_resource=resource(text="sold out"))
    with pytest.raises(InputError, match=r"the image of the Node .* is missing: .* write it to a file"):
        build_node_item(pass_through(chroma, node))


def test_a_document_of_an_image_comes_back_as_text_and_is_found_by_its_file(chroma, picture):
    found = pass_through(chroma, ImageDocument(image_path=picture, metadata={"file_path": picture}))
    assert type(found) is TextNode
    assert build_node_item(found) == {"image": picture}
    with pytest.raises(InputError, match="has neither text nor image nor video"):
        build_node_item(TextNode(text="", metadata={}))


def test_a_document_of_an_image_without_its_file_is_lost(chroma, picture):
    found = pass_through(chroma, Document(image_resource=resource(path=picture)))
    with pytest.raises(InputError, match="has neither text nor image nor video"):
        build_node_item(found)


@pytest.mark.parametrize("kind", ["image node", "node", "image document"])
def test_nodes_come_back_from_a_document_store(kind, picture):
    node = {
        "image node": ImageNode(image_path=picture, text="sold out"),
        "node": Node(image_resource=resource(path=picture), text_resource=resource(text="sold out")),
        "image document": ImageDocument(image_path=picture, text="sold out"),
    }[kind]
    found = build_node_item(json_to_doc(doc_to_json(node)))
    assert {name: str(value) for name, value in found.items()} == {"image": picture, "text": "sold out"}


def test_a_missing_file_is_for_the_model_to_miss(embedding):
    item = build_node_item(ImageNode(image_path="gone.png"))
    assert item == {"image": "gone.png"}
    with pytest.raises(MediaError):
        embedding.embedder.embed_documents([item])
