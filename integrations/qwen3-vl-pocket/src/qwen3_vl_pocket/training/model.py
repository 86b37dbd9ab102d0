"""The shape of the pocket models: Qwen3-VL, some four hundred times smaller than the 2B models."""

from __future__ import annotations

from typing import Any, cast

import torch
from tokenizers import Tokenizer
from transformers import Qwen3VLConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

__all__ = ["HIDDEN_SIZE", "MAX_PIXELS", "RETRIEVAL_DEFAULTS", "build_config", "build_model"]

HIDDEN_SIZE = 192
"""Length of a hidden state, and so of a vector."""

MAX_PIXELS = 160 * 128 + 1024
"""Pixels of an image at most: 20 visual tokens, and a margin of 5 %.

Sides are rounded down to multiples of 32. A page that is rendered from a PDF has a fraction of a pixel more than the
proportions of 128 x 160, and without the margin 96 x 128 was left of it: unreadable (benchmarks/LOG.md).
"""

RETRIEVAL_DEFAULTS: dict[str, dict[str, int | float]] = {
    "pixel_budget": {
        "min_pixels": 4 * 32 * 32,
        "max_pixels": MAX_PIXELS,
        "frame_min_pixels": 4 * 32 * 32,
        "frame_max_pixels": 96 * 96,
    },
}
"""What the core shall show the models unless a caller says otherwise: the sizes that they were trained on."""

_LAYERS = 8
_HEAD_SIZE = 48
_EMBEDDING_DEVIATION = 0.15


def build_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """Returns the content of `config.json`: keys as in the published files, sizes of the pocket models.

    More language layers and fewer deep-stack features than the proportions of the published models: comparing a query
    with a document takes depth behind the last layer that visual features are added to.
    """
    names = ("image_pad", "video_pad", "vision_start", "vision_end")
    image, video, start, end = (tokenizer.token_to_id(f"<|{name}|>") for name in names)
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "dtype": "bfloat16",
        "image_token_id": image,
        "model_type": "qwen3_vl",
        "text_config": {
            "attention_bias": False,
            "attention_dropout": 0.0,
            "head_dim": _HEAD_SIZE,
            "hidden_act": "silu",
            "hidden_size": HIDDEN_SIZE,
            "initializer_range": 0.02,
            "intermediate_size": 384,
            "max_position_embeddings": 262144,
            "model_type": "qwen3_vl_text",
            "num_attention_heads": 4,
            "num_hidden_layers": _LAYERS,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-06,
            "rope_scaling": {"mrope_interleaved": True, "mrope_section": [8, 8, 8], "rope_type": "default"},
            # The published models' 5,000,000 serves 256K tokens; here prompts are short and heads small.
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
            "vocab_size": tokenizer.get_vocab_size(),
        },
        "tie_word_embeddings": True,
        "video_token_id": video,
        "vision_config": {
            "deepstack_visual_indexes": [1],
            "depth": 4,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": 160,
            "in_channels": 3,
            "initializer_range": 0.02,
            "intermediate_size": 480,
            "model_type": "qwen3_vl",
            "num_heads": 4,
            "num_position_embeddings": 144,
            "out_hidden_size": HIDDEN_SIZE,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        "vision_end_token_id": end,
        "vision_start_token_id": start,
    }


def build_model(config: dict[str, Any]) -> Qwen3VLModel:
    """Returns a model with fresh weights, drawn from torch's global generator.

    Token embeddings are drawn wider than transformers' 0.02, and what a block adds begins at zero: the identity of a
    word otherwise drowns in what the first layers add before they have learned anything (benchmarks/LOG.md).
    """
    model = Qwen3VLModel(Qwen3VLConfig(**config))
    with torch.no_grad():
        model.language_model.embed_tokens.weight.normal_(0.0, _EMBEDDING_DEVIATION)
        for layer in cast("Any", model.language_model.layers):
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        for block in cast("Any", model.visual.blocks):
            block.attn.proj.weight.zero_()
            block.mlp.linear_fc2.weight.zero_()
    return model
