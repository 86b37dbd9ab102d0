"""The models of a command, loaded with one policy and one pixel budget. Importing this module imports torch."""

from __future__ import annotations

from dataclasses import dataclass

from transformers.utils import logging as transformers_logging

from qwen3_vl_retrieval.cli.options import ModelOptions
from qwen3_vl_retrieval.embedder import Qwen3VLEmbedder
from qwen3_vl_retrieval.media import MediaPolicy, PixelBudget
from qwen3_vl_retrieval.media.images import check_image_reading
from qwen3_vl_retrieval.reranker import Qwen3VLReranker

__all__ = ["Models", "load_embedder", "load_models", "load_reranker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The two stages of a search; `reranker` is `None` if only the first is wanted."""

    embedder: Qwen3VLEmbedder
    reranker: Qwen3VLReranker | None


def load_models(options: ModelOptions, policy: MediaPolicy) -> Models:
    """Returns the models that `options` name.

    Raises:
        ModelError: One of them cannot be found or loaded, or the device or dtype is not available.
        ValueError: `dimensions` is out of range.
    """
    embedder = load_embedder(options.embedder, options, policy)
    reranker = None if options.reranker is None else load_reranker(options.reranker, options, policy)
    return Models(embedder=embedder, reranker=reranker)


def load_embedder(name: str, options: ModelOptions, policy: MediaPolicy) -> Qwen3VLEmbedder:
    """Returns the embedder called `name`; raises as `load_models`."""
    _silence_loading()
    embedder = Qwen3VLEmbedder.from_pretrained(
        name,
        device=options.device,
        dtype=options.dtype,
        dimensions=options.dimensions,
        media_policy=policy,
        pixel_budget=_choose_budget(options.max_pixels),
        image_reading=check_image_reading(options.image_reading),
    )
    if options.profile is not None:
        options.profile.models["embedder"] = embedder
    return embedder


def load_reranker(name: str, options: ModelOptions, policy: MediaPolicy) -> Qwen3VLReranker:
    """Returns the reranker called `name`; raises as `load_models`."""
    _silence_loading()
    reranker = Qwen3VLReranker.from_pretrained(
        name,
        device=options.device,
        dtype=options.dtype,
        media_policy=policy,
        pixel_budget=_choose_budget(options.max_pixels),
        image_reading=check_image_reading(options.image_reading),
    )
    if options.profile is not None:
        options.profile.models["reranker"] = reranker
    return reranker


def _silence_loading() -> None:
    # The commands show their own progress; a second bar would tear it.
    transformers_logging.disable_progress_bar()


def _choose_budget(max_pixels: int | None) -> PixelBudget | None:
    """`None` leaves the choice to the checkpoint."""
    if max_pixels is None:
        return None
    default = PixelBudget()
    frame_max_pixels = min(max_pixels, default.frame_max_pixels)
    return PixelBudget(
        max_pixels=max_pixels,
        frame_min_pixels=min(frame_max_pixels, default.frame_min_pixels),
        frame_max_pixels=frame_max_pixels,
    )
