"""The arguments of a search that come in one dict, as `VectorStore.as_retriever` takes them: placed, or refused."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias, cast

from langchain_core.vectorstores import VectorStore

from qwen3_vl_retrieval.index import MultimodalIndex

__all__ = ["SearchType", "check_search_options", "leave_out_defaults", "spread_search_options"]

SearchType: TypeAlias = Literal["similarity", "mmr", "similarity_score_threshold"]
"""Those of LangChain's `VectorStoreRetriever`."""

_FIELDS = ("k", "fetch_k", "filter", "score_threshold")
"""Arguments of a search that the retriever has as fields of its own."""

_ONLY_MMR = ("lambda_mult",)

_INDEX_NAMES = {"where": "filter", "threshold": "score_threshold"}
"""What `MultimodalIndex.search` calls fields of the retriever."""


def spread_search_options(values: Any) -> Any:
    """Returns the arguments of a retriever with those of its fields that stood in `search_kwargs` in their place.

    `fetch_k` stays where the search of the store takes one: with `search_type="mmr"` it says how many documents variety
    is sought among, and of FAISS how many are fetched before they are filtered.

    Raises:
        ValueError: An option is given twice, with different values.
    """
    if not isinstance(values, Mapping):
        return values
    given = cast("Mapping[str, Any]", values)
    search = given.get("search_kwargs")
    if not isinstance(search, Mapping):
        return given
    left, moved = dict(cast("Mapping[str, Any]", search)), dict(given)
    for name in _FIELDS:
        if name not in left or (name == "fetch_k" and _takes_fetch_k(given.get("base"), given.get("search_type"))):
            continue
        value = left.pop(name)
        if name in given and given[name] != value:
            raise ValueError(f"{name}={given[name]!r} was given, and {name}={value!r} in search_kwargs; give it once")
        moved[name] = value
    return moved | {"search_kwargs": left}


def _takes_fetch_k(base: object, search_type: object) -> bool:
    if search_type == "mmr":
        return True
    return (
        isinstance(base, VectorStore) and "fetch_k" in inspect.signature(base.similarity_search_with_score).parameters
    )


def leave_out_defaults(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options that are not at their default: those may stand in `search_kwargs` as well."""
    return {name: value for name, value in given.items() if value != defaults.get(name)}


def check_search_options(base: object, search_type: SearchType, options: Mapping[str, Any]) -> None:
    """Passes silently if a search of `base` takes `options`, as far as that can be told without searching.

    Raises:
        ValueError: It does not, or an option looks like another that is misspelt.
    """
    for name in _ONLY_MMR:
        if name in options and search_type != "mmr":
            raise ValueError(f"{name} is for search_type='mmr', and search_type is {search_type!r}")
    if isinstance(base, MultimodalIndex):
        for name, field in _INDEX_NAMES.items():
            if name in options:
                raise ValueError(f"search_kwargs has {name!r}; give it as {field}, a field of the retriever")
        search: Callable[..., Any] = base.search
    elif isinstance(base, VectorStore):
        search = base.max_marginal_relevance_search if search_type == "mmr" else base.similarity_search_with_score
    else:
        return
    parameters = inspect.signature(search).parameters
    named = [name for name, one in parameters.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    is_open = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    known = list(dict.fromkeys([*named[1:], *_FIELDS]))
    for name in options:
        near = get_close_matches(name, known, n=1, cutoff=0.75)
        # Stores hand further arguments on to their databases: what is there is not known here.
        if name not in known and (near or not is_open):
            advice = f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(sorted(known))}"
            raise ValueError(f"search_kwargs has {name!r}, which {type(base).__name__} does not know; {advice}")
