"""Chat models of LangChain that draft questions, as objects and by name."""

from __future__ import annotations

import base64
import io

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage
from PIL import Image

from langchain_adapter.scripted_models import ScriptedModel
from langchain_qwen3_vl import adapt_chat_model
from qwen3_vl_retrieval import ModelError
from qwen3_vl_retrieval.evaluation import DraftOptions, adapt_question_writer, draft_questions
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.testing import FakeEmbedder, FakeReranker


def test_a_chat_model_is_shown_words_and_images_and_drafts(tmp_path):
    Image.new("RGB", (96, 64), "red").save(tmp_path / "red.png")
    model = ScriptedModel(script=lambda _: AIMessage('{"question": "a red thing", "language": "en"}'))
    with MultimodalIndex.open(tmp_path / "store", FakeEmbedder(), FakeReranker()) as index:
        index.add([tmp_path / "red.png"])
        # The fake reranker finds no words in an image.
        options = DraftOptions(n=1, least_relevance=0.0, language="German")
        report = draft_questions(index, adapt_chat_model(model, name="my model"), tmp_path / "q.jsonl", options)
    (question,) = report.drafted
    assert (question.text, question.model) == ("a red thing", "my model")
    system, asked = model.requests[0]
    assert "write it in German" in system.text
    words, image = asked.content_blocks
    assert words["text"] == "The item is an image."
    with Image.open(io.BytesIO(base64.b64decode(image["base64"]))) as shown:
        assert (image["mime_type"], shown.size) == ("image/jpeg", (96, 64))


def test_the_command_line_finds_chat_models_and_names_them():
    writer = adapt_question_writer(FakeListChatModel(responses=['{"question": null}']))
    assert writer.name == "FakeListChatModel"
    pytest.importorskip("langchain_openai")
    from langchain_openai import ChatOpenAI

    assert adapt_question_writer(ChatOpenAI(model="gpt-4o", api_key="none")).name == "gpt-4o"


def test_a_chat_model_is_made_by_its_name(monkeypatch):
    pytest.importorskip("langchain_openai")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    assert adapt_question_writer("openai:gpt-4o").name == "openai:gpt-4o"
    with pytest.raises(ModelError, match="the chat model 'nowhere:model' cannot be made: Unable to infer"):
        adapt_question_writer("nowhere:model")
