"""What may stand where LangChain says text."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.documents.base import Blob
from langchain_core.messages import HumanMessage
from langchain_core.messages.content import create_image_block, create_plaintext_block, create_text_block
from PIL import Image

from langchain_qwen3_vl.contents import coerce_item, coerce_items, wrap_media
from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy, MediaPolicyError, MultimodalInput


def encode_png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(stream, "PNG")
    return stream.getvalue()


PNG = encode_png()
BASE64 = base64.b64encode(PNG).decode()
DATA_URI = f"data:image/png;base64,{BASE64}"


@pytest.mark.parametrize("text", ["a.png", "/etc/hosts", "https://example.org/a.png", DATA_URI, ""])
def test_a_str_is_text_whatever_it_looks_like(text):
    assert coerce_item(text) == text


@pytest.mark.parametrize(
    "value",
    [Path("a.png"), Image.new("RGB", (2, 2)), {"image": "a.png", "text": "b"}, MultimodalInput(text="a")],
    ids=["path", "image", "dict", "input"],
)
def test_what_the_core_understands_passes_unchanged(value):
    assert coerce_item(value) is value


BLOCKS = {
    "v1 base64": create_image_block(base64=BASE64, mime_type="image/png"),
    "v1 without a type": {"type": "image", "base64": BASE64},
    "v0 base64": {"type": "image", "source_type": "base64", "data": BASE64, "mime_type": "image/png"},
    "anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BASE64}},
    "broken into lines": {"type": "image", "base64": base64.encodebytes(PNG).decode()},
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS.keys())
def test_base64_of_every_version_becomes_the_bytes(block):
    assert coerce_item(block) == MultimodalInput(parts=[{"image": PNG}])


URL_BLOCKS = {
    "v1": {"type": "image", "url": DATA_URI},
    "v0": {"type": "image", "source_type": "url", "url": DATA_URI},
    "openai": {"type": "image_url", "image_url": {"url": DATA_URI, "detail": "low"}},
    "openai as a string": {"type": "image_url", "image_url": DATA_URI},
    "anthropic": {"type": "image", "source": {"type": "url", "url": DATA_URI}},
    "qwen": {"type": "image", "image": DATA_URI},
}


@pytest.mark.parametrize("block", URL_BLOCKS.values(), ids=URL_BLOCKS.keys())
def test_urls_of_every_version_stay_urls(block):
    assert coerce_item(block) == MultimodalInput(parts=[{"image": DATA_URI}])


def test_a_web_address_is_left_to_the_policy_of_the_model():
    block = {"type": "image", "url": "https://example.org/a"}
    assert coerce_item(block) == MultimodalInput(parts=[{"image": "https://example.org/a"}])


@pytest.mark.parametrize(
    "block",
    [
        create_text_block("hello"),
        create_plaintext_block("hello"),
        {"type": "text-plain", "base64": base64.b64encode(b"hello").decode(), "mime_type": "text/plain"},
        {"type": "file", "source_type": "text", "text": "hello"},
    ],
    ids=["text", "text-plain", "text-plain in base64", "v0 text"],
)
def test_text_of_every_version_becomes_text(block):
    assert coerce_item(block) == MultimodalInput(parts=[{"text": "hello"}])


def test_the_order_of_blocks_is_kept():
    image = Image.new("RGB", (2, 2))
    blocks = ["one", {"type": "image", "base64": BASE64}, {"type": "text", "text": "two"}, image, {"text": "three"}]
    expected = ["one", {"image": PNG}, {"text": "two"}, image, {"text": "three"}]
    assert coerce_item(blocks) == MultimodalInput(parts=expected)


def test_a_video_block_keeps_its_window_and_sampling():
    block = {"type": "video", "base64": BASE64, "mime_type": "video/mp4", "start": 1.0, "extras": {"fps": 2.0}}
    assert coerce_item(block) == MultimodalInput(parts=[{"video": PNG, "start": 1.0, "fps": 2.0}])


def test_a_message_is_its_content():
    assert coerce_item(HumanMessage("a.png")) == "a.png"
    message = HumanMessage([{"type": "text", "text": "a"}, {"type": "image", "base64": BASE64}])
    assert coerce_item(message) == MultimodalInput(parts=[{"text": "a"}, {"image": PNG}])


def test_a_document_is_what_its_metadata_say():
    assert coerce_item(Document("a.png")) == "a.png"
    assert coerce_item(Document("", metadata={"image": "a.png"})) == {"image": "a.png"}
    assert coerce_item(Document("x", metadata={"scan": "a.png"}), media_key="scan") == {"image": "a.png", "text": "x"}


def test_the_policy_holds_for_pages_of_documents(images, tmp_path):
    page = Document("", metadata={"media_type": "page", "source": str(images / "paper.pdf"), "page": 1})
    assert coerce_item(page, media_policy=MediaPolicy(allow_dirs=(images,))) is not None
    with pytest.raises(MediaPolicyError, match="outside the allowed folders"):
        coerce_item(page, media_policy=MediaPolicy(allow_dirs=(tmp_path,)))


def test_a_blob_is_what_its_type_says(tmp_path):
    assert coerce_item(Blob.from_data(PNG, mime_type="image/png")) == {"image": PNG}
    assert coerce_item(Blob.from_data(b"video", mime_type="video/mp4")) == {"video": b"video"}
    assert coerce_item(Blob.from_data("a.png")) == "a.png"
    assert coerce_item(Blob.from_path(tmp_path / "a.png")) == {"image": tmp_path / "a.png"}
    assert coerce_item(Blob(path=tmp_path / "a.png")) == tmp_path / "a.png"
    with pytest.raises(InputError, match="mimetype=None is no image"):
        coerce_item(Blob(data=PNG))


REFUSED = {
    "audio": ({"type": "audio", "base64": BASE64}, "type='audio' is neither text nor image nor video"),
    "file": ({"type": "file", "base64": BASE64, "mime_type": "application/pdf"}, "allowed are text"),
    "file id": ({"type": "image", "file_id": "file-1"}, "names a file_id"),
    "v0 id": ({"type": "image", "source_type": "id", "id": "file-1"}, "names a file_id"),
    "nothing": ({"type": "image", "id": "lc_1"}, "neither url nor base64; its keys are 'type', 'id'"),
    "video as image": ({"type": "image", "base64": BASE64, "mime_type": "video/mp4"}, "mime_type='video/mp4'"),
    "image as video": ({"type": "video", "base64": BASE64, "mime_type": "image/png"}, "mime_type='image/png'"),
    "data URI of a video": ({"type": "image", "url": "data:video/mp4;base64,AAAA"}, "begin with data:image/"),
    "no base64": ({"type": "image", "base64": "§"}, "cannot be decoded"),
    "data URI as base64": ({"type": "image", "base64": DATA_URI}, "belongs in 'url'"),
    "text without text": ({"type": "text-plain", "url": "https://example.org/a.txt"}, "has no 'text'"),
    "text that is no text": ({"type": "text-plain", "base64": BASE64}, "not UTF-8"),
    "bytes": (PNG, r"got bytes .* Wrap bytes as"),
    "array": (np.zeros((4, 4, 3), np.uint8), "got ndarray"),
    "number": (7, "got int 7; allowed are str"),
    "nested list": (["a", ["b"]], "block 1 is list"),
}


@pytest.mark.parametrize(("value", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_models_do_not_take_is_refused_by_name(value, message):
    with pytest.raises(InputError, match=message):
        coerce_item(value)


@pytest.mark.parametrize("url", ["a.png", "/etc/a.png", "file:///etc/a.png", "C:\\a.png"])
@pytest.mark.parametrize("policy", [None, MediaPolicy()], ids=["none", "default"])
def test_a_block_does_not_name_a_local_file(url, policy):
    with pytest.raises(MediaPolicyError, match=r"content blocks come from outside.*allow_dirs"):
        coerce_item([{"type": "image_url", "image_url": {"url": url}}], media_policy=policy)


def test_a_block_names_a_local_file_where_the_policy_names_the_folder(tmp_path):
    block = {"type": "image", "url": (tmp_path / "a.png").as_uri()}
    found = coerce_item(block, media_policy=MediaPolicy(allow_dirs=(tmp_path,)))
    assert found == MultimodalInput(parts=[{"image": block["url"]}])


def test_base64_above_the_limit_is_not_decoded():
    with pytest.raises(MediaPolicyError, match="above max_bytes=20"):
        coerce_item({"type": "image", "base64": "§" * 100}, media_policy=MediaPolicy(max_bytes=20))


def test_errors_of_a_list_name_the_position():
    with pytest.raises(InputError, match=r"^item 1: got int 7"):
        coerce_items(["a", 7])
    with pytest.raises(MediaError, match=r"^item 0: "):
        coerce_items([Document("", metadata={"media_type": "page", "source": "gone.pdf", "page": 1})])


@pytest.mark.parametrize(
    "value",
    ["text", {"image": "a.png"}, Document("a"), HumanMessage("a"), Blob.from_data("a"), MultimodalInput(text="a"), 7],
    ids=lambda value: type(value).__name__,
)
def test_a_single_item_is_not_taken_for_a_list(value):
    with pytest.raises(InputError, match="wrap a single item in a list"):
        coerce_items(value)


def test_a_generator_of_items_is_a_list():
    assert coerce_items(text for text in "ab") == ["a", "b"]


def test_a_source_that_can_only_be_media_is_wrapped():
    assert wrap_media("a.png", "image") == {"image": "a.png"}
    assert wrap_media("a.mp4", "video", {"fps": 2.0, "start": None}) == {"video": "a.mp4", "fps": 2.0}
    assert wrap_media(Blob.from_data(PNG, mime_type="image/png"), "image") == {"image": PNG}
    with pytest.raises(InputError, match="mimetype='image/png' was given as video"):
        wrap_media(Blob.from_data(PNG, mime_type="image/png"), "video")
