"""Queries as bundles, and what of them is searched by; a bundle is never changed."""

from __future__ import annotations

from dataclasses import replace

from llama_index.core.schema import QueryBundle, QueryType

from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle
from qwen3_vl_retrieval import InputError

__all__ = ["build_bundle", "build_picture_bundle", "keep_media", "keep_text"]


def build_bundle(query: QueryType) -> QueryBundle:
    """Returns the bundle of a text, or the bundle."""
    return QueryBundle(query) if isinstance(query, str) else query


def build_picture_bundle(query: QueryType) -> QueryBundle:
    """Returns the bundle of the path of a picture, or the bundle."""
    return QueryBundle("", image_path=query) if isinstance(query, str) else query


def keep_text(bundle: QueryBundle) -> QueryBundle:
    """Returns a query without its pictures and clips."""
    kept = replace(bundle, image_path=None, embedding=None)
    return replace(kept, images=None, videos=None) if isinstance(kept, MultiModalQueryBundle) else kept


def keep_media(bundle: QueryBundle) -> QueryBundle:
    """Returns a query without its text.

    Raises:
        InputError: There is neither picture nor clip.
    """
    is_multimodal = isinstance(bundle, MultiModalQueryBundle)
    if bundle.image_path is None and not (is_multimodal and (bundle.images or bundle.videos)):
        raise InputError(
            "there is no picture to search by; give its path, QueryBundle(image_path=…) or "
            "MultiModalQueryBundle(images=[…])",
            role="query",
        )
    return replace(bundle, query_str="", custom_embedding_strs=None, embedding=None)
