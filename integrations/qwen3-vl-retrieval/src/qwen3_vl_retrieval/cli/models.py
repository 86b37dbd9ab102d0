"""The models of a command, loaded with one policy and one pixel budget. Importing this module imports torch."""

from __future__ import annotations

from dataclasses import dataclass

from transformers.utils import logging as transformers_logging

from qwen3_vl_retrieval.cli.options import LoadingOptions
from qwen3_vl_retrieval.embedder import Qwen3VLEmbedder
from qwen3_vl_retrieval.media import ImageReading, MediaPolicy, PixelBudget
from qwen3_vl_retrieval.media.images import check_image_reading
from qwen3_vl_retrieval.reranker import Qwen3VLReranker

__all__ = ["Models", "load_embedder", "load_models", "load_reranker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The two stages of a search; `reranker` is `None` if only the first is wanted."""

    embedder: Qwen3VLEmbedder
    reranker: Qwen3VLReranker | None


def load_models(embedder: str, reranker: str | None, options: LoadingOptions, policy: MediaPolicy) -> Models:
    """Returns the models of these names: hub ids, folders or `"pocket"`.

    Raises:
        ModelError: One of them cannot be found or loaded, or the device or dtype is not available.
        ValueError: An option is out of range.
    """
    return Models(
        embedder=load_embedder(embedder, options, policy),
        reranker=None if reranker is None else load_reranker(reranker, options, policy),
    )


def load_embedder(name: str, options: LoadingOptions, policy: MediaPolicy) -> Qwen3VLEmbedder:
    """Returns the embedder called `name`; raises as `load_models`."""
    _silence_loading()
    return Qwen3VLEmbedder.from_pretrained(
        name,
        device=options.device,
        dtype=options.dtype,
        dimensions=options.dimensions,
        media_policy=policy,
        pixel_budget=_choose_budget(options.max_pixels),
        image_reading=_choose_reading(options.image_reading),
    )


def load_reranker(name: str, options: LoadingOptions, policy: MediaPolicy) -> Qwen3VLReranker:
    """Returns the reranker called `name`; raises as `load_models`."""
    _silence_loading()
    return Qwen3VLReranker.from_pretrained(
        name,
        device=options.device,
        dtype=options.dtype,
        media_policy=policy,
        pixel_budget=_choose_budget(options.max_pixels),
        image_reading=_choose_reading(options.image_reading),
    )


def _choose_reading(image_reading: str | None) -> ImageReading:
    return "viewer" if image_reading is None else check_image_reading(image_reading)


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
