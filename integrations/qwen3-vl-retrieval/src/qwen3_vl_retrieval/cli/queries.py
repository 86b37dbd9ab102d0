"""The query of a command: a text, a picture, or both."""

from __future__ import annotations

from pathlib import Path

from qwen3_vl_retrieval.inputs import Item
from qwen3_vl_retrieval.media import MediaPolicy, read_image

__all__ = ["join_query"]


def join_query(query: str, query_image: Path | None) -> Item:
    """Returns the text, the picture, or both; the picture is opened here because a folder's policy would refuse it.

    Raises:
        InputError: The picture cannot be read.
    """
    if query_image is None:
        return query
    picture = read_image(query_image, MediaPolicy())
    return {"image": picture, "text": query} if query.strip() else {"image": picture}
