"""The direction in which a reranker's last hidden state says yes rather than no."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLForConditionalGeneration

from qwen3_vl_retrieval.errors import ModelError
from qwen3_vl_retrieval.loading.tensors import read_rows
from qwen3_vl_retrieval.loading.weights import read_configuration

__all__ = ["read_score_weight", "read_stored_score_weight"]

_HEAD = ("lm_head.weight",)
# With `model.` when saved from Qwen3VLForConditionalGeneration, without when saved from Qwen3VLModel.
_EMBEDDINGS = ("model.language_model.embed_tokens.weight", "language_model.embed_tokens.weight")


def read_score_weight(model: object, processor: object) -> Float[Tensor, " hidden"]:
    """Returns w_yes - w_no of a ready model's head, in float32, on the CPU.

    Args:
        model: A `Qwen3VLForConditionalGeneration`; the base model alone has no head.
        processor: The model's processor or tokenizer.

    Raises:
        ModelError: The model has no head or a quantised one, or "yes" or "no" is not a single token.
    """
    if not isinstance(model, Qwen3VLForConditionalGeneration):
        raise ModelError(
            f"a score head cannot be read from {type(model).__name__}; pass a Qwen3VLForConditionalGeneration, or the "
            "difference of its yes and no rows as score_weight="
        )
    rows = find_answer_ids(processor)
    weight = model.lm_head.weight
    if weight.ndim != 2 or not weight.is_floating_point() or weight.is_meta or max(rows) >= weight.shape[0]:
        raise ModelError(
            f"the model's lm_head holds {weight.dtype} of shape {tuple(weight.shape)} on {weight.device}, from which "
            f"rows {rows} cannot be read; keep lm_head out of the quantisation, or pass score_weight="
        )
    yes, no = weight.detach()[list(rows)].to(device="cpu", dtype=torch.float32)
    return yes - no


def read_stored_score_weight(folder: Path, processor: object) -> Float[Tensor, " hidden"]:
    """Returns w_yes - w_no as stored in a checkpoint, in float32, on the CPU, whatever the model was loaded as.

    The rows are those of `lm_head`, or of the token embeddings where the configuration ties the two. Only these rows
    are read.

    Raises:
        ModelError: The checkpoint has no head, or "yes" or "no" is not a single token.
    """
    rows = find_answer_ids(processor)
    is_tied = bool(read_configuration(folder).get("tie_word_embeddings", False))
    pair = read_rows(folder, _EMBEDDINGS if is_tied else _HEAD, rows)
    if pair is None:
        raise ModelError(
            f"the checkpoint in {str(folder)!r} has no {'token embeddings' if is_tied else 'lm_head.weight'}, so it "
            "cannot score; pass a Qwen3-VL-Reranker (embedding models have no head)"
        )
    return pair[0] - pair[1]


def find_answer_ids(processor: object) -> tuple[int, int]:
    """Returns the vocabulary ids of "yes" and "no".

    Args:
        processor: A processor or a tokenizer.

    Raises:
        ModelError: One of them is not a single token.
    """
    tokenizer = cast("Any", getattr(processor, "tokenizer", processor))
    yes, no = (cast("list[int]", tokenizer.encode(word, add_special_tokens=False)) for word in ("yes", "no"))
    if len(yes) != 1 or len(no) != 1:
        raise ModelError(
            f"the tokenizer makes {len(yes)} tokens of 'yes' and {len(no)} of 'no', one each is needed; pass the "
            "processor of a Qwen3-VL-Reranker"
        )
    return yes[0], no[0]
