"""The frame indexes of files that were read lately, so that the windows of a long video do not each read all of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TypeAlias

from qwen3_vl_retrieval.media.container import read_index
from qwen3_vl_retrieval.media.frame_index import FrameIndex
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["FrameIndexes", "find_index"]

_MOST_FILES = 64
_MOST_BYTES = 64 * 1024 * 1024
"""Kept at most: eight hours at 60 frames a second take 14 MB."""

_SETTLED_SECONDS = 2.0
"""A file written since may be written once more without its time of change moving on: some file systems count in
whole seconds, FAT in two."""

_Signature: TypeAlias = "tuple[str, MediaPolicy, int, int, int, int, int]"


class FrameIndexes:
    """Frame indexes by file, the longest unused forgotten first.

    A file is known by its path, device, inode, size and times of change. Safe to use from several threads, and after a
    fork: there is no lock, and two threads at a time may read a file twice.

    Args:
        most_files: Indexes to keep.
        most_bytes: Memory that they may take.
    """

    def __init__(self, *, most_files: int = _MOST_FILES, most_bytes: int = _MOST_BYTES) -> None:
        self._most_files = most_files
        self._most_bytes = most_bytes
        # Replaced as a whole, never changed.
        self._entries: dict[_Signature, FrameIndex] = {}

    def find(self, source: Path | bytes, policy: MediaPolicy, *, shown: str | None = None) -> FrameIndex:
        """Returns the index of a video, kept or read now; see `read_index` for what it raises."""
        signature = _sign(source, policy)
        if signature is None:
            return read_index(source, policy, shown=shown)
        index = self._entries.get(signature)
        if index is None:
            index = read_index(source, policy, shown=shown)
            if _sign(source, policy) != signature:
                # It changed while it was read.
                return index
        self._keep(signature, index)
        return index

    def _keep(self, signature: _Signature, index: FrameIndex) -> None:
        entries = {known: kept for known, kept in self._entries.items() if known != signature} | {signature: index}
        while len(entries) > self._most_files or sum(kept.held_bytes for kept in entries.values()) > self._most_bytes:
            del entries[next(iter(entries))]
        self._entries = entries


def _sign(source: Path | bytes, policy: MediaPolicy) -> _Signature | None:
    """What tells a file from another and from what it was; `None` for bytes, and for what may still be written."""
    if isinstance(source, bytes):
        return None
    try:
        state = source.stat()
    except OSError:
        # Whoever reads it says what is wrong with it.
        return None
    if time.time() - state.st_mtime < _SETTLED_SECONDS:
        return None
    place = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    return (str(source), policy, *place)


_RECENT = FrameIndexes()


def find_index(source: Path | bytes, policy: MediaPolicy, *, shown: str | None = None) -> FrameIndex:
    """Returns the index of a video from those kept for the whole process; see `read_index` for what it raises."""
    return _RECENT.find(source, policy, shown=shown)
