"""What a model is told and shown of the documents that a tool found."""

from __future__ import annotations

import base64
import json
import random
import shutil

import pytest
from langchain_core.documents import Document
from langchain_core.prompts import PromptTemplate
from PIL import Image

from hit_samples import BLUE, ORANGE, RED, find_color
from langchain_adapter.shelf_tools import ShelfRetriever, call, list_kinds, make_tool, open_block
from langchain_qwen3_vl.documents import document_to_content_blocks, image_document, video_document
from qwen3_vl_retrieval import MediaPolicy


def test_each_image_follows_the_text_that_it_belongs_to(shelf):
    message = call(make_tool(shelf), query="orders")
    assert list_kinds(message) == ["text", "image", "text", "image", "text"]
    assert message.content[0]["text"] == "[1] id=order, page, pages.pdf, page 2, relevance 0.931\nOrder of May"
    assert message.content[2]["text"] == "[2] id=red, image, red.png"
    assert message.content[4]["text"] == "[3] id=note, text\nDoors close at six."
    assert find_color(open_block(message.content[1])) == ORANGE
    assert find_color(open_block(message.content[3])) == RED
    assert shelf.asked == ["orders"]


def test_the_images_are_those_of_document_to_content_blocks(shelf):
    message = call(make_tool(shelf), query="orders")
    expected = [document_to_content_blocks(document, with_text=False)[0] for document in shelf.documents[:2]]
    assert [block["base64"] for block in message.content if block["type"] == "image"] == [
        block["base64"] for block in expected
    ]


def test_without_images_the_content_is_one_text(shelf):
    message = call(make_tool(shelf, media="none", document_separator="\n---\n"), query="orders")
    assert message.content == (
        "[1] id=order, page, pages.pdf, page 2, relevance 0.931\nOrder of May"
        "\n---\n[2] id=red, image, red.png"
        "\n---\n[3] id=note, text\nDoors close at six."
    )


def test_nothing_found_is_an_empty_text(shelf):
    shelf.documents = []
    message = call(make_tool(shelf), query="orders")
    assert (message.content, message.artifact) == ("", [])


def test_a_prompt_writes_the_text_of_a_document(samples):
    documents = [image_document(samples / "red.png", id="red", metadata={"owner": "Ann"})]
    tool = make_tool(ShelfRetriever(documents=documents), document_prompt=PromptTemplate.from_template("By {owner}"))
    assert call(tool, query="x").content[0]["text"] == "[1] id=red, image, red.png\nBy Ann"


def test_at_most_so_many_images_are_shown_and_the_others_are_said_not_to_be(shelf):
    message = call(make_tool(shelf, max_images=1), query="orders")
    assert list_kinds(message) == ["text", "image", "text"]
    assert (
        "[2] id=red, image, red.png\nIt is not shown: an answer shows at most 1 images." in message.content[2]["text"]
    )


def test_images_are_made_to_fit_pixels_and_bytes(tmp_path):
    noise = Image.frombytes("RGB", (240, 160), random.Random(7).randbytes(240 * 160 * 3))
    noise.save(tmp_path / "noise.png")
    retriever = ShelfRetriever(documents=[image_document(tmp_path / "noise.png")] * 3)
    message = call(make_tool(retriever, max_image_pixels=20_000, max_image_bytes=6_000), query="x")
    shown = [block for block in message.content if block["type"] == "image"]
    assert len(shown) == 3
    assert all(open_block(block).width * open_block(block).height <= 20_000 for block in shown)
    assert all(len(base64.b64decode(block["base64"])) <= 6_000 for block in shown)
    assert len(json.dumps(message.content)) < 3 * 6_000 * 4 / 3 + 2_000


def test_long_texts_are_cut():
    retriever = ShelfRetriever(documents=[Document(id="long", page_content="word " * 1_000)])
    content = call(make_tool(retriever, max_text_characters=20), query="x").content
    assert content == "[1] id=long, text\nword word word word  […]"


def test_base64_in_texts_and_metadata_does_not_come_through(samples):
    data = base64.b64encode((samples / "red.png").read_bytes() * 20).decode("ascii")
    documents = [
        Document(id="dump", page_content=f"before {data} after", metadata={"media_type": "text", "raw": b"x" * 9_000}),
        Document(id="uri", page_content="", metadata={"image": f"data:image/png;base64,{data}", "tags": [data, "a"]}),
    ]
    message = call(make_tool(ShelfRetriever(documents=documents)), query="x")
    assert list_kinds(message) == ["text", "image"]
    assert "before [data left out] after" in message.content[0]["text"]
    assert find_color(open_block(message.content[1])) == RED
    assert message.artifact[0].metadata["raw"] == "[data left out]"
    assert message.artifact[1].metadata == {"image": "[data left out]", "tags": ["[data left out]", "a"]}
    assert len(message.content[0]["text"]) < 500


def test_the_folders_of_this_machine_are_not_told(shelf, samples):
    shelf.documents.append(
        Document(id="web", page_content="", metadata={"source": "https://example.org/a/b.txt?key=k"})
    )
    for media in ("none", "image_block"):
        content = call(make_tool(shelf, media=media), query="x").content
        texts = content if isinstance(content, str) else " ".join(block.get("text", "") for block in content)
        assert str(samples) not in texts
        assert "b.txt" in texts
        assert "key=k" not in texts


def test_a_document_without_an_id_gets_the_same_one_each_time():
    found = set()
    for score in (0.5, 0.7):
        document = Document(page_content="Doors close at six.", metadata={"similarity_score": score})
        message = call(make_tool(ShelfRetriever(documents=[document])), query="x")
        assert message.content.startswith(f"[1] id={message.artifact[0].id}, text, similarity {score:.3f}\n")
        assert document.id is None
        found.add(message.artifact[0].id)
    other = call(make_tool(ShelfRetriever(documents=[Document(page_content="Doors open at six.")])), query="x")
    assert len(found) == 1
    assert other.artifact[0].id not in found


def test_an_image_that_cannot_be_read_is_said_to_be_so_and_the_others_are_shown(shelf, samples, tmp_path):
    gone = tmp_path / "gone.png"
    shutil.copyfile(samples / "blue.png", gone)
    shelf.documents.insert(0, image_document(gone, id="gone"))
    shelf.documents.insert(
        1, Document(id="odd", page_content="", metadata={"media_type": "page", "source": "a", "page": "x"})
    )
    gone.unlink()
    message = call(make_tool(shelf), query="x")
    assert list_kinds(message) == ["text", "image", "text", "image", "text"]
    assert "[1] id=gone, image, gone.png\nIt cannot be shown: the file cannot be read." in message.content[0]["text"]
    assert "[2] id=odd, page, a, page x\nIt cannot be shown" in message.content[0]["text"]
    assert str(tmp_path) not in message.content[0]["text"]
    assert "no such file" in message.artifact[0].metadata["media_error"]
    assert "media_error" not in shelf.documents[0].metadata


@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        ({"media_type": "application/pdf"}, "text"),
        ({"media_type": "mixed"}, "text"),
        ({"video": "gone.mp4", "start": [1]}, "text"),
        ({"media_type": "video", "source": "gone.mp4", "start": [1]}, "video"),
        ({"image": {"url": "gone.png"}}, "image"),
        ({"image": ["gone.png", 3]}, "image"),
    ],
)
def test_metadata_of_others_that_make_no_sense_are_not_the_end_of_an_answer(metadata, kind):
    retriever = ShelfRetriever(documents=[Document(id="odd", page_content="words", metadata=metadata)])
    content = call(make_tool(retriever), query="x").content
    assert content.startswith(f"[1] id=odd, {kind}")
    assert "words" in content
    assert ("It cannot be shown" in content) == (kind != "text")


def test_the_policy_decides_what_is_shown(shelf, tmp_path):
    message = call(make_tool(shelf, media_policy=MediaPolicy(allow_dirs=(tmp_path,))), query="x")
    assert message.content.count("It cannot be shown") == 2


def test_a_video_is_shown_as_frames_in_their_order(samples):
    retriever = ShelfRetriever(documents=[video_document(samples / "turning.mp4", start=0, end=8, id="video")])
    message = call(make_tool(retriever), query="x")
    assert list_kinds(message) == ["text", "image", "image", "image", "image"]
    assert message.content[0]["text"] == (
        "[1] id=video, video, turning.mp4, seconds 0 to 8\n4 frames of it follow, in their order."
    )
    assert [find_color(open_block(block)) for block in message.content[1:]] == [BLUE, BLUE, RED, RED]


def test_videos_share_the_room_with_images(samples):
    documents = [
        video_document(samples / "turning.mp4", id="first"),
        image_document(samples / "red.png", id="red"),
        video_document(samples / "turning.mp4", id="second"),
    ]
    for most, shares in ((2, [1, 1, 0]), (3, [1, 1, 1]), (4, [2, 1, 1]), (6, [3, 1, 2])):
        message = call(make_tool(ShelfRetriever(documents=documents), max_images=most), query="x")
        shown = [len(part) for part in "".join(kind[0] for kind in list_kinds(message)).split("t")[1:]]
        assert [*shown, 0][:3] == shares


def test_videos_may_be_left_as_text(samples):
    retriever = ShelfRetriever(documents=[video_document(samples / "turning.mp4", id="video")])
    assert call(make_tool(retriever, video="text"), query="x").content == "[1] id=video, video, turning.mp4"


def test_several_images_of_a_document_count_as_several(samples):
    images = [str(samples / "red.png"), str(samples / "blue.png")]
    retriever = ShelfRetriever(documents=[Document(id="two", page_content="", metadata={"image": images})])
    message = call(make_tool(retriever), query="x")
    assert [find_color(open_block(block)) for block in message.content[1:]] == [RED, BLUE]
    assert message.content[0]["text"].endswith("2 images of it follow, in their order.")
    assert list_kinds(call(make_tool(retriever, max_images=1), query="x")) == ["text", "image"]


def test_other_metadata_name_the_image_if_they_are_said_to(samples):
    retriever = ShelfRetriever(
        documents=[Document(id="own", page_content="", metadata={"photo": str(samples / "red.png")})]
    )
    message = call(make_tool(retriever, media_key="photo"), query="x")
    assert find_color(open_block(message.content[1])) == RED


def test_a_video_as_a_whole_keeps_its_block_in_the_tool_message(samples):
    retriever = ShelfRetriever(documents=[video_document(samples / "turning.mp4", id="video")])
    message = call(make_tool(retriever, video="tool_message"), query="x")
    assert list_kinds(message) == ["text", "video"]
    assert base64.b64decode(message.content[1]["base64"]) == (samples / "turning.mp4").read_bytes()
    assert message.content[1]["mime_type"] == "video/mp4"
    assert (message.tool_call_id, message.name, message.artifact[0].id) == ("call-1", "search", "video")


def test_a_video_that_is_too_large_is_shown_as_frames(samples):
    retriever = ShelfRetriever(documents=[video_document(samples / "turning.mp4", id="video")])
    size = (samples / "turning.mp4").stat().st_size
    assert list_kinds(call(make_tool(retriever, video="tool_message", max_video_bytes=size), query="x"))[1] == "video"
    small = call(make_tool(retriever, video="tool_message", max_video_bytes=size - 1), query="x")
    assert list_kinds(small) == ["text", "image", "image", "image", "image"]


def test_no_file_leaves_as_a_video_that_is_none_or_that_the_policy_refuses(samples, tmp_path):
    secret = tmp_path / "secret.mp4"
    secret.write_text("the key is 1234", encoding="utf-8")
    video = Document(id="video", page_content="", metadata={"media_type": "video", "video": str(secret)})
    content = call(make_tool(ShelfRetriever(documents=[video]), video="tool_message"), query="x").content
    assert content.endswith("It cannot be shown: the file cannot be read.")
    retriever = ShelfRetriever(documents=[video_document(samples / "turning.mp4", id="video")])
    policy = MediaPolicy(allow_dirs=(tmp_path,))
    refused = call(make_tool(retriever, video="tool_message", media_policy=policy), query="x").content
    assert refused.endswith("It cannot be shown: the file cannot be read.")
