"""Agents of `langchain.agents` that search drawn pages and videos with the pocket models: what their models get."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, ToolMessage

from langchain_adapter.drawn_papers import PAGES, fill_store
from langchain_adapter.paper_agents import (
    TAKES_IMAGES_FROM_TOOLS,
    TAKES_IMAGES_FROM_USERS,
    ask_agent,
    list_images,
    make_agent,
    show,
)
from langchain_qwen3_vl.documents import image_document, video_document
from langchain_qwen3_vl.middleware import MultimodalToolImagesMiddleware
from qwen3_vl_pocket.world.facts import draw_facts
from qwen3_vl_pocket.world.files import write_clip
from qwen3_vl_pocket.world.pictures import draw_frames, draw_picture
from qwen3_vl_pocket.world.sentences import ask


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> tuple[Document, str]:
    """A video, and a question about it."""
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    facts = draw_facts("motion", random.Random(8), split="test")
    write_clip(draw_frames(facts, random.Random(8)), path)
    return video_document(path, id="video"), ask(facts, "en", random.Random(8))


@pytest.mark.parametrize("is_async", [False, True])
def test_the_model_asks_gets_the_image_of_the_right_page_and_answers(
    page_store, page_documents, page_questions, is_async
):
    agent, model = make_agent(page_store, TAKES_IMAGES_FROM_TOOLS)
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
    agent, model = make_agent(page_store, TAKES_IMAGES_FROM_TOOLS, video="tool_message")
    ask_agent(agent, "a page")
    (schema,) = model.tool_schemas
    assert set(schema["function"]["parameters"]["properties"]) == {"query", "query_image_id"}
    assert schema["function"]["parameters"]["required"] == ["query"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_model_that_takes_no_images_from_tools_gets_them_through_the_middleware(
    page_store, page_documents, page_questions, is_async
):
    for profile in (TAKES_IMAGES_FROM_USERS, None):
        agent, model = make_agent(page_store, profile, middleware=[MultimodalToolImagesMiddleware()])
        ask_agent(agent, page_questions[2], is_async=is_async)
        asked, called, answered, shown = model.requests[1]
        assert [asked.type, called.type, answered.type, shown.type] == ["human", "ai", "tool", "human"]
        assert isinstance(answered.content, str)
        assert "[image 1: shown below]" in answered.content
        assert list_images(shown) == show(page_documents[2])


def test_without_the_middleware_such_a_model_gets_text(page_store, page_questions):
    agent, model = make_agent(page_store, TAKES_IMAGES_FROM_USERS)
    ask_agent(agent, page_questions[2])
    assert model.requests[1][-1].content == "[1] id=page-3, page, paper.pdf, page 3"


@pytest.mark.parametrize(
    ("profile", "middleware"),
    [(TAKES_IMAGES_FROM_TOOLS, []), (TAKES_IMAGES_FROM_USERS, [MultimodalToolImagesMiddleware()])],
)
def test_a_video_that_is_found_is_shown_as_frames(embeddings, video, page_documents, profile, middleware):
    document, question = video
    agent, model = make_agent(fill_store(embeddings, [*page_documents, document]), profile, middleware=middleware)
    ask_agent(agent, question)
    frames = list_images(model.requests[1][-1])
    assert frames == show(document, max_frames=4)
    assert len(set(frames)) == 4


@pytest.mark.parametrize("is_async", [False, True])
def test_a_video_as_a_whole_reaches_the_model_as_a_block(embeddings, video, is_async):
    document, question = video
    store = fill_store(embeddings, [document])
    agent, model = make_agent(store, TAKES_IMAGES_FROM_TOOLS, video="tool_message")
    state = ask_agent(agent, question, is_async=is_async)
    answer = model.requests[1][-1]
    assert [block["type"] for block in answer.content] == ["text", "video"]
    assert base64.b64decode(answer.content[1]["base64"]) == Path(document.metadata["video"]).read_bytes()
    assert [found.id for found in state["messages"][2].artifact] == ["video"]


def test_the_payload_of_an_answer_has_a_bound(page_store, page_questions):
    agent, model = make_agent(
        page_store, TAKES_IMAGES_FROM_TOOLS, k=PAGES, max_images=2, max_image_bytes=10_000, max_image_pixels=90_000
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
    agent, _ = make_agent(store, TAKES_IMAGES_FROM_TOOLS, max_image_pixels=10_000)
    before = embeddings.embedder.stats

    async def ask_all():
        states = ({"messages": [HumanMessage(question)]} for question in questions)
        return await asyncio.gather(*(agent.ainvoke(state) for state in states))

    answers = asyncio.run(ask_all())
    done = embeddings.embedder.stats - before
    found = [int(state["messages"][2].artifact[0].id) for state in answers]
    assert found == cosines.argmax(axis=1).tolist()
    assert done.requests == 100
    assert done.batches < 25
