"""Models of the whole process: asked for by name any number of times, loaded once.

Framework adapters hold names, and many of them in one program name the same model. Whoever asks with equal options gets
the same object, whose concurrent callers share forward passes; with other options, one that has the same weights.
A model is let go of when nobody holds it any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, Unpack
from weakref import WeakKeyDictionary, WeakValueDictionary

from qwen3_vl_retrieval.embedder import Qwen3VLEmbedder
from qwen3_vl_retrieval.forks import ForkSafeLock
from qwen3_vl_retrieval.items import ImageReading
from qwen3_vl_retrieval.loading import choose_device, choose_dtype
from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget
from qwen3_vl_retrieval.media.images import check_image_reading
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.options import ModelHub, ShareOptions, WeightOptions, split_options
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

    media_policy: MediaPolicy | None = None
    pixel_budget: PixelBudget | None = None
    frame_sampling: FrameSampling | None = None
    image_reading: ImageReading = "viewer"
    max_length: int | None = None
    max_batch_tokens: int | None = None

    def list_given(self) -> dict[str, Any]:
        """Returns those that are not `None`, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}


_EMBEDDERS: WeakValueDictionary[tuple[_Weights, _Limits], Qwen3VLEmbedder] = WeakValueDictionary()
_RERANKERS: WeakValueDictionary[tuple[_Weights, _Limits], Qwen3VLReranker] = WeakValueDictionary()
_ORIGINS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""Keeps the one that was loaded alive as long as anything that has its weights."""

_LOADING = ForkSafeLock()
"""Two threads never load one model twice, nor two at once, which would need twice the memory."""

_OWN_LIMITS = _Limits()


def share_embedder(model: str | Path, **options: Unpack[ShareOptions]) -> Qwen3VLEmbedder:
    """Returns the process's embedder of these weights and limits, loaded if nobody holds it.

    ```python
    embedder = share_embedder("Qwen/Qwen3-VL-Embedding-2B", max_length=4096)
    ```

    Length, number format and instructions of vectors are options of each call.

    Args:
        model: Hub id, folder, or `"pocket"`.
        **options: See `ShareOptions`.

    Raises:
        ModelError: The model cannot be found or loaded.
        TypeError: An option does not exist.
    """

    def derive(origin: Qwen3VLEmbedder, limits: dict[str, Any]) -> Qwen3VLEmbedder:
        return Qwen3VLEmbedder(
            origin.model,
            origin.processor,
            model_id=origin.model_id,
            revision=origin.fingerprint.revision,
            choices=origin.choices,
            **limits,
        )

    # Asked for by the branch first and by its commit later, for instance by a store's fingerprint.
    return _share(
        _EMBEDDERS,
        (Qwen3VLEmbedder.from_pretrained, derive, lambda origin: origin.fingerprint.revision.partition("+")[0]),
        model,
        options,
    )


def share_reranker(model: str | Path, **options: Unpack[ShareOptions]) -> Qwen3VLReranker:
    """Returns the process's reranker of these weights and limits, loaded if nobody holds it.

    The instruction is an option of each call. Arguments and errors are those of `share_embedder`.
    """

    def derive(origin: Qwen3VLReranker, limits: dict[str, Any]) -> Qwen3VLReranker:
        return Qwen3VLReranker(
            origin.model,
            origin.processor,
            score_weight=origin.score_weight,
            model_id=origin.model_id,
            revision=origin.revision,
            choices=origin.choices,
            **limits,
        )

    return _share(_RERANKERS, (Qwen3VLReranker.from_pretrained, derive, lambda _: None), model, options)


def _share(
    shared: WeakValueDictionary[tuple[_Weights, _Limits], _Model],
    ways: tuple[Callable[..., _Model], Callable[[_Model, dict[str, Any]], _Model], Callable[[_Model], str | None]],
    model: str | Path,
    options: ShareOptions,
) -> _Model:
    """The model, by the ways to load one, to derive one from its weights, and to find the commit that it came from."""
    load, derive, find_commit = ways
    loading, others = split_options(options, WeightOptions, ShareOptions)
    token = loading.pop("token", None)
    weights = _name_weights(model, loading)
    limits = _Limits(**others)
    check_image_reading(limits.image_reading)
    with _LOADING:
        found = shared.get((weights, limits))
        if found is not None:
            return found
        origin = shared.get((weights, _OWN_LIMITS))
        if origin is None:
            named = weights._asdict()
            origin = load(named.pop("model"), token=token, **named)
            shared[weights, _OWN_LIMITS] = origin
            commit = find_commit(origin)
            if commit is not None:
                shared[weights._replace(revision=commit), _OWN_LIMITS] = origin
        if limits == _OWN_LIMITS:
            return origin
        own = {"pixel_budget": origin.pixel_budget, "frame_sampling": origin.frame_sampling}
        derived = derive(origin, own | limits.list_given())
        derived.share_origin(origin, limits.list_given())
        _ORIGINS[derived] = origin
        shared[weights, limits] = derived
        return derived


def _name_weights(model: str | Path, loading: Mapping[str, Any]) -> _Weights:
    """The weights by name, with the choices that are left to the machine made."""
    chosen = choose_device(loading.get("device")).value
    number_format = str(choose_dtype(loading.get("dtype", "auto"), chosen).value).removeprefix("torch.")
    return _Weights(
        model=str(model),
        revision=loading.get("revision"),
        model_hub=loading.get("model_hub", "huggingface"),
        device=str(chosen),
        dtype=number_format,
        quantization=loading.get("quantization"),
    )
