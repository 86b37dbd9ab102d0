"""Options of `as_query_engine` and `as_chat_engine`, which LlamaIndex hands to everything: each to whom it belongs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from qwen3_vl_retrieval.errors import quote

__all__ = ["HINTS", "list_names", "require_known", "split_options"]

HINTS = {
    "image_similarity_top_k": "all media share one space: similarity_top_k counts them together, and "
    "text_to_image_retrieve finds pictures alone",
    "image_vector_store": "all media share one space and one store: give vector_store, persist_dir or storage_context",
    "image_embed_model": "one model embeds all media: give embed_model=Qwen3VLEmbedding(…)",
    "image_store": "all media share one space and one store: give vector_store, persist_dir or storage_context",
    "is_image_to_text": "pictures are embedded as pictures, with their text: leave it out",
    "is_text_vector_store_empty": "all media share one store: leave it out",
    "is_image_vector_store_empty": "all media share one store: leave it out",
    "doc_ids": "give filters, or delete_ref_doc: vector stores ignore doc_ids",
    "node_ids": "give filters: vector stores ignore node_ids",
    "image_query_engine": "give as_query_engine a multimodal llm",
    "multi_modal_llm": "give it as llm",
}
"""What to do in place of options that other indexes have."""


def list_names(*functions: Callable[..., Any]) -> frozenset[str]:
    """Returns the names of what functions can be given by name."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(
        name
        for function in functions
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in kinds and name != "self"
    )


def require_known(options: Mapping[str, Any], known: frozenset[str], owner: str) -> None:
    """Passes silently if all options are known.

    Raises:
        TypeError: One is not; the message says which there are, or what to do in its place.
    """
    for name in options:
        if name not in known:
            hint = HINTS.get(name, f"allowed are {', '.join(sorted(known))}")
            raise TypeError(f"{owner} has no option {quote(name)}; {hint}")


def split_options(
    options: Mapping[str, Any], first: frozenset[str], second: frozenset[str], owner: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the options that are among the names of each of two; both are given what both know.

    Raises:
        TypeError: As in `require_known`.
    """
    require_known(options, first | second, owner)
    return (
        {name: value for name, value in options.items() if name in first},
        {name: value for name, value in options.items() if name in second},
    )
