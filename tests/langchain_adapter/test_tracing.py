"""What LangSmith is told of embedding calls, and what it is not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests
from langchain_core.documents import Document
from langchain_core.documents.base import Blob
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from langsmith import Client
from langsmith.run_helpers import tracing_context
from PIL import Image

from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.tracing import describe_item
from qwen3_vl_retrieval import MediaError, MultimodalInput


class FakeSession(requests.Session):
    """The outer seam: keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[dict[str, Any]] = []

    def request(self, method: str, url: str, **options: Any) -> Any:
        data = options.get("data")
        if data:
            body = json.loads(data)
            self.sent += [body] if "post" not in body and "patch" not in body else [*body["post"], *body["patch"]]
        return SimpleNamespace(status_code=200, headers={}, text="{}", json=dict, raise_for_status=lambda: None)


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


@pytest.fixture
def client(session) -> Client:
    return Client(
        api_url="https://langsmith.invalid", api_key="key", session=session, auto_batch_tracing=False, info={}
    )


@pytest.fixture
def traced() -> Qwen3VLEmbeddings:
    return Qwen3VLEmbeddings(model="pocket", tracing=True)


def join(session: FakeSession) -> dict[str, Any]:
    """The runs that were sent, each with its update, by name."""
    runs: dict[str, dict[str, Any]] = {}
    for body in session.sent:
        run = runs.setdefault(body["id"], {}) if "id" in body else next(reversed(runs.values()))
        run |= {key: value for key, value in body.items() if value is not None}
    return {run["name"]: run for run in runs.values()}


def test_a_call_is_a_run_of_type_embedding(traced, client, session):
    with tracing_context(enabled=True, client=client):
        traced.embed_documents(["a red ball", "an invoice"])
    run = join(session)["Qwen3VLEmbeddings"]
    assert run["run_type"] == "embedding"
    assert run["inputs"] == {"kind": "document", "items": ["a red ball", "an invoice"]}
    assert run["outputs"] == {"vectors": 2, "dimensions": len(traced.embed_query("a"))}
    about = {"ls_provider": "qwen3-vl", "ls_model_name": "pocket"}
    assert about.items() <= run["extra"]["metadata"].items()


def test_no_media_and_no_vectors_are_in_the_payload(traced, client, session, images):
    path = images / "picture-0.png"
    content = path.read_bytes()
    encoded = base64.b64encode(content).decode()
    with Image.open(path) as opened:
        image = opened.copy()
    items = [
        {"type": "image", "base64": encoded},
        [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}],
        {"image": content},
        image,
        {"image": np.asarray(image)},
        Blob.from_data(content, mime_type="image/png"),
        {"image": str(path), "text": "a red ball"},
    ]
    with tracing_context(enabled=True, client=client):
        traced.embed_documents(items)
        asyncio.run(traced.aembed_query(items[0]))
    payload = json.dumps(session.sent)
    assert len(payload) < 30_000
    assert encoded[:40] not in payload
    assert encoded[400:440] not in payload
    assert hashlib.sha256(content).hexdigest()[:12] in payload
    assert f"{len(content):,} bytes" in payload
    assert f"image, {image.width}x{image.height} RGB" in payload
    assert "a red ball" in payload
    assert path.name in payload


def test_nothing_is_sent_unless_it_is_asked_for(embeddings, traced, client, session):
    with tracing_context(enabled=True, client=client):
        embeddings.embed_query("a")
        asyncio.run(embeddings.aembed_query("a"))
    with tracing_context(enabled=False, client=client):
        traced.embed_query("a")
    assert session.sent == []


def test_async_calls_are_recorded_alike(traced, client, session):
    async def ask() -> None:
        with tracing_context(enabled=True, client=client):
            await traced.aembed_query("a red ball")

    asyncio.run(ask())
    run = join(session)["Qwen3VLEmbeddings"]
    assert run["inputs"] == {"kind": "query", "items": ["a red ball"]}
    assert run["outputs"]["vectors"] == 1


def test_a_call_inside_a_chain_is_a_part_of_it(traced, client, session):
    with tracing_context(enabled=True, client=client):
        RunnableLambda(traced.embed_query, name="chain").invoke("a")
    runs = join(session)
    assert runs["Qwen3VLEmbeddings"]["parent_run_id"] == runs["chain"]["id"]


def test_a_failed_call_is_recorded_and_raised(traced, client, session):
    with tracing_context(enabled=True, client=client), pytest.raises(MediaError, match="gone"):
        traced.embed_query({"image": "gone.png"})
    assert "no such file" in join(session)["Qwen3VLEmbeddings"]["error"]


PIXELS = np.zeros((4, 6, 3), np.uint8)
HASH = hashlib.sha256(b"abc").hexdigest()[:12]
DATA_URI = "data:image/png;base64," + base64.b64encode(b"abc").decode()
DATA_URI_HASH = hashlib.sha256(DATA_URI.encode()).hexdigest()[:12]
BASE64_HASH = hashlib.sha256(b"YWJj").hexdigest()[:12]

DESCRIBED = {
    "text": ("hello", "hello"),
    "number": (3, 3),
    "path": (Path("a/b.png"), "a/b.png"),
    "bytes": (b"abc", f"3 bytes, sha256 {HASH}"),
    "view": (memoryview(b"abc"), f"3 bytes, sha256 {HASH}"),
    "image": (Image.new("L", (6, 4)), "image, 6x4 L"),
    "array": (PIXELS, f"array, 4x6x3 uint8, sha256 {hashlib.sha256(PIXELS.tobytes()).hexdigest()[:12]}"),
    "dict": ({"image": "a.png", "text": "b"}, {"image": "a.png", "text": "b"}),
    "several": ({"image": [b"abc", "a.png"]}, {"image": [f"3 bytes, sha256 {HASH}", "a.png"]}),
    "input": (MultimodalInput(text="a", fps=2.0), {"text": "a", "fps": 2.0}),
    "address": (
        {"type": "image", "url": "https://example.org/a.png?X-Signature=secret"},
        {"type": "image", "url": "https://example.org/a.png"},
    ),
    "data uri": ({"image": DATA_URI}, {"image": f"data:image/png;base64, 26 characters, sha256 {DATA_URI_HASH}"}),
    "base64": (
        [{"type": "image", "base64": "YWJj"}],
        [{"type": "image", "base64": f"base64, 4 characters, sha256 {BASE64_HASH}"}],
    ),
    "openai": (
        {"type": "image_url", "image_url": {"url": DATA_URI}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64, 26 characters, sha256 {DATA_URI_HASH}"}},
    ),
    "message": (HumanMessage([{"type": "text", "text": "a"}]), [{"type": "text", "text": "a"}]),
    "document": (
        Document("a", metadata={"image": DATA_URI, "page": 3}),
        {
            "page_content": "a",
            "metadata": {"image": f"data:image/png;base64, 26 characters, sha256 {DATA_URI_HASH}", "page": 3},
        },
    ),
    "blob": (Blob.from_data(b"abc", mime_type="image/png"), f"image/png, 3 bytes, sha256 {HASH}"),
    "blob of a file": (Blob(path="a.png", mimetype="image/png"), "image/png, a.png"),
    "anything else": (io.BytesIO(b"abc"), "BytesIO"),
    "a long name": ({"image": "a" * 500}, {"image": "a" * 199 + "…"}),
}


@pytest.mark.parametrize(("value", "described"), DESCRIBED.values(), ids=DESCRIBED.keys())
def test_media_is_described_and_texts_are_kept(value, described):
    assert describe_item(value) == described
