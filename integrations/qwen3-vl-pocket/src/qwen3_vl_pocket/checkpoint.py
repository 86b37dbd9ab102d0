"""Writes a checkpoint folder with the files of the published Qwen3-VL-Embedding and -Reranker repositories.

transformers, the official scripts and sentence-transformers load it unchanged, and so does `qwen3_vl_retrieval`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor

from qwen3_vl_pocket.chat_templates import build_chat_template, build_reranking_template
from qwen3_vl_pocket.tokenizer import END_OF_TEXT, SPECIAL_TOKENS, ModelKind
from qwen3_vl_retrieval.prompting.prompts import DEFAULT_INSTRUCTION, DEFAULT_RERANKING_INSTRUCTION

__all__ = ["write_checkpoint"]

# Only the shape of config.json is meant: the published ones were written by this version.
_CONFIG_STYLE = "4.57.3"

_EMBEDDINGS = "model.language_model.embed_tokens.weight"
_HEAD = "lm_head.weight"

_MIN_PIXELS = 4 * 32 * 32

# A video of the small world is 96x96: nine visual tokens a pair of frames. 64 frames are the official scripts' most.
_FRAME_TOKENS = 9
_MAX_FRAMES = 64

# `preprocessor_config.json` of Qwen3-VL-Embedding-2B.
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

_TRANSFORMER = {
    "idx": 0,
    "name": "0",
    "path": "",
    "type": "sentence_transformers.base.modules.transformer.Transformer",
}


def write_checkpoint(
    folder: Path,
    kind: ModelKind,
    *,
    config: Mapping[str, Any],
    tokenizer: Tokenizer,
    weights: Mapping[str, Tensor],
    max_pixels: int,
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Writes the files of a model into `folder`, which is made if it is missing; equal calls give equal bytes.

    Args:
        folder: Where to write; files of these names are replaced.
        kind: What the model is for.
        config: Content of `config.json`, with the keys of the published ones (those of transformers 4.57).
        tokenizer: From `build_tokenizer`, of the same kind.
        weights: Tensors by their name in `Qwen3VLForConditionalGeneration` or `Qwen3VLModel`; stored as bfloat16. A
            head is left out: it is the token embeddings.
        max_pixels: Most pixels of an image.
        defaults: Content of `retrieval_config.json`, which `qwen3_vl_retrieval` reads; `None` writes no such file.

    Raises:
        ValueError: The tokenizer is of the other kind, or does not fit the configuration, or the weights do not.
    """
    _check_tokenizer(kind, tokenizer, config)
    tensors = _name_tensors(weights)
    _check_embeddings(tensors, config)
    folder.mkdir(parents=True, exist_ok=True)
    documents = {
        "config.json": _restore_config(config),
        "generation_config.json": {
            "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
            "pad_token_id": tokenizer.token_to_id(END_OF_TEXT),
        },
        "tokenizer_config.json": _describe_tokenizer(),
        "preprocessor_config.json": _describe_pictures(max_pixels),
        "video_preprocessor_config.json": _describe_clips(),
        **(_describe_embedder(config) if kind == "embedding" else _describe_reranker(tokenizer)),
    }
    if defaults is not None:
        documents["retrieval_config.json"] = dict(defaults)
    for name, content in documents.items():
        _write_text(folder / name, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    _write_text(folder / "chat_template.jinja", build_chat_template(has_default_instruction=kind == "embedding"))
    if kind == "reranker":
        _write_text(folder / "additional_chat_templates" / "reranker.jinja", build_reranking_template())
    tokenizer.save(str(folder / "tokenizer.json"))
    # Not save_file: what it writes only its owner may read, which an installed package must not be.
    (folder / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))


def _restore_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys as published: transformers 5 changes the dictionaries that a configuration is built from."""
    rope = {name: value for name, value in config["text_config"]["rope_scaling"].items() if name != "rope_theta"}
    return {
        **config,
        "dtype": "bfloat16",
        "text_config": {**config["text_config"], "rope_scaling": rope},
        "transformers_version": _CONFIG_STYLE,
        "vision_config": {**config["vision_config"], "model_type": "qwen3_vl"},
    }


def _check_tokenizer(kind: ModelKind, tokenizer: Tokenizer, config: Mapping[str, Any]) -> None:
    ends_texts = tokenizer.encode("").ids == [tokenizer.token_to_id(END_OF_TEXT)]
    if ends_texts != (kind == "embedding"):
        found = "embedding" if ends_texts else "reranker"
        raise ValueError(f"the tokenizer is one of kind {found!r}; build it with kind {kind!r}")
    for name in ("image", "video", "vision_start", "vision_end"):
        token = f"<|{name}_pad|>" if name in ("image", "video") else f"<|{name}|>"
        given, needed = config[f"{name}_token_id"], tokenizer.token_to_id(token)
        if given != needed:
            raise ValueError(f"{name}_token_id of the configuration is {given}, but {token} is token {needed}")


def _name_tensors(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published names, which are those of the model with its head; tensors on the CPU and apart in memory."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in sorted(weights.items()):
        if name != _HEAD:
            published = name if name.startswith("model.") else f"model.{name}"
            tensors[published] = tensor.detach().to(device="cpu", dtype=torch.bfloat16, copy=True).contiguous()
    return tensors


def _check_embeddings(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    text = config["text_config"]
    needed = (text["vocab_size"], text["hidden_size"])
    embeddings = tensors.get(_EMBEDDINGS)
    if embeddings is None or tuple(embeddings.shape) != needed:
        found = "missing" if embeddings is None else f"of shape {tuple(embeddings.shape)}"
        raise ValueError(f"{_EMBEDDINGS} is {found}, but the configuration needs {needed}")


def _describe_tokenizer() -> dict[str, Any]:
    return {
        "additional_special_tokens": list(SPECIAL_TOKENS[1:]),
        "eos_token": "<|im_end|>",
        "model_max_length": 262144,
        "pad_token": END_OF_TEXT,
        "processor_class": "Qwen3VLProcessor",
        "tokenizer_class": "Qwen2Tokenizer",
    }


def _describe_pictures(max_pixels: int) -> dict[str, Any]:
    return {
        **_PIXELS,
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "size": {"longest_edge": max_pixels, "shortest_edge": _MIN_PIXELS},
    }


def _describe_clips() -> dict[str, Any]:
    """One frame a second, 4 to 64 of them, each of 96x96 pixels at most, whatever their number.

    The limit of a frame is known to transformers 5.23; 4.57 has only the one of all frames together.
    """
    return {
        **_PIXELS,
        "cap_pixels_per_frame": True,
        "do_sample_frames": True,
        "fps": 1,
        "max_frames": _MAX_FRAMES,
        "max_video_tokens": _FRAME_TOKENS,
        "min_frames": 4,
        "size": {"longest_edge": _MAX_FRAMES * _FRAME_TOKENS * 32 * 32, "shortest_edge": _MIN_PIXELS},
        "video_processor_type": "Qwen3VLVideoProcessor",
    }


def _describe_embedder(config: Mapping[str, Any]) -> dict[str, Any]:
    """What sentence-transformers reads: the last token's state, normalised, under the default instruction."""
    modules = "sentence_transformers.sentence_transformer.modules"
    return {
        "modules.json": [
            _TRANSFORMER,
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{modules}.pooling.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{modules}.normalize.Normalize"},
        ],
        "sentence_bert_config.json": _describe_transformer(
            task="feature-extraction",
            method_output="last_hidden_state",
            output="token_embeddings",
            chat_template={"add_generation_prompt": True},
        ),
        "config_sentence_transformers.json": {
            "default_prompt_name": "default",
            "model_type": "SentenceTransformer",
            "prompts": {"default": DEFAULT_INSTRUCTION},
            "similarity_fn_name": "cosine",
        },
        "1_Pooling/config.json": {
            "embedding_dimension": config["text_config"]["hidden_size"],
            "include_prompt": True,
            "pooling_mode": "lasttoken",
        },
        "2_Normalize/config.json": {},
    }


def _describe_reranker(tokenizer: Tokenizer) -> dict[str, Any]:
    """What sentence-transformers reads: the logit of yes less that of no, as log-odds."""
    return {
        "modules.json": [
            _TRANSFORMER,
            {
                "idx": 1,
                "name": "1",
                "path": "1_LogitScore",
                "type": "sentence_transformers.cross_encoder.modules.logit_score.LogitScore",
            },
        ],
        "sentence_bert_config.json": _describe_transformer(
            task="any-to-any",
            method_output="logits",
            output="causal_logits",
            chat_template={"add_generation_prompt": True, "chat_template": "reranker"},
        ),
        "config_sentence_transformers.json": {
            "activation_fn": "torch.nn.modules.linear.Identity",
            "default_prompt_name": "query",
            "model_type": "CrossEncoder",
            "prompts": {"query": DEFAULT_RERANKING_INSTRUCTION},
        },
        "1_LogitScore/config.json": {
            "false_token_id": tokenizer.token_to_id("no"),
            "true_token_id": tokenizer.token_to_id("yes"),
        },
    }


def _describe_transformer(
    *, task: str, method_output: str, output: str, chat_template: Mapping[str, Any]
) -> dict[str, Any]:
    forward = {"method": "forward", "method_output_name": method_output}
    return {
        "modality_config": {
            "image": forward,
            "message": {**forward, "format": "structured"},
            "text": forward,
            "video": forward,
        },
        "module_output_name": output,
        "processing_kwargs": {"chat_template": chat_template},
        "transformer_task": task,
        "unpad_inputs": False,
    }


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
