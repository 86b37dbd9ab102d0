"""Smaller weights: the configurations that transformers needs for them."""

from __future__ import annotations

import hashlib
import importlib
from typing import Any, cast

import torch
from transformers import BitsAndBytesConfig, TorchAoConfig
from transformers.utils.quantization_config import QuantizationConfigMixin

from qwen3_vl_retrieval.errors import ModelError

__all__ = ["build_quantization", "name_quantization"]

_INSTALL = 'pip install "qwen3-vl-retrieval[quantization]"'
_NAMES = ("bitsandbytes-4bit", "bitsandbytes-8bit", "torchao-int8")

# Modules left as they are, by the names they have in the base model (where both versions of transformers match the
# part before a dot) and, for the head, in the model with one. The vision tower is a fifth of the 2B model, and its
# errors reach every visual token.
_KEPT_MODULES = ("visual", "lm_head")


def build_quantization(quantization: object | None, device: torch.device) -> QuantizationConfigMixin | None:
    """Returns the transformers configuration for a named quantisation; a ready one and `None` are returned as given.

    Named ones leave the vision tower, the token embeddings and the norms as they are:

    - `"bitsandbytes-4bit"`: NF4 with double quantisation, arithmetic in bfloat16.
    - `"bitsandbytes-8bit"`: LLM.int8(), arithmetic in float16 and int8.
    - `"torchao-int8"`: weights only, one scale per row; runs on every device.

    Raises:
        ModelError: The name is unknown, its libraries are not installed, or `device` cannot run it.
    """
    if quantization is None or isinstance(quantization, QuantizationConfigMixin):
        return quantization
    if not isinstance(quantization, str) or quantization not in _NAMES:
        raise ModelError(
            f"quantization {quantization!r} is unknown; allowed are {', '.join(map(repr, _NAMES))}, a quantization "
            "configuration of transformers, and None"
        )
    _import_library("accelerate", quantization)
    if quantization == "torchao-int8":
        return _build_torchao(quantization)
    _check_bitsandbytes(quantization, device)
    return _build_bitsandbytes(is_four_bit=quantization == "bitsandbytes-4bit")


def name_quantization(quantization: object) -> str:
    """Returns a short name of a quantisation for fingerprints: its own, or its class and a digest of its settings."""
    if isinstance(quantization, str):
        return quantization
    return f"{type(quantization).__name__}-{hashlib.sha256(str(quantization).encode()).hexdigest()[:12]}"


def _check_bitsandbytes(quantization: str, device: torch.device) -> None:
    # What a build can run on differs by release and platform; the library lists it.
    supported = cast("set[str]", _import_library("bitsandbytes", quantization).supported_torch_devices)
    if device.type not in supported:
        raise ModelError(
            f"quantization {quantization!r} cannot run on {device.type}: the installed bitsandbytes supports "
            f"{', '.join(sorted(supported))}; pass device=, quantization='torchao-int8' or None"
        )


def _import_library(name: str, quantization: str) -> Any:
    try:
        return cast("Any", importlib.import_module(name))
    except ImportError as error:
        raise ModelError(f"quantization {quantization!r} needs {name}, which does not import: {_INSTALL}") from error


def _build_bitsandbytes(*, is_four_bit: bool) -> QuantizationConfigMixin:
    if not is_four_bit:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(_KEPT_MODULES))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        # Despite its name, for 4 bits too.
        llm_int8_skip_modules=list(_KEPT_MODULES),
    )


def _build_torchao(quantization: str) -> QuantizationConfigMixin:
    # transformers 5 no longer takes the name "int8_weight_only"; both take torchao's configuration object.
    api = _import_library("torchao.quantization", quantization)
    return TorchAoConfig(api.Int8WeightOnlyConfig(), modules_to_not_convert=list(_KEPT_MODULES))
