"""Untrained models in the layout of the published checkpoints, built on the spot.

They run every line of a search, without a download, in seconds. Their weights are random: what they find is chance.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType] - the library is loosely typed
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

__all__ = ["StandinKind", "write_standin"]

StandinKind: TypeAlias = Literal["embedding", "reranker"]

_SEEDS = {"embedding": 20260108, "reranker": 20260109}
_HIDDEN_SIZE = 64

# The special tokens of the published tokenizers, in their order (`tokenizer_config.json` of Qwen3-VL-Embedding-2B).
_SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

# Words that the prompts need as one token: the answers, and the role in the assistant's header.
_WHOLE_WORDS = ("yes", "no", "assistant")

# How the family's tokenizer splits text before merging (`tokenizer.json` of Qwen3-VL-Embedding-2B).
_SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_PIXELS: dict[str, Any] = {
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "merge_size": 2,
    "patch_size": 16,
    "processor_class": "Qwen3VLProcessor",
    "resample": 3,
    "rescale_factor": 1 / 255,
    "temporal_patch_size": 2,
}


_VISION_CONFIG: dict[str, Any] = {
    "deepstack_visual_indexes": [0, 1],
    "depth": 3,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": _HIDDEN_SIZE,
    "in_channels": 3,
    "intermediate_size": 2 * _HIDDEN_SIZE,
    "model_type": "qwen3_vl",
    "num_heads": 4,
    "num_position_embeddings": 2304,
    "out_hidden_size": _HIDDEN_SIZE,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}


def write_standin(folder: Path, kind: StandinKind) -> Path:
    """Writes an untrained checkpoint into `folder / kind` and returns that folder; equal calls give equal weights."""
    target = folder / kind
    target.mkdir(parents=True, exist_ok=True)
    tokenizer = _build_tokenizer(kind)
    tokenizer.save(str(target / "tokenizer.json"))
    config = _build_config(tokenizer)
    documents = {
        "config.json": config,
        "tokenizer_config.json": {
            "additional_special_tokens": list(_SPECIAL_TOKENS[1:]),
            "eos_token": "<|im_end|>",
            "model_max_length": 262144,
            "pad_token": "<|endoftext|>",
            "processor_class": "Qwen3VLProcessor",
            "tokenizer_class": "Qwen2Tokenizer",
        },
        "preprocessor_config.json": {
            **_PIXELS,
            "image_processor_type": "Qwen2VLImageProcessorFast",
            "size": {"longest_edge": 16777216, "shortest_edge": 65536},
        },
        "video_preprocessor_config.json": {
            **_PIXELS,
            "video_processor_type": "Qwen3VLVideoProcessor",
            "size": {"longest_edge": 25165824, "shortest_edge": 4096},
        },
    }
    for name, content in documents.items():
        (target / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
    save_file(_draw_weights(config, seed=_SEEDS[kind]), target / "model.safetensors", metadata={"format": "pt"})
    return target


def _build_tokenizer(kind: StandinKind) -> Tokenizer:
    """A byte-level tokenizer; only the embedding model's ends every text with the token that is pooled."""
    vocabulary = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges: list[tuple[str, str]] = []
    for word in _WHOLE_WORDS:
        for length in range(1, len(word)):
            merges.append((word[:length], word[length]))
            vocabulary.setdefault(word[: length + 1], len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    split = pre_tokenizers.Split(Regex(_SPLIT_PATTERN), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in _SPECIAL_TOKENS])
    if kind == "embedding":
        end = "<|endoftext|>"
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {end}", pair=f"$A $B {end}", special_tokens=[(end, tokenizer.token_to_id(end))]
        )
    return tokenizer


def _build_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """The keys of the published `config.json`, as transformers 4.57 wrote it, with small sizes."""
    names = ("image_pad", "video_pad", "vision_start", "vision_end")
    image, video, start, end = (tokenizer.token_to_id(f"<|{name}|>") for name in names)
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "dtype": "float32",
        "image_token_id": image,
        "model_type": "qwen3_vl",
        "text_config": {
            "attention_bias": False,
            "head_dim": 16,
            "hidden_act": "silu",
            "hidden_size": _HIDDEN_SIZE,
            "intermediate_size": 3 * _HIDDEN_SIZE,
            "max_position_embeddings": 262144,
            "model_type": "qwen3_vl_text",
            "num_attention_heads": 4,
            "num_hidden_layers": 3,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-06,
            "rope_scaling": {"mrope_interleaved": True, "mrope_section": [4, 2, 2], "rope_type": "default"},
            "rope_theta": 5000000.0,
            "tie_word_embeddings": True,
            "vocab_size": tokenizer.get_vocab_size(),
        },
        "tie_word_embeddings": True,
        "video_token_id": video,
        "vision_config": _VISION_CONFIG,
        "vision_end_token_id": end,
        "vision_start_token_id": start,
    }


def _draw_weights(config: dict[str, Any], *, seed: int) -> dict[str, torch.Tensor]:
    """Random weights, wide enough that different inputs give clearly different vectors; norms stay as they begin."""
    # On "meta" the model has names and shapes only; nothing of torch's own random state is used up.
    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(**config))
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, torch.Tensor] = {}
    for name, parameter in sorted(model.named_parameters()):
        if name == "lm_head.weight":
            continue
        if parameter.dim() == 1:
            weights[name] = torch.zeros(parameter.shape) if name.endswith("bias") else torch.ones(parameter.shape)
        else:
            fan_in = parameter[0].numel()
            weights[name] = torch.randn(parameter.shape, generator=generator) * fan_in**-0.5
    return weights
