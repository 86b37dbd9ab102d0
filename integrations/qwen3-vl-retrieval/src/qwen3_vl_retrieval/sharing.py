"""Models of the whole process: asked for by name any number of times, loaded once.

Framework adapters hold names, and many of them in one program name the same model. Whoever asks with equal options gets
the same object, whose concurrent callers share forward passes; with other options, one that has the same weights.
A model is let go of when nobody holds it any more.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from qwen3_vl_retrieval.embedder import Qwen3VLEmbedder
from qwen3_vl_retrieval.forks import ForkSafeLock
from qwen3_vl_retrieval.items import ImageReading
from qwen3_vl_retrieval.loading import ModelHub, choose_device, choose_dtype
from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget
from qwen3_vl_retrieval.media.images import check_image_reading
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.reranker import Qwen3VLReranker

__all__ = ["share_embedder", "share_reranker"]

_Model = TypeVar("_Model", Qwen3VLEmbedder, Qwen3VLReranker)


class _Weights(NamedTuple):
    """What callers must have in common to share weights."""

    model: str
    revision: str | None
    model_hub: ModelHub
    device: str
    dtype: str
    quantization: str | None


class _Limits(NamedTuple):
    """What callers must have in common to share forward passes, too; `None` is the model's own."""

    media_policy: MediaPolicy | None
    pixel_budget: PixelBudget | None
    frame_sampling: FrameSampling | None
    image_reading: ImageReading
    max_length: int | None
    max_batch_tokens: int | None

    def list_given(self) -> dict[str, Any]:
        """Returns those that are not `None`, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}


_EMBEDDERS: WeakValueDictionary[tuple[_Weights, _Limits], Qwen3VLEmbedder] = WeakValueDictionary()
_RERANKERS: WeakValueDictionary[tuple[_Weights, _Limits], Qwen3VLReranker] = WeakValueDictionary()
_ORIGINS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""Keeps the one that was loaded alive as long as anything that has its weights."""

_LOADING = ForkSafeLock()
"""Two threads never load one model twice, nor two at once, which would need twice the memory."""

_OWN_LIMITS = _Limits(None, None, None, "viewer", None, None)


def share_embedder(
    model: str | Path,
    *,
    revision: str | None = None,
    model_hub: ModelHub = "huggingface",
    token: str | None = None,
    device: str | None = None,
    dtype: str = "auto",
    quantization: str | None = None,
    media_policy: MediaPolicy | None = None,
    pixel_budget: PixelBudget | None = None,
    frame_sampling: FrameSampling | None = None,
    image_reading: ImageReading = "viewer",
    max_length: int | None = None,
    max_batch_tokens: int | None = None,
) -> Qwen3VLEmbedder:
    """Returns the process's embedder of these weights and limits, loaded if nobody holds it.

    Length, number format and instructions of vectors are options of each call. The arguments are those of
    `Qwen3VLEmbedder.from_pretrained`; `None` is its default.

    Raises:
        ModelError: The model cannot be found or loaded.
    """
    weights = _name_weights(model, revision, model_hub, device, dtype, quantization)
    limits = _Limits(
        media_policy, pixel_budget, frame_sampling, check_image_reading(image_reading), max_length, max_batch_tokens
    )

    def load() -> Qwen3VLEmbedder:
        options = weights._asdict()
        return Qwen3VLEmbedder.from_pretrained(options.pop("model"), token=token, **options)

    def derive(origin: Qwen3VLEmbedder) -> Qwen3VLEmbedder:
        own: dict[str, Any] = {"pixel_budget": origin.pixel_budget, "frame_sampling": origin.frame_sampling}
        return Qwen3VLEmbedder(
            origin.model,
            origin.processor,
            model_id=origin.fingerprint.model,
            revision=origin.fingerprint.revision,
            choices=origin.choices,
            **(own | limits.list_given()),
        )

    # Asked for by the branch first and by its commit later, for instance by a store's fingerprint.
    return _share(
        _EMBEDDERS, weights, limits, load, derive, lambda origin: origin.fingerprint.revision.partition("+")[0]
    )


def share_reranker(
    model: str | Path,
    *,
    revision: str | None = None,
    model_hub: ModelHub = "huggingface",
    token: str | None = None,
    device: str | None = None,
    dtype: str = "auto",
    quantization: str | None = None,
    media_policy: MediaPolicy | None = None,
    pixel_budget: PixelBudget | None = None,
    frame_sampling: FrameSampling | None = None,
    image_reading: ImageReading = "viewer",
    max_length: int | None = None,
    max_batch_tokens: int | None = None,
) -> Qwen3VLReranker:
    """Returns the process's reranker of these weights and limits, loaded if nobody holds it.

    The instruction is an option of each call. Arguments and errors as in `share_embedder`.
    """
    weights = _name_weights(model, revision, model_hub, device, dtype, quantization)
    limits = _Limits(
        media_policy, pixel_budget, frame_sampling, check_image_reading(image_reading), max_length, max_batch_tokens
    )

    def load() -> Qwen3VLReranker:
        options = weights._asdict()
        return Qwen3VLReranker.from_pretrained(options.pop("model"), token=token, **options)

    def derive(origin: Qwen3VLReranker) -> Qwen3VLReranker:
        own: dict[str, Any] = {"pixel_budget": origin.pixel_budget, "frame_sampling": origin.frame_sampling}
        return Qwen3VLReranker(
            origin.model,
            origin.processor,
            score_weight=origin.score_weight,
            model_id=origin.model_id,
            choices=origin.choices,
            **(own | limits.list_given()),
        )

    return _share(_RERANKERS, weights, limits, load, derive, lambda _: None)


def _name_weights(
    model: str | Path,
    revision: str | None,
    model_hub: ModelHub,
    device: str | None,
    dtype: str,
    quantization: str | None,
) -> _Weights:
    """The weights by name, with the choices that are left to the machine made."""
    chosen = choose_device(device).value
    number_format = str(choose_dtype(dtype, chosen).value).removeprefix("torch.")
    return _Weights(str(model), revision, model_hub, str(chosen), number_format, quantization)


def _share(
    shared: WeakValueDictionary[tuple[_Weights, _Limits], _Model],
    weights: _Weights,
    limits: _Limits,
    load: Callable[[], _Model],
    derive: Callable[[_Model], _Model],
    find_commit: Callable[[_Model], str | None],
) -> _Model:
    with _LOADING:
        found = shared.get((weights, limits))
        if found is not None:
            return found
        origin = shared.get((weights, _OWN_LIMITS))
        if origin is None:
            origin = load()
            shared[weights, _OWN_LIMITS] = origin
            commit = find_commit(origin)
            if commit is not None:
                shared[weights._replace(revision=commit), _OWN_LIMITS] = origin
        if limits == _OWN_LIMITS:
            return origin
        derived = derive(origin)
        derived.share_origin(origin, limits.list_given())
        _ORIGINS[derived] = origin
        shared[weights, limits] = derived
        return derived
