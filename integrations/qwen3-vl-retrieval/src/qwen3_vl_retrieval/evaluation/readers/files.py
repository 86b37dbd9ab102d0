"""Which kind of files holds the questions, told by what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.evaluation.corpus import CorpusEntry
from qwen3_vl_retrieval.evaluation.questions import QuestionSet
from qwen3_vl_retrieval.evaluation.readers.beir import is_beir, iterate_beir_corpus, read_beir
from qwen3_vl_retrieval.evaluation.readers.jsonl import read_jsonl
from qwen3_vl_retrieval.evaluation.readers.trec import read_trec
from qwen3_vl_retrieval.evaluation.readers.vidore import is_vidore, iterate_vidore_corpus, read_vidore

__all__ = ["find_corpus", "read_questions"]


def read_questions(path: str | Path, *, qrels: str | Path | None = None, split: str = "test") -> QuestionSet:
    """Returns questions with their judgements.

    Args:
        path: A file of our own (JSONL), a folder of BEIR or of ViDoRe (Parquet); with `qrels` a file of questions
            alone, TSV (`id<TAB>text`) or JSONL.
        qrels: Judgements as TREC has them.
        split: Which judgements of a folder of BEIR.

    Raises:
        InputError: The files are not understood; the message names file and line.
        StoreError: They are Parquet, and pyarrow is not installed.
    """
    given = Path(path)
    if not given.exists():
        raise InputError(f"there are no questions at {quote(str(given))}; give a file or a folder that exists")
    if qrels is not None:
        if given.is_dir():
            raise InputError(f"{quote(str(given))} is a folder; with judgements of TREC the questions are one file")
        return read_trec(given, Path(qrels))
    if given.is_dir():
        return read_beir(given, split=split) if is_beir(given) else read_vidore(_require_dataset(given))
    if given.suffix.lower() not in (".jsonl", ".json"):
        raise InputError(
            f"{given.name} is not understood: questions are JSONL, or a folder of BEIR or ViDoRe; for judgements of "
            "TREC give the file of the questions, and the judgements as qrels (--qrels)"
        )
    return read_jsonl(given)


def find_corpus(folder: Path) -> Callable[[], Iterator[CorpusEntry]]:
    """Returns what reads the corpus of a data set from its beginning.

    Raises:
        InputError: The folder is none of BEIR or ViDoRe.
    """
    if is_beir(folder):
        return lambda: iterate_beir_corpus(folder)
    _require_dataset(folder)
    return lambda: iterate_vidore_corpus(folder)


def _require_dataset(folder: Path) -> Path:
    if not is_vidore(folder):
        raise InputError(
            f"{quote(str(folder))} is no data set: BEIR has corpus.jsonl, queries.jsonl and qrels/, ViDoRe has Parquet "
            "files in corpus/, queries/ and qrels/"
        )
    return folder
