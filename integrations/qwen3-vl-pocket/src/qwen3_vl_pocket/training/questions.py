"""Batches of queries and documents for the embedding stages, with the truth about every pair in them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from qwen3_vl_pocket.training.corpus import Corpus, Family, Picture
from qwen3_vl_pocket.training.tasks import choose_language, draw_any_facts, show_picture
from qwen3_vl_pocket.world.collection import COMPOSED_KINDS
from qwen3_vl_pocket.world.facts import Facts, draw_near_misses, meets
from qwen3_vl_pocket.world.sentences import ask, ask_change, choose_mentioned, describe
from qwen3_vl_retrieval.prompting.prompts import Content

__all__ = ["Question", "QuestionBatch", "Shown", "collect_batch"]


@dataclass(frozen=True, slots=True)
class Question:
    """What a query asks for: an item that has the values of `asked` in the slots `mentioned`."""

    asked: Facts
    mentioned: tuple[str, ...]

    def is_answered_by(self, facts: Facts) -> bool:
        """Returns whether an item is what the query asks for."""
        return meets(facts, self.asked, self.mentioned)


@dataclass(frozen=True, slots=True)
class Shown:
    """A query or document: its contents, and the places of its images in the batch."""

    contents: tuple[Content, ...]
    pictures: tuple[int, ...] = ()


@dataclass(slots=True, eq=False)
class QuestionBatch:
    """Queries, the document that answers each, and hard negatives.

    Attributes:
        pictures: All images of the batch.
        queries: What asks.
        documents: Document i answers query i.
        negatives: Further documents.
        questions: What each query asks for.
        found: What each document is.
        found_negatives: What each hard negative is.
    """

    pictures: list[Picture]
    queries: list[Shown]
    documents: list[Shown]
    negatives: list[Shown]
    questions: list[Question]
    found: list[Facts]
    found_negatives: list[Facts]

    def compare_documents(self) -> Bool[Tensor, "queries documents"]:
        """Returns which documents, then negatives, answer which query."""
        found = (*self.found, *self.found_negatives)
        return torch.tensor([[question.is_answered_by(facts) for facts in found] for question in self.questions])

    def compare_queries(self) -> Bool[Tensor, "queries queries"]:
        """Returns which queries ask for the same item or for one that also answers the other."""
        return torch.tensor(
            [
                [one.is_answered_by(other.asked) or other.is_answered_by(one.asked) for other in self.questions]
                for one in self.questions
            ]
        )


def collect_batch(corpus: Corpus, families: Sequence[Family], rng: random.Random, *, texts: int) -> QuestionBatch:
    """Returns a batch of image families, each asked for in words, by an image, or by an image and words, and texts.

    Args:
        corpus: Where the families are from.
        families: One positive and one hard negative each.
        rng: Source of chance.
        texts: How many text documents, each with a near miss as hard negative.
    """
    batch = QuestionBatch([], [], [], [], [], [], [])
    for family in families:
        _add_family(batch, corpus, family, rng)
    for _ in range(texts):
        _add_text(batch, rng)
    return batch


def _add_family(batch: QuestionBatch, corpus: Corpus, family: Family, rng: random.Random) -> None:
    first, second = family.same if rng.random() < 0.5 else family.same[::-1]
    facts = corpus.pictures[first].facts
    batch.documents.append(_show(batch, corpus.pictures[first], rng))
    batch.found.append(facts)
    near_slot, near = rng.choice(family.near) if family.near else (None, None)
    if near is not None:
        batch.negatives.append(_show(batch, corpus.pictures[near], rng))
        batch.found_negatives.append(corpus.pictures[near].facts)
    chance = rng.random()
    if chance < 0.2 and facts.kind != "product":
        batch.queries.append(_show(batch, corpus.pictures[second], rng))
        batch.questions.append(Question(facts, facts.slots))
    elif chance < 0.4 and facts.kind in COMPOSED_KINDS and near_slot is not None:
        # The near miss, which is among the negatives as well, with words that turn it into the document.
        picture = batch.negatives[-1]
        words = ask_change(facts, near_slot, choose_language(rng), rng)
        batch.queries.append(Shown((*picture.contents, words), picture.pictures))
        batch.questions.append(Question(facts, facts.slots))
    else:
        _ask(batch, facts, rng)


def _add_text(batch: QuestionBatch, rng: random.Random) -> None:
    facts = draw_any_facts(rng)
    batch.documents.append(Shown((describe(facts, choose_language(rng), rng),)))
    batch.found.append(facts)
    for _, near in draw_near_misses(facts, rng, count=1, split="training"):
        batch.negatives.append(Shown((describe(near, choose_language(rng), rng),)))
        batch.found_negatives.append(near)
    _ask(batch, facts, rng)


def _ask(batch: QuestionBatch, facts: Facts, rng: random.Random) -> None:
    mentioned = choose_mentioned(facts, rng, share=rng.choice((0.6, 0.8, 1.0, 1.0)))
    batch.queries.append(Shown((ask(facts, choose_language(rng), rng, mentioned=mentioned),)))
    batch.questions.append(Question(facts, mentioned))


def _show(batch: QuestionBatch, picture: Picture, rng: random.Random) -> Shown:
    batch.pictures.append(picture)
    return Shown(tuple(show_picture(picture, rng)), (len(batch.pictures) - 1,))
