"""The tool of an agent: its messages, its schema, whom it shows images, its errors and its traces."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tracers.base import BaseTracer
from PIL import Image

from langchain_adapter.scripted_models import ScriptedModel, call_tool
from langchain_adapter.shelf_tools import ShelfRetriever, call, encode_image, list_kinds, make_tool


class KeepingTracer(BaseTracer):
    """Keeps the finished runs."""

    def __init__(self):
        super().__init__()
        self.runs = []

    def _persist_run(self, run):
        self.runs.append(run)


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
def test_left_to_itself_it_shows_images_only_to_models_that_take_them_from_tools(shelf, profile, is_shown):
    model = ScriptedModel(script=lambda messages: None, profile=profile)
    message = call(make_tool(shelf, media="auto", model=model), query="x")
    assert isinstance(message.content, list) == is_shown


def test_left_to_itself_without_a_model_it_is_text(shelf):
    assert isinstance(call(make_tool(shelf, media="auto"), query="x").content, str)


def test_the_model_is_told_of_words_and_ids_alone(shelf):
    tool = make_tool(shelf, video="tool_message")
    assert set(tool.args) == {"query", "query_image_id", "messages", "tool_call_id"} - {"messages", "tool_call_id"}
    assert tool.tool_call_schema.model_json_schema()["required"] == ["query"]


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


def test_traces_hold_no_conversation_and_no_data_of_images(shelf, samples):
    data = encode_image(Image.open(samples / "red.png").resize((400, 400)))
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
    with pytest.raises(ValueError, match="media='image' is unknown; allowed are auto, image_block, none"):
        make_tool(shelf, media="image")
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
# Older versions import transformers, if it is there, and with it torch.
import langchain_core.language_models.base
from langchain_core.retrievers import BaseRetriever
before = set(sys.modules)
from langchain_qwen3_vl.tools import create_multimodal_retriever_tool
assert not {"torch", "chromadb"} & (set(sys.modules) - before)
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
