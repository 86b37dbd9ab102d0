"""What LlamaIndex's instrumentation and callbacks hear of vectors."""

from __future__ import annotations

import asyncio
import hashlib
from io import BytesIO

import numpy as np
import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.schema import ImageNode, QueryBundle
from PIL import Image

from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.schema.qwen3_vl.contents import describe_item
from llama_index_adapter.plain_models import PlainEmbedder
from qwen3_vl_retrieval import MediaError, MultimodalInput


class Listener(BaseEventHandler):
    heard: list = []  # noqa: RUF012 - of pydantic, which copies it

    @classmethod
    def class_name(cls):
        return "Listener"

    def handle(self, event, **_options):
        self.heard.append(event)


@pytest.fixture
def heard():
    """Events of embeddings while a test runs."""
    root, listener = get_dispatcher("root"), Listener()
    before = root.event_handlers
    root.event_handlers = [*before, listener]
    yield listener.heard
    root.event_handlers = before


def list_chunks(heard):
    return [event.chunks for event in heard if isinstance(event, EmbeddingEndEvent)]


def test_media_have_events_with_names_in_place_of_pixels(embedding, pictures, heard):
    path = str(pictures / "picture-0.png")
    content = (pictures / "picture-0.png").read_bytes()
    vector = embedding.get_image_embedding(path)
    [start, end] = [event for event in heard if isinstance(event, (EmbeddingStartEvent, EmbeddingEndEvent))]
    assert start.model_dict == {
        "class_name": "Qwen3VLEmbedding",
        "model_name": "pocket",
        "embed_batch_size": embedding.embed_batch_size,
    }
    assert (end.chunks, end.embeddings) == ([path], [vector])
    heard.clear()
    embedding.get_image_embedding_batch([BytesIO(content), Image.new("RGB", (40, 30))])
    assert list_chunks(heard) == [[f"sha256:{hashlib.sha256(content).hexdigest()}", "image 40x30"]]
    heard.clear()
    embedding.get_query_bundle_embedding(QueryBundle("red", image_path=path))
    assert list_chunks(heard) == [["" + path + " red"]]


def test_awaited_methods_have_the_same_events(embedding, pictures, heard):
    path = str(pictures / "picture-0.png")

    async def embed():
        await embedding.aget_image_embedding(path)
        await embedding.aget_text_embedding("red")
        await embedding.aget_node_embeddings([ImageNode(image_path=path, text="sold out")])

    asyncio.run(embed())
    assert list_chunks(heard) == [[path], ["red"], [f"{path} sold out"]]


def test_each_batch_has_its_events(heard):
    embedding = Qwen3VLEmbedding(embedder=PlainEmbedder(), embed_batch_size=2)
    embedding.get_text_embedding_batch(["a", "b", "c"])
    asyncio.run(embedding.aget_text_embedding_batch(["a", "b", "c"]))
    assert sorted(list_chunks(heard)) == [["a", "b"], ["a", "b"], ["c"], ["c"]]


def test_callbacks_hear_of_media_and_of_failures(pictures):
    debug = LlamaDebugHandler(print_trace_on_end=False)
    embedding = Qwen3VLEmbedding("pocket", callback_manager=CallbackManager([debug]))
    path = str(pictures / "picture-0.png")
    vector = embedding.get_image_embedding(path)
    asyncio.run(embedding.aget_query_embedding("red"))
    pairs = debug.get_event_pairs(CBEventType.EMBEDDING)
    assert pairs[0][0].payload[EventPayload.SERIALIZED]["model_name"] == "pocket"
    assert [end.payload[EventPayload.CHUNKS] for _, end in pairs] == [[path], ["red"]]
    assert pairs[0][1].payload[EventPayload.EMBEDDINGS] == [vector]
    debug.flush_event_logs()
    with pytest.raises(MediaError):
        embedding.get_image_embedding("gone.png")
    [(_, end)] = debug.get_event_pairs(CBEventType.EMBEDDING)
    assert isinstance(end.payload[EventPayload.EXCEPTION], MediaError)


def test_secrets_are_in_no_event(heard):
    embedding = Qwen3VLEmbedding(embedder=PlainEmbedder())
    embedding.get_image_embedding("https://example.org/a.png?signature=secret#secret")
    assert list_chunks(heard) == [["https://example.org/a.png"]]
    assert "secret" not in repr([event.model_dump() for event in heard if isinstance(event, EmbeddingStartEvent)])


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("red", "red"),
        ({"video": "clip.mp4", "image": ["a.png", "b.png"], "text": ["red", "blue"]}, "clip.mp4 a.png b.png red blue"),
        ({"parts": [{"image": "a.png"}, "red", Image.new("RGB", (4, 3))]}, "a.png red image 4x3"),
        ({"video": [Image.new("RGB", (4, 3))] * 3}, "3 frames"),
        ({"image": np.zeros((3, 4, 3), np.uint8)}, "array 3x4x3"),
        (MultimodalInput(text="red", image="a.png"), "a.png red"),
        (Image.new("RGB", (4, 3)), "image 4x3"),
    ],
)
def test_items_are_described_without_pixels(item, expected):
    assert describe_item(item) == expected


def test_data_uris_are_described_by_their_hash():
    uri = "data:image/png;base64,AAAA"
    assert describe_item({"image": uri}) == f"sha256:{hashlib.sha256(uri.encode()).hexdigest()}"
