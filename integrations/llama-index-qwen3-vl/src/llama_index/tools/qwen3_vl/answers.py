"""What a model is told and shown of the nodes that a tool found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from llama_index.core.base.llms.types import ContentBlock, ImageBlock, TextBlock, VideoBlock
from llama_index.core.schema import BaseNode, NodeWithScore

from llama_index.schema.qwen3_vl.content_blocks import (
    BlockOptions,
    build_blocks,
    count_images,
)
from llama_index.schema.qwen3_vl.node_media import NodeMedium, list_node_media, read_text
from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.index import share_images

__all__ = ["AnswerOptions", "build_answer"]

_SOURCES = ("file_name", "source", "image", "video", "file_path", "image_uri", "video_uri", "image_url", "video_url")

_DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/=]*|[A-Za-z0-9+/]{2000,}={0,2}")
"""Base64 in a data URI, or alone: no language writes 2,000 letters and digits without a space or a full stop."""

_LEFT_OUT = "[data left out]"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerOptions:
    """How much is shown; the names are those of `multimodal_retriever_tool`."""

    blocks: BlockOptions
    max_images: int
    max_frames: int
    max_text_characters: int


def build_answer(nodes: Sequence[NodeWithScore], options: AnswerOptions) -> list[ContentBlock]:
    """Returns, for each node, a text that names it and holds its words, and then its image, page or video.

    An image that cannot be read is said to be so, without the reason: it may name folders of this machine.
    """
    if not nodes:
        return [TextBlock(text="Nothing was found.")]
    found = [_find_media(node.node, options) for node in nodes]
    needs = [sum(count_images(one, options.blocks, max_frames=options.max_frames) for one in media) for media in found]
    shares = share_images(needs, options.max_images)
    blocks: list[ContentBlock] = []
    for rank, (node, media, need, share) in enumerate(zip(nodes, found, needs, shares, strict=True), start=1):
        shown, unread = _show_media(media, share, options)
        note = ""
        if unread:
            note = "It cannot be shown: the file cannot be read."
        elif need > share == 0:
            note = f"It is not shown: an answer shows at most {options.max_images} images."
        elif len(shown) > 1:
            note = f"{len(shown)} images of it follow, in their order."
        blocks += [TextBlock(text=_describe_node(node, rank, note, options)), *shown]
    return blocks


def _find_media(node: BaseNode, options: AnswerOptions) -> list[NodeMedium]:
    try:
        return list_node_media(node, media_policy=options.blocks.media_policy)
    except (InputError, TypeError, ValueError):
        # The last two: metadata written by others. A node that makes no sense is its text.
        return []


def _show_media(
    media: Sequence[NodeMedium], share: int, options: AnswerOptions
) -> tuple[list[ImageBlock | VideoBlock], bool]:
    """The blocks; and whether something could not be read."""
    blocks: list[ImageBlock | VideoBlock] = []
    unread = False
    left = share
    for medium in media:
        need = count_images(medium, options.blocks, max_frames=options.max_frames)
        try:
            shown = build_blocks(medium, options.blocks, max_images=min(need, left))
        except InputError:
            unread = True
            continue
        left -= sum(isinstance(block, ImageBlock) for block in shown)
        blocks += shown
    return blocks, unread


def _describe_node(node: NodeWithScore, rank: int, note: str, options: AnswerOptions) -> str:
    metadata: dict[str, Any] = node.node.metadata
    facts = [f"id={node.node_id}", _name_kind(metadata), _name_file(metadata), _name_place(metadata)]
    if node.score is not None:
        facts.append(f"score {node.score:.3f}")
    text = _DATA.sub(_LEFT_OUT, read_text(node.node)).strip()
    if len(text) > options.max_text_characters:
        text = f"{text[: options.max_text_characters]} […]"
    head = f"[{rank}] " + ", ".join(fact for fact in facts if fact)
    return "\n".join(line for line in (head, text, note) if line)


def _name_kind(metadata: Mapping[str, Any]) -> str:
    told = metadata.get("media_type")
    return told if told in ("text", "image", "page", "video") else ""


def _name_file(metadata: Mapping[str, Any]) -> str:
    """The name without its folders, and of a URL without its query, which may hold a key."""
    source = next((metadata[name] for name in _SOURCES if isinstance(metadata.get(name), (str, Path))), None)
    if source is None or _DATA.match(str(source)):
        return ""
    named = urlsplit(source).path if isinstance(source, str) and "://" in source else str(source)
    return PurePosixPath(named.replace("\\", "/")).name


def _name_place(metadata: Mapping[str, Any]) -> str:
    page = metadata.get("page", metadata.get("page_label"))
    if page is not None:
        return f"page {page}"
    start, end = metadata.get("start"), metadata.get("end")
    if isinstance(start, (int, float)) and isinstance(end, (int, float)):
        return f"seconds {start:g} to {end:g}"
    return ""
