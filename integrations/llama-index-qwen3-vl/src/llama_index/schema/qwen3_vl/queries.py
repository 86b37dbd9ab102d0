"""Queries of text, images and videos, in the form that retrievers, query engines and postprocessors pass along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
from PIL import Image

from llama_index.schema.qwen3_vl.nodes import build_node_item
from llama_index.schema.qwen3_vl.sources import ImageSource, Item, VideoSource, coerce_image, coerce_video
from qwen3_vl_retrieval import InputError, MediaPolicy, MultimodalInput

__all__ = ["MultiModalQueryBundle", "Query", "build_query_item", "list_query_items"]


@dataclass
class MultiModalQueryBundle(QueryBundle):
    """A query of text, any number of images and videos, and its own instruction.

    Wherever LlamaIndex takes a `QueryBundle` it takes this, and passes it on untouched: retrievers, query engines,
    postprocessors and `QueryFusionRetriever(num_queries=1)`.

    ```python
    from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle

    query = MultiModalQueryBundle("the same in blue", images=["mug.jpg"])
    ```

    Attributes:
        images: Besides `image_path`, which comes first: paths, URLs or `data:` URIs (`str`), `Path`, bytes, `BytesIO`,
            PIL images, arrays.
        videos: Videos, likewise; a video may be the list of its frames.
        instruction: What the query is to be represented for, and what makes a document relevant; goes before the
            instruction of embedding and reranker.
    """

    images: list[ImageSource] | None = None
    videos: list[VideoSource] | None = None
    instruction: str | None = None


Query: TypeAlias = (
    "str | QueryBundle | BaseNode | NodeWithScore | Path | Image.Image | Mapping[str, Any] | MultimodalInput"
)
"""What is understood as a query: a text, a bundle, a node ("more like this"), or an item of the core."""


def build_query_item(query: Query, *, media_policy: MediaPolicy | None = None) -> Item:
    """Returns what an embedder or reranker of the core takes for a query.

    A `str`, and the `query_str` of a bundle, is always text, even where it looks like a path. Media stand before the
    text, as the official scripts have it: videos, images, text.

    Args:
        query: See `Query`; of a bundle everything but `embedding` and `custom_embedding_strs`.
        media_policy: What may be opened of a node that is a page of a PDF; other files are opened by the model.

    Raises:
        InputError: The query holds neither text nor media, or is of no known kind; the message begins with `query`.
    """
    try:
        return _build(query, media_policy)
    except InputError as error:
        raise error.at(None, role="query") from error


def list_query_items(query: Query, *, media_policy: MediaPolicy | None = None) -> list[Item]:
    """Returns the items whose vectors make up the vector of a query: one, or one for each `custom_embedding_strs`.

    Those are what query transformations such as `HyDEQueryTransform` put in place of the text; media stay with each.
    The arguments and errors are those of `build_query_item`.
    """
    if not isinstance(query, QueryBundle) or not query.custom_embedding_strs:
        return [build_query_item(query, media_policy=media_policy)]
    texts = query.custom_embedding_strs
    return [build_query_item(replace(query, query_str=text), media_policy=media_policy) for text in texts]


def _build(query: object, media_policy: MediaPolicy | None) -> Item:
    match query:
        case str():
            return _check_text(query)
        case QueryBundle():
            return _join_parts(query)
        case BaseNode() | NodeWithScore():
            return build_node_item(query, media_policy=media_policy)
        case Path() | Image.Image() | MultimodalInput():
            return query
        case Mapping():
            return dict(cast("Mapping[str, Any]", query))
        case _:
            raise InputError(
                f"got {type(query).__name__}; allowed are str, QueryBundle, MultiModalQueryBundle, a node, "
                "pathlib.Path, PIL.Image, a dict with the keys text, image and video, and MultimodalInput"
            )


def _check_text(text: str) -> str:
    if not text.strip():
        raise InputError("the query is empty: give a text, or a MultiModalQueryBundle with images or videos")
    return text


def _join_parts(bundle: QueryBundle) -> Item:
    images: list[Any] = [] if bundle.image_path is None else [bundle.image_path]
    videos: list[Any] = []
    instruction = None
    if isinstance(bundle, MultiModalQueryBundle):
        images += _check_list(bundle.images, "images")
        videos += _check_list(bundle.videos, "videos")
        instruction = bundle.instruction
    if not images and not videos:
        text = _check_text(bundle.query_str)
        return text if instruction is None else {"text": text, "instruction": instruction}
    parts: list[dict[str, Any]] = [{"video": coerce_video(video)} for video in videos]
    parts += [{"image": coerce_image(image)} for image in images]
    if bundle.query_str.strip():
        parts.append({"text": bundle.query_str})
    return {"parts": parts} if instruction is None else {"parts": parts, "instruction": instruction}


def _check_list(media: object, name: str) -> list[Any]:
    if media is None:
        return []
    if not isinstance(media, (list, tuple)):
        raise InputError(f"{name} is {type(media).__name__}; give a list, also of a single one: {name}=[…]")
    return list(cast("list[Any]", media))
