"""How many source files a call enters: what a reader has to open to follow it.

uv run python benchmarks/files_entered.py

Counts, with `sys.setprofile` in all threads, the files of each package in which a second call runs a function: the
first one loads, imports and fills caches. Models are the pocket pair, on the CPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import write_result
from PIL import Image

import qwen3_vl_retrieval
from qwen3_vl_retrieval import MultimodalInput, share_embedder, share_reranker
from qwen3_vl_retrieval.index import MultimodalIndex

_CORE = Path(qwen3_vl_retrieval.__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the files, too")
    options = parser.parse_args()
    embedder, reranker = share_embedder("pocket"), share_reranker("pocket")
    counted: dict[str, dict[str, list[str]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        image = folder / "red.png"
        Image.new("RGB", (64, 64), "red").save(image)
        (folder / "note.txt").write_text("The door code is 4711.")
        counted["embed of a text"] = _count(lambda number: embedder.embed([f"a text {number}"]))
        counted["embed of text and image"] = _count(
            lambda number: embedder.embed([MultimodalInput(text=f"a text {number}", image=image)])
        )
        with MultimodalIndex.open(folder / "index", embedder, reranker) as index:
            index.add([image, folder / "note.txt"])
            counted["index.search"] = _count(lambda number: index.search(f"door code {number}", k=2))
            counted["LangChain invoke"] = _count_langchain(index)
        counted["LlamaIndex retrieve"] = _count_llama_index()
    if options.list:
        print(json.dumps(counted, indent=2))
    sizes = {call: {package: len(files) for package, files in found.items()} for call, found in counted.items()}
    write_result("files_entered", sizes)
    print(json.dumps(sizes, indent=2))


def _count_langchain(index: MultimodalIndex) -> dict[str, list[str]]:
    from langchain_qwen3_vl import Qwen3VLRetriever

    retriever = Qwen3VLRetriever.from_index(index, k=2)
    return _count(lambda number: retriever.invoke(f"door code {number}"))


def _count_llama_index() -> dict[str, list[str]]:
    from llama_index.core.schema import TextNode

    from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
    from llama_index.indices.qwen3_vl import UnifiedMultiModalIndex
    from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
    from llama_index.retrievers.qwen3_vl import Qwen3VLRetriever

    index = UnifiedMultiModalIndex(
        nodes=[TextNode(text="The door code is 4711."), TextNode(text="A red door.")],
        embed_model=Qwen3VLEmbedding("pocket"),
    )
    retriever = Qwen3VLRetriever(index, reranker=Qwen3VLRerank("pocket"), similarity_top_k=2)
    return _count(lambda number: retriever.retrieve(f"door code {number}"))


def _count(call: Callable[[int], Any]) -> dict[str, list[str]]:
    """The files that a second call enters, by package."""
    call(1)
    entered: set[str] = set()

    def note(frame: Any, event: str, _argument: object) -> None:
        if event == "call":
            entered.add(frame.f_code.co_filename)

    threading.setprofile_all_threads(note) if sys.version_info >= (3, 12) else threading.setprofile(note)
    sys.setprofile(note)
    try:
        call(2)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    found: dict[str, list[str]] = {}
    for name in sorted(entered):
        path = Path(name)
        if path.is_relative_to(_CORE):
            found.setdefault("core", []).append(path.relative_to(_CORE).as_posix())
        elif "langchain_qwen3_vl" in path.parts:
            found.setdefault("langchain", []).append(path.name)
        elif "llama-index-qwen3-vl" in path.parts:
            found.setdefault("llama_index", []).append("/".join(path.parts[-3:]))
    return found


if __name__ == "__main__":
    main()
