"""Pictures, pages and clips that have been read before, recognised without decoding them again."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

from qwen3_vl_retrieval.forks import ForkSafeLock
from qwen3_vl_retrieval.items import DocumentPage, ImagePart, VideoPart
from qwen3_vl_retrieval.media import MediaPolicy
from qwen3_vl_retrieval.media.pages import find_policy
from qwen3_vl_retrieval.media.sources import open_source
from qwen3_vl_retrieval.prompting.prompts import MediaSlot

__all__ = ["Sightings", "identify_source"]

_MAX_ENTRIES = 16_384
"""Some hundred bytes each."""

_SETTLED_SECONDS = 2.0
"""A file written since may be written once more without its time of change moving on: some file systems count in
whole seconds, FAT in two."""


class Sightings:
    """Sizes and content keys by what was read. Safe to use from several threads."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, tuple[MediaSlot, bytes]] = OrderedDict()
        self._lock = ForkSafeLock()

    def find(self, identity: bytes) -> tuple[MediaSlot, bytes] | None:
        """Returns the place in a prompt and the content key, or `None` if it has not been seen."""
        with self._lock:
            found = self._entries.get(identity)
            if found is not None:
                self._entries.move_to_end(identity)
            return found

    def keep(self, identity: bytes, slot: MediaSlot, key: bytes) -> None:
        """Remembers what was read; the longest unused is forgotten for it."""
        with self._lock:
            self._entries[identity] = (slot, key)
            if len(self._entries) > _MAX_ENTRIES:
                self._entries.popitem(last=False)


def identify_source(part: ImagePart | VideoPart, policy: MediaPolicy) -> bytes | None:
    """Returns a digest that is equal only for equal content read in the same way, or `None` if there is none.

    A file is identified by its place, size and time of change, bytes by themselves; a page by its PDF, its number and
    what bounds its size. Nothing is fetched.

    Raises:
        MediaPolicyError: The policy refuses the source.
        MediaError: It cannot be read.
    """
    source = part.source
    page = None
    if isinstance(source, DocumentPage):
        policy = find_policy(source, policy)
        # The whole policy: whether a PDF has too many pages is known once it is open.
        page = (source.page, source.max_pixels, policy)
        source = source.source
    if not isinstance(source, (str, Path, bytes)):
        return None
    if isinstance(source, str) and source[:5].lower() in ("http:", "https"):
        return None
    opened = open_source(source, policy)
    digest = hashlib.blake2b(repr((replace(part, source=b""), page)).encode(), digest_size=16)
    if isinstance(opened, bytes):
        digest.update(opened)
        return digest.digest()
    try:
        state = opened.stat()
    except OSError:
        # Whoever reads it says what is wrong with it.
        return None
    if time.time() - state.st_mtime < _SETTLED_SECONDS:
        return None
    digest.update(repr((str(opened), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)).encode())
    return digest.digest()
