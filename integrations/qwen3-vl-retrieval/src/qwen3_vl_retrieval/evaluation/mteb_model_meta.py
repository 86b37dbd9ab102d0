"""What mteb is told of a model: a name and a revision that tell apart whatever has other results."""

from __future__ import annotations

from typing import Any, Literal

from qwen3_vl_retrieval.evaluation.mteb_batches import MODALITIES
from qwen3_vl_retrieval.lazy_imports import import_extra

__all__ = ["describe_model"]

_ORGANIZATION = "qwen3-vl-retrieval"
"""Names in mteb have an organization. These results are those of this package, and not of mteb's own wrappers."""


def describe_model(
    name: str, revision: str, *, model_type: Literal["dense", "cross-encoder"], dimensions: int | None = None
) -> Any:
    """Returns a `ModelMeta`.

    Args:
        name: Name of the model, without an organization.
        revision: Its weights and settings; mteb keeps results by name and revision.
        model_type: What it is.
        dimensions: Length of its vectors.

    Raises:
        StoreError: mteb is not installed.
    """
    metadata = import_extra("mteb.models.model_meta", purpose="benchmarks", extra="mteb")
    return metadata.ModelMeta.create_empty(
        overwrites={
            "name": f"{_ORGANIZATION}/{name}",
            "revision": revision,
            "model_type": [model_type],
            "modalities": list(MODALITIES),
            "embed_dim": dimensions,
            "similarity_fn_name": None if dimensions is None else metadata.ScoringFunction.DOT_PRODUCT,
            "use_instructions": True,
            "framework": ["PyTorch", "Transformers"],
        }
    )
