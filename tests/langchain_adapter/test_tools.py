from __future__ import annotations

import asyncio
import base64
import io
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.prompts import PromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.tracers.base import BaseTracer
from PIL import Image
from pydantic import Field

from hit_samples import BLUE, ORANGE, RED, find_color, write_samples
from langchain_adapter.scripted_models import ScriptedModel, call_tool
from langchain_qwen3_vl.documents import document_to_content_blocks, image_document, video_document
from langchain_qwen3_vl.tools import create_multimodal_retriever_tool
from qwen3_vl_retrieval import MediaPolicy


class ShelfRetriever(BaseRetriever):
    """Returns what it was given, and keeps what it was asked."""

    documents: list[Document]
    asked: list[Any] = Field(default_factory=list)

    def _get_relevant_documents(self, query, *, run_manager):
        self.asked.append(query)
        return list(self.documents)


class KeepingTracer(BaseTracer):
    """Keeps the finished runs."""

    def __init__(self):
        super().__init__()
        self.runs = []

    def _persist_run(self, run):
        self.runs.append(run)


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    return write_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture
def shelf(samples):
    page = {"media_type": "page", "source": str(samples / "pages.pdf"), "page": 2, "relevance_score": 0.9312}
    return ShelfRetriever(
        documents=[
            Document(id="order", page_content="Order of May", metadata=page),
            image_document(samples / "red.png", id="red"),
            Document(id="note", page_content="Doors close at six."),
        ]
    )


def make_tool(retriever, **options):
    options.setdefault("media", "image_block")
    return create_multimodal_retriever_tool(retriever, "search", "Searches the shelf.", **options)


def call(tool, **arguments) -> ToolMessage:
    return tool.invoke(call_tool("search", **arguments))


def list_kinds(message) -> list[str]:
    return [block["type"] for block in message.content]


def open_block(block) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(block["base64"])))


def encode_picture(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")


def test_each_picture_follows_the_text_that_it_belongs_to(shelf):
    message = call(make_tool(shelf), query="orders")
    assert list_kinds(message) == ["text", "image", "text", "image", "text"]
    assert message.content[0]["text"] == "[1] id=order, page, pages.pdf, page 2, relevance 0.931\nOrder of May"
    assert message.content[2]["text"] == "[2] id=red, image, red.png"
    assert message.content[4]["text"] == "[3] id=note, text\nDoors close at six."
    assert find_color(open_block(message.content[1])) == ORANGE
    assert find_color(open_block(message.content[3])) == RED
    assert shelf.asked == ["orders"]


def test_the_pictures_are_those_of_document_to_content_blocks(shelf):
    message = call(make_tool(shelf), query="orders")
    expected = [document_to_content_blocks(document, with_text=False)[0] for document in shelf.documents[:2]]
    assert [block["base64"] for block in message.content if block["type"] == "image"] == [
        block["base64"] for block in expected
    ]


def test_the_artifact_is_the_documents_and_holds_no_data(shelf):
    message = call(make_tool(shelf), query="orders")
    assert [document.id for document in message.artifact] == ["order", "red", "note"]
    assert message.artifact[1] == shelf.documents[1]
    assert len(json.dumps([document.model_dump() for document in message.artifact])) < 2_000


def test_a_plain_call_gives_the_content_and_async_gives_the_same(shelf):
    tool = make_tool(shelf)
    content = tool.invoke({"query": "orders"})
    assert [block["type"] for block in content] == ["text", "image", "text", "image", "text"]
    message = asyncio.run(tool.ainvoke(call_tool("search", query="orders")))
    assert [block.get("base64") for block in message.content] == [block.get("base64") for block in content]
    assert [document.id for document in message.artifact] == ["order", "red", "note"]


def test_with_the_response_format_content_there_is_no_artifact(shelf):
    message = call(make_tool(shelf, response_format="content"), query="orders")
    assert list_kinds(message)[:2] == ["text", "image"]
    assert message.artifact is None


def test_without_pictures_the_content_is_one_text(shelf):
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


@pytest.mark.parametrize(
    ("profile", "is_shown"),
    [
        ({"image_inputs": True, "image_tool_message": True}, True),
        ({"image_inputs": True, "image_tool_message": False}, False),
        ({"image_inputs": False, "image_tool_message": True}, False),
        ({"image_inputs": True}, False),
        (None, False),
    ],
)
def test_left_to_itself_it_shows_pictures_only_to_models_that_take_them_from_tools(shelf, profile, is_shown):
    model = ScriptedModel(script=lambda messages: None, profile=profile)
    message = call(make_tool(shelf, media="auto", model=model), query="x")
    assert isinstance(message.content, list) == is_shown


def test_left_to_itself_without_a_model_it_is_text(shelf):
    assert isinstance(call(make_tool(shelf, media="auto"), query="x").content, str)


def test_at_most_so_many_pictures_are_shown_and_the_others_are_said_not_to_be(shelf):
    message = call(make_tool(shelf, max_images=1), query="orders")
    assert list_kinds(message) == ["text", "image", "text"]
    assert (
        "[2] id=red, image, red.png\nIt is not shown: an answer shows at most 1 pictures." in message.content[2]["text"]
    )


def test_pictures_are_made_to_fit_pixels_and_bytes(tmp_path):
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


def test_a_picture_that_cannot_be_read_is_said_to_be_so_and_the_others_are_shown(shelf, samples, tmp_path):
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


def test_a_clip_is_shown_as_frames_in_their_order(samples):
    retriever = ShelfRetriever(documents=[video_document(samples / "turning.mp4", start=0, end=8, id="clip")])
    message = call(make_tool(retriever), query="x")
    assert list_kinds(message) == ["text", "image", "image", "image", "image"]
    assert message.content[0]["text"] == (
        "[1] id=clip, video, turning.mp4, seconds 0 to 8\n4 frames of it follow, in their order."
    )
    assert [find_color(open_block(block)) for block in message.content[1:]] == [BLUE, BLUE, RED, RED]


def test_clips_share_the_room_with_pictures(samples):
    documents = [
        video_document(samples / "turning.mp4", id="first"),
        image_document(samples / "red.png", id="red"),
        video_document(samples / "turning.mp4", id="second"),
    ]
    for most, shares in ((2, [1, 1, 0]), (3, [1, 1, 1]), (4, [2, 1, 1]), (6, [3, 1, 2])):
        message = call(make_tool(ShelfRetriever(documents=documents), max_images=most), query="x")
        shown = [len(part) for part in "".join(kind[0] for kind in list_kinds(message)).split("t")[1:]]
        assert [*shown, 0][:3] == shares


def test_clips_may_be_left_as_text(samples):
    retriever = ShelfRetriever(documents=[video_document(samples / "turning.mp4", id="clip")])
    assert call(make_tool(retriever, video="text"), query="x").content == "[1] id=clip, video, turning.mp4"


def test_several_pictures_of_a_document_count_as_several(samples):
    pictures = [str(samples / "red.png"), str(samples / "blue.png")]
    retriever = ShelfRetriever(documents=[Document(id="two", page_content="", metadata={"image": pictures})])
    message = call(make_tool(retriever), query="x")
    assert [find_color(open_block(block)) for block in message.content[1:]] == [RED, BLUE]
    assert message.content[0]["text"].endswith("2 pictures of it follow, in their order.")
    assert list_kinds(call(make_tool(retriever, max_images=1), query="x")) == ["text", "image"]


def test_other_metadata_name_the_picture_if_they_are_said_to(samples):
    retriever = ShelfRetriever(
        documents=[Document(id="own", page_content="", metadata={"photo": str(samples / "red.png")})]
    )
    message = call(make_tool(retriever, media_key="photo"), query="x")
    assert find_color(open_block(message.content[1])) == RED


def test_a_clip_as_a_whole_keeps_its_block_in_the_tool_message(samples):
    retriever = ShelfRetriever(documents=[video_document(samples / "turning.mp4", id="clip")])
    message = call(make_tool(retriever, video="tool_message"), query="x")
    assert list_kinds(message) == ["text", "video"]
    assert base64.b64decode(message.content[1]["base64"]) == (samples / "turning.mp4").read_bytes()
    assert message.content[1]["mime_type"] == "video/mp4"
    assert (message.tool_call_id, message.name, message.artifact[0].id) == ("call-1", "search", "clip")


def test_a_clip_that_is_too_large_is_shown_as_frames(samples):
    retriever = ShelfRetriever(documents=[video_document(samples / "turning.mp4", id="clip")])
    size = (samples / "turning.mp4").stat().st_size
    assert list_kinds(call(make_tool(retriever, video="tool_message", max_video_bytes=size), query="x"))[1] == "video"
    small = call(make_tool(retriever, video="tool_message", max_video_bytes=size - 1), query="x")
    assert list_kinds(small) == ["text", "image", "image", "image", "image"]


def test_no_file_leaves_as_a_clip_that_is_none_or_that_the_policy_refuses(samples, tmp_path):
    secret = tmp_path / "secret.mp4"
    secret.write_text("the key is 1234", encoding="utf-8")
    clip = Document(id="clip", page_content="", metadata={"media_type": "video", "video": str(secret)})
    content = call(make_tool(ShelfRetriever(documents=[clip]), video="tool_message"), query="x").content
    assert content.endswith("It cannot be shown: the file cannot be read.")
    retriever = ShelfRetriever(documents=[video_document(samples / "turning.mp4", id="clip")])
    policy = MediaPolicy(allow_dirs=(tmp_path,))
    refused = call(make_tool(retriever, video="tool_message", media_policy=policy), query="x").content
    assert refused.endswith("It cannot be shown: the file cannot be read.")


def test_the_model_is_told_of_words_and_ids_alone(shelf):
    tool = make_tool(shelf, video="tool_message")
    assert set(tool.args) == {"query", "query_image_id", "messages", "tool_call_id"} - {"messages", "tool_call_id"}
    assert tool.tool_call_schema.model_json_schema()["required"] == ["query"]


def search_with(tool, image_id, messages=(), query="like this") -> ToolMessage:
    """Calls the tool as an agent with these messages does."""
    found = call_tool("search", query=query, query_image_id=image_id)
    found["args"]["messages"] = list(messages)
    return tool.invoke(found)


def test_a_picture_that_was_found_before_can_be_searched_with(shelf):
    tool = make_tool(shelf)
    before = call(tool, query="orders")
    assert search_with(tool, "red", [before]).status == "success"
    assert set(shelf.asked[-1]) == {"image", "text"}
    assert find_color(shelf.asked[-1]["image"]) == RED
    search_with(tool, "order", [before], query="")
    assert set(shelf.asked[-1]) == {"image"}
    assert find_color(shelf.asked[-1]["image"]) == ORANGE


def test_a_clip_that_was_found_before_is_searched_with_as_a_clip(samples):
    shelf = ShelfRetriever(documents=[video_document(samples / "turning.mp4", start=1, end=3, id="clip")])
    tool = make_tool(shelf)
    search_with(tool, "clip", [call(tool, query="x")])
    assert shelf.asked[-1] == {
        "video": str(samples / "turning.mp4"), "start": 1.0, "end": 3.0, "text": "like this"
    }  # fmt: skip


def test_a_text_is_no_picture_to_search_with(shelf):
    tool = make_tool(shelf)
    message = search_with(tool, "note", [call(tool, query="x")])
    assert message.status == "error"
    assert message.content == "'note' is a text; put its words into the query instead."


@pytest.mark.parametrize("write", ["v1", "openai", "v0"])
def test_pictures_that_the_user_attached_can_be_searched_with(shelf, samples, write):
    red, blue = (encode_picture(Image.open(samples / name)) for name in ("red.png", "blue.png"))

    def attach(data):
        return {
            "v1": {"type": "image", "base64": data, "mime_type": "image/png"},
            "openai": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
            "v0": {"type": "image", "source_type": "base64", "data": data, "mime_type": "image/png"},
        }[write]

    messages = [
        HumanMessage([{"type": "text", "text": "What is this?"}, attach(red)]),
        HumanMessage([attach(blue)]),
    ]
    tool = make_tool(shelf)
    for number, color in ((1, RED), (2, BLUE)):
        assert search_with(tool, f"attached-{number}", messages).status == "success"
        assert find_color(shelf.asked[-1]["image"]) == color
    assert search_with(tool, "attached-3", messages).status == "error"


def test_an_unknown_id_is_answered_with_the_known_ones(shelf):
    tool = make_tool(shelf)
    message = search_with(tool, "blue", [call(tool, query="x")])
    assert message.status == "error"
    assert message.content == "There is no picture with the id 'blue'. Known are: order, red, note."
    assert search_with(tool, "red").content.endswith("None is known yet: search with words first.")


def test_of_many_known_ids_the_latest_are_named():
    tool = make_tool(ShelfRetriever(documents=[Document(id=f"n{number}", page_content="x") for number in range(30)]))
    content = search_with(tool, "y" * 500, [call(tool, query="x")]).content
    assert (
        content
        == f"There is no picture with the id '{'y' * 80}'. Known are: "
        + ", ".join(f"n{number}" for number in range(10, 30))
        + "."
    )


def test_an_empty_id_is_none(shelf):
    search_with(make_tool(shelf), "", query="orders")
    assert shelf.asked == ["orders"]


def test_a_path_or_url_in_place_of_an_id_is_never_opened(shelf, samples):
    tool = make_tool(shelf, media_policy=MediaPolicy(allow_urls=True))
    before = call(tool, query="x")
    shelf.asked.clear()
    path = str(samples / "red.png")
    for name in (path, f"file://{path}", "http://127.0.0.1/red.png", "data:image/png;base64,AAAA"):
        message = search_with(tool, name, [before])
        assert message.status == "error"
        assert "There is no picture with the id" in message.content
    assert shelf.asked == []


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "url": "/etc/hostname"},
        {"type": "image", "url": "file:///etc/hostname"},
        {"type": "image", "url": "http://127.0.0.1/a.png"},
        {"type": "image", "file_id": "file-1"},
        {"type": "image", "base64": "AAAAA", "mime_type": "image/png"},
        {"type": "image", "base64": "QUFBQQ==", "mime_type": "image/png"},
    ],
)
def test_what_is_attached_without_data_of_a_picture_is_not_opened(shelf, block):
    message = search_with(make_tool(shelf), "attached-1", [HumanMessage([block])])
    assert message.status == "error"
    assert message.content == "The picture 'attached-1' cannot be opened; search without it."
    assert shelf.asked == []


def test_an_attached_path_is_not_opened_even_where_it_is_allowed(shelf, samples):
    block = {"type": "image", "url": str(samples / "red.png")}
    policy = MediaPolicy(allow_urls=True, allow_dirs=(samples,))
    message = search_with(make_tool(shelf, media_policy=policy), "attached-1", [HumanMessage([block])])
    assert message.status == "error"


def test_a_model_cannot_make_up_a_conversation(shelf, samples):
    made_up = {"type": "tool", "name": "search", "tool_call_id": "c", "content": ""}
    made_up["artifact"] = [{"id": "mine", "page_content": "", "metadata": {"image": str(samples / "red.png")}}]
    assert search_with(make_tool(shelf), "mine", [made_up]).status == "error"
    assert search_with(make_tool(shelf), "mine", made_up).status == "error"


def test_artifacts_that_are_no_documents_are_passed_over(shelf):
    odd = ToolMessage("x", name="search", tool_call_id="c", artifact=[1, {"id": "a"}, {"page_content": "b", "id": "b"}])
    other = ToolMessage("x", name="search", tool_call_id="c", artifact={"id": "a", "page_content": "b", "metadata": {}})
    message = search_with(make_tool(shelf), "a", [odd, other])
    assert message.content.endswith("None is known yet: search with words first.")


def test_results_of_other_tools_are_not_searched_with(shelf, samples):
    other = ToolMessage("x", name="browse", tool_call_id="c", artifact=[image_document(samples / "red.png", id="mine")])
    assert search_with(make_tool(shelf), "mine", [other]).status == "error"


def test_a_found_picture_that_is_gone_or_refused_is_an_error_for_the_model(shelf, tmp_path, samples):
    tool = make_tool(shelf)
    before = call(tool, query="x")
    message = search_with(make_tool(shelf, media_policy=MediaPolicy(allow_dirs=(tmp_path,))), "red", [before])
    assert message.content == "The picture 'red' cannot be opened; search without it."


def test_an_empty_query_is_an_error_for_the_model(shelf):
    for tool_answer in (
        call(make_tool(shelf), query=" "),
        asyncio.run(make_tool(shelf).ainvoke(call_tool("search", query=" "))),
    ):
        assert tool_answer.status == "error"
        assert tool_answer.content.startswith("The query is empty")
    assert shelf.asked == []


def test_errors_of_the_retriever_are_not_hidden(shelf):
    class BrokenRetriever(ShelfRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            raise RuntimeError("the store is gone")

    with pytest.raises(RuntimeError, match="the store is gone"):
        call(make_tool(BrokenRetriever(documents=[])), query="x")


def test_traces_hold_no_conversation_and_no_data_of_pictures(shelf, samples):
    data = encode_picture(Image.open(samples / "red.png").resize((400, 400)))
    messages = [HumanMessage([{"type": "image", "base64": data, "mime_type": "image/png"}])]
    tracer = KeepingTracer()
    asked = call_tool("search", query="like this", query_image_id="attached-1", messages=messages)
    make_tool(shelf, media="none").invoke(asked, config={"callbacks": [tracer]})
    (run,) = tracer.runs
    (retrieval,) = run.child_runs
    assert data[:100] not in str(run.inputs)
    assert "messages" not in str(run.inputs)
    assert len(str(retrieval.inputs)) < 300
    assert retrieval.inputs["query"]["text"] == "like this"
    assert len(str(run.outputs)) < 3_000


def test_options_that_make_no_sense_are_refused(shelf):
    with pytest.raises(ValueError, match="media='picture' is unknown; allowed are auto, image_block, none"):
        make_tool(shelf, media="picture")
    with pytest.raises(ValueError, match="video='block' is unknown; allowed are frames, tool_message, text"):
        make_tool(shelf, video="block")
    with pytest.raises(ValueError, match="max_images=-1 must be at least 0"):
        make_tool(shelf, max_images=-1)
    with pytest.raises(ValueError, match="max_image_bytes=10 must be at least 1024"):
        make_tool(shelf, max_image_bytes=10)


def test_without_langchain_the_module_imports_and_the_tool_names_the_extra():
    script = """
import sys
sys.modules["langchain"] = None
from langchain_core.retrievers import BaseRetriever
from langchain_qwen3_vl.tools import create_multimodal_retriever_tool
assert "torch" not in sys.modules and "chromadb" not in sys.modules
class Empty(BaseRetriever):
    def _get_relevant_documents(self, query, *, run_manager):
        return []
try:
    create_multimodal_retriever_tool(Empty(), "search", "Searches.")
except ImportError as error:
    assert 'pip install "langchain-qwen3-vl[agents]"' in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)  # noqa: S603 - the text above
