"""A source cut into shards: pieces of work with names of their own, which stay the same while their contents do.

Where a shard ends depends on the contents around its end and on nothing before: a file that is added, changed or
removed makes one shard anew, or two, and leaves the others as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qwen3_vl_retrieval.documents.files import FileKind
from qwen3_vl_retrieval.jobs.entries import Entry

__all__ = ["SHARD_UNITS", "Shard", "cut_shards", "estimate_units", "hash_shard"]

SHARD_UNITS = 512
"""Units of a shard, roughly: a minute of a GPU for pages, and as much as a killed worker loses."""

_HASH_CHARACTERS = 24

_BYTES_PER_UNIT: Mapping[FileKind, int] = {"text": 2_000, "pdf": 64 * 1024, "video": 4 * 1024 * 1024}
"""How large files of several units are for each of them, roughly; an image is one unit."""

_MOST_TIMES = 2
"""How many times the wanted units a shard has at most, where no content ends one earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Contents that are read and embedded together.

    Attributes:
        hash: Hash of the contents, their sources, and all that decides about their vectors.
        entries: The contents.
    """

    hash: str
    entries: tuple[Entry, ...]

    @property
    def expected_units(self) -> int:
        """How many units they have, roughly."""
        return sum(map(estimate_units, self.entries))

    @property
    def file_count(self) -> int:
        """Number of files."""
        return sum(len(entry.sources) for entry in self.entries)


def estimate_units(entry: Entry) -> int:
    """Returns how many units a content has, roughly, from its length."""
    return max(1, entry.size_bytes // _BYTES_PER_UNIT.get(entry.kind, entry.size_bytes + 1))


def cut_shards(entries: Iterable[Entry], *, shard_units: int, settings: str) -> list[Shard]:
    """Returns the shards of contents in their order.

    Args:
        entries: The contents, sorted by source.
        shard_units: Units of a shard, roughly.
        settings: Hash of all else that decides about vectors.
    """
    shards: list[Shard] = []
    open_entries: list[Entry] = []
    units = 0
    for entry in entries:
        open_entries.append(entry)
        weight = estimate_units(entry)
        units += weight
        if units >= _MOST_TIMES * shard_units or _draw_share(entry) < weight / shard_units:
            shards.append(_close(open_entries, settings))
            open_entries, units = [], 0
    if open_entries:
        shards.append(_close(open_entries, settings))
    return shards


def hash_shard(entries: Iterable[Entry], settings: str) -> str:
    """Returns the name of a shard: equal for equal contents at equal places under equal settings."""
    content = json.dumps([settings, [[entry.identity, entry.kind, entry.sources] for entry in entries]])
    return hashlib.sha256(content.encode()).hexdigest()[:_HASH_CHARACTERS]


def _close(entries: list[Entry], settings: str) -> Shard:
    return Shard(hash=hash_shard(entries, settings), entries=tuple(entries))


def _draw_share(entry: Entry) -> float:
    """A number in [0, 1) that belongs to the content."""
    digest = hashlib.sha256(entry.identity.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
