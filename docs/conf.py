"""Sphinx configuration: Markdown pages (MyST) and an API page from the docstrings; builds offline.

Build with `make docs`; torch must be installed, but no model is loaded.
"""

from __future__ import annotations

import re
from importlib.metadata import version as read_version

from sphinx.application import Sphinx

project = "Qwen3-VL retrieval"
author = "The Qwen3-VL retrieval authors"
release = read_version("qwen3-vl-retrieval")
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"

# Headings can be linked to as on GitHub.
myst_heading_anchors = 3

# Docstrings are written for editors: single backticks are code there, as in Markdown.
default_role = "code"
napoleon_numpy_docstring = False
# `Attributes:` become fields of the class, not entries of their own beside the members.
napoleon_use_ivar = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
# Type aliases stay names in signatures; those that are described on the API page are linked.
autodoc_type_aliases = {
    "Item": "~qwen3_vl_retrieval.Item",
    **{
        name: f"~qwen3_vl_retrieval.items.{name}" for name in ("ImageSource", "VideoSource", "GivenImage", "GivenVideo")
    },
    **{name: f"~qwen3_vl_retrieval.{name}" for name in ("InputType", "OnError", "OnOverflow", "OnUnreadable")},
    **{
        name: f"~qwen3_vl_retrieval.options.{name}"
        for name in ("Precision", "ScoreOutput", "PairTruncation", "ModelHub")
    },
}

# Every reference to one of our own names must resolve. Nothing is downloaded while building, so there are no
# inventories of other projects' documentation to resolve these with:
nitpick_ignore_regex = [
    # the standard library,
    (
        r"py:(class|obj)",
        r"(collections\.abc\.|pathlib\.)?(Callable|Collection|Generator|Iterable|Iterator|Mapping|MutableMapping|Sequence|Path|PurePath)",
    ),
    (r"py:(class|obj)", r"(typing\.)?(Any|Literal|TypeAlias|Protocol)|enum\.Enum"),
    # NumPy, PyTorch, Pillow, transformers and the shapes of jaxtyping.
    (r"py:(class|obj)", r"(numpy|numpy\.typing)\.(NDArray|ndarray|dtype|float32)"),
    (r"py:(class|obj)", r"(NDArray|ndarray|Float|Float32|Tensor|PIL\..*|Image|PreTrainedModel|ProcessorMixin)"),
    (r"py:(class|obj)", r"(torch|transformers|jaxtyping|PIL)\..*"),
    # Attributes whose types are shapes are taken apart at their commas.
    (r"py:class", r"'(dimensions|questions)'|collections\.abc\.Mapping\[(int|str)"),
    (r"py:class", r"ssl\.SSLContext"),
    # Servers.
    (r"py:class", r"(fastapi|mcp)\..*"),
    # LangChain, LlamaIndex and pydantic.
    (r"py:(class|obj|meth|attr)", r"(langchain|langchain_core|langchain_chroma|langgraph|pydantic|pydantic_core)\..*"),
    (r"py:(class|obj|meth|attr|func)", r"llama_index\.core\..*"),
    # What the adapters name as they import it.
    (
        r"py:class",
        r"Document|IndexNode|CallbackManager|Callbacks|RunnableConfig|VectorStoreQueryMode|MetadataFilters"
        r"|BaseNodePostprocessor|Embedding|chromadb\..*|collections\.abc\.Awaitable|npt\.NDArray|np\.float32",
    ),
    # Unions and options of theirs, described where they are taken.
    (
        r"py:class",
        r"MediaSource|MediaKind|Kind|Query|Searchable|VectorOrError|dict\[str|(types|qwen3_vl_retrieval\.options)\.Annotated\[.*",
    ),
    (r"py:class", r"(llama_index\.(\w+)\.qwen3_vl\.\w+\.|langchain_qwen3_vl\.\w+\.)?(\w+)Options"),
    # Fields of pydantic show their constraints.
    (r"py:obj", r"typing\.(Annotated|Literal)\[.*"),
    # Named as they are imported; they are on the page.
    (
        r"py:class",
        r"(qwen3_vl_retrieval\.(index\.results\.hits|documents\.\w+|index\.store\.store|chroma\.repair)\.)?"
        r"(FailedFile|Unit|SkippedFile|CompactReport|RepairedRow)",
    ),
    (r"py:class", r"Metadata|MediaType"),
    # What holds an index together, for those who look inside.
    (r"py:class", r"qwen3_vl_retrieval\.index\.store\.store\.Store"),
    # A `DocumentPage` that keeps the policy it was found under.
    (r"py:class", r"qwen3_vl_retrieval\.media\.pages\.GuardedPage"),
    # Overloads name these without their module; they are on the page.
    (r"py:class", r"Precision|ScoreOutput"),
    # What `prepare` returns has a length, and nothing else that is public.
    (r"py:class", r"qwen3_vl_retrieval\.engine\.requests\.builder\.Request"),
    # What Chroma calls its own, and what opens it.
    (r"py:(class|exc)", r"chromadb\..*|ClientAPI|CreateCollectionConfiguration|Settings|Where|WhereDocument"),
    (r"py:class", r"qwen3_vl_retrieval\.chroma\.directory\.OpenClient"),
    # For those who write an executor, a store or a recogniser of speech of their own.
    (r"py:class", r"qwen3_vl_retrieval\.jobs\.tasks\.(WorkSettings|ShardTask|ShardOutcome)"),
    (r"py:class", r"qwen3_vl_retrieval\.(index\.store\.parquet\.ExportBatch|documents\.whisper\.WhisperModel)"),
    # Described where it is returned.
    (r"py:class", r"qwen3_vl_retrieval\.documents\.media_store\.MediaFormat"),
    # What LlamaIndex calls its own.
    (r"py:class", r"LLMType|BaseQueryEngine|ChatMode|BaseChatEngine"),
    # The parameter of a generic class has no page.
    (r"py:class", r"qwen3_vl_retrieval\.loading\.hardware\.T"),
]


def shorten_types(
    _app: Sphinx, _what: str, _name: str, _value: object, _options: object, signature: str | None, result: str | None
) -> tuple[str | None, str | None]:
    """Returns the signature with type aliases as names, where Sphinx shows how it holds them, and arrays as arrays."""

    def shorten(text: str | None) -> str | None:
        if text is None:
            return None
        text = re.sub(r"(?:[~\w.]+\.)?TypeAliasForwardRef\('([^']+)'\)", r"\1", text)
        return re.sub(
            r"ndarray\[tuple\[(?:~?typing\.)?Any, \.\.\.\], (?:~?numpy\.)?dtype\[[^\[\]]+\]\]", "ndarray", text
        )

    return shorten(signature), shorten(result)


def mark_examples(_app: Sphinx, _what: str, _name: str, _value: object, _options: object, lines: list[str]) -> None:
    """Turns the examples of docstrings, fenced as in Markdown, into code blocks of reStructuredText."""
    marked: list[str] = []
    is_code = False
    for line in lines:
        if line.strip().startswith("```"):
            is_code = not is_code
            marked += [".. code-block:: python", ""] if is_code else [""]
        else:
            marked.append(f"    {line}" if is_code else line)
    lines[:] = marked


def setup(app: Sphinx) -> None:
    """Registers what this file adds to Sphinx."""
    # Before napoleon, which listens at the usual priority of 500.
    app.connect("autodoc-process-docstring", mark_examples, priority=400)
    app.connect("autodoc-process-signature", shorten_types)
