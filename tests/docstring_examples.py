"""The examples in the docstrings of a package: found, and run on the pocket models in a folder with their files."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from markdown_pages import ROOT

LIBRARY = ROOT / "tests/data/library"
CLIP = ROOT / "tests/core/reference/media/clip_40f_8fps.mp4"

# The published models, named or by default, become the pocket models.
MODELS = {
    "Qwen/Qwen3-VL-Embedding-2B": "pocket",
    "Qwen/Qwen3-VL-Reranker-2B": "pocket",
    "Qwen3VLEmbedding()": 'Qwen3VLEmbedding("pocket")',
    "Qwen3VLEmbeddings()": 'Qwen3VLEmbeddings(model="pocket")',
    "Qwen3VLRerank()": 'Qwen3VLRerank(model="pocket")',
    "Qwen3VLRerank(top_n": 'Qwen3VLRerank(model="pocket", top_n',
}


def list_examples(package: str) -> list[Any]:
    """The fenced examples of a package, by file and line."""
    found = []
    for path in sorted((ROOT / f"integrations/{package}/src").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"^ *```python\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
            name = f"{path.parent.name}/{path.name}"
            line = text.count("\n", 0, match.start(1)) + 1
            found.append(pytest.param(inspect.cleandoc("\n" + match[1]), id=f"{name}:{line}"))
    return found


def run_example(code: str, names: dict[str, Any]) -> None:
    for old, new in MODELS.items():
        code = code.replace(old, new)
    compiled = compile(code, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, names)  # noqa: S307 - our own docstrings
    if inspect.iscoroutine(result):
        asyncio.run(result)


def write_files(folder: Path) -> None:
    """Writes the files and folders that the examples name."""
    for name, source in {
        "contract.png": "papers/delivery-note-scan.png",
        "invoice.png": "papers/delivery-note-scan.png",
        "chart.png": "papers/delivery-note-scan.png",
        "photo.jpg": "products/blue-chair.jpg",
        "mug.jpg": "products/blue-chair.jpg",
        "manual.pdf": "papers/invoice-2024-118.pdf",
        "papers/invoice.pdf": "papers/invoice-2024-118.pdf",
        "office/lamp.png": "products/green-lamp.png",
        "office/kitchen.txt": "notes/kitchen-rules.txt",
        "folder/lamp.png": "products/green-lamp.png",
        "folder/kitchen.txt": "notes/kitchen-rules.txt",
        "photos/lamp.png": "products/green-lamp.png",
        "photos/mug.png": "products/red-mug.png",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(LIBRARY / source, folder / name)
    shutil.copyfile(CLIP, folder / "talk.mp4")
