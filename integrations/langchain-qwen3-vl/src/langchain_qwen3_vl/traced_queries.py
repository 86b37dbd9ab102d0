"""Queries as callbacks and traces see them: retrievers hand their input to them as it is, base64 and all."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables import RunnableConfig

from langchain_qwen3_vl.tracing import describe_item

__all__ = ["TracedQuery", "hide_query", "trace_child", "unwrap_query"]


class TracedQuery(str):
    """The description of a query, for callbacks, which carries the query.

    Attributes:
        query: As it was given.
    """

    __slots__ = ("query",)

    query: object


def hide_query(query: object) -> str:
    """Returns what callbacks may be handed for a query: a text as it is, of media what and how large it is."""
    if isinstance(query, str):
        return query
    description = describe_item(query)
    traced = TracedQuery(description if isinstance(description, str) else json.dumps(description, ensure_ascii=False))
    traced.query = query
    return traced


def unwrap_query(query: object) -> object:
    """Returns the query that `hide_query` was given."""
    return query.query if isinstance(query, TracedQuery) else query


@contextmanager
def trace_child(query: object, callbacks: BaseCallbackManager) -> Generator[RunnableConfig]:
    """The configuration for another retriever that is asked the same; not traced if the query holds media."""
    if isinstance(query, str):
        yield {"callbacks": callbacks}
        return
    from langsmith import tracing_context  # pyright: ignore[reportUnknownVariableType] - bare dicts among its options

    # It would hand the query to its callbacks as it is.
    with tracing_context(enabled=False):
        yield {"callbacks": []}
