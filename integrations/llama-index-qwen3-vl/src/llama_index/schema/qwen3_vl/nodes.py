"""What the models are given for a node, whatever its type and wherever it has been.

Every type of node holds its image elsewhere, and stores give some of them back as another type. The metadata that
travel (`media_type`, `image`, `video`, `source`, `page`, `start`, `end`; see `qwen3_vl_retrieval.index.build_item`) are
understood of all of them, so that rows of a store that `qwen3vl index` wrote are here what they are there.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    NodeWithScore,
)

from llama_index.schema.qwen3_vl.sources import Item, read_image_node, read_resource
from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import build_item

__all__ = [
    "CaptionMode",
    "add_hidden_metadata",
    "build_each_item",
    "build_node_item",
    "build_node_items",
    "read_caption",
]

CaptionMode: TypeAlias = Literal["fuse", "image_only"]
"""Whether the text of an image or video is seen together with it, or not at all."""

_MEDIA_TYPES = ("text", "image", "page", "video", "mixed")
_PIXEL_TYPES = ("image", "page", "video")
"""Types of documents of which the models see the pixels alone, whatever their text."""

_MEDIA_KEYS = ("media_type", "image", "image_uri", "image_url", "video", "video_uri", "video_url")
"""Metadata that say that a text node stands for an image or video, of this project and of others."""

_KNOWN_KEYS = (*_MEDIA_KEYS, "source", "page", "start", "end")


def build_node_item(
    node: BaseNode | NodeWithScore,
    *,
    caption_mode: CaptionMode = "fuse",
    media_policy: MediaPolicy | None = None,
    render_pages: bool = True,
) -> Item:
    """Returns what an embedder or reranker of the core takes for a node.

    Of text it is `get_content(MetadataMode.EMBED)`, as in LlamaIndex. Of an image or video it is that and the caption,
    without any metadata: names of files are no content. If there is a `media_type` among the metadata it decides:
    `"image"`, `"page"` and `"video"` are pixels alone, `"mixed"` is both.

    Args:
        node: Node of any type. Data goes before paths, and paths before URLs, as in LlamaIndex; what the node itself
            holds goes before what its metadata name. Sound is ignored.
        caption_mode: `"image_only"` leaves captions out.
        media_policy: What may be opened of a page, which is rendered here, and how much data is decoded; `None` is any
            local file. Other files are opened by the model, under its own policy.
        render_pages: As in `qwen3_vl_retrieval.index.build_item`.

    Raises:
        InputError: The node has neither text nor media, or what it has is of no known kind.
        MediaPolicyError: The policy refuses the PDF of a page, or the data.
        MediaError: The page cannot be read.
    """
    if isinstance(node, NodeWithScore):
        node = node.node
    item = _build_media(node, media_policy, render_pages=render_pages)
    if item is None:
        return _read_text(node, caption_mode, media_policy, render_pages=render_pages)
    if caption_mode == "image_only" and isinstance(item, dict):
        return {name: value for name, value in item.items() if name != "text"}
    return item


def build_node_items(
    nodes: Iterable[BaseNode | NodeWithScore],
    *,
    caption_mode: CaptionMode = "fuse",
    media_policy: MediaPolicy | None = None,
) -> list[Item]:
    """Returns what the core takes for each of `nodes`, in their order; see `build_node_item`.

    Raises:
        InputError: As there; the message begins with the position of the node.
    """
    items: list[Item] = []
    for place, node in enumerate(nodes):
        try:
            items.append(build_node_item(node, caption_mode=caption_mode, media_policy=media_policy))
        except InputError as error:
            raise error.at(place, role="node") from error
    return items


def build_each_item(
    nodes: Iterable[BaseNode | NodeWithScore], *, media_policy: MediaPolicy | None = None
) -> list[Item | InputError]:
    """Returns what a reranker takes for each of `nodes`, or in its place the error of one that cannot be read.

    Pages are left for the reranker to render.
    """
    items: list[Item | InputError] = []
    for node in nodes:
        try:
            items.append(build_node_item(node, media_policy=media_policy, render_pages=False))
        except InputError as error:
            items.append(error)
    return items


def read_caption(node: BaseNode | NodeWithScore) -> str:
    """Returns the text of a node alone, without metadata; empty if it has none."""
    if isinstance(node, NodeWithScore):
        node = node.node
    return node.get_content(metadata_mode=MetadataMode.NONE)


def add_hidden_metadata(node: BaseNode, metadata: Mapping[str, Any]) -> BaseNode:
    """Returns a copy of a node with further metadata that no model is shown."""
    changed = node.model_copy()
    changed.metadata = {**node.metadata, **metadata}
    for name in ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys"):
        hidden: list[str] = getattr(node, name)
        setattr(changed, name, [*hidden, *(key for key in metadata if key not in hidden)])
    return changed


def _build_media(node: BaseNode, media_policy: MediaPolicy | None, *, render_pages: bool) -> Item | None:
    """The item of a node whose media or metadata say what it is; `None` of any other."""
    text, metadata = read_caption(node), _read_metadata(node)
    told = metadata.get("media_type")
    if told == "text" and text.strip():
        # As the core has it: the text alone, without metadata.
        return text
    image, video = _read_own_media(node, media_policy)
    if image is None and video is None:
        return _build_named_media(node, text, metadata, media_policy, render_pages=render_pages)
    item: dict[str, Any] = {}
    if video is not None:
        window = {name: float(metadata[name]) for name in ("start", "end") if name in metadata}
        item |= {"video": video, **window}
    if image is not None:
        item["image"] = image
    return item | {"text": text} if text.strip() and told not in _PIXEL_TYPES else item


def _build_named_media(
    node: BaseNode, text: str, metadata: Mapping[str, Any], media_policy: MediaPolicy | None, *, render_pages: bool
) -> Item | None:
    """The item of a node that holds no media, but whose metadata name some; `None` if they do not."""
    lost = _find_lost_medium(node)
    if text.strip() and lost is None and not any(key in metadata for key in _MEDIA_KEYS):
        return None
    # A node that was meant to hold an image is one whatever its text; what `source` names is it, then.
    seen = "" if lost is not None and not any(key in metadata for key in _MEDIA_KEYS) else text
    item = build_item(seen, metadata, policy=media_policy, render_pages=render_pages)
    if isinstance(item, Mapping):
        return cast("Item", {**item, "text": text} if text.strip() and not seen else dict(item))
    if not isinstance(item, str):
        return cast("Item", item)
    if lost is not None:
        raise InputError(
            f"the {lost} of the {type(node).__name__} {quote(node.node_id)} is missing: it has neither data nor "
            "path nor url. Stores do not keep the data of a resource, and ImageNode(image_resource=…) drops it: write "
            "it to a file and give its path"
        )
    return None


def _find_lost_medium(node: BaseNode) -> str | None:
    """What a node that holds no media was meant to hold; `None` if nothing."""
    if isinstance(node, ImageNode):
        return "image"
    if isinstance(node, Node):
        return next((kind for kind in ("image", "video") if getattr(node, f"{kind}_resource") is not None), None)
    return None


def _read_metadata(node: BaseNode) -> Mapping[str, Any]:
    """The metadata, without what others mean by the same names.

    Stores write an empty text for `None`. Readers of LlamaIndex name the file as `file_path`: where a store has made a
    image a text node without text, because it does not know the type, the file is all that is left.
    """
    metadata = {key: value for key, value in node.metadata.items() if key not in _KNOWN_KEYS or value not in (None, "")}
    told = metadata.get("media_type")
    if isinstance(told, str) and "/" in told and told not in _MEDIA_TYPES:
        # A MIME type.
        del metadata["media_type"]
    name = metadata.get("file_path")
    if "source" not in metadata and isinstance(name, (str, Path)):
        kind = (mimetypes.guess_type(str(name))[0] or "").partition("/")[0]
        if kind in ("image", "video"):
            metadata["source"] = str(name)
    return metadata


def _read_own_media(node: BaseNode, media_policy: MediaPolicy | None) -> tuple[Any, Any]:
    """The image and the video that a node itself holds or names."""
    if isinstance(node, ImageNode):
        return read_image_node(node, media_policy), None
    if not isinstance(node, Node):
        return None, None
    image = read_resource(node.image_resource, "image", media_policy)
    return image, read_resource(node.video_resource, "video", media_policy)


def _read_text(
    node: BaseNode, caption_mode: CaptionMode, media_policy: MediaPolicy | None, *, render_pages: bool
) -> Item:
    text = node.get_content(metadata_mode=MetadataMode.EMBED)
    if text.strip() and node.metadata.get("media_type") != "text":
        return text
    if isinstance(node, IndexNode) and isinstance(node.obj, BaseNode):
        return build_node_item(
            node.obj, caption_mode=caption_mode, media_policy=media_policy, render_pages=render_pages
        )
    is_sound = isinstance(node, Node) and node.audio_resource is not None
    advice = "sound cannot be embedded: transcribe it, or leave the node out" if is_sound else "leave it out"
    raise InputError(f"the {type(node).__name__} {quote(node.node_id)} has neither text nor image nor video; {advice}")
