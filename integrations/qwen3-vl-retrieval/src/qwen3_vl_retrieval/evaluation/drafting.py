"""Questions for an index that has none, written by a language model and filtered by the reranker: drafts, unchecked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float

from qwen3_vl_retrieval.documents.previews import encode_jpeg
from qwen3_vl_retrieval.errors import InputError, ModelError, explain, quote
from qwen3_vl_retrieval.evaluation.appended_lines import AppendedLines
from qwen3_vl_retrieval.evaluation.directory import NamedUnit, UnitDirectory
from qwen3_vl_retrieval.evaluation.draft_prompts import DraftedText, build_prompt, parse_answer
from qwen3_vl_retrieval.evaluation.question_file import QuestionFile, describe_judgement
from qwen3_vl_retrieval.evaluation.question_runs import OnProgress
from qwen3_vl_retrieval.evaluation.question_writers import DraftPrompt, QuestionWriter
from qwen3_vl_retrieval.evaluation.questions import Question
from qwen3_vl_retrieval.evaluation.unit_sampling import UnitDraw
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.index.results.hits import Hit, find_text
from qwen3_vl_retrieval.index.search import Candidate, CandidateQuery, build_hits, find_candidates
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.judging import judge_documents
from qwen3_vl_retrieval.protocols import Reranker

__all__ = ["DraftOptions", "DraftReport", "Rejection", "draft_questions"]

Rejection: TypeAlias = Literal["unreadable", "no question", "broken answer", "repeated", "not answered", "not unique"]
"""Why a unit has no question: its file cannot be opened; the model found nothing to ask for; its answer holds no
question; the question is there already; the reranker does not see the answer in the unit; or sees it in a neighbour,
too."""

_GRADE = 2
"""Of the unit that a question was written from: as a person grades what answers fully."""

_FRAMES = 4

_MOST_IMAGE_PIXELS = 1_003_520
"""980 visual tokens of Qwen3-VL: small print of a page can be read."""

_MOST_IMAGE_BYTES = 1_000_000

_MOST_FAILURES = 3
"""Failures of the model in a row after which it is not asked any more: a key is wrong, or a server down."""

_ID_CHARACTERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftOptions:
    """Which questions are wanted, and which are good enough.

    Attributes:
        n: Questions that the file is to hold in the end, those counted that were drafted before and not rejected.
        seed: Another one draws other units.
        language: Language of questions about what has no words, by its English name.
        neighbours: Units that are looked at as other answers: so many of the nearest to the unit, and as many of the
            nearest to the question.
        least_relevance: Lowest probability of the unit itself.
        least_lead: Log-odds of the reranker by which the unit must be ahead of each of its neighbours: with 2 its odds
            are more than seven times as high.
        most_tries: Units that are asked about for each question that is wanted, at most.
        instruction: What makes a document relevant; `None` is the models' own.

    Raises:
        ValueError: One of them is out of range.
    """

    n: int = 50
    seed: int = 0
    language: str = "English"
    neighbours: int = 8
    least_relevance: float = 0.5
    least_lead: float = 2.0
    most_tries: int = 4
    instruction: str | None = None

    def __post_init__(self) -> None:
        """Checks them together."""
        for name in ("n", "neighbours", "most_tries"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if not 0 <= self.least_relevance <= 1:
            raise ValueError(f"least_relevance={self.least_relevance} must be a probability, from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftReport:
    """What came of asking a model for questions.

    Attributes:
        questions: The file of the questions.
        rejections: The file that says of each unit that has none why.
        drafted: The questions that were added.
        total: Drafted questions that the file holds now and that nobody has rejected.
        rejected: How many units have none, by reason; those of earlier calls are not counted.
        failures: What the model failed with, and at which unit: it may be asked again.
    """

    questions: Path
    rejections: Path
    drafted: tuple[Question, ...]
    total: int
    rejected: Mapping[str, int]
    failures: tuple[str, ...]


def draft_questions(
    index: MultimodalIndex,
    writer: QuestionWriter,
    to: str | Path,
    options: DraftOptions | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> DraftReport:
    """Asks a language model for questions that only one unit of an index answers, and adds them to a file.

    The model is shown one unit after the other: of each kind of media as many as there are, of many files before of one
    file many. Its question is kept if the reranker finds the unit relevant and every neighbour clearly less so. Kept
    questions are drafts with the name of the model, until somebody has checked them.

    Each outcome is on the disk before the next unit is asked about, rejected ones in a file beside: called again, also
    after the process was killed, it goes on, and asks no model twice about a unit.

    Args:
        index: With a reranker.
        writer: The language model; `adapt_question_writer` makes one of a model of LangChain or LlamaIndex.
        to: The file of questions, in JSONL; a new one if there is none.
        options: What is wanted; `None` is the defaults of `DraftOptions`.
        on_progress: Called with the number of questions that are there, and of all that are wanted.

    Raises:
        ValueError: The index has no reranker.
        InputError: The file is not understood.
        ModelError: The language model fails again and again.
        StoreError: The index is corrupt, or the disk is full.
    """
    if index.reranker is None:
        raise ValueError("drafts are filtered by a reranker, and this index has none; open it with one")
    options = DraftOptions() if options is None else options
    file = QuestionFile(Path(to))
    with _Rejections(file.path, writer.name) as rejections:
        drafting = _Drafting(index, index.reranker, writer, file, rejections, options)
        return drafting.run(on_progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rejected:
    """Why there is no question, and what it would have been."""

    reason: Rejection
    detail: str
    text: str | None = None


class _Rejections(AppendedLines):
    """The units of which no question came, and why: beside the file of questions.

    Args:
        questions: The file of questions.
        model: What another model could not ask for, this one may.
    """

    def __init__(self, questions: Path, model: str) -> None:
        super().__init__(questions.with_name(f"{questions.stem}-rejected.jsonl"))
        self._model = model
        known: list[dict[str, Any]] = [json.loads(line) for line in self.kept if line.strip()]
        self.unit_ids = {str(one["unit"]) for one in known if one["model"] == model}

    def add(self, unit: NamedUnit, rejected: _Rejected) -> None:
        values = {
            "unit": unit.id,
            "name": unit.names[0],
            "reason": rejected.reason,
            "detail": rejected.detail,
            "question": rejected.text,
            "model": self._model,
        }
        self.append(
            json.dumps({name: value for name, value in values.items() if value is not None}, ensure_ascii=False)
        )
        self.unit_ids.add(unit.id)


class _Drafting:
    def __init__(
        self,
        index: MultimodalIndex,
        reranker: Reranker,
        writer: QuestionWriter,
        file: QuestionFile,
        rejections: _Rejections,
        options: DraftOptions,
    ) -> None:
        self._index = index
        self._reranker = reranker
        self._writer = writer
        self._file = file
        self._rejections = rejections
        self._options = options
        self._directory = UnitDirectory(index.store)
        questions = file.read()
        self._ids = {question.id for question in questions}
        self._texts = {_normalize(question.text) for question in questions}
        self._total = sum(question.model is not None and not question.is_rejected for question in questions)
        self._drafted: list[Question] = []
        self._rejected: Counter[str] = Counter()
        self._failures: list[str] = []

    def run(self, on_progress: OnProgress | None) -> DraftReport:
        """Asks until there are enough questions, or enough units were asked about."""
        wanted = self._options.n
        draw = UnitDraw(self._directory.by_id.values(), seed=self._options.seed, is_done=self._recall)
        failed_in_a_row = 0
        for _ in range(self._options.most_tries * max(0, wanted - self._total)):
            if on_progress is not None:
                on_progress(self._total, wanted)
            unit = draw.draw() if self._total < wanted else None
            if unit is None:
                break
            try:
                outcome = self._ask(unit)
            except _WriterError as error:
                failed_in_a_row += 1
                self._failures.append(f"{unit.names[0]}: {error}")
                if failed_in_a_row == _MOST_FAILURES:
                    raise ModelError(
                        f"{self._writer.name} failed {_MOST_FAILURES} times in a row: {error}. What was drafted is in "
                        f"{quote(str(self._file.path))}; mend it, and run the same again to go on"
                    ) from error
                continue
            failed_in_a_row = 0
            draw.note(unit.media_type, is_hit=isinstance(outcome, DraftedText))
            self._keep(unit, outcome)
        if on_progress is not None:
            on_progress(self._total, wanted)
        return DraftReport(
            questions=self._file.path,
            rejections=self._rejections.path,
            drafted=tuple(self._drafted),
            total=self._total,
            rejected=dict(self._rejected),
            failures=tuple(self._failures),
        )

    def _recall(self, unit: NamedUnit) -> bool | None:
        if _name_draft(unit) in self._ids:
            return True
        return False if unit.id in self._rejections.unit_ids else None

    def _keep(self, unit: NamedUnit, outcome: DraftedText | _Rejected) -> None:
        if isinstance(outcome, _Rejected):
            self._rejections.add(unit, outcome)
            self._rejected[outcome.reason] += 1
            return
        values: dict[str, Any] = {"id": _name_draft(unit), "text": outcome.text}
        if outcome.language is not None:
            values["language"] = outcome.language
        values |= {
            "relevant": [describe_judgement(unit.judge(_GRADE))],
            "model": self._writer.name,
            "draft": True,
        }
        self._drafted.append(self._file.add(values))
        self._texts.add(_normalize(outcome.text))
        self._total += 1

    def _ask(self, unit: NamedUnit) -> DraftedText | _Rejected:
        """What comes of a unit.

        Raises:
            _WriterError: The model fails.
        """
        hits = build_hits(
            self._index.store,
            [Candidate(row=unit.row, similarity=1.0, keyword_rank=None)],
            policy=self._index.media_policy,
        )
        if not hits:
            return _Rejected(reason="unreadable", detail="it was removed from the index")
        try:
            prompt = _show_unit(hits[0], language=self._options.language)
        except InputError as error:
            return _Rejected(reason="unreadable", detail=error.reason)
        answer = _write_question(self._writer, prompt)
        try:
            drafted = parse_answer(answer)
        except InputError as error:
            return _Rejected(reason="broken answer", detail=error.reason)
        if drafted is None:
            return _Rejected(reason="no question", detail="the model found nothing to ask for")
        if _normalize(drafted.text) in self._texts:
            return _Rejected(reason="repeated", detail="the question is in the file already", text=drafted.text)
        try:
            rejected = self._judge(hits[0], drafted.text)
        except InputError as error:
            return _Rejected(reason="broken answer", detail=error.reason, text=drafted.text)
        return drafted if rejected is None else rejected

    def _judge(self, own: Hit, text: str) -> _Rejected | None:
        """Why a question is not kept: its own unit does not answer it, or another does, too; `None` if it is."""
        try:
            opened = [(own, own.item(render_pages=False))]
        except InputError as error:
            return _Rejected(reason="unreadable", detail=error.reason, text=text)
        for hit in self._find_neighbours(own, text):
            # A neighbour that cannot be opened answers nobody.
            with suppress(InputError):
                opened.append((hit, hit.item(render_pages=False)))
        return self._compare(opened, text)

    def _compare(self, opened: Sequence[tuple[Hit, Item]], text: str) -> _Rejected | None:
        """As `_judge`; the first of the units is that of the question."""
        items = [item for _, item in opened]
        judged = judge_documents(self._reranker, text, items, instruction=self._options.instruction)
        own, *others = judged
        if isinstance(own, InputError):
            return _Rejected(reason="unreadable", detail=own.reason, text=text)
        if own.score < self._options.least_relevance:
            detail = f"the reranker gives its own unit {own.score:.3f}"
            return _Rejected(reason="not answered", detail=detail, text=text)
        rivals = [
            (answer.margin, answer.score, hit)
            for (hit, _), answer in zip(opened[1:], others, strict=True)
            if not isinstance(answer, InputError) and answer.margin > own.margin - self._options.least_lead
        ]
        if not rivals:
            return None
        _, score, rival = max(rivals, key=lambda one: one[0])
        named = self._directory.by_id.get(rival.id)
        name = rival.id if named is None else named.names[0]
        detail = f"the reranker gives {name} {score:.3f}, and its own unit {own.score:.3f}"
        return _Rejected(reason="not unique", detail=detail, text=text)

    def _find_neighbours(self, own: Hit, text: str) -> list[Hit]:
        """The units nearest to the unit, and those that a search for the question finds first."""
        store = self._index.store
        rows = list(store.catalog.find_rows([own.id]).values())
        _, vectors = store.read_vectors(rows)
        query = self._index.embedder.embed([text], input_type="query", instruction=self._options.instruction)[0]
        found = [*self._recall_units(query, words=text)]
        for vector in vectors:
            found += self._recall_units(vector, words="")
        distinct = {candidate.row: candidate for candidate in found if candidate.row not in rows}
        return build_hits(store, list(distinct.values()), policy=self._index.media_policy)

    def _recall_units(self, vector: Float[np.ndarray, " dimensions"], *, words: str) -> list[Candidate]:
        # One more: the unit itself is among them.
        query = CandidateQuery(vector=vector, words=words, limit=self._options.neighbours + 1, oversample=4, where=None)
        return find_candidates(self._index.store, query)


class _WriterError(Exception):
    """A language model has not answered."""


def _write_question(writer: QuestionWriter, prompt: DraftPrompt) -> str:
    try:
        return writer.write_question(prompt)
    # Whatever a provider's client raises costs one question, and is named; see `QuestionWriter`.
    except Exception as error:
        raise _WriterError(explain(error)) from error


def _show_unit(hit: Hit, *, language: str) -> DraftPrompt:
    """What a model is asked about a unit.

    Raises:
        InputError: Its file cannot be opened.
    """
    images = [] if hit.media_type == "text" else hit.frames(count=_FRAMES)
    return build_prompt(
        hit.media_type,
        text=find_text(hit),
        images=[encode_jpeg(image, max_pixels=_MOST_IMAGE_PIXELS, max_bytes=_MOST_IMAGE_BYTES) for image in images],
        language=language,
    )


def _name_draft(unit: NamedUnit) -> str:
    return f"draft-{unit.id[:_ID_CHARACTERS]}"


def _normalize(text: str) -> str:
    return " ".join(text.casefold().split())
