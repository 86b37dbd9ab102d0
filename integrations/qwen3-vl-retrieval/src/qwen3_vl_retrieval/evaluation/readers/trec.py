"""Judgements as TREC has them, `question 0 document grade`, with the questions in a file of their own."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.evaluation.questions import Judgement, Question, QuestionSet
from qwen3_vl_retrieval.evaluation.readers.lines import read_json_lines, read_lines, read_number, read_text

__all__ = ["join_judgements", "read_qrels", "read_queries", "read_trec"]

_QREL_FIELDS = 4


def read_trec(queries: Path, qrels: Path) -> QuestionSet:
    """Returns the questions of a file (TSV `id<TAB>text`, or JSONL with `_id` and `text`) with judgements of TREC.

    Documents are named as in runs that this package writes: an id of a corpus, or a path, with `#page=3` or `#t=10,20`
    after it and white space as `%20`.

    Raises:
        InputError: A line is not understood, or a judgement is about an unknown question.
    """
    return join_judgements(read_queries(queries), read_qrels(qrels), origin=f"{queries.name} and {qrels.name}")


def read_queries(path: Path) -> dict[str, Question]:
    """Returns the questions of a file by id, without judgements.

    Raises:
        InputError: A line is not understood, an id is there twice, or there is no question.
    """
    questions: dict[str, Question] = {}
    for question in _list_json(path) if path.suffix.lower() in (".jsonl", ".json") else _list_rows(path):
        if question.id in questions:
            raise InputError(
                f"{question.where}: the id {quote(question.id)} is that of another question, too "
                f"({questions[question.id].where}); each needs its own"
            )
        questions[question.id] = question
    if not questions:
        raise InputError(f"{path.name} holds no questions; give at least one")
    return questions


def read_qrels(path: Path) -> list[tuple[str, Judgement]]:
    """Returns the id of the question and the judgement of each line.

    Raises:
        InputError: A line is not understood, or there is none.
    """
    judged: list[tuple[str, Judgement]] = []
    for where, line in read_lines(path):
        fields = line.split()
        if len(fields) != _QREL_FIELDS:
            raise InputError(
                f"{where}: {quote(line)} has {len(fields)} fields; TREC has four: question, 0, document, grade"
            )
        name, _, document, grade = fields
        judged.append((name, _name_document(document, read_number(grade, "grade", where), where)))
    if not judged:
        raise InputError(f"{path.name} holds no judgements; give at least one")
    return judged


def join_judgements(questions: dict[str, Question], judged: list[tuple[str, Judgement]], *, origin: str) -> QuestionSet:
    """Returns the questions that are judged, with their judgements.

    Raises:
        InputError: A judgement is about an unknown question, or one is there twice.
    """
    by_question: dict[str, list[Judgement]] = {}
    for name, judgement in judged:
        if name not in questions:
            raise InputError(f"{judgement.where}: there is no question {quote(name)} among those of {origin}")
        by_question.setdefault(name, []).append(judgement)
    known = {name: judgements for name, judgements in by_question.items() if any(one.grade > 0 for one in judgements)}
    return QuestionSet(
        questions=tuple(
            Question(
                id=name,
                text=questions[name].text,
                language=questions[name].language,
                judgements=tuple(judgements),
                where=questions[name].where,
            )
            for name, judgements in known.items()
        ),
        origin=origin,
        unjudged=len(questions) - len(known),
    )


def _list_json(path: Path) -> list[Question]:
    return [
        Question(
            id=read_text(values, ("_id", "id", "query-id"), where),
            text=read_text(values, ("text", "query"), where),
            language=values.get("language") if isinstance(values.get("language"), str) else None,
            judgements=(),
            where=where,
        )
        for where, values in read_json_lines(path)
    ]


def _list_rows(path: Path) -> list[Question]:
    questions: list[Question] = []
    for where, line in read_lines(path):
        name, tab, text = line.partition("\t")
        if not tab:
            raise InputError(f"{where}: {quote(line)} has no tab; give the id of the question, a tab, and its text")
        questions.append(Question(id=name.strip(), text=text.strip(), judgements=(), where=where))
    return questions


def _name_document(document: str, grade: int, where: str) -> Judgement:
    name, _, place = unquote(document).partition("#")
    key, _, value = place.partition("=")
    match key:
        case "":
            return Judgement(source=name, grade=grade, where=where)
        case "page":
            return Judgement(source=name, page=read_number(value, "page", where), grade=grade, where=where)
        case "t":
            start, _, end = value.partition(",")
            try:
                times = float(start), float(end or start)
            except ValueError:
                raise InputError(f"{where}: the time {quote(value)} is no number of seconds") from None
            return Judgement(source=name, start=times[0], end=times[1], grade=grade, where=where)
        case _:
            # A sign that belongs to the id.
            return Judgement(source=unquote(document), grade=grade, where=where)
