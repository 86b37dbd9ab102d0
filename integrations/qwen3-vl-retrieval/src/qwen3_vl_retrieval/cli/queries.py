"""The query of a command: a text, a picture, or both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qwen3_vl_retrieval.inputs import Item
from qwen3_vl_retrieval.media import MediaPolicy, read_image

__all__ = ["join_query"]


def join_query(query: str, query_image: Path | None, policy: MediaPolicy) -> Item:
    """Returns the text, the image, or both; the image may be anywhere, and is otherwise read under `policy`.

    Raises:
        InputError: The picture cannot be read.
    """
    if query_image is None:
        return query
    picture = read_image(query_image, replace(policy, allow_dirs=None))
    return {"image": picture, "text": query} if query.strip() else {"image": picture}
