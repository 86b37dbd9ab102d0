"""Links lead somewhere, and what the pages list is what there is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import typer

import langchain_qwen3_vl
import qwen3_vl_retrieval
from markdown_pages import ROOT, list_anchors, list_blocks, list_links, list_pages, read_page
from qwen3_vl_retrieval.cli import app

PACKAGE = ROOT / "integrations/qwen3-vl-retrieval/src/qwen3_vl_retrieval"


@pytest.mark.parametrize("page", list_pages(), ids=str)
def test_links_and_anchors_resolve(page):
    for link in list_links(read_page(page)):
        path, _, anchor = link.partition("#")
        target = (ROOT / page.parent / path).resolve() if path else ROOT / page
        assert target.exists(), f"{page} links to {link}"
        assert not anchor or anchor in list_anchors(target.read_text(encoding="utf-8")), f"{page} links to {link}"


def test_anchors_are_named_as_on_github():
    assert list_anchors("# What is `computed`, and why\n```\n# no heading\n```\n## B\n") == {
        "what-is-computed-and-why",
        "b",
    }


def test_links_are_found_outside_code():
    text = "[a](b.md#c) `[d](e.md)`\n```\n[f](g.md)\n```\n[h](https://example.org) ![i](j.png)"
    assert list(list_links(text)) == ["b.md#c"]


def test_the_file_tree_of_the_readme_is_that_of_the_package():
    (tree,) = (block for block in list_blocks(read_page(Path("README.md")), "text") if "└──" in block.content)
    shown: dict[str, int] = {}
    folders: list[str] = []
    for line in tree.content.splitlines():
        match = re.match(r"(?P<indent>(?:│   |    )*)[├└]── (?P<name>\S+) +\S", line)
        assert match, f"{line!r} has no name with a description"
        depth = len(match["indent"]) // 4
        folders = folders[:depth]
        shown["".join([*folders, match["name"]])] = depth
        if match["name"].endswith("/"):
            folders.append(match["name"])
    assert [name for name in shown if not (PACKAGE / name).exists()] == []
    rooms = {f"{path.parent.relative_to(PACKAGE).as_posix()}/" for path in PACKAGE.rglob("*/__init__.py")}
    assert sorted(rooms - shown.keys()) == []
    # A map that is longer is not looked at.
    assert len(tree.content.splitlines()) <= 25


def test_the_api_page_has_every_public_name():
    page = read_page(Path("docs/api.md"))
    documented = set(re.findall(r"auto(?:class|function|exception):: qwen3_vl_retrieval\.(\w+)$", page, re.MULTILINE))
    documented |= set(re.findall(r"py:data:: qwen3_vl_retrieval\.(\w+)$", page, re.MULTILINE))
    assert documented == set(qwen3_vl_retrieval.__all__)


@pytest.mark.parametrize("name", ["jobs", "remote", "server"])
def test_the_api_page_has_every_public_name_of_a_subpackage(name):
    page = read_page(Path("docs/api.md"))
    documented = re.findall(rf"auto(?:class|function):: qwen3_vl_retrieval\.{name}\.(\w+)$", page, re.MULTILINE)
    assert sorted(documented) == sorted(import_module(f"qwen3_vl_retrieval.{name}").__all__)


def test_the_api_pages_of_the_adapters_have_every_public_name():
    page = read_page(Path("docs/api-langchain.md"))
    assert set(re.findall(r":: langchain_qwen3_vl\.(\w+)$", page, re.MULTILINE)) == set(langchain_qwen3_vl.__all__)
    page = read_page(Path("docs/api-llamaindex.md"))
    documented = set(re.findall(r":: llama_index\.\w+\.\w+\.(\w+)$", page, re.MULTILINE))
    public = {
        name
        for package in (ROOT / "integrations/llama-index-qwen3-vl/src/llama_index").glob("*/*/__init__.py")
        for name in import_module(".".join(package.parent.parts[-3:])).__all__
    }
    assert documented == public - {"CaptionMode"}  # a Literal, spelt out where it is taken


def test_the_page_of_langchain_names_every_public_name():
    text = read_page(Path("docs/langchain.md")) + read_page(Path("integrations/langchain-qwen3-vl/README.md"))
    assert [name for name in langchain_qwen3_vl.__all__ if name not in text] == []


@pytest.mark.parametrize(("page", "least"), [("docs/troubleshooting.md", 75), ("docs/vllm.md", 13)])
def test_the_messages_that_a_page_lists_are_those_of_the_code(page, least):
    messages = "\n".join(_list_texts())
    rows = re.findall(r"^\| (`.+?) \|", read_page(Path(page)), re.MULTILINE)
    shown = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    parts = {part for message in shown for part in _split_message(message)}
    assert len(shown) > least
    assert sorted(part for part in parts if part not in messages) == []


def _split_message(message: str) -> list[str]:
    """What a message says whatever it is about: the texts between `…`, and not the values that it quotes."""
    return [part.strip() for part in re.split(r"…|'[^']*'|\d+", message) if len(part.strip(" .,:;()")) > 3]


def _list_texts() -> Iterator[str]:
    """The texts in the code of the core and of both adapters; a value that is put in is a `…`."""
    for package in (PACKAGE, *(ROOT / "integrations").glob("l*-qwen3-vl/src")):
        for path in package.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                    yield "".join(map(str, parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_every_page_of_the_documentation_is_in_its_index():
    index = read_page(Path("docs/index.md"))
    (tree,) = list_blocks(index, "{toctree}")
    entries = {line for line in tree.content.splitlines() if line and not line.startswith(":")}
    assert entries == {page.stem for page in list_pages() if page.parent == Path("docs")} - {"index"}


def test_the_page_of_the_command_line_has_every_command_and_option():
    text = read_page(Path("docs/command-line.md"))
    commands = typer.main.get_command(app).commands
    # What `eval` does by itself is a command among those below it.
    below = {f"eval {name}": command for name, command in commands.pop("eval").commands.items()}
    commands |= {"eval": below.pop("eval measure"), **below}
    assert sorted(re.findall(r"^## qwen3vl ([\w -]+)$", text, re.MULTILINE)) == sorted(commands)
    options = {option for command in commands.values() for parameter in command.params for option in parameter.opts}
    options = {option for option in options if option.startswith("--")} - {"--help"}
    assert set(re.findall(r"--[a-z][a-z-]*", text)) - {"--help"} == options
