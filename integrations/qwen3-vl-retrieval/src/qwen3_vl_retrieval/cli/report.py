"""What a search has to say, and the same as one JSON document."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from qwen3_vl_retrieval.cli.limits import name_options
from qwen3_vl_retrieval.documents.files import SkippedFile
from qwen3_vl_retrieval.index.results.failures import FailedFile, Found
from qwen3_vl_retrieval.paths import encode_path

__all__ = ["SearchReport", "encode_report"]

_SHORT_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchReport:
    """A search of a folder, finished.

    Attributes:
        folder: What was searched.
        query: The text of the query.
        query_image: The picture of the query, if it has one.
        embedder: Name of the embedding model.
        reranker: Name of the reranking model, if there was a second stage.
        files: Number of files that were taken for media or text.
        units: Number of pages, windows, chunks and pictures in the readable ones.
        ranked_files: Number of files that took part in the ranking.
        skipped: What was not read, and why.
        hidden: Number of files and folders whose names begin with a dot.
        results: The best units; none if `strict` refused the ranking.
        failures: What could not be read, in the order of the paths.
        seconds: Duration of each step.
        candidates: The nearest units before the second stage; not part of the JSON document.
    """

    folder: Path
    query: str
    query_image: Path | None
    embedder: str
    reranker: str | None
    files: int
    units: int
    ranked_files: int
    skipped: tuple[SkippedFile, ...]
    hidden: int
    results: tuple[Found, ...]
    failures: tuple[FailedFile, ...]
    seconds: dict[str, float]
    candidates: tuple[Found, ...] = ()


def encode_report(report: SearchReport) -> str:
    """Returns the report as JSON; sources are relative to the folder, times are in seconds."""
    document = {
        "query": {
            "text": report.query,
            "image": None if report.query_image is None else encode_path(report.query_image),
        },
        "models": {"embedding": report.embedder, "reranker": report.reranker},
        "counts": {
            "files": report.files,
            "units": report.units,
            "ranked_files": report.ranked_files,
            "failed": len(report.failures),
            "skipped": len(report.skipped),
            "hidden": report.hidden,
        },
        "results": [_describe_result(found, report.folder) for found in report.results],
        "errors": [_describe_failure(failure, report.folder) for failure in report.failures],
        "skipped": [
            {"source": _name_source(skipped.path, report.folder), "reason": skipped.reason}
            for skipped in report.skipped
        ],
        "timings": {name: round(seconds, 3) for name, seconds in report.seconds.items()},
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def _name_source(path: Path, folder: Path) -> str:
    return encode_path(PurePosixPath(path.relative_to(folder).as_posix()))


def _describe_result(found: Found, folder: Path) -> dict[str, Any]:
    unit = found.unit
    text = None if unit.text is None else " ".join(unit.text.split())
    return {
        "rank": found.rank,
        "source": _name_source(unit.source, folder),
        "media_type": unit.media_type,
        "page": unit.page,
        "start": unit.start,
        "end": unit.end,
        "similarity_score": found.similarity_score,
        "relevance_score": found.relevance_score,
        "text": text if text is None or len(text) <= _SHORT_CHARACTERS else text[: _SHORT_CHARACTERS - 1] + "…",
    }


def _describe_failure(failure: FailedFile, folder: Path) -> dict[str, Any]:
    unit = failure.unit
    return {
        "source": _name_source(failure.path, folder),
        "page": None if unit is None else unit.page,
        "start": None if unit is None else unit.start,
        "end": None if unit is None else unit.end,
        "error": type(failure.error).__name__,
        "message": name_options(failure.error.reason),
    }
