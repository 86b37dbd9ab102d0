"""Which tokens to leave out of a prompt that is too long; visual tokens are never among them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from qwen3_vl_retrieval.prompting.prompts import Role
from qwen3_vl_retrieval.prompting.tokenization import TokenSequence

__all__ = ["count_required_tokens", "truncate_item", "truncate_pair", "truncate_pair_as_reference"]

_CUTTABLE_IN_ITEM = (Role.QUERY, Role.SUFFIX)
_CUTTABLE_IN_PAIR = (Role.QUERY, Role.DOCUMENT)


def count_required_tokens(sequence: TokenSequence, *, is_pair: bool) -> int:
    """Returns how many tokens remain at least, however much text is cut; the suffix of a pair is not counted."""
    cuttable = (*_CUTTABLE_IN_PAIR, Role.SUFFIX) if is_pair else _CUTTABLE_IN_ITEM
    return int(np.count_nonzero(~sequence.mark_roles(*cuttable)))


def truncate_item(sequence: TokenSequence, *, max_length: int) -> TokenSequence:
    """Returns the sequence cut on the right, the end-of-text token kept, as the official embedder cuts.

    What is cut first is the header of the assistant's turn, then text from its end. Where text precedes an image
    (interleaved parts), the image stays and the text before it gives way.
    """
    excess = len(sequence) - max_length
    if excess <= 0:
        return sequence
    keep = np.ones(len(sequence), dtype=np.bool_)
    candidates = np.flatnonzero(sequence.mark_roles(*_CUTTABLE_IN_ITEM))
    keep[candidates[len(candidates) - excess :]] = False
    return _select(sequence, keep)


def truncate_pair(sequence: TokenSequence, *, max_length: int) -> TokenSequence:
    """Returns the pair with the longer of its two texts cut from its end, then both equally.

    `max_length` counts everything but the header of the assistant's turn, as in the official reranker.
    """
    excess = len(sequence) - np.count_nonzero(sequence.roles == Role.SUFFIX) - max_length
    if excess <= 0:
        return sequence
    query = np.flatnonzero(sequence.roles == Role.QUERY)
    document = np.flatnonzero(sequence.roles == Role.DOCUMENT)
    budget = max(len(query) + len(document) - excess, 0)
    shorter = min(len(query), len(document), budget // 2)
    query_kept, document_kept = (
        (shorter, budget - shorter) if len(query) <= len(document) else (budget - shorter, shorter)
    )
    keep = np.ones(len(sequence), dtype=np.bool_)
    keep[query[query_kept:]] = False
    keep[document[document_kept:]] = False
    return _select(sequence, keep)


def truncate_pair_as_reference(
    sequence: TokenSequence, special: Bool[np.ndarray, " length"], *, max_length: int
) -> TokenSequence:
    """Returns the pair cut as the official reranker cuts it: ordinary tokens from the end, special tokens kept.

    A long query leaves nothing of the document (`truncate_tokens_optimized`, qwen3_vl_reranker.py at 8ce3aab).
    `special` marks the special tokens of the vocabulary, visual placeholders included.
    """
    in_body = sequence.roles != Role.SUFFIX
    if np.count_nonzero(in_body) <= max_length:
        return sequence
    ordinary = np.flatnonzero(in_body & ~special)
    budget = max(max_length - np.count_nonzero(in_body & special), 0)
    keep = np.ones(len(sequence), dtype=np.bool_)
    keep[ordinary[budget:]] = False
    return _select(sequence, keep)


def _select(sequence: TokenSequence, keep: Bool[np.ndarray, " length"]) -> TokenSequence:
    return TokenSequence(sequence.token_ids[keep], sequence.roles[keep], sequence.visuals)
