"""A data set in the folder of BEIR: `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.evaluation.corpus import CorpusEntry
from qwen3_vl_retrieval.evaluation.questions import Judgement, QuestionSet
from qwen3_vl_retrieval.evaluation.readers.lines import read_json_lines, read_lines, read_number, read_text
from qwen3_vl_retrieval.evaluation.readers.trec import join_judgements, read_queries

__all__ = ["is_beir", "iterate_beir_corpus", "read_beir"]

_COLUMNS = ("query-id", "corpus-id", "score")


def is_beir(folder: Path) -> bool:
    """Returns whether a folder is one of BEIR."""
    return (folder / "queries.jsonl").is_file()


def read_beir(folder: Path, *, split: str = "test") -> QuestionSet:
    """Returns the questions that have judgements in a split.

    Raises:
        InputError: A file is missing, or a line is not understood.
    """
    qrels = _find_qrels(folder, split)
    return join_judgements(read_queries(folder / "queries.jsonl"), _read_qrels(qrels), origin=folder.name)


def iterate_beir_corpus(folder: Path) -> Iterator[CorpusEntry]:
    """Yields the entries of the corpus: title and text as one.

    Raises:
        InputError: The file is missing, or a line is not understood.
    """
    for where, values in read_json_lines(folder / "corpus.jsonl"):
        text = read_text(values, ("text",), where)
        title = values.get("title")
        joined = f"{title}\n{text}" if isinstance(title, str) and title.strip() else text
        yield CorpusEntry(id=read_text(values, ("_id", "id", "corpus-id"), where), item=joined, where=where)


def _find_qrels(folder: Path, split: str) -> Path:
    wanted = folder / "qrels" / f"{split}.tsv"
    if wanted.is_file():
        return wanted
    found = sorted((folder / "qrels").glob("*.tsv"))
    if len(found) == 1:
        return found[0]
    named = ", ".join(path.name for path in found) or "nothing"
    raise InputError(f"there is no qrels/{split}.tsv in {quote(str(folder))}; its folder qrels holds {named}")


def _read_qrels(path: Path) -> list[tuple[str, Judgement]]:
    judged: list[tuple[str, Judgement]] = []
    columns: tuple[str, ...] | None = None
    for where, line in read_lines(path):
        fields = tuple(field.strip() for field in line.split("\t"))
        if columns is None:
            columns = fields
            missing = [name for name in _COLUMNS if name not in columns]
            if missing:
                raise InputError(
                    f"{where}: the column {missing[0]!r} is missing; the first line must name {', '.join(_COLUMNS)}, "
                    f"with tabs between them, and names {quote(line)}"
                )
            continue
        if len(fields) != len(columns):
            raise InputError(f"{where}: {len(fields)} fields, and the first line names {len(columns)}")
        row = dict(zip(columns, fields, strict=True))
        grade = read_number(row["score"], "score", where)
        judged.append((row["query-id"], Judgement(source=row["corpus-id"], grade=grade, where=where)))
    if not judged:
        raise InputError(f"{path.name} holds no judgements; give at least one")
    return judged
