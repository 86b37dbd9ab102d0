"""The pictures and clips of a query, as content blocks of a language model."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ImageBlock, VideoBlock
from llama_index.core.schema import QueryBundle

from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle
from llama_index.embeddings.qwen3_vl.sources import coerce_image, coerce_video
from llama_index.postprocessor.qwen3_vl_rerank.node_media import MediumKind, NodeMedium, find_local_file
from llama_index.postprocessor.qwen3_vl_rerank.picture_blocks import (
    BlockOptions,
    build_blocks,
    count_images,
    share_images,
)
from qwen3_vl_retrieval import InputError

__all__ = ["build_query_blocks"]


def build_query_blocks(
    query: QueryBundle, options: BlockOptions, *, max_images: int, max_frames: int
) -> list[ImageBlock | VideoBlock]:
    """Returns what a language model is shown of a query besides its words; nothing for a query of words.

    Those are the picture at `image_path`, and of a `MultiModalQueryBundle` its `images` and `videos`, in this order.

    Raises:
        InputError: One of them is missing, refused, or cannot be read; the message begins with `query`.
    """
    try:
        media = _list_query_media(query)
        needs = [count_images(medium, options, max_frames=max_frames) for medium in media]
        shares = share_images(needs, max_images)
        return [
            block
            for medium, share in zip(media, shares, strict=True)
            for block in build_blocks(medium, options, max_images=share)
        ]
    except InputError as error:
        raise error.at(None, role="query") from error


def _list_query_media(query: QueryBundle) -> list[NodeMedium]:
    images: list[Any] = [] if query.image_path is None else [query.image_path]
    videos: list[Any] = []
    if isinstance(query, MultiModalQueryBundle):
        images += [] if query.images is None else query.images
        videos += [] if query.videos is None else query.videos
    media = [_build_medium("image", coerce_image(image)) for image in images]
    return media + [_build_medium("video", coerce_video(video)) for video in videos]


def _build_medium(kind: MediumKind, source: Any) -> NodeMedium:
    return NodeMedium(kind=kind, metadata={"media_type": kind, kind: source}, path=find_local_file(source))
