"""Images that a model may search with: those it was shown, and those that the user attached.

A model names them by id. What an id stands for is looked up in the conversation, never on a disk or in a network:
a path or URL in place of an id is one more id that nothing has.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import ToolException

from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import build_item, draw_document

__all__ = ["KnownItem", "build_query", "find_known_items"]

KnownItem: TypeAlias = "Document | Mapping[str, Any]"
"""A document that was found, or the content block of an image that was attached."""

_MOST_NAMED = 20
"""Ids that an error names: enough to pick from, and short."""


def find_known_items(messages: object, tool_name: str) -> dict[str, KnownItem]:
    """Returns what the conversation holds, by id.

    Images of the user are `attached-1`, `attached-2`, … in their order. Documents are those that the tool of this
    name returned; what is no message of LangChain, such as arguments that a model made up, has none.
    """
    attached: list[Mapping[str, Any]] = []
    found: dict[str, KnownItem] = {}
    listed = cast("Sequence[object]", messages) if isinstance(messages, (list, tuple)) else ()
    for message in listed:
        if isinstance(message, HumanMessage):
            # Whichever provider's way they are written in.
            blocks = cast("Sequence[Mapping[str, Any]]", message.content_blocks)
            attached += [block for block in blocks if block["type"] == "image"]
        elif isinstance(message, ToolMessage) and message.name == tool_name:
            found |= _find_documents(message)
    return found | {f"attached-{number}": block for number, block in enumerate(attached, start=1)}


def build_query(
    text: str,
    image_id: str | None,
    known: Mapping[str, KnownItem],
    *,
    media_policy: MediaPolicy | None = None,
    media_key: str | None = None,
) -> str | dict[str, Any]:
    """Returns what a retriever is asked: the text, the image or video of the id, or both.

    Images are opened here, under the policy of the tool: the retriever gets pixels, and its traces no data.

    Raises:
        ToolException: There is neither, the id is unknown, or what it stands for cannot be opened; the message is
            written for the model.
    """
    if image_id is None:
        if not text.strip():
            raise ToolException("The query is empty; say in words what to look for, or name an image.")
        return text
    if image_id not in known:
        raise ToolException(f"There is no image with the id {quote(image_id)}. {_name_ids(known)}")
    item = known[image_id]
    policy = MediaPolicy() if media_policy is None else media_policy
    try:
        query = _open_document(item, policy, media_key) if isinstance(item, Document) else _open_block(item, policy)
    except (InputError, TypeError, ValueError) as error:
        # The reason may name folders of this machine. The last two: metadata written by others.
        raise ToolException(f"The image {quote(image_id)} cannot be opened; search without it.") from error
    if text.strip():
        query["text"] = text
    return query


def _name_ids(known: Mapping[str, KnownItem]) -> str:
    if not known:
        return "None is known yet: search with words first."
    # The latest are the likeliest to be meant; dicts keep their order.
    named = ", ".join(list(known)[-_MOST_NAMED:])
    return f"Known are: {named}."


def _find_documents(message: ToolMessage) -> dict[str, Document]:
    if not isinstance(message.artifact, list):
        return {}
    documents = [_restore_document(one) for one in cast("list[object]", message.artifact)]
    return {document.id: document for document in documents if document is not None and document.id is not None}


def _restore_document(value: object) -> Document | None:
    """The document as it was; what a checkpointer kept of it is the dict of its fields."""
    if isinstance(value, Document):
        return value
    if not isinstance(value, Mapping):
        return None
    fields = cast("Mapping[str, Any]", value)
    text, metadata = fields.get("page_content"), fields.get("metadata")
    if not isinstance(text, str) or not isinstance(metadata, Mapping):
        return None
    return Document(id=fields.get("id"), page_content=text, metadata=dict(cast("Mapping[str, Any]", metadata)))


def _open_document(document: Document, policy: MediaPolicy, media_key: str | None) -> dict[str, Any]:
    metadata: dict[str, Any] = document.metadata
    text = document.page_content
    images = draw_document(text, metadata, policy=policy, media_key=media_key, max_frames=1)
    if not images:
        raise ToolException(f"{quote(document.id)} is a text; put its words into the query instead.")
    if metadata.get("media_type") != "page":
        item = build_item(text, metadata, policy=policy, media_key=media_key)
        if isinstance(item, Mapping) and "video" in item:
            # The frame above was read under the policy; the whole video is the model's to sample.
            return {name: item[name] for name in ("video", "start", "end") if name in item}
    return {"image": images[0]}


def _open_block(block: Mapping[str, Any], policy: MediaPolicy) -> dict[str, Any]:
    metadata = {"media_type": "image", "image": _find_source(block, policy)}
    return {"image": draw_document("", metadata, policy=policy)[0]}


def _find_source(block: Mapping[str, Any], policy: MediaPolicy) -> str | bytes:
    """The data of a block, or a URL that may be opened: users attach images, they name no files of this machine."""
    data, url = block.get("base64"), block.get("url")
    if isinstance(data, str):
        try:
            return base64.b64decode(data)
        except binascii.Error as error:
            raise InputError("the attached image is not valid base64") from error
    scheme = url.partition(":")[0].lower() if isinstance(url, str) else ""
    if scheme == "data" or (scheme in ("http", "https") and policy.allow_urls):
        return cast("str", url)
    raise InputError("the attached image is neither data nor a URL that the MediaPolicy allows")
