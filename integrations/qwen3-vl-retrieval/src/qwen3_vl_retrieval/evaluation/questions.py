"""Questions, and what answers them: the one thing that cannot be computed from a collection."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.items import Item

__all__ = ["Judgement", "Question", "QuestionSet"]

_ABOUT_ITS_ORIGIN = ("model", "is_draft", "is_rejected")
"""What makes no difference to what a question finds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What somebody has said about a file, or a part of one, as an answer to a question.

    Attributes:
        source: Path of the file, absolute, or as much of its end as is needed to tell it from others; or the id of an
            entry of a corpus.
        page: Number of the page, from 1; `None` is any.
        start: First second of the moment; `None` is any.
        end: Last second of the moment; that of a single time is its `start`.
        grade: How well it answers: 0 is not at all, and more is better.
        where: File and line, for messages.
    """

    source: str
    page: int | None = None
    start: float | None = None
    end: float | None = None
    grade: int = 1
    where: str = ""

    @property
    def name(self) -> str:
        """The source with its page or time, as a URL fragment has them."""
        if self.page is not None:
            return f"{self.source}#page={self.page}"
        if self.start is not None:
            return f"{self.source}#t={self.start:g},{self.start if self.end is None else self.end:g}"
        return self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question with its judgements.

    Attributes:
        id: Names it in runs; it has no white space.
        text: Its words; `""` if it is an image alone.
        image: File of its image; `None` if it is words alone.
        judgements: What is known of its answers.
        language: Language of the words; `None` if nobody has said.
        tags: What it is counted by besides.
        model: The language model that wrote it; `None` if a person did.
        is_draft: Whether nobody has checked it yet.
        is_rejected: Whether somebody has, and it is not to be asked.
        where: File and line, for messages.
    """

    id: str
    text: str
    judgements: tuple[Judgement, ...]
    image: Path | None = None
    language: str | None = None
    tags: tuple[str, ...] = ()
    model: str | None = None
    is_draft: bool = False
    is_rejected: bool = False
    where: str = ""

    def __post_init__(self) -> None:
        """Raises `InputError` for what cannot be asked."""
        where = self.where or f"question {quote(self.id)}"
        if not self.id or any(letter.isspace() for letter in self.id):
            raise InputError(
                f"{where}: the id {quote(self.id)} is empty or has white space, which ends a name in a run"
            )
        if not self.text.strip() and self.image is None:
            raise InputError(f"{where}: the question has neither text nor image; give one of them")

    @property
    def has_answer(self) -> bool:
        """Whether anything is known to answer it."""
        return any(judgement.grade > 0 for judgement in self.judgements)

    @property
    def item(self) -> Item:
        """What an index is searched for."""
        if self.image is None:
            return self.text
        return {"image": self.image, "text": self.text} if self.text.strip() else self.image


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSet:
    """Questions, each with an id of its own and at least one answer.

    Attributes:
        questions: The questions.
        origin: Where they are from, for messages and reports.
        unjudged: Questions that were left out because nothing is known of their answers.

    Raises:
        InputError: There is none, two have the same id, or one has no answer.
    """

    questions: tuple[Question, ...]
    origin: str
    unjudged: int = 0

    def __post_init__(self) -> None:
        """Checks them together."""
        if not self.questions:
            raise InputError(f"{self.origin} holds no questions with judgements; give at least one")
        repeated = [name for name, count in Counter(question.id for question in self.questions).items() if count > 1]
        if repeated:
            places = [question.where for question in self.questions if question.id == repeated[0]]
            raise InputError(
                f"{places[-1]}: the id {quote(repeated[0])} is that of another question, too ({places[0]}); "
                "each needs its own"
            )
        for question in self.questions:
            if not question.has_answer:
                raise InputError(
                    f"{question.where or self.origin}: question {quote(question.id)} has no answer: name at least one "
                    "source with a grade of 1 or more"
                )
            names = Counter(judgement.name for judgement in question.judgements)
            twice = next((name for name, count in names.items() if count > 1), None)
            if twice is not None:
                last = [one for one in question.judgements if one.name == twice][-1]
                raise InputError(
                    f"{last.where or question.where}: {quote(twice)} is judged twice for {quote(question.id)}"
                )

    def __len__(self) -> int:
        """Returns the number of questions."""
        return len(self.questions)

    @property
    def drafts(self) -> int:
        """How many of them nobody has checked."""
        return sum(question.is_draft for question in self.questions)

    def select(self, ids: Sequence[str]) -> QuestionSet:
        """Returns the questions with these ids."""
        wanted = set(ids)
        chosen = tuple(question for question in self.questions if question.id in wanted)
        return QuestionSet(questions=chosen, origin=self.origin, unjudged=self.unjudged)

    def compute_hash(self) -> str:
        """Returns a hash of what is asked and judged; where it was read from does not count."""
        digest = hashlib.sha256()
        for question in self.questions:
            judged = [asdict(judgement) | {"where": None} for judgement in question.judgements]
            values = {name: value for name, value in asdict(question).items() if name not in _ABOUT_ITS_ORIGIN}
            values |= {"where": None, "image": None, "judgements": judged}
            digest.update(json.dumps(values, sort_keys=True).encode())
            if question.image is not None:
                digest.update(question.image.read_bytes() if question.image.is_file() else str(question.image).encode())
        return digest.hexdigest()[:16]
