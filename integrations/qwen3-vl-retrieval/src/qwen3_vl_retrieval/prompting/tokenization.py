"""From prompt elements to token ids, each with the role that decides whether it may be cut."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, groupby, pairwise

import numpy as np
from jaxtyping import Bool, Int32, UInt8
from tokenizers import Tokenizer

from qwen3_vl_retrieval.errors import ModelError
from qwen3_vl_retrieval.prompting.prompts import (
    END_OF_TEXT,
    IM_END,
    IM_START,
    VISION_END,
    VISION_START,
    Element,
    Role,
    SpecialToken,
    TextRun,
    VisualRun,
)

__all__ = ["PromptTokenizer", "TokenSequence"]

_WORDING = (Role.TEMPLATE, Role.SUFFIX, Role.TIMESTAMP)
"""Tokenised runs that are kept: instructions and headers come again and again."""

_KEPT_WORDINGS = 256

_IMAGE_PAD = "<|image_pad|>"
_VIDEO_PAD = "<|video_pad|>"


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One prompt as tokens.

    Attributes:
        token_ids: Vocabulary ids, visual placeholders included.
        roles: The `Role` of each token.
        visuals: The images and pairs of frames, in the order of their placeholders.
    """

    token_ids: Int32[np.ndarray, " length"]
    roles: UInt8[np.ndarray, " length"]
    visuals: tuple[VisualRun, ...]

    def __len__(self) -> int:
        return len(self.token_ids)

    def mark_roles(self, *roles: Role) -> Bool[np.ndarray, " length"]:
        """Returns which tokens have one of these roles."""
        is_marked = np.zeros(len(Role), dtype=np.bool_)
        is_marked[list(roles)] = True
        return is_marked[self.roles]


class PromptTokenizer:
    """Tokenises prompt elements with a checkpoint's own vocabulary; safe to share between threads.

    Works on a private copy of the Rust tokenizer, in which special tokens are recognised only where the prompt
    puts them (`SpecialToken`) and never inside text.

    Args:
        tokenizer: The Rust tokenizer: `backend_tokenizer` of a tokenizer of transformers, or a `tokenizer.json`.

    Raises:
        ModelError: The vocabulary lacks a token of the Qwen3-VL prompts.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        names = (IM_START, IM_END, END_OF_TEXT, VISION_START, VISION_END, _IMAGE_PAD, _VIDEO_PAD)
        ids = {name: self._tokenizer.token_to_id(name) for name in names}
        missing = [name for name, token_id in ids.items() if token_id is None]
        if missing:
            raise ModelError(f"the tokenizer has no {', '.join(missing)}; a Qwen3-VL tokenizer is needed")
        self._special_ids: dict[str, int] = {name: token_id for name, token_id in ids.items() if token_id is not None}
        added = self._tokenizer.get_added_tokens_decoder()
        self._encode_wording = lru_cache(maxsize=_KEPT_WORDINGS)(self._encode)
        self._special_texts = tuple(token.content for token in added.values() if token.special)
        self._all_special_ids = np.array([token_id for token_id, token in added.items() if token.special], np.int32)

    @property
    def end_of_text_id(self) -> int:
        """Vocabulary id of the token whose state is an item's vector; also used as padding."""
        return self._special_ids[END_OF_TEXT]

    @property
    def placeholder_ids(self) -> tuple[int, int]:
        """Vocabulary ids of the placeholders of images and of videos."""
        return self._special_ids[_IMAGE_PAD], self._special_ids[_VIDEO_PAD]

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens, special ones included."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def to_json(self) -> str:
        """Returns the tokenizer as a `tokenizer.json`."""
        return self._tokenizer.to_str()

    def find_special_tokens(self, sequence: TokenSequence) -> Bool[np.ndarray, " length"]:
        """Returns which tokens are special tokens of the vocabulary, visual placeholders included."""
        return np.isin(sequence.token_ids, self._all_special_ids)

    def list_special_texts(self, text: str) -> list[str]:
        """Returns the special tokens that are written in a text, where other tokenizers would take them for tokens."""
        return [token for token in self._special_texts if token in text]

    def decode(self, token_ids: Int32[np.ndarray, " length"]) -> str:
        """Returns the text of tokens, special tokens included."""
        return self._tokenizer.decode(token_ids.tolist(), skip_special_tokens=False)

    def tokenize(self, elements: Sequence[Element]) -> TokenSequence:
        """Returns the tokens of a prompt, uncut."""
        token_ids: list[int] = []
        spans: list[tuple[Role, int]] = []
        visuals: list[VisualRun] = []
        for is_text, group in groupby(elements, key=lambda element: isinstance(element, TextRun)):
            if is_text:
                ids, run_spans = self._tokenize_run([run for run in group if isinstance(run, TextRun)])
                token_ids += ids
                spans += run_spans
                continue
            for element in group:
                if isinstance(element, SpecialToken):
                    token_ids.append(self._special_ids[element.token])
                    spans.append((element.role, 1))
                elif isinstance(element, VisualRun):
                    count = element.height * element.width
                    token_ids += [self._special_ids[_VIDEO_PAD if element.is_video else _IMAGE_PAD]] * count
                    spans.append((Role.VISUAL, count))
                    visuals.append(element)
        roles = np.array([role for role, _ in spans], np.uint8)
        counts = np.array([count for _, count in spans], np.int64)
        return TokenSequence(np.array(token_ids, np.int32), np.repeat(roles, counts), tuple(visuals))

    def _tokenize_run(self, runs: list[TextRun]) -> tuple[list[int], list[tuple[Role, int]]]:
        """Adjacent texts as one string, as in the official template; each token has its first character's role."""
        text = "".join(run.text for run in runs)
        is_wording = all(run.role in _WORDING for run in runs)
        token_ids, offsets = self._encode_wording(text) if is_wording else self._encode(text)
        ends = accumulate(len(run.text) for run in runs[:-1])
        bounds = [0, *(bisect_left(offsets, (end, 0)) for end in ends), len(token_ids)]
        return token_ids, [(run.role, end - start) for run, (start, end) in zip(runs, pairwise(bounds), strict=True)]

    def _encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets
