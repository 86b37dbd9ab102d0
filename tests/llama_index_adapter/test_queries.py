"""What models are given for a query, whatever it comes as."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from llama_index.core.schema import ImageNode, NodeWithScore, QueryBundle
from PIL import Image

from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle
from llama_index.schema.qwen3_vl.queries import build_query_item, list_query_items
from qwen3_vl_retrieval import InputError, MultimodalInput


def test_a_text_is_a_text_even_if_it_looks_like_a_path():
    for text in ("red.png", "https://example.org/a.jpg", "data:image/png;base64,AAAA"):
        assert build_query_item(text) == text
        assert build_query_item(QueryBundle(text)) == text
        assert build_query_item(MultiModalQueryBundle(text)) == text


def test_the_image_of_a_plain_bundle_stands_before_its_text():
    item = build_query_item(QueryBundle("the same in blue", image_path="mug.png"))
    assert item == {"parts": [{"image": "mug.png"}, {"text": "the same in blue"}]}


def test_a_query_of_an_image_alone_has_no_text():
    assert build_query_item(QueryBundle("", image_path="mug.png")) == {"parts": [{"image": "mug.png"}]}
    assert build_query_item(MultiModalQueryBundle(" ", images=[b"..."])) == {"parts": [{"image": b"..."}]}


def test_all_media_of_a_query_are_kept_in_the_official_order():
    picture = Image.new("RGB", (8, 8))
    bundle = MultiModalQueryBundle(
        "like these",
        image_path="first.png",
        images=[Path("second.png"), picture, BytesIO(b"third")],
        videos=["clip.mp4", [picture, BytesIO(b"frame")]],
        instruction="Find products",
    )
    assert build_query_item(bundle) == {
        "parts": [
            {"video": "clip.mp4"},
            {"video": [picture, b"frame"]},
            {"image": "first.png"},
            {"image": Path("second.png")},
            {"image": picture},
            {"image": b"third"},
            {"text": "like these"},
        ],
        "instruction": "Find products",
    }


def test_an_instruction_goes_with_a_query_of_text():
    item = build_query_item(MultiModalQueryBundle("red", instruction="Find colours"))
    assert item == {"text": "red", "instruction": "Find colours"}


@pytest.mark.parametrize("query", ["", "  ", QueryBundle(""), MultiModalQueryBundle("", images=[], videos=[])])
def test_an_empty_query_is_refused(query):
    with pytest.raises(InputError, match=r"^query: the query is empty: give a text, or"):
        build_query_item(query)


@pytest.mark.parametrize("options", [{"images": "mug.png"}, {"videos": "clip.mp4"}])
def test_a_single_image_or_video_is_given_as_a_list(options):
    with pytest.raises(InputError, match=r"^query: (images|videos) is str; give a list"):
        build_query_item(MultiModalQueryBundle("red", **options))


def test_no_image_in_a_list_is_refused():
    with pytest.raises(InputError, match=r"^query: image is None"):
        build_query_item(MultiModalQueryBundle("red", images=[None]))
    with pytest.raises(InputError, match=r"^query: video is None"):
        build_query_item(MultiModalQueryBundle("red", videos=[None]))


def test_a_node_is_a_query_for_more_like_it():
    node = ImageNode(image_path="mug.png")
    assert build_query_item(node) == {"image": "mug.png"}
    assert build_query_item(NodeWithScore(node=node, score=0.5)) == {"image": "mug.png"}


def test_items_of_the_core_are_queries():
    picture = Image.new("RGB", (8, 8))
    item = MultimodalInput(text="red", image="mug.png")
    assert build_query_item(item) is item
    assert build_query_item(picture) is picture
    assert build_query_item(Path("mug.png")) == Path("mug.png")
    assert build_query_item({"image": "mug.png"}) == {"image": "mug.png"}


def test_anything_else_is_refused():
    with pytest.raises(InputError, match=r"^query: got int; allowed are str, QueryBundle"):
        build_query_item(5)


def test_texts_in_place_of_the_query_are_a_query_each_with_its_images():
    bundle = MultiModalQueryBundle("red", custom_embedding_strs=["A red mug.", "red"], images=["mug.png"])
    assert list_query_items(bundle) == [
        {"parts": [{"image": "mug.png"}, {"text": "A red mug."}]},
        {"parts": [{"image": "mug.png"}, {"text": "red"}]},
    ]
    assert list_query_items("red") == ["red"]
    assert bundle.query_str == "red"


def test_a_bundle_is_a_bundle_wherever_one_is_expected():
    bundle = MultiModalQueryBundle("red", images=["mug.png"])
    assert isinstance(bundle, QueryBundle)
    assert (str(bundle), bundle.embedding_strs, bundle.embedding_image) == ("red", ["red"], [])
