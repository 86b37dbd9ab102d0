"""s2: the embedder learns to order candidates as the reranker does; s3: the merge of s1 and s2."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from qwen3_vl_pocket.training.contrastive import TEMPERATURE, QuantizationSteps
from qwen3_vl_pocket.training.corpus import Corpus
from qwen3_vl_pocket.training.embedding import EmbeddingOptions, contrast_batch
from qwen3_vl_pocket.training.foundation import Learner
from qwen3_vl_pocket.training.questions import QuestionBatch
from qwen3_vl_pocket.training.rows import encode_pictures, read_rows
from qwen3_vl_pocket.training.stage import Losses, StageOptions, run_stage

__all__ = ["merge_weights", "train_by_distillation"]

_CANDIDATES = 4
"""Candidates a query: its answer, its near miss, and those of the batch that the embedder finds most similar."""


def train_by_distillation(
    learner: Learner,
    steps: QuantizationSteps,
    teacher: Learner,
    corpus: Corpus,
    stage: StageOptions,
    *,
    options: EmbeddingOptions,
    groups: Sequence[Sequence[int]],
    folder: Path,
) -> None:
    """Trains the learner in place: its softmax over candidates approaches the reranker's.

    The loss is that of the report (arXiv 2601.04720, section 3.2): cross-entropy of the two distributions; a part of
    the contrastive loss keeps what the candidates do not show.
    """

    def compute_losses(rng: random.Random, _: float) -> Losses:
        batch, states, losses = contrast_batch(learner, steps, corpus, rng, options=options, groups=groups)
        queries = functional.normalize(states[0], dim=-1)
        documents = functional.normalize(torch.cat(states[1:]), dim=-1)
        similarities = queries @ documents.T
        candidates = _choose_candidates(similarities.detach())
        targets = judge_candidates(teacher, batch, candidates).softmax(dim=1)
        predicted = (similarities.gather(1, candidates) / TEMPERATURE).log_softmax(dim=1)
        distilled = -(targets * predicted).sum(dim=1).mean()
        return {"distillation": distilled, **{name: 0.5 * loss for name, loss in losses.items()}}

    run_stage(stage, {**learner.modules, "steps": steps}, compute_losses, folder=folder)


def _choose_candidates(similarities: Float[Tensor, "queries documents"]) -> Int64[Tensor, "queries candidates"]:
    """Each query's own document first, then the most similar others."""
    own = torch.arange(len(similarities), device=similarities.device)
    others = similarities.scatter(1, own[:, None], -torch.inf).topk(_CANDIDATES - 1, dim=1).indices
    return torch.cat([own[:, None], others], dim=1)


@torch.no_grad()
def judge_candidates(
    teacher: Learner, batch: QuestionBatch, candidates: Int64[Tensor, "queries candidates"]
) -> Float[Tensor, "queries candidates"]:
    """Returns the reranker's log-odds of each query's candidates."""
    bank = encode_pictures(teacher.model.visual, batch.pictures) if batch.pictures else None
    shown = [*batch.documents, *batch.negatives]
    rows = [
        teacher.prompter.judge_pair(query.contents, shown[place].contents, query.pictures + shown[place].pictures)
        for query, places in zip(batch.queries, cast("list[list[int]]", candidates.tolist()), strict=True)
        for place in places
    ]
    answer = read_rows(teacher.model.language_model, [(rows, teacher.prompter.prefixes["pair"])], bank)[0]
    return (answer.states @ teacher.score_weight).view(candidates.shape)


def merge_weights(first: Mapping[str, Tensor], second: Mapping[str, Tensor], *, share: float) -> dict[str, Tensor]:
    """Returns the weights between two models: `share` of the second, the rest of the first."""
    return {
        name: weight.lerp(second[name], share) if weight.is_floating_point() else weight
        for name, weight in first.items()
    }
