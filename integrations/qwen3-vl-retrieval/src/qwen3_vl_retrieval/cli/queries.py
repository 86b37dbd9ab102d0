"""The query of a command: a text, a picture, or both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.media import MediaPolicy, read_image
from qwen3_vl_retrieval.media.policy import read_file

__all__ = ["join_query"]


def join_query(query: str, query_image: Path | None, policy: MediaPolicy) -> Item:
    """Returns the text, the image, or both; the image may be anywhere, and is otherwise read under `policy`.

    It is handed on as it is in its file: how it is read, the model decides.

    Raises:
        InputError: The picture cannot be read.
    """
    if query_image is None:
        return query
    policy = replace(policy, allow_dirs=None)
    # What is wrong with it is said with its name.
    read_image(query_image, policy)
    content = read_file(query_image, policy)
    return {"image": content, "text": query} if query.strip() else {"image": content}
