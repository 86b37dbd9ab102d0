"""Questions in a file of our own: one JSON object a line.

```json
{"id": "q1", "text": "total due of invoice 118", "language": "en", "tags": ["tables"],
 "relevant": [{"source": "papers/invoice.pdf", "page": 1, "grade": 2}, "notes/prices.csv"]}
{"image": "mug.jpg", "relevant": [{"source": "talk.mp4", "time": 93.5}, {"source": "b.mp4", "start": 10, "end": 20}]}
{"text": "who signed?", "model": "openai:gpt-4o", "draft": true, "relevant": [{"source": "deed.pdf", "page": 4}]}
```

A draft has not been checked by a person; it is asked as long as nobody has set `"rejected": true`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.evaluation.questions import Judgement, Question, QuestionSet
from qwen3_vl_retrieval.evaluation.readers.lines import read_json_lines, read_text

__all__ = ["read_jsonl", "read_judgement", "read_question"]

_NAMES = frozenset({"id", "text", "image", "language", "tags", "relevant", "model", "draft", "rejected", "note"})
_JUDGED_NAMES = frozenset({"source", "page", "time", "start", "end", "grade"})


def read_jsonl(path: Path) -> QuestionSet:
    """Returns the questions of a file; the images of questions are looked for beside it.

    Those that somebody has rejected are left out, and so are drafts to which nobody knows an answer.

    Raises:
        InputError: A line is not understood; the message begins with its place.
    """
    read = [
        read_question(values, where, folder=path.absolute().parent, number=number)
        for number, (where, values) in enumerate(read_json_lines(path), start=1)
    ]
    wanted = [question for question in read if not question.is_rejected]
    asked = [question for question in wanted if question.has_answer or not question.is_draft]
    return QuestionSet(questions=tuple(asked), origin=path.name, unjudged=len(wanted) - len(asked))


def read_question(values: Mapping[str, Any], where: str, *, folder: Path, number: int) -> Question:
    """Returns the question of a line.

    Args:
        values: What the line holds.
        where: File and line, for messages.
        folder: Where its image is looked for.
        number: Its id if it has none.

    Raises:
        InputError: It is not understood.
    """
    _check_names(values, _NAMES, where)
    if "relevant" not in values:
        raise InputError(f"{where}: there is no 'relevant', the list of sources that answer the question")
    relevant = values["relevant"]
    judged = cast("list[Any]", relevant) if isinstance(relevant, list) else [relevant]
    image = folder / read_text(values, ("image",), where) if values.get("image") is not None else None
    if image is not None and not image.is_file():
        raise InputError(f"{where}: there is no image {quote(str(image))}; name it as seen from the file of questions")
    tags = values.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in cast("list[Any]", tags)):
        raise InputError(f"{where}: 'tags' is {quote(values['tags'], with_type=True)}; it must be a list of texts")
    return Question(
        id=read_text(values, ("id",), where) if "id" in values else str(number),
        text="" if values.get("text") is None else read_text(values, ("text",), where),
        image=image,
        language=None if values.get("language") is None else read_text(values, ("language",), where),
        tags=tuple(cast("list[str]", tags)),
        judgements=tuple(read_judgement(one, where) for one in judged),
        model=None if values.get("model") is None else read_text(values, ("model",), where),
        is_draft=_read_mark(values, "draft", where),
        is_rejected=_read_mark(values, "rejected", where),
        where=where,
    )


def read_judgement(given: object, where: str) -> Judgement:
    """Returns an entry of `relevant`: the path of a source, or an object with `source`.

    Raises:
        InputError: It is not understood.
    """
    if isinstance(given, str):
        return Judgement(source=given, where=where)
    if not isinstance(given, dict):
        raise InputError(f"{where}: {quote(given)} is no source: give its path, or an object with 'source'")
    values = cast("dict[str, Any]", given)
    _check_names(values, _JUDGED_NAMES, where)
    if "time" in values and ("start" in values or "end" in values):
        raise InputError(f"{where}: 'time' is a single moment, and 'start' and 'end' are its limits; give one of both")
    start = _read_seconds(values, "time" if "time" in values else "start", where)
    end = start if "time" in values else _read_seconds(values, "end", where)
    if (start is None) != (end is None) or (start is not None and end is not None and end < start):
        raise InputError(f"{where}: a moment needs 'time', or 'start' and an 'end' that is not before it")
    page = _read_whole(values, "page", where, least=1)
    if page is not None and start is not None:
        raise InputError(f"{where}: a source has pages or times, and not both")
    grade = _read_whole(values, "grade", where, least=0)
    return Judgement(
        source=read_text(values, ("source",), where),
        page=page,
        start=start,
        end=end,
        grade=1 if grade is None else grade,
        where=where,
    )


def _read_mark(values: Mapping[str, Any], name: str, where: str) -> bool:
    value = values.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"{where}: {name!r} is {quote(value, with_type=True)}; it must be true or false")
    return value


def _read_whole(values: Mapping[str, Any], name: str, where: str, *, least: int) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{where}: {name!r} is {quote(value)}; it must be a whole number of at least {least}")
    return value


def _read_seconds(values: Mapping[str, Any], name: str, where: str) -> float | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise InputError(f"{where}: {name!r} is {quote(value)}; it must be a number of seconds, from 0")
    return float(value)


def _check_names(values: Mapping[str, Any], allowed: Sequence[str] | frozenset[str], where: str) -> None:
    unknown = [name for name in values if name not in allowed]
    if unknown:
        raise InputError(f"{where}: {quote(unknown[0])} is unknown; allowed are {', '.join(sorted(allowed))}")
