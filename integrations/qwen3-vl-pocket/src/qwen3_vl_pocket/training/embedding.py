"""The embedding stages: s0 on random batches, s1 on mined hard negatives, s2 distilled from the reranker."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from qwen3_vl_pocket.training.contrastive import QuantizationSteps, compute_contrastive_loss
from qwen3_vl_pocket.training.corpus import Corpus, Family
from qwen3_vl_pocket.training.foundation import Learner, compute_fact_loss
from qwen3_vl_pocket.training.questions import QuestionBatch, collect_batch
from qwen3_vl_pocket.training.rows import encode_pictures, read_rows
from qwen3_vl_pocket.training.stage import Losses, StageOptions, run_stage

__all__ = ["EmbeddingOptions", "contrast_batch", "train_contrastively"]

_NEIGHBOURS = 3
"""Mined families that come into a batch with a family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingOptions:
    """Sizes of a step.

    Attributes:
        families: Image families, each with a query, a positive and a hard negative.
        texts: Text documents, likewise.
    """

    families: int = 40
    texts: int = 24


def train_contrastively(
    learner: Learner,
    steps: QuantizationSteps,
    corpus: Corpus,
    stage: StageOptions,
    *,
    options: EmbeddingOptions,
    groups: Sequence[Sequence[int]] | None = None,
    fact_weight: float = 0.0,
    folder: Path,
) -> None:
    """Trains the learner in place.

    Args:
        learner: What to train.
        steps: Step sizes to learn.
        corpus: The families.
        stage: Schedule.
        options: Sizes.
        groups: For each family, families that are hard to tell from it (s1); `None` draws them at random (s0).
        fact_weight: Weight of the loss of reading facts off the documents' vectors, which keeps every fact in them.
        folder: Folder of the run.
    """

    def compute_losses(rng: random.Random, _: float) -> Losses:
        batch, states, losses = contrast_batch(learner, steps, corpus, rng, options=options, groups=groups)
        if fact_weight > 0:
            shown, items = torch.cat(states[1:]), [*batch.found, *batch.found_negatives]
            losses["facts"] = fact_weight * compute_fact_loss(learner, shown, items, rng)
        return losses

    run_stage(stage, {**learner.modules, "steps": steps}, compute_losses, folder=folder)


def contrast_batch(
    learner: Learner,
    steps: QuantizationSteps,
    corpus: Corpus,
    rng: random.Random,
    *,
    options: EmbeddingOptions,
    groups: Sequence[Sequence[int]] | None,
) -> tuple[QuestionBatch, list[Float[Tensor, "_ hidden"]], dict[str, Float[Tensor, ""]]]:
    """Returns a batch, the pooled states of its queries, documents and hard negatives, and its contrastive losses."""
    families = _choose_families(corpus, groups, options.families, rng)
    batch = collect_batch(corpus, families, rng, texts=options.texts)
    states = _embed_batch(learner, batch)
    losses = compute_contrastive_loss(
        states, steps, is_query_twin=batch.compare_queries(), is_answer=batch.compare_documents()
    )
    return batch, states, losses


def _embed_batch(learner: Learner, batch: QuestionBatch) -> list[Float[Tensor, "_ hidden"]]:
    """Returns the pooled states of queries, documents and hard negatives."""
    model, prompter = learner.model.language_model, learner.prompter
    bank = encode_pictures(learner.model.visual, batch.pictures) if batch.pictures else None
    asked = [prompter.embed_query(query.contents, query.pictures) for query in batch.queries]
    documents = [
        prompter.embed_document(document.contents, document.pictures)
        for document in (*batch.documents, *batch.negatives)
    ]
    groups = [(asked, prompter.prefixes["query"]), (documents, prompter.prefixes["document"])]
    answers = read_rows(model, groups, bank)
    queries, shown = (answer.states for answer in answers)
    return [queries, shown[: len(batch.documents)], shown[len(batch.documents) :]]


def _choose_families(
    corpus: Corpus, groups: Sequence[Sequence[int]] | None, count: int, rng: random.Random
) -> list[Family]:
    """Returns families for a batch: any, or groups of such that are hard to tell apart."""
    if groups is None:
        return rng.sample(corpus.families, count)
    # Without a group, a family's own question failed positive refinement: it comes as a neighbour at most.
    anchors = [place for place, group in enumerate(groups) if group]
    chosen: dict[int, None] = {}
    while len(chosen) < count:
        first = rng.choice(anchors)
        for place in (first, *groups[first][:_NEIGHBOURS]):
            if len(chosen) < count:
                chosen[place] = None
    return [corpus.families[place] for place in chosen]
