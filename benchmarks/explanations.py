"""Do explanations point at what was asked for? 120 drawn images and pages of four kinds, whose places are known.

uv run python benchmarks/explanations.py [--each 30] [--measure margin|cosine|both]

Each image is asked about by two questions that differ in one value: two objects, a number and a title, a company and
a title, a message and its code. Where a value stands is known exactly: the image is drawn again with another value, and
what differs is it. A region is right if its centre lies within that, or if it holds half of the pixels that differ. The
questions are such that the model says which of two images has the value: what it cannot tell it cannot explain, and
how many those are is in the table.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from machine import write_result
from PIL import Image

from qwen3_vl_pocket.world.facts import SCHEMAS, Facts, Kind, draw_facts
from qwen3_vl_pocket.world.pictures import draw_picture
from qwen3_vl_pocket.world.sentences import ask
from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker
from qwen3_vl_retrieval.explanations.boxes import Box
from qwen3_vl_retrieval.explanations.explanation import Explanation
from qwen3_vl_retrieval.explanations.judges import CosineJudge, Judge, MarginJudge
from qwen3_vl_retrieval.explanations.occlusion import occlude_image

__all__ = ["KINDS", "Case", "Question", "draw_cases", "is_right"]

KINDS: dict[str, tuple[Kind, tuple[tuple[str, ...], ...]]] = {
    "objects": ("pair", (("color", "shape"), ("other_color", "other_shape"))),
    "numbers": ("page", (("tens", "ones"), ("title",))),
    "words": ("page", (("company",), ("title",))),
    "messages": ("screenshot", (("fault",), ("tens", "ones"))),
}
"""What is drawn, and which values the two questions are about; the first is the one that the kind is named after."""

_LEAST_STEP = 24
"""Difference of a pixel, of 255, that is not the noise of a scan."""

_REDRAWN = 4


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the pixels that answer it."""

    text: str
    mask: np.ndarray


@dataclass(frozen=True, slots=True)
class Case:
    """An image with two questions."""

    kind: str
    image: Image.Image
    questions: tuple[Question, Question]
    misses: tuple[Image.Image, Image.Image]


def draw_cases(each: int, *, seed: int = 1) -> Iterator[Case]:
    """Yields `each` images of every kind, of combinations that the models were not trained on."""
    for kind, (drawn, asked) in KINDS.items():
        for number in range(each):
            rng = random.Random(f"explanations/{seed}/{kind}/{number}")
            facts = _draw_facts(drawn, rng)
            state = rng.random()
            image = draw_picture(facts, random.Random(state))
            redrawn = [_redraw(facts, slots, state) for slots in asked]
            questions = [
                Question(ask(facts, "en", rng, mentioned=slots), _find_mask(image, images))
                for slots, images in zip(asked, redrawn, strict=True)
            ]
            yield Case(kind, image, (questions[0], questions[1]), (redrawn[0][0], redrawn[1][0]))


def _draw_facts(kind: Kind, rng: random.Random) -> Facts:
    while True:
        facts = draw_facts(kind, rng, split="test")
        if kind != "pair" or (facts["color"] != facts["other_color"] and facts["shape"] != facts["other_shape"]):
            return facts


def _redraw(facts: Facts, slots: Sequence[str], state: float) -> list[Image.Image]:
    """The image with other values in one slot each; shapes change how all that follows is drawn, colours do not."""
    return [
        draw_picture(facts.replace(**{slot: value}), random.Random(state))
        for slot in slots
        if not slot.endswith("shape")
        for value in [value for value in SCHEMAS[facts.kind][slot] if value != facts[slot]][:_REDRAWN]
    ]


def _find_mask(image: Image.Image, redrawn: Sequence[Image.Image]) -> np.ndarray:
    own = np.asarray(image).astype(np.int16)
    steps = [np.abs(own - np.asarray(other).astype(np.int16)).max(axis=2) for other in redrawn]
    return np.max(steps, axis=0) > _LEAST_STEP


def is_right(box: Box | None, mask: np.ndarray) -> bool:
    """Returns whether a box points at the pixels of a mask."""
    if box is None:
        return False
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    scaled = box.scale(width, height)
    x, y = (scaled.left + scaled.right) / 2, (scaled.top + scaled.bottom) / 2
    inside = mask[round(scaled.top) : round(scaled.bottom), round(scaled.left) : round(scaled.right)].sum()
    within = columns.min() <= x <= columns.max() + 1 and rows.min() <= y <= rows.max() + 1
    return bool(within or 2 * inside >= mask.sum())


def _measure(cases: Sequence[Case], make_judge: Any, make_second: Any = None) -> dict[str, Any]:
    rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number, case in enumerate(cases):
        boxes: list[Box | None] = []
        told: list[bool] = []
        for question, miss in zip(case.questions, case.misses, strict=True):
            judge: Judge = make_judge(question.text)
            second = None if make_second is None else make_second(question.text)
            began = time.perf_counter()
            explanation: Explanation = occlude_image(
                case.image, judge, build_item=lambda image: image, second_judge=second
            )
            seconds = time.perf_counter() - began
            box = explanation.regions[0].box if explanation.regions else None
            right = is_right(box, question.mask)
            began = time.perf_counter()
            missed = judge.score([miss])[0]
            single_seconds = time.perf_counter() - began
            told.append(explanation.score is not None and explanation.score > float(missed))
            boxes.append(box)
            row = rows[case.kind]
            row["right"].append(right)
            row["passes"].append(explanation.judged)
            row["seconds"].append(seconds)
            row["single_seconds"].append(single_seconds)
            row["area"].append(0.0 if box is None else box.area)
            row["told"].append(told[-1])
            if told[-1]:
                row["right_where_told"].append(right)
        rows[case.kind]["moves"].append(boxes[0] != boxes[1])
        if number % 10 == 9:
            print(number + 1, {name: round(float(np.mean(row["right"])), 3) for name, row in rows.items()}, flush=True)
    table = {
        kind: {name: round(float(np.mean(values)), 3) for name, values in row.items()} for kind, row in rows.items()
    }
    merged: dict[str, list[float]] = defaultdict(list)
    for row in rows.values():
        for name, values in row.items():
            merged[name] += values
    for name, row in rows.items():
        table[name]["time_in_passes"] = round(sum(row["seconds"]) / sum(row["single_seconds"]), 2)
    merged["time_in_passes"] = [sum(merged["seconds"]) / sum(merged["single_seconds"])]
    return table | {"all": {name: round(float(np.mean(values)), 3) for name, values in merged.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--measure", choices=("margin", "cosine", "both"), default="both")
    options = parser.parse_args()
    cases = list(draw_cases(options.each, seed=options.seed))
    tables: dict[str, Any] = {}
    embedder = Qwen3VLEmbedder.from_pretrained("pocket")
    if options.measure != "cosine":
        reranker = Qwen3VLReranker.from_pretrained("pocket")
        tables["margin"] = _measure(
            cases,
            lambda query: MarginJudge(reranker, query, instruction=None),
            lambda query: CosineJudge(embedder, query, instruction=None),
        )
    if options.measure != "margin":
        tables["cosine"] = _measure(cases, lambda query: CosineJudge(embedder, query, instruction=None))
    write_result("explanations", {"images": len(cases), "seed": options.seed, "occlusion": tables})


if __name__ == "__main__":
    main()
