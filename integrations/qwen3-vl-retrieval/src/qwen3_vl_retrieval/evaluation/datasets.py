"""The corpus of a data set made into an index: one unit for each entry, which keeps its id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import cast

from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.evaluation.corpus import CORPUS_ID, CORPUS_IDS, CorpusEntry
from qwen3_vl_retrieval.evaluation.question_runs import OnProgress
from qwen3_vl_retrieval.evaluation.questions import QuestionSet
from qwen3_vl_retrieval.evaluation.readers.files import find_corpus
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex

__all__ = ["DatasetReport", "index_dataset"]

_ENTRIES_AT_ONCE = 256
"""Entries whose images are in memory at a time, beside those that are being embedded."""

_ITEM = "item "

_NAMED_ENTRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetReport:
    """What came of a corpus.

    Attributes:
        entries: Ids of all entries.
        embedded_units: Units that went through the model.
        shared_entries: Entries whose content is that of another; both ids are found with its unit.
        failures: Entries that could not be read or embedded, and why.
    """

    entries: frozenset[str] = field(repr=False)
    embedded_units: int
    shared_entries: int
    failures: Mapping[str, str]

    def require_entries(self, questions: QuestionSet) -> None:
        """Raises an error unless everything that is judged is in the corpus.

        Raises:
            InputError: Something is not; the message names file and line.
        """
        unknown = [
            one for question in questions.questions for one in question.judgements if one.source not in self.entries
        ]
        if unknown:
            named = "; ".join(f"{quote(one.source)} ({one.where})" for one in unknown[:_NAMED_ENTRIES])
            more = f"; and {len(unknown) - _NAMED_ENTRIES:,} more" if len(unknown) > _NAMED_ENTRIES else ""
            raise InputError(
                f"{questions.origin} judges {len(unknown):,} {'entry' if len(unknown) == 1 else 'entries'} that its "
                f"corpus does not hold: {named}{more}"
            )


def index_dataset(
    index: MultimodalIndex, folder: str | Path, *, on_progress: OnProgress | None = None
) -> DatasetReport:
    """Makes an index hold the corpus of a data set (a folder of BEIR, or of ViDoRe in Parquet).

    Called again after it was interrupted, nothing is embedded twice.

    Args:
        index: Where to.
        folder: The data set.
        on_progress: Called with the number of entries that are done, and of all.

    Raises:
        InputError: The folder is no data set, a line or row is not understood, or an id is there twice.
        StoreError: Somebody else is writing, or the disk fails.
    """
    iterate = find_corpus(Path(folder))
    ids_by_content = _list_contents(iterate, Path(folder).name)
    total = sum(len(ids) for ids in ids_by_content.values())
    embedded, done = 0, 0
    failures: dict[str, str] = {}
    remaining = _iterate_first(iterate, ids_by_content)
    while group := list(islice(remaining, _ENTRIES_AT_ONCE)):
        named = [ids_by_content[_hash_content(entry)] for entry in group]
        report = index.add([entry.item for entry in group], metadata=[_describe_ids(ids) for ids in named])
        embedded += report.embedded_units
        reasons = {failure.path.name: failure.error.reason for failure in report.failures}
        if reasons:
            failures |= _name_failures(index, named, reasons)
        done += sum(len(ids) for ids in named)
        if on_progress is not None:
            on_progress(done, total)
    return DatasetReport(
        entries=frozenset(name for ids in ids_by_content.values() for name in ids),
        embedded_units=embedded,
        shared_entries=total - len(ids_by_content),
        failures=failures,
    )


def _list_contents(iterate: Callable[[], Iterator[CorpusEntry]], origin: str) -> dict[str, list[str]]:
    """The ids of the entries of each content."""
    places: dict[str, str] = {}
    contents: dict[str, list[str]] = {}
    for entry in iterate():
        if entry.id in places:
            raise InputError(
                f"{entry.where}: the id {quote(entry.id)} is that of another entry of the corpus, too "
                f"({places[entry.id]}); each needs its own"
            )
        places[entry.id] = entry.where
        contents.setdefault(_hash_content(entry), []).append(entry.id)
    if not contents:
        raise InputError(f"the corpus of {origin} holds no entries; give at least one")
    return contents


def _iterate_first(
    iterate: Callable[[], Iterator[CorpusEntry]], ids_by_content: Mapping[str, Sequence[str]]
) -> Iterator[CorpusEntry]:
    return (entry for entry in iterate() if ids_by_content[_hash_content(entry)][0] == entry.id)


def _hash_content(entry: CorpusEntry) -> str:
    if isinstance(entry.item, str):
        return hashlib.sha256(b"text\0" + entry.item.encode("utf-8", "surrogatepass")).hexdigest()
    return hashlib.sha256(b"image\0" + cast("Mapping[str, bytes]", entry.item)["image"]).hexdigest()


def _describe_ids(ids: Sequence[str]) -> dict[str, str | int | float | bool]:
    return {CORPUS_ID: ids[0]} if len(ids) == 1 else {CORPUS_ID: ids[0], CORPUS_IDS: json.dumps(ids)}


def _name_failures(
    index: MultimodalIndex, named: Sequence[Sequence[str]], reasons: Mapping[str, str]
) -> dict[str, str]:
    """Why entries are not in the index: unreadable ones are known by their place, others by their absence."""
    failures = {
        name: reason
        for place, reason in reasons.items()
        if place.startswith(_ITEM)
        for name in named[int(place.removeprefix(_ITEM))]
    }
    others = [reason for place, reason in reasons.items() if not place.startswith(_ITEM)]
    if others:
        rows = index.store.catalog.list_rows()
        held = {unit.metadata.get(CORPUS_ID) for unit in index.store.catalog.load_units(rows).values()}
        failures |= {name: others[0] for ids in named if ids[0] not in held for name in ids if name not in failures}
    return failures
