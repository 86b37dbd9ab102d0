"""Language models of LlamaIndex that draft questions: those that chat, and those that take images beside a text."""

from __future__ import annotations

import io

from llama_index.core.base.llms.types import ChatMessage, CompletionResponse
from llama_index.core.llms import MockLLM
from llama_index.core.multi_modal_llms import MultiModalLLM, MultiModalLLMMetadata
from PIL import Image
from pydantic import Field

from llama_index.evaluation.qwen3_vl import adapt_llm
from llama_index_adapter.scripted_llms import ScriptedLLM, join_text, open_images
from qwen3_vl_retrieval.evaluation import DraftOptions, adapt_question_writer, draft_questions
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.testing import FakeEmbedder, FakeReranker

ANSWER = '{"question": "a red thing", "language": "en"}'


def refuse(*_arguments, **_options):
    raise AssertionError("nothing else is asked of the model")


class ScriptedMultiModal(MultiModalLLM):
    """Completes with what a test says, and keeps what it was sent."""

    requests: list[tuple] = Field(default_factory=list)
    chat = stream_chat = stream_complete = acomplete = achat = astream_chat = astream_complete = refuse

    @property
    def metadata(self):
        return MultiModalLLMMetadata(model_name="seeing")

    def complete(self, prompt, image_documents, **_options):
        self.requests.append((prompt, image_documents))
        return CompletionResponse(text=ANSWER)


def draft(writer, folder):
    Image.new("RGB", (96, 64), "red").save(folder / "red.png")
    with MultimodalIndex.open(folder / "store", FakeEmbedder(), FakeReranker()) as index:
        index.add([folder / "red.png"])
        # The fake reranker finds no words in an image.
        options = DraftOptions(n=1, least_relevance=0.0)
        (question,) = draft_questions(index, writer, folder / "q.jsonl", options).drafted
    return question


def test_a_chat_model_is_shown_words_and_images_and_drafts(tmp_path):
    llm = ScriptedLLM(script=lambda _: ChatMessage(role="assistant", content=ANSWER))
    question = draft(adapt_llm(llm, name="my model"), tmp_path)
    assert (question.text, question.model) == ("a red thing", "my model")
    system, asked = llm.requests[0]
    assert "one JSON object" in system.content
    assert join_text(asked.blocks) == "The item is an image."
    assert [image.size for image in open_images(asked.blocks)] == [(96, 64)]


def test_a_multimodal_model_completes_with_images_beside_the_text(tmp_path):
    llm = ScriptedMultiModal()
    question = draft(adapt_question_writer(llm), tmp_path)
    assert (question.text, question.model) == ("a red thing", "seeing")
    prompt, images = llm.requests[0]
    assert prompt.endswith("The item is an image.")
    with Image.open(io.BytesIO(images[0].resolve_image().read())) as shown:
        assert shown.size == (96, 64)


def test_the_command_line_finds_language_models():
    assert adapt_question_writer(MockLLM()).name == MockLLM().metadata.model_name
