"""The images, pages and videos of a node, whatever its type, and what they look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, Node
from PIL import Image

from llama_index.schema.qwen3_vl.sources import read_image_node, read_resource
from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.index import build_item, draw_document, find_local_file

__all__ = ["MediumKind", "NodeMedium", "draw_medium", "find_path", "list_node_media", "read_text"]

MediumKind: TypeAlias = Literal["image", "page", "video"]

_WINDOW = ("start", "end")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMedium:
    """An image, page or video, not opened yet.

    Attributes:
        kind: What it is.
        metadata: What `qwen3_vl_retrieval.index.draw_document` draws it by.
        path: The file that holds it, whether or not it exists; `None` for data and URLs.
    """

    kind: MediumKind
    metadata: Mapping[str, Any]
    path: Path | None

    @property
    def is_missing(self) -> bool:
        """Whether it is to be in a file, and there is none."""
        return self.path is not None and not self.path.is_file()


def list_node_media(node: BaseNode, *, media_policy: MediaPolicy | None = None) -> list[NodeMedium]:
    """Returns what there is to see of a node: its image and its video, or what its metadata name; nothing is opened.

    Args:
        node: Node of any type.
        media_policy: How much data is decoded.

    Raises:
        InputError: Its data is no base64, or the metadata make no sense.
    """
    if isinstance(node, ImageNode):
        source = read_image_node(node, media_policy)
        own = [] if source is None else [_build_medium("image", source)]
    elif isinstance(node, Node):
        own = _list_resources(node, media_policy)
    else:
        own = []
    return own if own else _list_named_media(node)


def draw_medium(
    medium: NodeMedium, *, media_policy: MediaPolicy | None = None, max_frames: int = 1
) -> list[Image.Image]:
    """Returns RGB images: the image, the rendered page, or frames from the middles of equal parts of a video.

    Raises:
        InputError: It is missing, refused, or cannot be read.
    """
    try:
        images = draw_document("", medium.metadata, policy=media_policy, max_frames=max_frames)
    except (TypeError, ValueError) as error:
        # Metadata written by others, such as a page that is no number.
        raise InputError(f"the {medium.kind} cannot be read: {error}") from error
    if not images:
        raise InputError(f"there is nothing to see of the {medium.kind}")
    return images


def read_text(node: BaseNode) -> str:
    """Returns the text or caption of a node, without its metadata."""
    return node.get_content(metadata_mode=MetadataMode.NONE)


def find_path(source: object) -> Path | None:
    """Returns the path that a path or `file:` URI names; `None` for anything else. Whether it exists is not checked."""
    if isinstance(source, Path):
        return source
    return find_local_file(source) if isinstance(source, str) else None


def _list_resources(node: Node, media_policy: MediaPolicy | None) -> list[NodeMedium]:
    media: list[NodeMedium] = []
    image = read_resource(node.image_resource, "image", media_policy)
    if image is not None:
        medium = _build_medium("image", image)
        # The image of a page was written beside its PDF, which is drawn as well.
        media.append(_find_page(node) or medium if medium.is_missing else medium)
    video = read_resource(node.video_resource, "video", media_policy)
    if video is not None:
        window = {name: node.metadata[name] for name in _WINDOW if node.metadata.get(name) is not None}
        media.append(_build_medium("video", video, window))
    return media


def _find_page(node: Node) -> NodeMedium | None:
    if node.metadata.get("media_type") != "page":
        return None
    named = _list_named_media(node)
    return None if not named or named[0].is_missing else named[0]


def _list_named_media(node: BaseNode) -> list[NodeMedium]:
    metadata: dict[str, Any] = node.metadata
    told = metadata.get("media_type")
    if told in ("image", "page", "video"):
        kind: MediumKind = told
    else:
        # Of a document that is no page nothing is opened here.
        item = build_item("" if _was_medium(node) else read_text(node), metadata)
        if not isinstance(item, Mapping):
            return []
        kind = "video" if "video" in item else "image"
    # A page is rendered from its PDF; an image may be named by `source` alone.
    named = metadata.get("source" if kind == "page" else kind)
    return [NodeMedium(kind=kind, metadata=metadata, path=find_path(named or metadata.get("source")))]


def _was_medium(node: BaseNode) -> bool:
    """Whether a node was meant to hold an image or video, whatever its text says."""
    if isinstance(node, Node):
        return node.image_resource is not None or node.video_resource is not None
    return isinstance(node, ImageNode)


def _build_medium(kind: MediumKind, source: object, window: Mapping[str, Any] | None = None) -> NodeMedium:
    metadata = {"media_type": kind, kind: source, **({} if window is None else window)}
    return NodeMedium(kind=kind, metadata=metadata, path=find_path(source))
