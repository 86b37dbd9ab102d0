"""Hard negatives for s1, mined with the s0 model by the two rules of the report (arXiv 2601.04720, section 3.3)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch.nn import functional
from tqdm import tqdm

from qwen3_vl_pocket.training.corpus import Corpus
from qwen3_vl_pocket.training.foundation import Learner
from qwen3_vl_pocket.training.rows import encode_pictures, read_rows
from qwen3_vl_pocket.training.tasks import choose_language, show_picture
from qwen3_vl_pocket.world.facts import meets
from qwen3_vl_pocket.world.sentences import ask

__all__ = ["NEGATIVE_MARGIN", "POSITIVE_THRESHOLD", "mine_groups", "select_negatives"]

POSITIVE_THRESHOLD = 0.3
"""Positive refinement: a query whose own document is less similar than this teaches nothing and is left out."""

NEGATIVE_MARGIN = 0.1
"""A document is a negative only if it is less similar than the positive plus this; else it may be unlabelled truth."""

_BATCH = 96


def mine_groups(learner: Learner, corpus: Corpus, *, count: int, seed: int) -> list[list[int]]:
    """Returns, for each family, the families whose images its question finds first, its own aside."""
    rng = random.Random(f"mining/{seed}")
    questions, documents = _embed_families(learner, corpus, rng)
    facts = [corpus.pictures[family.same[0]].facts for family in corpus.families]
    groups: list[list[int]] = []
    for first in range(0, len(questions), _BATCH):
        similarities = (questions[first : first + _BATCH] @ documents.T).numpy()
        for line, row in enumerate(similarities):
            own = first + line
            nearest = np.argpartition(-row, 4 * count)[: 4 * count]
            is_truth = np.zeros(len(row), np.bool_)
            is_truth[
                [
                    place
                    for place in cast("list[int]", nearest.tolist())
                    if meets(facts[place], facts[own], facts[own].slots)
                ]
            ] = True
            groups.append(select_negatives(row, own, is_truth, count=count))
    return groups


def select_negatives(
    similarities: Float[np.ndarray, " n"], positive: int, is_truth: Bool[np.ndarray, " n"], *, count: int
) -> list[int]:
    """Returns up to `count` most similar documents that pass both rules; none if the positive itself fails."""
    own = similarities[positive]
    if own < POSITIVE_THRESHOLD:
        return []
    allowed = (similarities < own + NEGATIVE_MARGIN) & ~is_truth
    allowed[positive] = False
    order = np.argsort(-similarities, kind="stable")
    return [int(place) for place in order if allowed[place]][:count]


@torch.no_grad()
def _embed_families(
    learner: Learner, corpus: Corpus, rng: random.Random
) -> tuple[Float[torch.Tensor, "n hidden"], Float[torch.Tensor, "n hidden"]]:
    model, prefixes, prompter = learner.model.language_model, learner.prompter.prefixes, learner.prompter
    found: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for first in tqdm(range(0, len(corpus.families), _BATCH), desc="mining", mininterval=10):
        families: Sequence[int] = range(first, min(first + _BATCH, len(corpus.families)))
        pictures = [corpus.pictures[corpus.families[place].same[0]] for place in families]
        bank = encode_pictures(learner.model.visual, pictures)
        shown = [
            prompter.embed_document(show_picture(picture, rng), (place,)) for place, picture in enumerate(pictures)
        ]
        asked = [prompter.embed_query([ask(picture.facts, choose_language(rng), rng)]) for picture in pictures]
        answers = read_rows(model, [(asked, prefixes["query"]), (shown, prefixes["document"])], bank)
        for part, answer in zip(found, answers, strict=True):
            part.append(functional.normalize(answer.states, dim=-1).cpu())
    return torch.cat(found[0]), torch.cat(found[1])
