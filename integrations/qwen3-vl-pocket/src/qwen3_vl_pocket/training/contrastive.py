"""The contrastive loss of the Qwen3 embedding reports, at several lengths and precisions of the vectors.

Qwen3-VL-Embedding report (arXiv 2601.04720, section 3) and Qwen3-Embedding report (arXiv 2506.05176, section 2): for
query i with its document, the negatives are hard negatives, other documents, other queries, and other documents as
seen from the document; those more similar than the positive by a margin are taken for unlabelled positives and left
out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FALSE_NEGATIVE_MARGIN", "TEMPERATURE", "QuantizationSteps", "compute_contrastive_loss", "compute_info_nce"]

FALSE_NEGATIVE_MARGIN = 0.1
"""Similarity above the positive's from which a negative is left out (report, section 3)."""

TEMPERATURE = 0.04

_WIDTH_SHARES = (1.0, 0.5, 0.25)
"""Matryoshka lengths, as shares of the hidden size."""


class QuantizationSteps(nn.Module):
    """Learned step size of int8 codes, in units of 1/√dimensions (LSQ, arXiv 1902.08153)."""

    def __init__(self) -> None:
        super().__init__()
        # The core's fixed range of ±8 standard deviations: `int8_step`.
        self.int8 = nn.Parameter(torch.tensor(8.0 / 127.0))

    def round_int8(self, vectors: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
        """Returns unit vectors after int8 rounding; gradients pass to the vectors and to the step size."""
        scaled_gradient = 1.0 / (vectors.numel() * 127) ** 0.5  # `g` of the paper, section 2.2
        step = self.int8 * scaled_gradient + (self.int8 * (1 - scaled_gradient)).detach()
        step = step / vectors.shape[1] ** 0.5
        codes = (vectors / step).clamp(-127, 127)
        return functional.normalize((codes + (codes.round() - codes).detach()) * step, dim=-1)


def round_binary(vectors: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
    """Returns the signs as unit vectors; gradients pass where a component is near zero."""
    width = vectors.shape[1]
    soft = torch.tanh(vectors * (2.0 * width**0.5))
    hard = torch.where(vectors > 0, 1.0, -1.0)
    return (soft + (hard - soft).detach()) / width**0.5


def compute_info_nce(
    queries: Float[Tensor, "n width"],
    documents: Float[Tensor, "n width"],
    hard_negatives: Float[Tensor, "m width"],
    *,
    is_query_twin: Bool[Tensor, "n n"],
    is_answer: Bool[Tensor, "n all"],
) -> Float[Tensor, ""]:
    """Returns the mean loss of unit vectors; document i answers query i.

    Args:
        queries: Queries of the batch.
        documents: Their positives.
        hard_negatives: Further documents; every query sees all of them.
        is_query_twin: Queries that ask for the same; never negatives.
        is_answer: Which documents, then hard negatives, also answer which query; never negatives.
    """
    count = len(queries)
    own = torch.eye(count, dtype=torch.bool, device=queries.device)
    candidates = torch.cat([documents, hard_negatives])
    to_documents = queries @ candidates.T
    positives = to_documents.diagonal()
    limit = positives.detach()[:, None] + FALSE_NEGATIVE_MARGIN

    def mask(similarities: Tensor, excluded: Tensor) -> Tensor:
        return similarities.masked_fill(excluded | (similarities.detach() > limit), -torch.inf)

    is_own = functional.pad(own, (0, len(hard_negatives)))
    terms = torch.cat(
        [
            torch.where(is_own, to_documents, mask(to_documents, is_answer)),
            mask(queries @ queries.T, own | is_query_twin),
            mask(documents @ documents.T, own | is_answer[:, :count] | is_answer[:, :count].T),
        ],
        dim=1,
    )
    forward = functional.cross_entropy(terms / TEMPERATURE, torch.arange(count, device=queries.device))
    backward_scores = torch.where(own, to_documents[:, :count], mask(to_documents[:, :count], is_answer[:, :count])).T
    backward = functional.cross_entropy(backward_scores / TEMPERATURE, torch.arange(count, device=queries.device))
    return (forward + backward) / 2


def compute_contrastive_loss(
    states: Sequence[Float[Tensor, "_ hidden"]],
    steps: QuantizationSteps,
    *,
    is_query_twin: Bool[Tensor, "n n"],
    is_answer: Bool[Tensor, "n all"],
) -> dict[str, Float[Tensor, ""]]:
    """Returns the loss at three lengths, and of int8 and binary codes at full length.

    Args:
        states: Pooled states of queries, documents and hard negatives.
        steps: Learned step sizes.
        is_query_twin: See `compute_info_nce`.
        is_answer: See `compute_info_nce`.
    """
    width = states[0].shape[1]

    def compare(vectors: list[Tensor]) -> Tensor:
        return compute_info_nce(*vectors, is_query_twin=is_query_twin, is_answer=is_answer)

    lengths = [
        compare([functional.normalize(part[:, : int(width * share)], dim=-1) for part in states])
        for share in _WIDTH_SHARES
    ]
    full = [functional.normalize(part, dim=-1) for part in states]
    return {
        "contrast": torch.stack(lengths).mean(),
        "int8": 0.1 * compare([steps.round_int8(part) for part in full]),
        "binary": 0.3 * compare([round_binary(part) for part in full]),
    }
