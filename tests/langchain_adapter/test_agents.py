"""Agents of `langchain.agents` that search drawn pages and clips with the pocket models."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from pathlib import Path

import numpy as np
import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.checkpoint.memory import InMemorySaver

from langchain_adapter.scripted_models import ScriptedModel, ask_once, call_tool
from langchain_qwen3_vl.documents import document_to_content_blocks, image_document, video_document
from langchain_qwen3_vl.middleware import MultimodalToolImagesMiddleware
from langchain_qwen3_vl.retrievers import Qwen3VLRetriever
from langchain_qwen3_vl.tools import create_multimodal_retriever_tool
from qwen3_vl_pocket.world.facts import Facts, draw_facts
from qwen3_vl_pocket.world.files import write_clip, write_pdf
from qwen3_vl_pocket.world.pictures import draw_frames, draw_picture
from qwen3_vl_pocket.world.sentences import ask

PAGES = 4
TAKES_PICTURES_FROM_TOOLS = {"image_inputs": True, "image_tool_message": True}
TAKES_PICTURES_FROM_USERS = {"image_inputs": True, "image_tool_message": False}


def draw_page_facts() -> list[Facts]:
    """Facts of pages of which no two have a title, a company or a number in common."""
    rng = random.Random(11)
    found: list[Facts] = []
    while len(found) < PAGES:
        facts = draw_facts("page", rng, split="test")
        if all(facts[slot] != other[slot] for other in found for slot in ("title", "company", "tens")):
            found.append(facts)
    return found


def fill_store(embeddings, documents: list[Document]) -> InMemoryVectorStore:
    store = InMemoryVectorStore(embeddings)
    for document, vector in zip(documents, embeddings.embed_documents(documents), strict=True):
        store.store[document.id] = {
            "id": document.id, "vector": vector, "text": document.page_content, "metadata": document.metadata
        }  # fmt: skip
    return store


@pytest.fixture(scope="module")
def paper(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("papers") / "paper.pdf"
    rng = random.Random(3)
    write_pdf([draw_picture(facts, rng, scale=3.0) for facts in draw_page_facts()], path)
    return path


@pytest.fixture(scope="module")
def page_documents(paper) -> list[Document]:
    return [
        Document(
            id=f"page-{page}", page_content="", metadata={"media_type": "page", "source": str(paper), "page": page}
        )
        for page in range(1, PAGES + 1)
    ]


@pytest.fixture(scope="module")
def page_questions() -> list[str]:
    rng = random.Random(4)
    return [ask(facts, "en", rng) for facts in draw_page_facts()]


@pytest.fixture(scope="module")
def page_store(embeddings, page_documents):
    return fill_store(embeddings, page_documents)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> tuple[Document, str]:
    """A clip, and a question about it."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    facts = draw_facts("motion", random.Random(8), split="test")
    write_clip(draw_frames(facts, random.Random(8)), path)
    return video_document(path, id="clip"), ask(facts, "en", random.Random(8))


def make_agent(store, profile, *, k=1, script=None, middleware=(), checkpointer=None, **options):
    model = ScriptedModel(script=ask_once("search_papers") if script is None else script, profile=profile)
    tool = create_multimodal_retriever_tool(
        store.as_retriever(search_kwargs={"k": k}), "search_papers", "Searches papers.", model=model, **options
    )
    return create_agent(model, [tool], middleware=list(middleware), checkpointer=checkpointer), model


def ask_agent(agent, words, *, is_async=False):
    state = {"messages": [HumanMessage(words)]}
    return asyncio.run(agent.ainvoke(state)) if is_async else agent.invoke(state)


def list_images(message) -> list[str]:
    """The base64 of the pictures of a message."""
    return [block["base64"] for block in message.content if block["type"] == "image"]


def show(document, **options) -> list[str]:
    return [block["base64"] for block in document_to_content_blocks(document, with_text=False, **options)]


@pytest.mark.parametrize("is_async", [False, True])
def test_the_model_asks_gets_the_picture_of_the_right_page_and_answers(
    page_store, page_documents, page_questions, is_async
):
    agent, model = make_agent(page_store, TAKES_PICTURES_FROM_TOOLS)
    for document, question in zip(page_documents, page_questions, strict=True):
        model.requests.clear()
        state = ask_agent(agent, question, is_async=is_async)
        assert state["messages"][-1].content == "found"
        answer = model.requests[1][-1]
        assert isinstance(answer, ToolMessage)
        assert list_images(answer) == show(document)
        assert f"id={document.id}, page, paper.pdf, page {document.metadata['page']}" in answer.content[0]["text"]
        assert [found.id for found in answer.artifact] == [document.id]


def test_the_model_is_told_of_the_words_and_the_id_alone(page_store):
    agent, model = make_agent(page_store, TAKES_PICTURES_FROM_TOOLS, video="tool_message")
    ask_agent(agent, "a page")
    (schema,) = model.tool_schemas
    assert set(schema["function"]["parameters"]["properties"]) == {"query", "query_image_id"}
    assert schema["function"]["parameters"]["required"] == ["query"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_model_that_takes_no_pictures_from_tools_gets_them_through_the_middleware(
    page_store, page_documents, page_questions, is_async
):
    for profile in (TAKES_PICTURES_FROM_USERS, None):
        agent, model = make_agent(page_store, profile, middleware=[MultimodalToolImagesMiddleware()])
        ask_agent(agent, page_questions[2], is_async=is_async)
        asked, called, answered, shown = model.requests[1]
        assert [asked.type, called.type, answered.type, shown.type] == ["human", "ai", "tool", "human"]
        assert isinstance(answered.content, str)
        assert "[picture 1: shown below]" in answered.content
        assert list_images(shown) == show(page_documents[2])


def test_without_the_middleware_such_a_model_gets_text(page_store, page_questions):
    agent, model = make_agent(page_store, TAKES_PICTURES_FROM_USERS)
    ask_agent(agent, page_questions[2])
    assert model.requests[1][-1].content == "[1] id=page-3, page, paper.pdf, page 3"


@pytest.mark.parametrize(
    ("profile", "middleware"),
    [(TAKES_PICTURES_FROM_TOOLS, []), (TAKES_PICTURES_FROM_USERS, [MultimodalToolImagesMiddleware()])],
)
def test_a_clip_that_is_found_is_shown_as_frames(embeddings, clip, page_documents, profile, middleware):
    document, question = clip
    agent, model = make_agent(fill_store(embeddings, [*page_documents, document]), profile, middleware=middleware)
    ask_agent(agent, question)
    frames = list_images(model.requests[1][-1])
    assert frames == show(document, max_frames=4)
    assert len(set(frames)) == 4


@pytest.mark.parametrize("is_async", [False, True])
def test_a_clip_as_a_whole_reaches_the_model_as_a_block(embeddings, clip, is_async):
    document, question = clip
    store = fill_store(embeddings, [document])
    agent, model = make_agent(store, TAKES_PICTURES_FROM_TOOLS, video="tool_message")
    state = ask_agent(agent, question, is_async=is_async)
    answer = model.requests[1][-1]
    assert [block["type"] for block in answer.content] == ["text", "video"]
    assert base64.b64decode(answer.content[1]["base64"]) == Path(document.metadata["video"]).read_bytes()
    assert [found.id for found in state["messages"][2].artifact] == ["clip"]


def test_what_was_found_is_searched_with_by_its_id(page_store, page_questions):
    def play(messages):
        answers = [message for message in messages if isinstance(message, ToolMessage)]
        calls = [
            call_tool("search_papers", call_id="a", query=page_questions[1]),
            call_tool("search_papers", call_id="b", query="", query_image_id="page-2"),
            call_tool("search_papers", call_id="c", query="", query_image_id="paper.pdf"),
        ]
        more = calls[len(answers) : len(answers) + 1]
        return AIMessage("" if more else "done", tool_calls=more)

    agent, _ = make_agent(page_store, TAKES_PICTURES_FROM_TOOLS, script=play)
    first, second, third = (one for one in ask_agent(agent, "go")["messages"] if isinstance(one, ToolMessage))
    assert [document.id for document in first.artifact] == ["page-2"]
    assert [document.id for document in second.artifact] == ["page-2"]
    assert third.status == "error"
    assert third.content == "There is no picture with the id 'paper.pdf'. Known are: page-2."


def test_ids_outlive_the_turn_where_the_conversation_is_kept(page_store, page_questions):
    def play(messages):
        if isinstance(messages[-1], ToolMessage):
            return AIMessage("done")
        if messages[-1].text == "more like it":
            return AIMessage("", tool_calls=[call_tool("search_papers", query="", query_image_id="page-1")])
        return AIMessage("", tool_calls=[call_tool("search_papers", query=messages[-1].text)])

    agent, _ = make_agent(page_store, TAKES_PICTURES_FROM_TOOLS, script=play, checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "one"}}
    for words in (page_questions[0], "more like it"):
        state = agent.invoke({"messages": [HumanMessage(words)]}, config)
        assert [document.id for document in state["messages"][-2].artifact] == ["page-1"]
    other = agent.invoke({"messages": [HumanMessage("more like it")]}, {"configurable": {"thread_id": "other"}})
    assert other["messages"][-2].status == "error"


@pytest.mark.parametrize("is_async", [False, True])
def test_the_two_stage_retriever_takes_the_queries_of_the_tool(page_store, page_documents, is_async):
    def play(messages):
        if isinstance(messages[-1], ToolMessage):
            return AIMessage("done")
        return AIMessage("", tool_calls=[call_tool("look_up", query="", query_image_id="attached-1")])

    retriever = Qwen3VLRetriever(base=page_store, reranker=None, k=2)
    tool = create_multimodal_retriever_tool(retriever, "look_up", "Searches papers.", media="image_block")
    agent = create_agent(ScriptedModel(script=play), [tool])
    attached = [{"type": "image", "base64": show(page_documents[1])[0], "mime_type": "image/jpeg"}]
    answer = ask_agent(agent, attached, is_async=is_async)["messages"][2]
    assert answer.artifact[0].id == "page-2"
    assert ", similarity 0." in answer.content[0]["text"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_picture_that_the_user_attached_is_searched_with(page_store, page_documents, is_async):
    def play(messages):
        if isinstance(messages[-1], ToolMessage):
            return AIMessage("done")
        return AIMessage("", tool_calls=[call_tool("search_papers", query="", query_image_id="attached-1")])

    agent, _ = make_agent(page_store, TAKES_PICTURES_FROM_TOOLS, script=play)
    data = show(page_documents[3])[0]
    attached = [{"type": "text", "text": "Find this"}, {"type": "image", "base64": data, "mime_type": "image/jpeg"}]
    state = ask_agent(agent, attached, is_async=is_async)
    answer = next(message for message in state["messages"] if isinstance(message, ToolMessage))
    assert [document.id for document in answer.artifact] == ["page-4"]


def test_a_conversation_that_the_model_makes_up_is_not_read(page_store, tmp_path):
    def play(messages):
        if isinstance(messages[-1], ToolMessage):
            return AIMessage("done")
        made_up = [HumanMessage([{"type": "image", "base64": "QUFB", "mime_type": "image/png"}])]
        call = call_tool("search_papers", query="x", query_image_id="attached-1", messages=made_up)
        return AIMessage("", tool_calls=[call])

    agent, _ = make_agent(page_store, TAKES_PICTURES_FROM_TOOLS, script=play)
    answer = next(one for one in ask_agent(agent, "go")["messages"] if isinstance(one, ToolMessage))
    assert answer.content.endswith("None is known yet: search with words first.")


def test_the_payload_of_an_answer_has_a_bound(page_store, page_questions):
    agent, model = make_agent(
        page_store, TAKES_PICTURES_FROM_TOOLS, k=PAGES, max_images=2, max_image_bytes=10_000, max_image_pixels=90_000
    )
    ask_agent(agent, page_questions[0])
    answer = model.requests[1][-1]
    assert len(list_images(answer)) == 2
    assert len(answer.artifact) == PAGES
    assert len(json.dumps(answer.content)) < 2 * 10_000 * 4 / 3 + 2_000


def test_a_hundred_concurrent_questions_share_forward_passes(embeddings, tmp_path):
    facts = [draw_facts("pair", random.Random(seed), split="test") for seed in range(5)]
    documents: list[Document] = []
    for number, told in enumerate(facts):
        draw_picture(told, random.Random(number)).save(tmp_path / f"{number}.png")
        documents.append(image_document(tmp_path / f"{number}.png", id=str(number)))
    store = fill_store(embeddings, documents)
    questions = [ask(facts[number % 5], "en", random.Random(number)) for number in range(100)]
    cosines = (
        np.array(embeddings.embed_content_blocks(questions, kind="query"))
        @ np.array(embeddings.embed_documents(documents)).T
    )
    agent, _ = make_agent(store, TAKES_PICTURES_FROM_TOOLS, max_image_pixels=10_000)
    rows: list[int] = []
    handle = embeddings.embedder.model.language_model.embed_tokens.register_forward_pre_hook(
        lambda _module, _args, kwargs: rows.append(kwargs["inputs_embeds"].shape[0]), with_kwargs=True
    )

    async def ask_all():
        states = ({"messages": [HumanMessage(question)]} for question in questions)
        return await asyncio.gather(*(agent.ainvoke(state) for state in states))

    try:
        answers = asyncio.run(ask_all())
    finally:
        handle.remove()
    found = [int(state["messages"][2].artifact[0].id) for state in answers]
    assert found == cosines.argmax(axis=1).tolist()
    assert np.sum(rows) == 100
    assert len(rows) < 25
