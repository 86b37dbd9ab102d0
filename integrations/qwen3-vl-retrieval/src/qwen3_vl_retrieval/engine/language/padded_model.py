"""The language model through transformers' own forward pass: padded batches, nothing shared.

For what the packed pass does not serve: attention kernels asked for by name, and layers on several devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from qwen3_vl_retrieval.engine.states import PackedRow, PrefixStates

__all__ = ["PaddedLanguageModel"]


class PaddedLanguageModel:
    """Computes the states of last tokens row by row of a padded rectangle.

    Args:
        model: `Qwen3VLTextModel` in evaluation mode.
    """

    shares_prefixes = False

    def __init__(self, model: Any) -> None:
        self._model = model

    @staticmethod
    def count_tokens(lengths: Sequence[int]) -> int:
        """Returns how many tokens pass through the layers for rows of these lengths."""
        return len(lengths) * max(lengths)

    def compute_prefix(self, row: PackedRow) -> PrefixStates:
        """Raises `NotImplementedError`: `shares_prefixes` is false."""
        raise NotImplementedError("transformers' forward pass shares no prefixes")

    @torch.inference_mode()
    def compute_last(self, rows: Sequence[PackedRow], prefixes: Sequence[PrefixStates]) -> Float[Tensor, "rows hidden"]:
        """Returns the normalised state of each row's last token; there are no `prefixes`.

        Right padding needs no mask: under causal attention no real token sees a padded one.
        """
        if prefixes:
            raise ValueError("transformers' forward pass shares no prefixes")
        device = self._model.embed_tokens.weight.device
        longest = max(len(row.token_ids) for row in rows)
        token_ids = np.zeros((len(rows), longest), dtype=np.int64)
        is_visual = np.zeros((len(rows), longest), dtype=np.bool_)
        # The first of the four rows numbers the tokens for the mask (transformers takes repeated temporal positions
        # for the boundary of packed sequences otherwise); the others are the rotary positions.
        positions = np.zeros((4, len(rows), longest), dtype=np.int64)
        positions[0] = np.arange(longest)
        for place, row in enumerate(rows):
            length = len(row.token_ids)
            token_ids[place, :length] = row.token_ids
            is_visual[place, row.visual_places] = True
            positions[1:, place, :length] = row.positions
        embeddings = self._model.embed_tokens(torch.from_numpy(token_ids).to(device))
        visual_mask, deepstack = None, None
        visuals = [features for row in rows for features in row.features]
        if visuals:
            visual_mask = torch.from_numpy(is_visual).to(device)
            embeddings[visual_mask] = torch.cat([item.embeddings for item in visuals]).to(embeddings)
            deepstack = [torch.cat(layer) for layer in zip(*(item.deepstack for item in visuals), strict=True)]
        hidden_states = self._model(
            inputs_embeds=embeddings,
            position_ids=torch.from_numpy(positions).to(device),
            visual_pos_masks=visual_mask,
            deepstack_visual_embeds=deepstack,
            use_cache=False,
        ).last_hidden_state
        last = torch.tensor([len(row.token_ids) - 1 for row in rows], device=hidden_states.device)
        # Rows are padded on the right.
        return hidden_states[torch.arange(len(rows), device=hidden_states.device), last]
