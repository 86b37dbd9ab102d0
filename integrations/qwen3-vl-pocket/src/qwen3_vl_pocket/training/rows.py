"""From images and texts to the rows of a training step, with the prompts and positions of the core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from qwen3_vl_pocket.training.corpus import Picture
from qwen3_vl_pocket.training.forward import Rows, VisualFeatures, encode_patches, run_language_model
from qwen3_vl_retrieval.engine.vision.patches import PatchLayout, cut_patches
from qwen3_vl_retrieval.prompting.positions import compute_positions
from qwen3_vl_retrieval.prompting.prompts import (
    DEFAULT_INSTRUCTION,
    DEFAULT_QUERY_INSTRUCTION,
    DEFAULT_RERANKING_INSTRUCTION,
    Content,
    MediaSlot,
    Role,
    TextRun,
    render_embedding_prompt,
    render_reranking_prompt,
)
from qwen3_vl_retrieval.prompting.tokenization import PromptTokenizer

__all__ = ["PATCHES", "Answer", "PictureBank", "Prompter", "Row", "encode_pictures", "read_rows"]

PATCHES = PatchLayout(
    patch_size=16, temporal_patch_size=2, merge_size=2, rescale_factor=1 / 255, mean=(0.5,) * 3, std=(0.5,) * 3
)
"""As in the published `preprocessor_config.json`."""

_BUCKET_SLACK = 8
"""Rows whose lengths differ by more go into different batches: padding is computed too."""

_IGNORED = -100


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One prompt.

    Attributes:
        token_ids: Its tokens behind the common beginning.
        positions: Their rotary positions.
        is_visual: Which of them are visual.
        pictures: Places in the image bank, in the order of the visual tokens.
        caption: Tokens that the model shall say next.
    """

    token_ids: Int64[np.ndarray, " _"]
    positions: Int64[np.ndarray, "3 _"]
    is_visual: Bool[np.ndarray, " _"]
    pictures: tuple[int, ...]
    caption: Int64[np.ndarray, " _"] = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class PictureBank:
    """Features of the images of a step, and where each image's are."""

    features: VisualFeatures
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the model says of rows.

    Attributes:
        states: State of each prompt's last token, in the order of the rows.
        middles: The same some layers earlier.
        caption_loss: Mean cross-entropy of the captions; zero if no row has one.
    """

    states: Float[Tensor, "_ hidden"]
    middles: Float[Tensor, "_ hidden"]
    caption_loss: Float[Tensor, ""]


class Prompter:
    """Renders rows with a tokenizer; `prefixes` are the tokens that all rows of an instruction begin with."""

    def __init__(self, tokenizer: Tokenizer, *, device: str = "cpu") -> None:
        self._tokenizer = PromptTokenizer(tokenizer)
        self.end_id = self._tokenizer.end_of_text_id
        probes = ("probe", MediaSlot(1, 1))
        shared = {
            name: _share([self._render(name, [probe], ["a"]) for probe in probes])
            for name in ("document", "query", "pair")
        }
        self.prefixes = {name: torch.from_numpy(ids).to(device) for name, ids in shared.items()}
        self._cached = lru_cache(maxsize=256)(self._build)

    def embed_document(self, contents: Sequence[Content], pictures: tuple[int, ...] = ()) -> Row:
        """Returns the embedding prompt of a document."""
        return self._fill("document", contents, (), pictures)

    def embed_query(self, contents: Sequence[Content], pictures: tuple[int, ...] = ()) -> Row:
        """Returns the embedding prompt of a query."""
        return self._fill("query", contents, (), pictures)

    def judge_pair(self, query: Sequence[Content], document: Sequence[Content], pictures: tuple[int, ...] = ()) -> Row:
        """Returns the reranking prompt of a query and a document."""
        return self._fill("pair", query, document, pictures)

    def encode_caption(self, text: str) -> Int64[np.ndarray, " _"]:
        """Returns the tokens of a caption and of its end."""
        run = self._tokenizer.tokenize([TextRun(text, Role.TEMPLATE)])
        return np.append(run.token_ids.astype(np.int64), self.end_id)

    def _fill(self, name: str, first: Sequence[Content], second: Sequence[Content], pictures: tuple[int, ...]) -> Row:
        ids, positions, is_visual = self._cached(name, tuple(first), tuple(second))
        return Row(ids, positions, is_visual, pictures)

    def _build(self, name: str, first: tuple[Content, ...], second: tuple[Content, ...]) -> tuple[Any, Any, Any]:
        tokens = self._render(name, first, second)
        skipped = len(self.prefixes[name])
        positions = compute_positions(tokens).astype(np.int64)[:, skipped:]
        return tokens.token_ids.astype(np.int64)[skipped:], positions, (tokens.roles == Role.VISUAL)[skipped:]

    def _render(self, name: str, first: Sequence[Content], second: Sequence[Content]) -> Any:
        if name == "pair":
            elements = render_reranking_prompt(first, second, instruction=DEFAULT_RERANKING_INSTRUCTION)
        else:
            instruction = DEFAULT_QUERY_INSTRUCTION if name == "query" else DEFAULT_INSTRUCTION
            elements = render_embedding_prompt(first, instruction=instruction)
        return self._tokenizer.tokenize(elements)


def _share(sequences: Sequence[Any]) -> Int64[np.ndarray, " _"]:
    """The tokens that all sequences begin with."""
    first, *others = (sequence.token_ids for sequence in sequences)
    count = 0
    while all(count < min(len(first), len(other)) and first[count] == other[count] for other in others):
        count += 1
    return first[:count].astype(np.int64)


def slot_of(picture: Picture) -> MediaSlot:
    """Returns the place that an image takes in a prompt."""
    return MediaSlot(*picture.grid, picture.timestamps)


def encode_pictures(tower: Any, pictures: Sequence[Picture]) -> PictureBank:
    """Returns the features of images, sizes one after the other through the vision tower."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, picture in enumerate(pictures):
        by_shape.setdefault(picture.pixels.shape, []).append(place)
    spans: list[tuple[int, int]] = [(0, 0)] * len(pictures)
    parts: list[VisualFeatures] = []
    filled = 0
    for shape, places in by_shape.items():
        patches = torch.cat([cut_patches(torch.from_numpy(pictures[place].pixels), PATCHES) for place in places])
        grid = (shape[1] // 16, shape[2] // 16)
        device = tower.pos_embed.weight.device
        parts.append(encode_patches(tower, patches.view(-1, grid[0] * grid[1], patches.shape[1]).to(device), grid=grid))
        count = len(parts[-1].embeddings) // len(places)
        for place in places:
            spans[place] = (filled, filled + count)
            filled += count
    layers = zip(*((part.embeddings, *part.deepstack) for part in parts), strict=True)
    embeddings, *deepstack = (torch.cat(list(layer)) for layer in layers)
    return PictureBank(VisualFeatures(embeddings, tuple(deepstack)), tuple(spans))


def read_rows(
    model: Any, groups: Sequence[tuple[Sequence[Row], Int64[Tensor, " _"]]], bank: PictureBank | None
) -> list[Answer]:
    """Returns, for each group of rows with its prefix, the states behind the prompts, and how well captions are said.

    All groups pass through the model together; within a group, rows of about the same length form a batch.
    """
    buckets = [
        (number, places)
        for number, (rows, _) in enumerate(groups)
        for places in (_sort_by_length(rows) if rows else [])
    ]
    packed: list[Rows] = []
    order: list[np.ndarray] = []
    for number, places in buckets:
        rows, prefix = groups[number]
        packed.append(_pack(model, [rows[place] for place in places], prefix))
        if bank is not None:
            order += [np.arange(*bank.spans[picture]) for place in places for picture in rows[place].pictures]
    visuals = None
    if order and bank is not None:
        taken = torch.from_numpy(np.concatenate(order)).to(bank.features.embeddings.device)
        layers = tuple(layer[taken] for layer in bank.features.deepstack)
        visuals = VisualFeatures(bank.features.embeddings[taken], layers)
    finals, middles = run_language_model(model, packed, visuals)
    answers: list[Answer] = []
    for number, (rows, _) in enumerate(groups):
        own = [place for place, (group, _) in enumerate(buckets) if group == number]
        parts = [(buckets[place][1], finals[place], middles[place]) for place in own]
        answers.append(_answer(model, rows, parts))
    return answers


def _answer(model: Any, rows: Sequence[Row], parts: Sequence[tuple[list[int], Tensor, Tensor]]) -> Answer:
    nothing = model.norm.weight.new_zeros(0, len(model.norm.weight))
    if not rows:
        return Answer(nothing, nothing, nothing.sum())
    states: dict[int, Tensor] = {}
    middles: dict[int, Tensor] = {}
    losses: list[Tensor] = []
    words = 0
    for places, final, middle in parts:
        for line, place in enumerate(places):
            last = len(rows[place].token_ids) - 1
            states[place], middles[place] = final[line, last], middle[line, last]
        loss, count = _sum_caption_loss(model, [rows[place] for place in places], final)
        losses.append(loss)
        words += count
    return Answer(
        torch.stack([states[place] for place in range(len(rows))]),
        torch.stack([middles[place] for place in range(len(rows))]),
        torch.stack(losses).sum() / max(words, 1),
    )


def _sort_by_length(rows: Sequence[Row]) -> list[list[int]]:
    lengths = [len(row.token_ids) + len(row.caption) for row in rows]
    order = sorted(range(len(rows)), key=lambda place: lengths[place])
    buckets: list[list[int]] = []
    for place in order:
        if not buckets or lengths[place] > max(lengths[buckets[-1][0]] * 1.35, lengths[buckets[-1][0]] + _BUCKET_SLACK):
            buckets.append([])
        buckets[-1].append(place)
    return buckets


def _pack(model: Any, rows: Sequence[Row], prefix: Int64[Tensor, " _"]) -> Rows:
    device = model.norm.weight.device
    longest = max(len(row.token_ids) + len(row.caption) for row in rows)
    ids = np.zeros((len(rows), longest), np.int64)
    positions = np.zeros((3, len(rows), longest), np.int64)
    is_visual = np.zeros((len(rows), longest), np.bool_)
    for line, row in enumerate(rows):
        length, end = len(row.token_ids), len(row.token_ids) + len(row.caption)
        ids[line, :length] = row.token_ids
        ids[line, length:end] = row.caption
        positions[:, line, :length] = row.positions
        positions[:, line, length:] = row.positions[:, -1:] + 1 + np.arange(longest - length)
        is_visual[line, :length] = row.is_visual
    return Rows(
        prefix,
        torch.from_numpy(ids).to(device),
        torch.from_numpy(positions).to(device),
        torch.from_numpy(np.flatnonzero(is_visual)).to(device),
    )


def _sum_caption_loss(
    model: Any, rows: Sequence[Row], hidden: Float[Tensor, "batch length hidden"]
) -> tuple[Tensor, int]:
    places = [
        (line, len(row.token_ids) - 1 + offset, word)
        for line, row in enumerate(rows)
        for offset, word in enumerate(row.caption.tolist())
    ]
    if not places:
        return hidden.new_zeros(()), 0
    lines, columns, words = (torch.tensor(column, device=hidden.device) for column in zip(*places, strict=True))
    logits = functional.linear(hidden[lines, columns], model.embed_tokens.weight)
    return functional.cross_entropy(logits.float(), words, reduction="sum"), len(places)
