"""The pictures that the user attached, as an agent remembers them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole
from llama_index.core.memory import BaseMemory
from llama_index.core.workflow import Context
from PIL import Image

from llama_index.embeddings.qwen3_vl.sources import decode_base64
from llama_index.postprocessor.qwen3_vl_rerank.node_media import NodeMedium, draw_medium
from qwen3_vl_retrieval import InputError, MediaPolicy

__all__ = ["list_attached_images", "open_attached_images"]


async def list_attached_images(ctx: Context[Any] | None) -> list[ImageBlock]:
    """Returns the pictures of the latest message of the user that has some; nothing outside of an agent."""
    if ctx is None:
        return []
    memory = await ctx.store.get("memory", default=None)
    if not isinstance(memory, BaseMemory):
        return []
    return _find_latest(await memory.aget_all())


def open_attached_images(blocks: Sequence[ImageBlock], media_policy: MediaPolicy | None) -> list[Image.Image]:
    """Returns the pictures of blocks, opened under the policy.

    Raises:
        InputError: One of them cannot be opened; the message is written for the model and names no file.
    """
    pictures: list[Image.Image] = []
    for block in blocks:
        try:
            source = _find_source(block, media_policy)
            medium = NodeMedium(kind="image", metadata={"media_type": "image", "image": source}, path=None)
            pictures += draw_medium(medium, media_policy=media_policy)
        except InputError as error:
            # The reason may name folders of this machine.
            raise InputError("the attached picture cannot be opened; search with words alone") from error
    return pictures


def _find_latest(messages: Sequence[ChatMessage]) -> list[ImageBlock]:
    for message in reversed(messages):
        if message.role == MessageRole.USER:
            images = [block for block in message.blocks if isinstance(block, ImageBlock)]
            if images:
                return images
    return []


def _find_source(block: ImageBlock, media_policy: MediaPolicy | None) -> bytes | str | Path:
    """Data, the file that the program named, or a URL that is data or may be opened."""
    if isinstance(block.image, bytes):
        return decode_base64(block.image, "attached picture", media_policy)
    if block.image is not None:
        block.image.seek(0)
        return bytes(block.image.read())
    if block.path is not None:
        return block.path
    url = "" if block.url is None else str(block.url)
    if url.partition(":")[0].lower() in ("data", "http", "https"):
        return url
    raise InputError("the attached picture is neither data, nor a file, nor a URL of http or https")
