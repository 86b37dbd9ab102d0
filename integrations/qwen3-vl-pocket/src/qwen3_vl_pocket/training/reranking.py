"""The reranker: yes or no about pairs, most of which differ from the truth in one value only."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from qwen3_vl_pocket.training.comparison import begin_comparison
from qwen3_vl_pocket.training.corpus import Corpus, Family, Picture
from qwen3_vl_pocket.training.foundation import Learner, compute_sight_loss, compute_verdict_losses
from qwen3_vl_pocket.training.judgement import Judgement, judge
from qwen3_vl_pocket.training.rows import Answer, PictureBank, Row, encode_pictures, read_rows, slot_of
from qwen3_vl_pocket.training.stage import Losses, StageOptions, run_stage
from qwen3_vl_pocket.training.tasks import (
    choose_language,
    draw_any_facts,
    draw_changes,
    show_picture,
    tell,
    word_question,
)
from qwen3_vl_pocket.world.collection import COMPOSED_KINDS
from qwen3_vl_pocket.world.facts import Facts, Kind, change_slot, draw_lookalike, draw_near_misses
from qwen3_vl_pocket.world.sentences import ask_change
from qwen3_vl_retrieval.prompting.prompts import Content

__all__ = ["RerankingOptions", "train_reranker"]

_FAMILY_WEIGHTS: dict[Kind, float] = {"page": 2.0, "screenshot": 1.5, "count": 1.5}
"""How much more often than in the corpus a kind is judged: pages and dialogs have the most values to differ in."""

_TRIES = 3

_GRANTED_SHARE = 0.8
"""Share of the wishes that a drawing grants."""

_CHANGED_SHARE = 0.4
"""Share of the questions whose values are drawn anew, so that several may be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankingOptions:
    """Sizes of a step.

    Attributes:
        families: Image families; a drawing of each and two near misses are judged, by three questions.
        texts: Questions about texts.
        stranger_share: Share of the questions that are also asked of something unrelated.
        composed_share: Share of the families, of kinds that can be, that are asked for by a near miss and a wish.
        picture_share: Share of the others that are asked for by another drawing of the same.
        contrast_weight: Weight of the loss of saying, for one question, a higher yes to what meets it than to others.
    """

    families: int = 10
    texts: int = 12
    stranger_share: float = 0.25
    composed_share: float = 0.6
    picture_share: float = 0.5
    contrast_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class _Drawing:
    """An image of the step, and its place in the step's image bank."""

    place: int
    picture: Picture


@dataclass(frozen=True, slots=True)
class _Document:
    """A candidate as it is shown, and what it is."""

    contents: tuple[Content, ...]
    facts: Facts
    pictures: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Question:
    """A query as it is shown, and what it asks for."""

    contents: tuple[Content, ...]
    asked: Facts
    mentioned: tuple[str, ...]
    pictures: tuple[int, ...] = ()


@dataclass(slots=True)
class _Step:
    """The pairs of a step, and of each pair the number of its question."""

    drawings: list[_Drawing] = field(default_factory=list[_Drawing])
    rows: list[Row] = field(default_factory=list[Row])
    judgements: list[Judgement] = field(default_factory=list[Judgement])
    numbers: list[int] = field(default_factory=list[int])


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
        folder: Folder of the run.
    """
    if not goes_on:
        _begin(learner, corpus, stage, options)

    def compute_losses(rng: random.Random, progress: float) -> Losses:
        bank, step, answer = _judge_pairs(learner, corpus, rng, 1.0 if goes_on else progress, options)
        sight = compute_sight_loss(learner, bank, [drawing.picture.facts for drawing in step.drawings])
        contrast = _contrast_answers(answer.states @ learner.score_weight, step)
        return {
            **compute_verdict_losses(learner, answer, step.judgements),
            "contrast": options.contrast_weight * contrast,
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
    """The images and pairs of a step, and what the model says of the pairs."""
    step = _draw_step(learner, corpus, rng, progress, options)
    bank = encode_pictures(learner.model.visual, [drawing.picture for drawing in step.drawings])
    group = (step.rows, learner.prompter.prefixes["pair"])
    (answer,) = read_rows(learner.model.language_model, [group], bank)
    return bank, step, answer


def _contrast_answers(margins: Float[Tensor, " pairs"], step: _Step) -> Float[Tensor, ""]:
    """The mean of -log(p), p that of ranking a document that meets a question above one that does not."""
    is_met = torch.tensor([judgement.is_met for judgement in step.judgements], device=margins.device)
    numbers = torch.tensor(step.numbers, device=margins.device)
    compared = (numbers[:, None] == numbers) & is_met[:, None] & ~is_met
    return functional.softplus(margins[None] - margins[:, None])[compared].sum() / compared.sum().clamp_min(1)


def _draw_step(
    learner: Learner, corpus: Corpus, rng: random.Random, progress: float, options: RerankingOptions
) -> _Step:
    step = _Step()
    weights = [_FAMILY_WEIGHTS.get(corpus.pictures[family.same[0]].facts.kind, 1.0) for family in corpus.families]
    for family in rng.choices(corpus.families, weights=weights, k=options.families):
        for question, candidates in _question_family(step, corpus, family, rng, progress, options):
            _judge(learner, step, question, candidates, rng, options)
    for _ in range(options.texts):
        question, candidates = _question_text(rng, progress)
        _judge(learner, step, question, candidates, rng, options)
    return step


def _judge(
    learner: Learner,
    step: _Step,
    question: _Question,
    candidates: Sequence[_Document],
    rng: random.Random,
    options: RerankingOptions,
) -> None:
    """Enters the pairs of a question."""
    number = step.numbers[-1] + 1 if step.numbers else 0
    strangers = [_draw_stranger(step, rng)] if rng.random() < options.stranger_share else []
    for document in (*candidates, *strangers):
        pictures = (*question.pictures, *document.pictures)
        step.rows.append(learner.prompter.judge_pair(question.contents, document.contents, pictures))
        step.judgements.append(judge(question.asked, question.mentioned, document.facts))
        step.numbers.append(number)


def _draw_stranger(step: _Step, rng: random.Random) -> _Document:
    if rng.random() < 0.5:
        return _show(rng.choice(step.drawings), rng)
    facts = draw_any_facts(rng)
    return _Document((tell(facts, rng),), facts)


def _show(drawing: _Drawing, rng: random.Random) -> _Document:
    return _Document(tuple(show_picture(drawing.picture, rng)), drawing.picture.facts, (drawing.place,))


def _enter(step: _Step, corpus: Corpus, place: int) -> _Drawing:
    """Puts an image of the corpus among the drawings of the step."""
    step.drawings.append(_Drawing(len(step.drawings), corpus.pictures[place]))
    return step.drawings[-1]


def _question_family(
    step: _Step, corpus: Corpus, family: Family, rng: random.Random, progress: float, options: RerankingOptions
) -> Iterator[tuple[_Question, list[_Document]]]:
    """Questions about a drawing and about a near miss of it, and one by an image or for a lookalike."""
    first, twin = rng.sample(family.same, 2)
    target = _enter(step, corpus, first)
    facts = target.picture.facts
    near = [(slot, _enter(step, corpus, place)) for slot, place in rng.sample(family.near, min(2, len(family.near)))]
    shown = [_show(drawing, rng) for drawing in (target, *(drawing for _, drawing in near))]
    slots = [slot for slot, _ in near]
    yield _ask(facts, rng, changes=_draw_changes(rng, progress), slots=slots), shown
    if near:
        other = near[0][1].picture.facts
        yield _ask(other, rng, changes=_draw_changes(rng, progress), slots=slots[:1]), shown[:2]
    if near and facts.kind in COMPOSED_KINDS and rng.random() < options.composed_share:
        yield _wish(facts, near[0][1], slots[0], rng), shown
    elif facts.kind != "product" and rng.random() < options.picture_share:
        drawing = _enter(step, corpus, twin)
        yield _Question((slot_of(drawing.picture),), facts, facts.slots, (drawing.place,)), shown
    else:
        asked = draw_lookalike(facts, rng, split="training")
        yield _ask(asked, rng, changes=0), [shown[0], _Document((tell(asked, rng),), asked)]


def _wish(facts: Facts, near: _Drawing, slot: str, rng: random.Random) -> _Question:
    """The near miss, with the value that makes it `facts`, or with some third."""
    asked = facts if rng.random() < _GRANTED_SHARE else _change_again(facts, slot, rng)
    words = ask_change(asked, slot, choose_language(rng), rng)
    return _Question((slot_of(near.picture), words), asked, asked.slots, (near.place,))


def _change_again(facts: Facts, slot: str, rng: random.Random) -> Facts:
    changed = change_slot(facts, slot, rng)
    return facts if changed is None else changed


def _question_text(rng: random.Random, progress: float) -> tuple[_Question, list[_Document]]:
    facts = draw_any_facts(rng)
    near = draw_near_misses(facts, rng, count=1, split="training")
    candidates = [_Document((tell(found, rng),), found) for found in (facts, *(changed for _, changed in near))]
    return _ask(facts, rng, changes=_draw_changes(rng, progress), slots=[slot for slot, _ in near]), candidates


def _ask(facts: Facts, rng: random.Random, *, changes: int, slots: Collection[str] = ()) -> _Question:
    """A question in words that nearly always names one of `slots`, in which the candidates differ."""
    question = _Question((), facts, ())
    for _ in range(_TRIES):
        words, asked, mentioned = word_question(facts, rng, changes=changes)
        question = _Question((words,), asked, mentioned)
        if not slots or not set(slots).isdisjoint(mentioned):
            break
    return question


def _draw_changes(rng: random.Random, progress: float) -> int:
    """Mostly none: each question is asked of a near miss as well."""
    return draw_changes(rng, progress=progress) if rng.random() < _CHANGED_SHARE else 0
