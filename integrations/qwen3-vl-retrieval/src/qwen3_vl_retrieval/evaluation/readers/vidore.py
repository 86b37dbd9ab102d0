"""A data set as ViDoRe publishes it ("beir"): Parquet in three parts, with the images of the pages inside.

`corpus{corpus-id, image}`, `queries{query-id, query}` and `qrels{query-id, corpus-id, score}`, each in a folder of its
name (`corpus/test-00000-of-00001.parquet`), or in a file whose name begins with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from qwen3_vl_retrieval.errors import InputError, explain, quote
from qwen3_vl_retrieval.evaluation.corpus import CorpusEntry
from qwen3_vl_retrieval.evaluation.questions import Judgement, Question, QuestionSet
from qwen3_vl_retrieval.evaluation.readers.lines import read_number
from qwen3_vl_retrieval.evaluation.readers.trec import join_judgements
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.lazy_imports import import_extra

__all__ = ["is_vidore", "iterate_vidore_corpus", "read_vidore"]

_IMAGE_ROWS = 16
"""Rows with images that are in memory at a time."""

_ROWS = 4096


def is_vidore(folder: Path) -> bool:
    """Returns whether a folder holds the questions of such a data set."""
    return bool(_list_files(folder, "queries"))


def read_vidore(folder: Path) -> QuestionSet:
    """Returns the questions that have judgements.

    Raises:
        InputError: A part or a column is missing, or a value is not understood.
        StoreError: pyarrow is not installed.
    """
    questions: dict[str, Question] = {}
    for where, row in _iterate_rows(folder, "queries", ("query-id", "query"), optional=("language",)):
        name = str(row["query-id"])
        if name in questions:
            raise InputError(
                f"{where}: the id {quote(name)} is that of another question, too ({questions[name].where}); each needs "
                "its own"
            )
        text, language = row["query"], row.get("language")
        if not isinstance(text, str):
            raise InputError(f"{where}: 'query' is {quote(text, with_type=True)}; it must be a text")
        questions[name] = Question(
            id=name, text=text, language=language if isinstance(language, str) else None, judgements=(), where=where
        )
    if not questions:
        raise InputError(f"the part 'queries' of {quote(str(folder))} holds no rows; give at least one question")
    judged = [
        (
            str(row["query-id"]),
            Judgement(source=str(row["corpus-id"]), grade=read_number(str(row["score"]), "score", where), where=where),
        )
        for where, row in _iterate_rows(folder, "qrels", ("query-id", "corpus-id", "score"))
    ]
    if not judged:
        raise InputError(f"the part 'qrels' of {quote(str(folder))} holds no rows; give at least one judgement")
    return join_judgements(questions, judged, origin=folder.name)


def iterate_vidore_corpus(folder: Path) -> Iterator[CorpusEntry]:
    """Yields the pages of the corpus, their images as they are in the file, a few in memory at a time.

    Raises:
        InputError: The part or a column is missing, or a value is not understood.
        StoreError: pyarrow is not installed.
    """
    rows = _iterate_rows(folder, "corpus", ("corpus-id", "image"), batch_rows=_IMAGE_ROWS)
    for where, row in rows:
        yield CorpusEntry(id=str(row["corpus-id"]), item=_read_image(row["image"], where), where=where)


def _read_image(value: Any, where: str) -> Item:
    # The Hub's tools keep an image as its bytes with the name of its file; others keep the bytes alone.
    content = cast("dict[str, Any]", value).get("bytes") if isinstance(value, dict) else cast("object", value)
    if not isinstance(content, bytes) or not content:
        raise InputError(f"{where}: 'image' is {quote(content, with_type=True)}; it must hold the bytes of an image")
    return {"image": content}


def _list_files(folder: Path, part: str) -> list[Path]:
    return sorted({*folder.glob(f"{part}/**/*.parquet"), *folder.glob(f"{part}*.parquet")})


def _iterate_rows(
    folder: Path, part: str, columns: Sequence[str], *, optional: Sequence[str] = (), batch_rows: int = _ROWS
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a part, with their places."""
    files = _list_files(folder, part)
    if not files:
        raise InputError(
            f"there is no part {part!r} in {quote(str(folder))}: it must be in a folder {part}/, or in a file "
            f"{part}.parquet"
        )
    pyarrow = import_extra("pyarrow", purpose="Parquet files", extra="evaluation")
    parquet = import_extra("pyarrow.parquet", purpose="Parquet files", extra="evaluation")
    for path in files:
        name = path.relative_to(folder).as_posix()
        try:
            file = parquet.ParquetFile(str(path))
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError(f"{name} cannot be read as Parquet: {explain(error)}") from error
        with file:
            present = file.schema_arrow.names
            missing = [column for column in columns if column not in present]
            if missing:
                raise InputError(
                    f"{name}: the column {missing[0]!r} is missing; {part!r} needs {', '.join(columns)}, and this file "
                    f"has {', '.join(map(str, present[:20]))}"
                )
            wanted = [*columns, *(column for column in optional if column in present)]
            row_number = 0
            try:
                for batch in file.iter_batches(batch_size=batch_rows, columns=wanted):
                    for row in batch.to_pylist():
                        row_number += 1
                        yield f"{name}, row {row_number}", row
            except (OSError, pyarrow.ArrowException) as error:
                raise InputError(f"{name} is damaged after row {row_number}: {explain(error)}") from error
