"""Foundation: first to see, then to tell: images are captioned, facts read off states, statements verified.

Stands in for the general training of Qwen3-VL that the published models start from.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from qwen3_vl_pocket.training.corpus import Corpus, Picture
from qwen3_vl_pocket.training.judgement import Judgement, compute_slot_loss, judge
from qwen3_vl_pocket.training.reading import FactReader, cut_at_random
from qwen3_vl_pocket.training.rows import Answer, PictureBank, Prompter, Row, encode_pictures, read_rows
from qwen3_vl_pocket.training.stage import Losses, StageOptions, run_stage
from qwen3_vl_pocket.training.tasks import draw_any_facts, draw_question, show_picture, tell
from qwen3_vl_pocket.world.facts import Facts
from qwen3_vl_pocket.world.sentences import caption

__all__ = [
    "FoundationOptions",
    "Learner",
    "compute_sight_loss",
    "compute_verdict_losses",
    "train_foundation",
    "train_sight",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundationOptions:
    """Sizes of a step.

    Attributes:
        pictures: Read.
        captions: How many of the images are captioned, too.
        texts: Read, half as documents, half as queries.
        pairs: Verified, half of them texts.
    """

    pictures: int = 48
    captions: int = 12
    texts: int = 32
    pairs: int = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """The model, and what only its training needs.

    Attributes:
        model: `Qwen3VLModel`.
        token_reader: Reads facts off visual tokens.
        state_reader: Reads facts off the state behind a prompt.
        asked_reader: Reads off a pair's middle state what is asked.
        found_reader: Reads off a pair's middle state what is found.
        slot_head: Tells from a pair's state which slots match.
        answer_ids: Tokens of yes and no.
        prompter: Renders prompts.
    """

    model: Any
    token_reader: FactReader
    state_reader: FactReader
    asked_reader: FactReader
    found_reader: FactReader
    slot_head: nn.Linear
    answer_ids: tuple[int, int]
    prompter: Prompter

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What is trained, by name."""
        return {
            "model": self.model,
            "token_reader": self.token_reader,
            "state_reader": self.state_reader,
            "asked_reader": self.asked_reader,
            "found_reader": self.found_reader,
            "slot_head": self.slot_head,
        }

    @property
    def score_weight(self) -> Float[Tensor, " hidden"]:
        """w_yes - w_no."""
        weight = self.model.language_model.embed_tokens.weight
        return weight[self.answer_ids[0]] - weight[self.answer_ids[1]]


def train_sight(learner: Learner, corpus: Corpus, stage: StageOptions, *, pictures: int = 64, folder: Path) -> None:
    """Trains the vision tower in place: each visual token votes for what it sees.

    The language model is not asked: a few layers lie between a word's pixels and the verdict on them, not twenty.
    """

    def compute_losses(rng: random.Random, _: float) -> Losses:
        seen = [corpus.pictures[rng.randrange(len(corpus.pictures))] for _ in range(pictures)]
        bank = encode_pictures(learner.model.visual, seen)
        return {"sight": compute_sight_loss(learner, bank, [picture.facts for picture in seen])}

    modules = {"visual": learner.model.visual, "token_reader": learner.token_reader}
    run_stage(stage, modules, compute_losses, folder=folder)


def compute_sight_loss(learner: Learner, bank: PictureBank, items: Sequence[Facts]) -> Float[Tensor, ""]:
    """Returns the cross-entropy of the votes of the visual tokens."""
    votes = learner.token_reader.read_votes(bank.features.embeddings, bank.spans)
    return learner.token_reader.compute_loss(votes, items)


def train_foundation(
    learner: Learner, corpus: Corpus, stage: StageOptions, *, options: FoundationOptions, folder: Path
) -> None:
    """Trains the learner in place."""

    def compute_losses(rng: random.Random, progress: float) -> Losses:
        pictures = [corpus.pictures[rng.randrange(len(corpus.pictures))] for _ in range(options.pictures)]
        bank = encode_pictures(learner.model.visual, pictures)
        items = [*(picture.facts for picture in pictures), *(draw_any_facts(rng) for _ in range(options.texts))]
        documents, queries = _draw_readings(learner.prompter, pictures, items, rng, options)
        pairs, judgements = _draw_pairs(learner.prompter, pictures, rng, options.pairs, progress)
        prefixes = learner.prompter.prefixes
        groups = [(documents, prefixes["document"]), (queries, prefixes["query"]), (pairs, prefixes["pair"])]
        answers = read_rows(learner.model.language_model, groups, bank)
        states = torch.cat([answers[0].states, answers[1].states])
        return {
            "sight": 0.5 * compute_sight_loss(learner, bank, items[: len(pictures)]),
            "caption": 0.3 * answers[0].caption_loss,
            "facts": compute_fact_loss(learner, states, items, rng),
            **compute_verdict_losses(learner, answers[2], judgements),
        }

    run_stage(stage, learner.modules, compute_losses, folder=folder)


def compute_fact_loss(
    learner: Learner, states: Float[Tensor, "n hidden"], items: Sequence[Facts], rng: random.Random
) -> Float[Tensor, ""]:
    """Returns the cross-entropy of the facts read off states, some of them cut short."""
    return learner.state_reader.compute_loss(learner.state_reader.read(cut_at_random(states, rng)), items)


def _draw_readings(
    prompter: Prompter,
    pictures: Sequence[Picture],
    items: Sequence[Facts],
    rng: random.Random,
    options: FoundationOptions,
) -> tuple[list[Row], list[Row]]:
    """Images and texts as documents, the first images with captions; then texts as queries."""
    documents = [
        prompter.embed_document(show_picture(picture, rng), (place,)) for place, picture in enumerate(pictures)
    ]
    for place in range(options.captions):
        told = prompter.encode_caption(caption(items[place]))
        documents[place] = replace(documents[place], caption=told)
    texts = items[len(pictures) :]
    half = len(texts) // 2
    documents += [prompter.embed_document([tell(facts, rng)]) for facts in texts[:half]]
    return documents, [prompter.embed_query([tell(facts, rng)]) for facts in texts[half:]]


def _draw_pairs(
    prompter: Prompter, pictures: Sequence[Picture], rng: random.Random, count: int, progress: float
) -> tuple[list[Row], list[Judgement]]:
    """Half the questions about images, half about texts."""
    rows: list[Row] = []
    judgements: list[Judgement] = []
    for number in range(count):
        place = rng.randrange(len(pictures))
        found = pictures[place].facts if number % 2 else draw_any_facts(rng)
        question, asked, mentioned = draw_question(found, rng, progress=progress)
        judgements.append(judge(asked, mentioned, found))
        if number % 2:
            rows.append(prompter.judge_pair([question], show_picture(pictures[place], rng), (place,)))
        else:
            rows.append(prompter.judge_pair([question], [tell(found, rng)]))
    return rows, judgements


def compute_verdict_losses(learner: Learner, answer: Answer, judgements: Sequence[Judgement]) -> Losses:
    """Returns the losses of saying yes or no, of telling which slots match, and of reading both sides before that.

    Two layers before the verdict, the state behind the prompt shall hold what is asked and what is found. Comparing
    them is then the work of two layers; without this, hundreds of steps taught nothing (benchmarks/LOG.md).
    """
    is_met = torch.tensor([float(judgement.is_met) for judgement in judgements], device=answer.states.device)
    margins = answer.states @ learner.score_weight
    asked, found = learner.asked_reader, learner.found_reader
    mentioned = [judgement.mentioned for judgement in judgements]
    return {
        "verdict": functional.binary_cross_entropy_with_logits(margins, is_met),
        "slots": compute_slot_loss(learner.slot_head, answer.states, judgements),
        "asked": asked.compute_loss(
            asked.read(answer.middles), [judgement.asked for judgement in judgements], mentioned=mentioned
        ),
        "found": found.compute_loss(found.read(answer.middles), [judgement.found for judgement in judgements]),
    }
