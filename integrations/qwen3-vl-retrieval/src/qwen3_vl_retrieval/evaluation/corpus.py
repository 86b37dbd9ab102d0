"""An entry of a data set's corpus, which becomes one unit of an index and keeps its id."""

from __future__ import annotations

from dataclasses import dataclass, field

from qwen3_vl_retrieval.items import Item

__all__ = ["CORPUS_ID", "CORPUS_IDS", "CorpusEntry"]

CORPUS_ID = "corpus_id"
"""Name of the metadata of a unit that hold the id of its entry."""

CORPUS_IDS = "corpus_ids"
"""Name of those that hold the ids of all entries with its content, as JSON, if they are several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusEntry:
    """A page, image or text of a corpus.

    Attributes:
        id: Its id.
        item: What is embedded.
        where: File and line or row, for messages.
    """

    id: str
    item: Item = field(repr=False)
    where: str
