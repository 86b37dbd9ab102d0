"""Finding checkpoints and loading models: the only place that loads with transformers.

Importing this package neither downloads anything nor looks at the hardware; what needs torch is imported when it is
asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen3_vl_retrieval.lazy_imports import import_lazily
from qwen3_vl_retrieval.loading.checkpoints import Checkpoint, locate_checkpoint
from qwen3_vl_retrieval.loading.weights import hash_weight_files

if TYPE_CHECKING:
    from qwen3_vl_retrieval.loading.hardware import (
        Choice,
        Choices,
        choose_attention,
        choose_device,
        choose_dtype,
        find_arithmetic,
    )
    from qwen3_vl_retrieval.loading.models import LoadedModel, check_model, load_model
    from qwen3_vl_retrieval.loading.quantization import build_quantization, name_quantization
    from qwen3_vl_retrieval.loading.score_head import read_score_weight
    from qwen3_vl_retrieval.loading.tensors import hash_parameters

__all__ = [
    "Checkpoint",
    "Choice",
    "Choices",
    "LoadedModel",
    "build_quantization",
    "check_model",
    "choose_attention",
    "choose_device",
    "choose_dtype",
    "find_arithmetic",
    "hash_parameters",
    "hash_weight_files",
    "load_model",
    "locate_checkpoint",
    "name_quantization",
    "read_score_weight",
]

_MODULES_WITH_TORCH = {
    "Choice": "loading.hardware",
    "Choices": "loading.hardware",
    "LoadedModel": "loading.models",
    "build_quantization": "loading.quantization",
    "check_model": "loading.models",
    "choose_attention": "loading.hardware",
    "choose_device": "loading.hardware",
    "choose_dtype": "loading.hardware",
    "find_arithmetic": "loading.hardware",
    "hash_parameters": "loading.tensors",
    "load_model": "loading.models",
    "name_quantization": "loading.quantization",
    "read_score_weight": "loading.score_head",
}

__getattr__ = import_lazily(__name__, _MODULES_WITH_TORCH)
