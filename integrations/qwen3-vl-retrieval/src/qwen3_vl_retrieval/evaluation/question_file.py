"""Questions in a file of our own, changed one at a time: each change is on the disk before the next is made."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from filelock import FileLock

from qwen3_vl_retrieval.errors import InputError, explain_disk_errors, quote
from qwen3_vl_retrieval.evaluation.questions import Judgement, Question
from qwen3_vl_retrieval.evaluation.readers.jsonl import read_question
from qwen3_vl_retrieval.evaluation.readers.lines import read_json_lines
from qwen3_vl_retrieval.forks import ForkSafeLock
from qwen3_vl_retrieval.index.store.store import sync_folder

__all__ = ["Edit", "QuestionFile", "describe_judgement", "name_question_file"]

Edit: TypeAlias = Callable[[Question, Mapping[str, Any]], Mapping[str, Any]]
"""From a question and its line to new values of the line."""

_MOST_SECONDS = 30.0
"""A change takes milliseconds; who waits longer waits for a process that hangs."""


def name_question_file(store: Path) -> Path:
    """Returns the file of the questions of an index: beside its folder, which may be built again."""
    folder = store.absolute()
    return folder.with_name(f"{folder.name}-questions.jsonl")


def describe_judgement(judgement: Judgement) -> dict[str, Any]:
    """Returns a judgement as a line has it."""
    values = {
        "source": judgement.source,
        "page": judgement.page,
        "start": judgement.start,
        "end": judgement.end,
        "grade": judgement.grade,
    }
    return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A question, and the line that it was read from."""

    values: Mapping[str, Any]
    question: Question


class QuestionFile:
    """A file of questions that people and programs change together.

    It is read before each change, and exchanged as a whole: a process that is killed leaves it as it was before the
    change or after it, and programs that change other questions at the same time lose nothing. Lines of other
    questions keep what they hold.

    Args:
        path: The file; there need be none yet.
    """

    def __init__(self, path: Path) -> None:
        # A link stays a link: what it leads to is exchanged.
        self.path = path.resolve()
        self._lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=_MOST_SECONDS, thread_local=False)
        # File locks nest within an object, whichever thread asks: threads are kept apart by one of their own.
        self._thread_lock = ForkSafeLock()

    def read(self) -> list[Question]:
        """Returns the questions, those included that were rejected; none if there is no file.

        Raises:
            InputError: A line is not understood.
        """
        return [line.question for line in self._read()]

    def find(self, question_id: str) -> Question:
        """Returns a question.

        Raises:
            InputError: There is none with this id, or a line is not understood.
        """
        lines = self._read()
        return lines[_find_place(lines, question_id)].question

    def add(self, values: Mapping[str, Any]) -> Question:
        """Adds a question at the end, and returns it.

        Args:
            values: What its line is to hold, with an `id` that no other question has.

        Raises:
            InputError: They are not understood.
            StoreError: The file cannot be written.
        """
        with self._hold():
            lines = self._read()
            added = self._build(values, number=len(lines) + 1)
            if any(line.question.id == added.id for line in lines):
                raise InputError(f"the id {quote(added.id)} is that of another question of {self.path.name}, too")
            self._write([*lines, _Line(values=values, question=added)])
        return added

    def change(self, question_id: str, edit: Edit) -> Question:
        """Changes what the line of a question holds, and returns the question.

        Args:
            question_id: Its id.
            edit: Called with the question and its line, returns new values by name; `None` takes a name out.

        Raises:
            InputError: There is none with this id, or the values are not understood; or what `edit` raises.
            StoreError: The file cannot be written.
        """
        with self._hold():
            lines = self._read()
            place = _find_place(lines, question_id)
            line = lines[place]
            values = {**line.values, **edit(line.question, line.values)}
            merged = {name: value for name, value in values.items() if value is not None}
            changed = self._build(merged, number=place + 1)
            lines[place] = _Line(values=merged, question=changed)
            self._write(lines)
        return changed

    def _build(self, values: Mapping[str, Any], *, number: int) -> Question:
        return read_question(values, f"{self.path.name}, line {number}", folder=self.path.parent, number=number)

    def _read(self) -> list[_Line]:
        if not self.path.exists():
            return []
        return [
            _Line(
                values=values,
                question=read_question(values, where, folder=self.path.parent, number=number),
            )
            for number, (where, values) in enumerate(read_json_lines(self.path), start=1)
        ]

    @contextmanager
    def _hold(self) -> Generator[None, None, None]:
        """Holds the file for a change: from reading it to exchanging it."""
        with self._thread_lock:
            with explain_disk_errors(self.path.parent):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # A Timeout is an OSError, and says which file is held.
                self._lock.acquire()
            try:
                yield
            finally:
                self._lock.release()

    def _write(self, lines: list[_Line]) -> None:
        text = "".join(f"{json.dumps(line.values, ensure_ascii=False)}\n" for line in lines)
        temporary = self.path.with_name(f".{self.path.name}.new")
        with explain_disk_errors(self.path.parent):
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if self.path.exists():
                shutil.copymode(self.path, temporary)
            temporary.replace(self.path)
            # The exchange itself is on the disk, too.
            sync_folder(self.path.parent)


def _find_place(lines: list[_Line], question_id: str) -> int:
    place = next((place for place, line in enumerate(lines) if line.question.id == question_id), None)
    if place is None:
        raise InputError(f"there is no question {quote(question_id)} any more; it may have been removed from the file")
    return place
