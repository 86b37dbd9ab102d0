"""Beginnings that prompts share: where they end, and their keys and values kept within a bound of memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from qwen3_vl_retrieval.engine.states import PrefixStates
from qwen3_vl_retrieval.forks import ForkSafeLock
from qwen3_vl_retrieval.prompting.prompts import Role
from qwen3_vl_retrieval.prompting.tokenization import TokenSequence

__all__ = ["PrefixCache", "PrefixKey", "PromptPrefix", "find_prefix"]

PrefixKey: TypeAlias = tuple[bytes, tuple[bytes, ...]]
"""Tokens and content keys of the media among them: equal for equal beginnings, whatever follows."""

_MIN_TOKENS = 4
"""Shorter beginnings are computed with their rows."""


@dataclass(frozen=True, slots=True)
class PromptPrefix:
    """The beginning of a prompt that others may share.

    Attributes:
        length: Tokens of it.
        media_count: How many of the prompt's images and videos are among them.
        is_lasting: Whether later calls will begin alike: an instruction does, a query does not.
    """

    length: int
    media_count: int
    is_lasting: bool


def find_prefix(tokens: TokenSequence, *, query_media: int, query_visuals: int, is_pair: bool) -> PromptPrefix | None:
    """Returns what comes before the item of an embedding, or before the document of a pair; `None` if it is too short.

    Args:
        tokens: The prompt.
        query_media: Images and videos of a pair's query.
        query_visuals: Images and pairs of frames of a pair's query.
        is_pair: Whether it is a pair.
    """
    own_role = Role.DOCUMENT if is_pair else Role.QUERY
    candidates = [len(tokens) - 1, *np.flatnonzero(tokens.mark_roles(own_role, Role.SUFFIX))[:1].tolist()]
    if len(tokens.visuals) > query_visuals:
        start = _find_visual(tokens, query_visuals) - 1
        # The mark before a image, and the time before the mark, belong to the image.
        while tokens.roles[start - 1] == Role.TIMESTAMP:
            start -= 1
        candidates.append(start)
    length = min(candidates)
    if length < _MIN_TOKENS:
        return None
    return PromptPrefix(length, query_media, is_lasting=not is_pair)


def _find_visual(tokens: TokenSequence, number: int) -> int:
    """The place of the first token of a image or pair of frames."""
    is_visual = tokens.roles == Role.VISUAL
    starts = np.flatnonzero(is_visual & ~np.concatenate(([False], is_visual[:-1])))
    return int(starts[number])


class PrefixCache:
    """Keys and values of beginnings; those not used for longest go first. Safe to use from several threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._byte_count = 0
        self._entries: OrderedDict[PrefixKey, PrefixStates] = OrderedDict()
        self._lock = ForkSafeLock()

    def find(self, key: PrefixKey) -> PrefixStates | None:
        """Returns the states of a beginning, or `None`."""
        with self._lock:
            states = self._entries.get(key)
            if states is not None:
                self._entries.move_to_end(key)
            return states

    def __contains__(self, key: PrefixKey) -> bool:
        return key in self._entries

    def keep(self, key: PrefixKey, states: PrefixStates) -> None:
        """Keeps the states unless they alone exceed the bound."""
        if states.byte_count > self._max_bytes:
            return
        with self._lock:
            if key in self._entries:
                return
            self._entries[key] = states
            self._byte_count += states.byte_count
            while self._byte_count > self._max_bytes:
                _, old = self._entries.popitem(last=False)
                self._byte_count -= old.byte_count
