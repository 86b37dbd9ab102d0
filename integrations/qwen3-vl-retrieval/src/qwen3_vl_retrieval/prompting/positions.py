"""Three-dimensional rotary positions (M-RoPE) of a prompt: the same in every version of transformers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int32

from qwen3_vl_retrieval.prompting.prompts import Role
from qwen3_vl_retrieval.prompting.tokenization import TokenSequence

__all__ = ["compute_positions"]


def compute_positions(sequence: TokenSequence) -> Int32[np.ndarray, "3 length"]:
    """Returns the temporal, row and column position of each token.

    Text advances all three by one per token. A image or pair of frames stands at one temporal position, its rows
    and columns counted from there, and the text after it continues behind its longer side (`get_rope_index` of
    `transformers.models.qwen3_vl`, where timestamps rather than positions tell the frames of a video apart).
    """
    positions = np.empty((3, len(sequence)), dtype=np.int32)
    is_visual = sequence.roles == Role.VISUAL
    next_token = next_position = 0
    visual_starts = np.flatnonzero(is_visual & ~np.concatenate(([False], is_visual[:-1])))
    for start, visual in zip(visual_starts.tolist(), sequence.visuals, strict=True):
        text_length = start - next_token
        positions[:, next_token:start] = next_position + np.arange(text_length)
        next_position += text_length
        end = start + visual.height * visual.width
        positions[0, start:end] = next_position
        positions[1, start:end] = next_position + np.repeat(np.arange(visual.height), visual.width)
        positions[2, start:end] = next_position + np.tile(np.arange(visual.width), visual.height)
        next_position += max(visual.height, visual.width)
        next_token = end
    positions[:, next_token:] = next_position + np.arange(len(sequence) - next_token)
    return positions
