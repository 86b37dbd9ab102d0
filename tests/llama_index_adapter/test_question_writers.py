"""Language models of LlamaIndex that draft questions."""

from __future__ import annotations

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import MockLLM
from PIL import Image

from llama_index.evaluation.qwen3_vl import adapt_llm
from llama_index_adapter.scripted_llms import ScriptedLLM, join_text, open_images
from qwen3_vl_retrieval.evaluation import DraftOptions, adapt_question_writer, draft_questions
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.testing import FakeEmbedder, FakeReranker


def test_a_language_model_is_shown_words_and_images_and_drafts(tmp_path):
    Image.new("RGB", (96, 64), "red").save(tmp_path / "red.png")
    answer = ChatMessage(role="assistant", content='{"question": "a red thing", "language": "en"}')
    llm = ScriptedLLM(script=lambda _: answer)
    with MultimodalIndex.open(tmp_path / "store", FakeEmbedder(), FakeReranker()) as index:
        index.add([tmp_path / "red.png"])
        # The fake reranker finds no words in an image.
        options = DraftOptions(n=1, least_relevance=0.0)
        report = draft_questions(index, adapt_llm(llm, name="my model"), tmp_path / "q.jsonl", options)
    (question,) = report.drafted
    assert (question.text, question.model) == ("a red thing", "my model")
    system, asked = llm.requests[0]
    assert "one JSON object" in system.content
    assert join_text(asked.blocks) == "The item is an image."
    assert [image.size for image in open_images(asked.blocks)] == [(96, 64)]


def test_the_command_line_finds_language_models():
    assert adapt_question_writer(MockLLM()).name == MockLLM().metadata.model_name
