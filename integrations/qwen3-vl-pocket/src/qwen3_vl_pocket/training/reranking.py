"""The reranker: yes or no about pairs, most of which differ from the truth in one value only."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch

from qwen3_vl_pocket.training.comparison import begin_comparison
from qwen3_vl_pocket.training.corpus import Corpus, Family, Picture
from qwen3_vl_pocket.training.foundation import Learner, compute_sight_loss, compute_verdict_losses
from qwen3_vl_pocket.training.judgement import Judgement, judge
from qwen3_vl_pocket.training.rows import Answer, PictureBank, Row, encode_pictures, read_rows, slot_of
from qwen3_vl_pocket.training.stage import Losses, StageOptions, run_stage
from qwen3_vl_pocket.training.tasks import (
    choose_language,
    draw_any_facts,
    draw_question,
    show_picture,
    tell,
)
from qwen3_vl_pocket.world.collection import COMPOSED_KINDS
from qwen3_vl_pocket.world.facts import Facts, change_slot
from qwen3_vl_pocket.world.sentences import ask, ask_change, choose_mentioned

__all__ = ["RerankingOptions", "train_reranker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankingOptions:
    """Sizes of a step.

    Attributes:
        families: Picture families; two drawings of each are judged.
        questions: Questions about each drawing.
        texts: Pairs of a question and a text.
    """

    families: int = 18
    questions: int = 2
    texts: int = 28


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A picture of the step, and its place in the step's picture bank."""

    place: int
    picture: Picture

    @property
    def facts(self) -> Facts:
        return self.picture.facts


@dataclass(frozen=True, slots=True)
class _Pair:
    row: Row
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class _Step:
    drawings: list[_Drawing]
    pairs: list[_Pair]


def train_reranker(
    learner: Learner,
    corpus: Corpus,
    stage: StageOptions,
    *,
    options: RerankingOptions,
    goes_on: bool = False,
    folder: Path,
) -> None:
    """Trains the learner in place, beginning with a comparison of what its readers read.

    Args:
        learner: What to train.
        corpus: The families.
        stage: Schedule.
        options: Sizes.
        goes_on: The learner is a reranker already; near misses are as frequent from the first step as at the end.
        folder: Of the run.
    """
    if not goes_on:
        _begin(learner, corpus, stage, options)

    def compute_losses(rng: random.Random, progress: float) -> Losses:
        bank, step, answer = _judge_pairs(learner, corpus, rng, 1.0 if goes_on else progress, options)
        sight = compute_sight_loss(learner, bank, [drawing.facts for drawing in step.drawings])
        return {
            **compute_verdict_losses(learner, answer, [pair.judgement for pair in step.pairs]),
            "sight": 0.3 * sight,
        }

    run_stage(stage, learner.modules, compute_losses, folder=folder)


def _begin(learner: Learner, corpus: Corpus, stage: StageOptions, options: RerankingOptions) -> None:
    with torch.no_grad():
        _, _, answer = _judge_pairs(learner, corpus, random.Random(f"{stage.seed}/{stage.name}"), 0.0, options)
    begin_comparison(
        learner.model.language_model.layers,
        learner.model.language_model.norm,
        learner.slot_head,
        asked_reader=learner.asked_reader,
        found_reader=learner.found_reader,
        score_weight=learner.score_weight.detach(),
        middles=answer.middles,
    )


def _judge_pairs(
    learner: Learner, corpus: Corpus, rng: random.Random, progress: float, options: RerankingOptions
) -> tuple[PictureBank, _Step, Answer]:
    """The pictures and pairs of a step, and what the model says of the pairs."""
    step = _draw_step(learner, corpus, rng, progress, options)
    bank = encode_pictures(learner.model.visual, [drawing.picture for drawing in step.drawings])
    group = ([pair.row for pair in step.pairs], learner.prompter.prefixes["pair"])
    (answer,) = read_rows(learner.model.language_model, [group], bank)
    return bank, step, answer


def _draw_step(
    learner: Learner, corpus: Corpus, rng: random.Random, progress: float, options: RerankingOptions
) -> _Step:
    step = _Step([], [])
    for family in rng.sample(corpus.families, options.families):
        slot, places = _choose_drawings(family, rng)
        one, two = (_Drawing(len(step.drawings) + turn, corpus.pictures[place]) for turn, place in enumerate(places))
        step.drawings.extend((one, two))
        for turn in range(2 * options.questions):
            target, other = (one, two) if turn % 2 else (two, one)
            step.pairs.append(_question_picture(learner, target, other, slot, rng, progress))
    step.pairs.extend(_question_text(learner, rng, progress) for _ in range(options.texts))
    return step


def _choose_drawings(family: Family, rng: random.Random) -> tuple[str | None, tuple[int, int]]:
    """Two drawings of the same facts, or of near misses with the slot in which they differ."""
    if not family.near or rng.random() < 0.2:
        return None, family.same
    slot, near = rng.choice(family.near)
    return slot, (rng.choice(family.same), near)


def _question_picture(
    learner: Learner, target: _Drawing, other: _Drawing, slot: str | None, rng: random.Random, progress: float
) -> _Pair:
    """A question about `target`, in words, by the other drawing, or by both."""
    facts = target.facts
    shown = show_picture(target.picture, rng)
    chance = rng.random()
    if chance < 0.12 and facts.kind != "product":
        row = learner.prompter.judge_pair([slot_of(other.picture)], shown, (other.place, target.place))
        return _Pair(row, judge(other.facts, other.facts.slots, facts))
    if chance < 0.22 and slot is not None and facts.kind in COMPOSED_KINDS:
        # The other drawing with the value changed to this one's, or to some third: `asked` then is what is described.
        asked = facts if rng.random() < 0.5 else _change_again(facts, slot, rng)
        words = ask_change(asked, slot, choose_language(rng), rng)
        row = learner.prompter.judge_pair([slot_of(other.picture), words], shown, (other.place, target.place))
        return _Pair(row, judge(asked, asked.slots, facts))
    if chance < 0.55 and slot is not None:
        # What the other drawing shows: differs in one slot, and not at all in the slots that are not mentioned.
        mentioned = choose_mentioned(other.facts, rng, share=rng.choice((0.7, 1.0)))
        question = ask(other.facts, choose_language(rng), rng, mentioned=mentioned)
        row = learner.prompter.judge_pair([question], shown, (target.place,))
        return _Pair(row, judge(other.facts, mentioned, facts))
    question, asked, mentioned = draw_question(facts, rng, progress=progress)
    return _Pair(learner.prompter.judge_pair([question], shown, (target.place,)), judge(asked, mentioned, facts))


def _change_again(facts: Facts, slot: str, rng: random.Random) -> Facts:
    changed = change_slot(facts, slot, rng)
    return facts if changed is None else changed


def _question_text(learner: Learner, rng: random.Random, progress: float) -> _Pair:
    found = draw_any_facts(rng)
    question, asked, mentioned = draw_question(found, rng, progress=progress)
    return _Pair(learner.prompter.judge_pair([question], [tell(found, rng)]), judge(asked, mentioned, found))
