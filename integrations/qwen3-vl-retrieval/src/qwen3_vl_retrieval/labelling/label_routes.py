"""`/v1/label`: questions, what may answer them, and what a person says of both: saved before it is answered."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from qwen3_vl_retrieval.documents.previews import draw_miniature, encode_jpeg
from qwen3_vl_retrieval.evaluation.questions import Question
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.items import ImagePart
from qwen3_vl_retrieval.labelling.candidate_pool import CandidatePool
from qwen3_vl_retrieval.labelling.question_desk import QuestionDesk, Status, find_status
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.paths import show_path
from qwen3_vl_retrieval.server.request_errors import RequestError
from qwen3_vl_retrieval.server.search_routes import FoundHit, describe_found
from qwen3_vl_retrieval.server.source_names import SourceNames

__all__ = ["build_label_router"]

_MOST_CHARACTERS = 2_000

_MOST_ID_CHARACTERS = 500

_BEST_GRADE = 2

_IMAGE_SIDE_PIXELS = 480


class LabelledQuestion(BaseModel):
    """A question; `judged` counts the units that have a grade, `answers` those with one above 0."""

    id: str
    text: str
    has_image: bool
    language: str | None
    tags: list[str]
    model: str | None
    status: Status
    judged: int
    answers: int


class QuestionList(BaseModel):
    """All questions, and the file that they are saved in."""

    file: str
    index: str
    has_reranker: bool
    questions: list[LabelledQuestion]


class LabelCandidate(BaseModel):
    """A unit that may answer a question, with its grade; `null` if nobody has given one."""

    hit: FoundHit
    grade: int | None


class CandidateList(BaseModel):
    """What may answer a question, in an order that says nothing."""

    question: LabelledQuestion
    candidates: list[LabelCandidate]


class _Change(BaseModel):
    model_config = ConfigDict(extra="forbid")

    question: str = Field(max_length=_MOST_ID_CHARACTERS, description="Id of the question.")


class JudgeRequest(_Change):
    """How well a unit answers: 0 not at all, 1 in part, 2 fully; `null` takes the grade back."""

    unit: str = Field(max_length=_MOST_ID_CHARACTERS, description="Id of the unit.")
    grade: int | None = Field(ge=0, le=_BEST_GRADE)


class ChangeRequest(_Change):
    """What becomes of a question; what is left out stays."""

    text: str | None = Field(None, min_length=1, max_length=_MOST_CHARACTERS)
    language: str | None = Field(None, max_length=35)
    status: Status | None = None


class AddRequest(BaseModel):
    """A new question."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=_MOST_CHARACTERS)
    language: str | None = Field(None, max_length=35)


def build_label_router(index: MultimodalIndex, desk: QuestionDesk, pool: CandidatePool) -> APIRouter:
    """Returns the routes below `/v1/label`; a change is on the disk when it is answered.

    Args:
        index: What the questions are asked of.
        desk: The questions.
        pool: Finds what may answer them.
    """
    routes = _LabelRoutes(index, desk, pool)
    router = APIRouter(prefix="/v1/label", tags=["label"])
    router.get("/questions", summary="List the questions")(routes.list_questions)
    router.post("/questions", summary="Add a question")(routes.add)
    router.get("/candidates", summary="Find what may answer a question")(routes.list_candidates)
    router.get("/image", summary="Show the image of a question", response_class=Response)(routes.show_image)
    router.post("/judge", summary="Say how well a unit answers")(routes.judge)
    router.post("/change", summary="Accept, mend or reject a question")(routes.change)
    return router


class _LabelRoutes:
    # Not coroutines: files and models are waited for, in threads.
    def __init__(self, index: MultimodalIndex, desk: QuestionDesk, pool: CandidatePool) -> None:
        self._index = index
        self._desk = desk
        self._pool = pool

    def list_questions(self) -> QuestionList:
        """Returns all questions in the order of their file."""
        return QuestionList(
            file=show_path(self._desk.path),
            index=show_path(self._index.store.layout.folder.name),
            has_reranker=self._index.reranker is not None,
            questions=[self._describe(question) for question in self._desk.read()],
        )

    def list_candidates(self, question: Annotated[str, Query(max_length=_MOST_ID_CHARACTERS)]) -> CandidateList:
        """Returns what may answer a question, and how it was judged."""
        asked = self._desk.find(question)
        grades = self._desk.grade_units(asked)
        hits = self._pool.find(asked, judged_rows=self._desk.find_rows(list(grades)))
        names = SourceNames.read(self._index.store.catalog)
        return CandidateList(
            question=self._describe(asked),
            candidates=[LabelCandidate(hit=describe_found(hit, names), grade=grades.get(hit.id)) for hit in hits],
        )

    def show_image(self, question: Annotated[str, Query(max_length=_MOST_ID_CHARACTERS)]) -> Response:
        """Returns the image of a question as JPEG."""
        image = self._desk.find(question).image
        if image is None:
            raise RequestError(404, "this question has no image")
        # Which image it is, the file of the person who labels says.
        drawn = draw_miniature(ImagePart(image), MediaPolicy(), side_pixels=_IMAGE_SIDE_PIXELS)
        headers = {"Cross-Origin-Resource-Policy": "same-origin", "X-Content-Type-Options": "nosniff"}
        return Response(encode_jpeg(drawn), media_type="image/jpeg", headers=headers)

    def judge(self, asked: JudgeRequest) -> LabelledQuestion:
        """Saves how well a unit answers a question."""
        return self._describe(self._desk.judge(asked.question, asked.unit, asked.grade))

    def change(self, asked: ChangeRequest) -> LabelledQuestion:
        """Saves what becomes of a question."""
        changed = self._desk.change(asked.question, text=asked.text, language=asked.language, status=asked.status)
        return self._describe(changed)

    def add(self, asked: AddRequest) -> LabelledQuestion:
        """Saves a new question."""
        return self._describe(self._desk.add(asked.text, asked.language))

    def _describe(self, question: Question) -> LabelledQuestion:
        grades = [judgement.grade for judgement in question.judgements]
        return LabelledQuestion(
            id=question.id,
            text=question.text,
            has_image=question.image is not None,
            language=question.language,
            tags=list(question.tags),
            model=question.model,
            status=find_status(question),
            judged=len(grades),
            answers=sum(grade > 0 for grade in grades),
        )
