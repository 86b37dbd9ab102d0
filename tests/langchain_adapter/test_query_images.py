"""Images that a model searches with: those that it was shown and those that the user attached, and no others."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, ToolMessage
from PIL import Image

from hit_samples import BLUE, ORANGE, RED, find_color
from langchain_adapter.shelf_tools import ShelfRetriever, call, encode_image, make_tool, search_with
from langchain_qwen3_vl.documents import image_document, video_document
from qwen3_vl_retrieval import MediaPolicy
from qwen3_vl_retrieval.errors import quote


def test_an_image_that_was_found_before_can_be_searched_with(shelf):
    tool = make_tool(shelf)
    before = call(tool, query="orders")
    assert search_with(tool, "red", [before]).status == "success"
    assert set(shelf.asked[-1]) == {"image", "text"}
    assert find_color(shelf.asked[-1]["image"]) == RED
    search_with(tool, "order", [before], query="")
    assert set(shelf.asked[-1]) == {"image"}
    assert find_color(shelf.asked[-1]["image"]) == ORANGE


def test_a_video_that_was_found_before_is_searched_with_as_a_video(samples):
    shelf = ShelfRetriever(documents=[video_document(samples / "turning.mp4", start=1, end=3, id="video")])
    tool = make_tool(shelf)
    search_with(tool, "video", [call(tool, query="x")])
    assert shelf.asked[-1] == {
        "video": str(samples / "turning.mp4"), "start": 1.0, "end": 3.0, "text": "like this"
    }  # fmt: skip


def test_a_text_is_no_image_to_search_with(shelf):
    tool = make_tool(shelf)
    message = search_with(tool, "note", [call(tool, query="x")])
    assert message.status == "error"
    assert message.content == "'note' is a text; put its words into the query instead."


@pytest.mark.parametrize("write", ["v1", "openai", "v0"])
def test_images_that_the_user_attached_can_be_searched_with(shelf, samples, write):
    red, blue = (encode_image(Image.open(samples / name)) for name in ("red.png", "blue.png"))

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
    assert message.content == "There is no image with the id 'blue'. Known are: order, red, note."
    assert search_with(tool, "red").content.endswith("None is known yet: search with words first.")


def test_of_many_known_ids_the_latest_are_named():
    tool = make_tool(ShelfRetriever(documents=[Document(id=f"n{number}", page_content="x") for number in range(30)]))
    content = search_with(tool, "y" * 500, [call(tool, query="x")]).content
    assert (
        content
        == f"There is no image with the id {quote('y' * 500)}. Known are: "
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
        assert "There is no image with the id" in message.content
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
def test_what_is_attached_without_data_of_an_image_is_not_opened(shelf, block):
    message = search_with(make_tool(shelf), "attached-1", [HumanMessage([block])])
    assert message.status == "error"
    assert message.content == "The image 'attached-1' cannot be opened; search without it."
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


def test_a_found_image_that_is_gone_or_refused_is_an_error_for_the_model(shelf, tmp_path, samples):
    tool = make_tool(shelf)
    before = call(tool, query="x")
    message = search_with(make_tool(shelf, media_policy=MediaPolicy(allow_dirs=(tmp_path,))), "red", [before])
    assert message.content == "The image 'red' cannot be opened; search without it."
