"""Every example in the docstrings of the package runs; what it takes for granted is set up here."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.vectorstores import InMemoryVectorStore

import langchain_qwen3_vl as package
from docstring_examples import list_examples, run_example, write_files
from langchain_adapter.scripted_models import ScriptedModel
from markdown_pages import ROOT


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the examples for LangChain take for granted."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    embeddings = package.Qwen3VLEmbeddings(model="pocket")
    store = package.MultimodalChroma("docstrings", embeddings)
    store.add_documents([Document("Signed by Ada.", metadata={"year": 2025}), package.image_document("photos/mug.png")])
    retriever = package.Qwen3VLRetriever(base=store, k=1)
    model = ScriptedModel(script=lambda _: AIMessage("an answer"), profile={"image_inputs": True})
    image = base64.b64encode(Path("invoice.png").read_bytes()).decode()
    public = {name: getattr(package, name) for name in package.__all__}
    return public | {
        "HumanMessage": HumanMessage,
        "InMemoryVectorStore": InMemoryVectorStore,
        "MyEmbeddings": package.Qwen3VLEmbeddings,
        "candidates": [Document("Signed by Ada."), package.image_document("contract.png")],
        "create_agent": create_agent,
        "data_uri": f"data:image/png;base64,{image}",
        "document": package.image_document("photos/mug.png"),
        "embeddings": embeddings,
        "model": model,
        "question": "Who signed?",
        "retriever": retriever,
        "scan": image,
        "store": store,
        "tool": package.create_multimodal_retriever_tool(retriever, "search", "Searches.", model=model),
    }


@pytest.mark.parametrize("code", list_examples("langchain-qwen3-vl"))
def test_examples_for_langchain_run(code, names):
    if "langchain_core.decisions" in code:
        pytest.importorskip("langchain_core.decisions", reason="decision models came with langchain-core 1.8")
    run_example(code, names)


def test_an_example_that_does_not_run_is_found():
    with pytest.raises(NameError):
        run_example("store.add(1)", {})
    with pytest.raises(TypeError):
        run_example("await None", {})


def test_no_example_is_overlooked():
    sources = (ROOT / "integrations/langchain-qwen3-vl/src").rglob("*.py")
    fences = sum(path.read_text(encoding="utf-8").count("```") for path in sources)
    assert fences == 2 * len(list_examples("langchain-qwen3-vl")) > 20
