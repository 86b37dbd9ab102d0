"""Questions with what a person has said of them: judged unit by unit, and each time written to their file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal, TypeAlias, cast

from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.evaluation.directory import NamedUnit, UnitDirectory
from qwen3_vl_retrieval.evaluation.question_file import QuestionFile, describe_judgement
from qwen3_vl_retrieval.evaluation.questions import Question
from qwen3_vl_retrieval.evaluation.readers.jsonl import read_judgement
from qwen3_vl_retrieval.index.store.store import Store

__all__ = ["QuestionDesk", "Status", "find_status"]

Status: TypeAlias = Literal["draft", "accepted", "rejected"]
"""What a person has said of a question: nothing yet, that it is good, or that it is not to be asked."""


def find_status(question: Question) -> Status:
    """Returns what a person has said of a question."""
    return "rejected" if question.is_rejected else "draft" if question.is_draft else "accepted"


class QuestionDesk:
    """The questions of an index, on which a person works.

    Args:
        path: Their file; there need be none yet.
        store: The index: which units there are is read once.
    """

    def __init__(self, path: Path, store: Store) -> None:
        self._file = QuestionFile(path)
        self._directory = UnitDirectory(store)

    @property
    def path(self) -> Path:
        """Where everything is saved."""
        return self._file.path

    def read(self) -> list[Question]:
        """Returns all questions.

        Raises:
            InputError: The file is not understood.
        """
        return self._file.read()

    def find(self, question_id: str) -> Question:
        """Returns a question.

        Raises:
            InputError: There is none with this id.
        """
        return self._file.find(question_id)

    def grade_units(self, question: Question) -> dict[str, int]:
        """Returns the grade of each unit that a question has one for, by its id.

        Raises:
            InputError: A source is the end of several paths.
        """
        grades: dict[str, int] = {}
        for judgement in question.judgements:
            units = self._directory.find_units(judgement)
            for unit in units:
                # What is said of the unit alone goes before what is said of its whole file.
                if len(units) == 1 or unit.id not in grades:
                    grades[unit.id] = judgement.grade
        return grades

    def find_rows(self, unit_ids: Sequence[str]) -> list[int]:
        """Returns the rows of those units that the index holds."""
        return [self._directory.by_id[one].row for one in unit_ids if one in self._directory.by_id]

    def judge(self, question_id: str, unit_id: str, grade: int | None) -> Question:
        """Writes how well a unit answers a question, in the place of what was said of it, and returns the question.

        Args:
            question_id: The question.
            unit_id: The unit.
            grade: 0 is not at all, 1 in part, 2 fully; `None` takes back what was said.

        Raises:
            InputError: There is no such question or unit.
            StoreError: The file cannot be written.
        """
        unit = self._directory.by_id.get(unit_id)
        if unit is None:
            raise InputError(f"there is no unit {quote(unit_id)} in this index; it may have been removed since")
        return self._file.change(question_id, lambda _, values: {"relevant": self._enter(values, unit, grade)})

    def change(
        self, question_id: str, *, text: str | None = None, language: str | None = None, status: Status | None = None
    ) -> Question:
        """Writes what a person has made of a question, and returns it; `None` leaves what is there.

        Raises:
            InputError: There is no such question, its text is blank, or it is accepted without an answer.
            StoreError: The file cannot be written.
        """

        def edit(question: Question, _: Mapping[str, Any]) -> dict[str, Any]:
            values: dict[str, Any] = {}
            if text is not None:
                values["text"] = " ".join(text.split())
            if language is not None:
                values["language"] = language.strip() or None
            if status is not None:
                if status == "accepted" and not question.has_answer:
                    raise InputError("nothing answers this question yet: judge a result as relevant, or reject it")
                values["draft"] = True if status == "draft" else None
                values["rejected"] = True if status == "rejected" else None
            return values

        return self._file.change(question_id, edit)

    def add(self, text: str, language: str | None) -> Question:
        """Adds a question that a person has thought of, not judged yet, and returns it.

        Raises:
            InputError: The text is blank.
            StoreError: The file cannot be written.
        """
        values: dict[str, Any] = {"id": f"own-{token_hex(6)}", "text": " ".join(text.split())}
        if language is not None and language.strip():
            values["language"] = language.strip()
        return self._file.add(values | {"relevant": [], "draft": True})

    def _enter(self, values: Mapping[str, Any], unit: NamedUnit, grade: int | None) -> list[Any]:
        """The judgements of a line with that of a unit, which stands where an earlier one stood."""
        given = values["relevant"]
        entries = cast("list[Any]", given) if isinstance(given, list) else [given]
        entry = [] if grade is None else [describe_judgement(unit.judge(grade))]
        entered: list[Any] = []
        for one in entries:
            if [found.id for found in self._directory.find_units(read_judgement(one, ""))] != [unit.id]:
                entered.append(one)
            else:
                entered += entry
                entry = []
        return [*entered, *entry]
