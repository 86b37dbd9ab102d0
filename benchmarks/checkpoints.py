"""Checkpoints of the published shapes with random weights: speed does not depend on what a model has learnt.

The files are those of the published repositories, so that transformers, the official scripts and
sentence-transformers load them unchanged. The tokenizer is the pocket models'; its vocabulary is small, and the
embedding table of the large shapes is therefore smaller than published, which no forward pass notices.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from qwen3_vl_pocket.checkpoint import write_checkpoint
from qwen3_vl_pocket.tokenizer import ModelKind, build_tokenizer, count_vocabulary_rows
from qwen3_vl_pocket.world.sentences import list_words

# `config.json` of Qwen3-VL-Embedding-2B and -8B; "74m" has their proportions at a width that a CPU bears.
SHAPES: dict[str, dict[str, Any]] = {
    "74m": {
        "text": {"hidden": 512, "intermediate": 1536, "layers": 12, "heads": 8, "kv_heads": 4, "head": 64},
        "vision": {"hidden": 384, "intermediate": 1536, "depth": 12, "heads": 6, "positions": 2304, "deep": [2, 5, 8]},
    },
    "2b": {
        "text": {"hidden": 2048, "intermediate": 6144, "layers": 28, "heads": 16, "kv_heads": 8, "head": 128},
        "vision": {
            "hidden": 1024,
            "intermediate": 4096,
            "depth": 24,
            "heads": 16,
            "positions": 2304,
            "deep": [5, 11, 17],
        },
    },
    "8b": {
        "text": {"hidden": 4096, "intermediate": 12288, "layers": 36, "heads": 32, "kv_heads": 8, "head": 128},
        "vision": {
            "hidden": 1152,
            "intermediate": 4304,
            "depth": 27,
            "heads": 16,
            "positions": 2304,
            "deep": [8, 16, 24],
        },
    },
}
MAX_PIXELS = 1_843_200
"""Of a picture: 1,800 visual tokens, the official embedder's limit."""


def describe_shape(shape: str, tokenizer: Any) -> dict[str, Any]:
    """Returns the content of `config.json`."""
    text, vision = SHAPES[shape]["text"], SHAPES[shape]["vision"]
    quarter = text["head"] // 16
    ids = {
        name: tokenizer.token_to_id(f"<|{name}|>") for name in ("image_pad", "video_pad", "vision_start", "vision_end")
    }
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "tie_word_embeddings": True,
        "image_token_id": ids["image_pad"],
        "video_token_id": ids["video_pad"],
        "vision_start_token_id": ids["vision_start"],
        "vision_end_token_id": ids["vision_end"],
        "text_config": {
            "model_type": "qwen3_vl_text",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "head_dim": text["head"],
            "hidden_act": "silu",
            "hidden_size": text["hidden"],
            "initializer_range": 0.02,
            "intermediate_size": text["intermediate"],
            "max_position_embeddings": 262144,
            "num_attention_heads": text["heads"],
            "num_hidden_layers": text["layers"],
            "num_key_value_heads": text["kv_heads"],
            "rms_norm_eps": 1e-6,
            # The published split of 64 frequencies is 24, 20, 20.
            "rope_scaling": {
                "mrope_interleaved": True,
                "mrope_section": [text["head"] // 2 - 2 * 5 * quarter // 2, 5 * quarter // 2, 5 * quarter // 2],
                "rope_type": "default",
            },
            "rope_theta": 5_000_000,
            "tie_word_embeddings": True,
            "vocab_size": count_vocabulary_rows(tokenizer),
        },
        "vision_config": {
            "model_type": "qwen3_vl",
            "deepstack_visual_indexes": vision["deep"],
            "depth": vision["depth"],
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": vision["hidden"],
            "in_channels": 3,
            "initializer_range": 0.02,
            "intermediate_size": vision["intermediate"],
            "num_heads": vision["heads"],
            "num_position_embeddings": vision["positions"],
            "out_hidden_size": text["hidden"],
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
    }


def build_checkpoint(folder: Path, kind: ModelKind, *, shape: str) -> Path:
    """Returns the folder of a checkpoint with random weights, written there unless it exists."""
    target = folder / f"{shape}-{kind}"
    if (target / "model.safetensors").exists():
        return target
    tokenizer = build_tokenizer(kind, words=list_words())
    config = describe_shape(shape, tokenizer)
    torch.manual_seed(0)
    keys = {name: value for name, value in config.items() if name != "architectures"}
    model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(**keys))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.uniform_(0.8, 1.2)
    write_checkpoint(
        target, kind, config=config, tokenizer=tokenizer, weights=model.state_dict(), max_pixels=MAX_PIXELS
    )
    return target
