"""Finding checkpoints and loading models: the only place that loads with transformers.

Importing this package neither downloads anything nor looks at the hardware.
"""

from __future__ import annotations

from qwen3_vl_retrieval.loading.checkpoints import Checkpoint, ModelKind, locate_checkpoint
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
from qwen3_vl_retrieval.loading.weights import hash_parameters, hash_weight_files

__all__ = [
    "Checkpoint",
    "Choice",
    "Choices",
    "LoadedModel",
    "ModelKind",
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
