"""Checkpoints with random weights, in the layout of the pocket models, and the words that their tokenizers know."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from qwen3_vl_pocket.checkpoint import write_checkpoint
from qwen3_vl_pocket.tokenizer import ModelKind, build_tokenizer
from qwen3_vl_pocket.training.model import MAX_PIXELS, build_config, build_model

WORDS = (
    *("a", "above", "and", "at", "attach", "black", "blue", "circle", "count", "counter", "counterpart", "is", "left"),
    *("number", "of", "red", "right", "square", "table", "the", "triangle", "two", "Error", "INVOICE", ",", "?"),
    *("Größe", "círculo", "weiß", "cuadrado"),
    *("红色", "蓝色", "圆形", "方形", "三角形", "五角星", "左边", "在", "的", "，", "。"),
)


def draw_weights(config: Mapping[str, Any], *, seed: int) -> dict[str, torch.Tensor]:
    """Random weights, wide enough that every part of an input moves the result."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: parameter.detach()
        if parameter.dim() == 1
        else torch.randn(parameter.shape, generator=generator) * parameter[0].numel() ** -0.5
        for name, parameter in build_model(dict(config)).named_parameters()
    }


def write_random_checkpoint(folder: Path, kind: ModelKind, *, seed: int) -> None:
    tokenizer = build_tokenizer(kind, words=WORDS)
    config = build_config(tokenizer)
    write_checkpoint(
        folder,
        kind,
        config=config,
        tokenizer=tokenizer,
        weights=draw_weights(config, seed=seed),
        max_pixels=MAX_PIXELS,
        defaults={"frame_sampling": {"fps": 1.0, "max_frames": 64}},
    )
