"""Every example in the docstrings of the package runs; what it takes for granted is set up here."""

from __future__ import annotations

from importlib import import_module

import pytest
from llama_index.core import SimpleDirectoryReader
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import Document, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore

from docstring_examples import list_examples, run_example, write_files
from llama_index_adapter.scripted_llms import ScriptedLLM
from markdown_pages import ROOT


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the examples for LlamaIndex take for granted."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    public = {}
    for package in (ROOT / "integrations/llama-index-qwen3-vl/src/llama_index").glob("*/*/__init__.py"):
        module = import_module(".".join(package.parent.parts[-3:]))
        public |= {name: getattr(module, name) for name in module.__all__}
    embedding = public["Qwen3VLEmbedding"]("pocket")
    index = public["UnifiedMultiModalIndex"].from_files(["photos/mug.png", "photos/lamp.png"], embed_model=embedding)
    return public | {
        "ChatMessage": ChatMessage,
        "Document": Document,
        "FunctionAgent": FunctionAgent,
        "ImageBlock": ImageBlock,
        "RetrieverQueryEngine": RetrieverQueryEngine,
        "SimpleDirectoryReader": SimpleDirectoryReader,
        "SimpleDocumentStore": SimpleDocumentStore,
        "TextBlock": TextBlock,
        "index": index,
        "llm": ScriptedLLM(),
        "nodes": [TextNode(text="Signed by Ada.")],
        "question": "a red mug",
        "retriever": index.as_retriever(similarity_top_k=2),
        "store": SimpleVectorStore(),
    }


@pytest.mark.parametrize("code", list_examples("llama-index-qwen3-vl"))
def test_examples_for_llama_index_run(code, names):
    run_example(code, names)


def test_no_example_is_overlooked():
    sources = (ROOT / "integrations/llama-index-qwen3-vl/src").rglob("*.py")
    fences = sum(path.read_text(encoding="utf-8").count("```") for path in sources)
    assert fences == 2 * len(list_examples("llama-index-qwen3-vl")) > 20
