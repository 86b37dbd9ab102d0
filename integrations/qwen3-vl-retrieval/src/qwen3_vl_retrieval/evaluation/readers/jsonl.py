"""Questions in a file of our own: one JSON object a line.

```json
{"id": "q1", "text": "total due of invoice 118", "language": "en", "tags": ["tables"],
 "relevant": [{"source": "papers/invoice.pdf", "page": 1, "grade": 2}, "notes/prices.csv"]}
{"image": "mug.jpg", "relevant": [{"source": "talk.mp4", "time": 93.5}, {"source": "b.mp4", "start": 10, "end": 20}]}
```
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.evaluation.questions import Judgement, Question, QuestionSet
from qwen3_vl_retrieval.evaluation.readers.lines import read_json_lines, read_text

__all__ = ["read_jsonl"]

_NAMES = frozenset({"id", "text", "image", "language", "tags", "relevant", "model", "status", "note"})
_JUDGED_NAMES = frozenset({"source", "page", "time", "start", "end", "grade"})


def read_jsonl(path: Path) -> QuestionSet:
    """Returns the questions of a file; the images of questions are looked for beside it.

    Raises:
        InputError: A line is not understood; the message begins with its place.
    """
    questions = [
        _read_question(values, where, folder=path.absolute().parent, number=number)
        for number, (where, values) in enumerate(read_json_lines(path), start=1)
    ]
    return QuestionSet(questions=tuple(questions), origin=path.name)


def _read_question(values: Mapping[str, Any], where: str, *, folder: Path, number: int) -> Question:
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
        judgements=tuple(_read_judgement(one, where) for one in judged),
        where=where,
    )


def _read_judgement(given: object, where: str) -> Judgement:
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
