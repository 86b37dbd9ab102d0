"""Vectors that are kept: never those of another text, role, model or image."""

from __future__ import annotations

import asyncio
from io import BytesIO

import numpy as np
import pytest
from llama_index.core.schema import ImageNode, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from PIL import Image

from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle, Qwen3VLEmbedding
from llama_index.embeddings.qwen3_vl.caching import COLLECTION
from llama_index.schema.qwen3_vl.contents import hash_item
from llama_index_adapter.plain_models import PlainEmbedder
from qwen3_vl_retrieval import MediaError, MediaPolicy, MultimodalInput
from rounding import bound


@pytest.fixture
def store():
    return SimpleKVStore()


@pytest.fixture
def plain():
    return PlainEmbedder()


@pytest.fixture
def cached(plain, store):
    return Qwen3VLEmbedding(embedder=plain, embeddings_cache=store)


def draw(path, color):
    Image.new("RGB", (16, 12), color).save(path)
    return path


def count_items(plain):
    return sum(len(items) for _, items in plain.calls)


def test_a_query_is_not_given_the_vector_of_a_text(embedding, store):
    cached = Qwen3VLEmbedding("pocket", embeddings_cache=store)
    for _ in range(2):
        assert cached.get_text_embedding("red") == pytest.approx(embedding.get_text_embedding("red"), abs=bound(1e-5))
        assert cached.get_query_embedding("red") == pytest.approx(embedding.get_query_embedding("red"), abs=bound(1e-5))
    assert not np.allclose(cached.get_text_embedding("red"), cached.get_query_embedding("red"), atol=1e-3)
    assert len(store.get_all(COLLECTION)) == 2
    assert store.get_all("embeddings") == {}


def test_even_with_equal_instructions_roles_are_apart(cached, plain):
    assert cached.get_text_embedding("red") == [0.0, 1.0]
    assert cached.get_query_embedding("red") == [1.0, 0.0]


def test_what_is_kept_is_not_computed_again(cached, plain, tmp_path):
    picture = draw(tmp_path / "a.png", "red")
    node = ImageNode(image_path=str(picture), text="sold out")
    expected = [
        cached.get_text_embedding("red"),
        *cached.get_image_embedding_batch([picture, BytesIO(b"x")]),
        *cached.get_node_embeddings([node]),
    ]
    assert count_items(plain) == 4

    async def again():
        return [
            await cached.aget_text_embedding("red"),
            *await cached.aget_image_embedding_batch([str(picture), BytesIO(b"x")]),
            *await cached.aget_node_embeddings([node]),
        ]

    assert asyncio.run(again()) == expected
    assert count_items(plain) == 4


def test_awaited_vectors_are_kept_as_well(cached, plain):
    asyncio.run(cached.aget_text_embedding_batch(["red", "blue"]))
    assert cached.get_text_embedding_batch(["red", "green", "blue"]) == [[0.0, 1.0]] * 3
    assert plain.calls == [("document", ["red", "blue"]), ("document", ["green"])]


def test_only_what_is_missing_is_computed_and_errors_keep_their_place(store, tmp_path):
    cached = Qwen3VLEmbedding("pocket", embeddings_cache=store)
    cached.get_image_embedding(draw(tmp_path / "a.png", "red"))
    images = [tmp_path / "a.png", tmp_path / "gone.png"]
    with pytest.raises(MediaError, match=r"^item 1: .*gone\.png"):
        cached.get_image_embedding_batch(images)
    with pytest.raises(MediaError, match=r"^item 1: .*gone\.png"):
        asyncio.run(cached.aget_image_embedding_batch(images))


def test_an_image_that_was_replaced_behind_its_name_is_another(embedding, store, tmp_path):
    cached = Qwen3VLEmbedding("pocket", embeddings_cache=store)
    path = draw(tmp_path / "a.png", "red")
    first = cached.get_image_embedding(path)
    draw(path, "blue")
    second = cached.get_image_embedding(path)
    assert second == pytest.approx(embedding.get_image_embedding(path), abs=bound(1e-5))
    assert not np.allclose(first, second, atol=1e-3)


def test_an_image_under_another_name_is_the_same(cached, plain, tmp_path):
    cached.get_image_embedding(draw(tmp_path / "a.png", "red"))
    cached.get_image_embedding(str(draw(tmp_path / "b.png", "red")))
    cached.get_image_embedding((tmp_path / "b.png").as_uri())
    assert count_items(plain) == 1


def test_models_dimensions_and_instructions_are_apart(store):
    Qwen3VLEmbedding(embedder=PlainEmbedder("1"), embeddings_cache=store).get_text_embedding("red")
    Qwen3VLEmbedding(embedder=PlainEmbedder("2"), embeddings_cache=store).get_text_embedding("red")
    for options in ({}, {"dimensions": 64}, {"text_instruction": "Keep"}):
        Qwen3VLEmbedding("pocket", embeddings_cache=store, **options).get_text_embedding("red")
    assert len(store.get_all(COLLECTION)) == 5


def test_instructions_of_queries_are_apart(embedding, store):
    cached = Qwen3VLEmbedding("pocket", embeddings_cache=store)
    asked = MultiModalQueryBundle("red", instruction="Find colours")
    plain, special = cached.get_query_bundle_embedding("red"), cached.get_query_bundle_embedding(asked)
    assert special == pytest.approx(embedding.get_query_bundle_embedding(asked), abs=bound(1e-5))
    assert not np.allclose(plain, special, atol=1e-3)
    again = Qwen3VLEmbedding("pocket", embeddings_cache=store, query_instruction="Find colours")
    again.get_query_embedding("red")
    assert len(store.get_all(COLLECTION)) == 3


def test_what_leads_elsewhere_is_not_kept(cached, plain, store):
    for _ in range(2):
        cached.get_image_embedding("https://example.org/a.png")
    assert count_items(plain) == 2
    assert store.get_all(COLLECTION) == {}


def test_a_cache_that_is_no_store_is_refused():
    with pytest.raises(TypeError, match="BaseKVStore"):
        Qwen3VLEmbedding("pocket", embeddings_cache={})


def test_the_cache_is_no_part_of_the_dict(cached):
    assert "embeddings_cache" not in cached.to_dict()


def test_a_cache_that_is_set_later_is_used(plain, store):
    embedding = Qwen3VLEmbedding(embedder=plain)
    embedding.embeddings_cache = store
    embedding([TextNode(text="red")])
    embedding([TextNode(text="red")])
    assert count_items(plain) == 1


def test_texts_and_names_of_images_have_other_hashes(tmp_path):
    path = str(draw(tmp_path / "a.png", "red"))
    picture = Image.new("RGB", (4, 3), "red")
    items = [
        path,
        {"image": path},
        {"image": path, "text": "red"},
        {"image": picture},
        {"image": Image.new("RGB", (3, 4), "red")},
        {"image": Image.new("RGB", (4, 3), "blue")},
        {"image": np.zeros((3, 4, 3), np.uint8)},
        {"image": np.zeros((4, 3, 3), np.uint8)},
        {"video": path, "start": 1.0},
        {"video": path, "start": 2.0},
        {"parts": [{"text": "a"}, {"text": "b"}]},
        {"parts": [{"text": "b"}, {"text": "a"}]},
    ]
    hashes = [hash_item(item, None) for item in items]
    assert None not in hashes
    assert len(set(hashes)) == len(items)
    assert hash_item(MultimodalInput(image=path), None) == hash_item({"image": path}, None)


def test_palettes_count():
    pictures = []
    for color in ("red", "blue"):
        picture = Image.new("RGB", (4, 3), color).convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
        pictures.append(picture)
    assert pictures[0].tobytes() == pictures[1].tobytes()
    assert hash_item(pictures[0], None) != hash_item(pictures[1], None)


def test_files_beyond_the_policy_are_not_read(tmp_path):
    (tmp_path / "inside").mkdir()
    path, inside = draw(tmp_path / "a.png", "red"), draw(tmp_path / "inside" / "a.png", "red")
    policy = MediaPolicy(allow_dirs=(tmp_path / "inside",))
    assert hash_item({"image": path}, policy) is None
    assert hash_item({"image": inside}, policy) is not None
    assert hash_item({"image": inside}, MediaPolicy(max_bytes=10)) is None
    assert hash_item({"image": tmp_path}, None) is None
    assert hash_item({"image": "gone.png"}, None) is None
