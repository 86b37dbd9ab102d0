"""What makes two units the same: content, page or window, and vector space; never a file's name."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

from qwen3_vl_retrieval.errors import MediaError, explain, quote
from qwen3_vl_retrieval.fingerprint import Fingerprint

__all__ = [
    "Signature",
    "compute_unit_id",
    "hash_space",
    "hash_text",
    "is_same_content",
    "is_unchanged",
    "read_signature",
]

_ID_CHARACTERS = 40
"""Characters of the hexadecimal hash: 160 bits, as many as git names contents by."""

_UNSETTLED_NS = 2_000_000_000
"""A file written to less than two seconds before it was looked at may be written to again within the same tick of its
file system's clock (FAT's is two seconds); git calls such entries racy and reads them again, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What tells without reading a file that nobody wrote to it.

    Attributes:
        size_bytes: Length of the file.
        modified_ns: Time of the last change of content.
        changed_ns: Time of the last change of content or attributes, which programs cannot set.
        inode: Number of the file in its file system.
        checked_ns: When the rest was looked at.
    """

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int
    checked_ns: int


def hash_space(fingerprint: Fingerprint) -> str:
    """Returns the vector space as a hash, a part of every unit's id."""
    values = fingerprint.to_dict()
    if fingerprint.image_reading == "reference":
        # The ids of units from before there was a choice hold.
        del values["image_reading"]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def hash_text(text: str) -> str:
    """Returns the SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def compute_unit_id(
    space: str,
    sha256: str,
    media_type: str,
    *,
    page: int | None = None,
    start: float | None = None,
    end: float | None = None,
) -> str:
    """Returns the id of a unit: equal for equal content at the same page or window in the same space, else not."""
    place = json.dumps([space, sha256, media_type, page, start, end])
    return hashlib.sha256(place.encode()).hexdigest()[:_ID_CHARACTERS]


def read_signature(path: Path) -> Signature:
    """Returns what the file looks like now, without reading it.

    Raises:
        MediaError: It cannot be looked at.
    """
    checked_ns = time.time_ns()
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        # ValueError: a null byte, or a surrogate that stands for no byte.
        raise MediaError(f"{quote(path)} cannot be looked at: {explain(error)}") from error
    return Signature(
        size_bytes=status.st_size,
        modified_ns=status.st_mtime_ns,
        changed_ns=status.st_ctime_ns,
        inode=status.st_ino,
        checked_ns=checked_ns,
    )


def is_unchanged(stored: Signature, now: Signature) -> bool:
    """Returns whether nobody can have written to the file between the two looks."""
    was_settled = stored.checked_ns - max(stored.modified_ns, stored.changed_ns) > _UNSETTLED_NS
    return was_settled and is_same_content(stored, now)


def is_same_content(before: Signature, after: Signature) -> bool:
    """Returns whether the two looks see the same file, as far as its times tell."""
    return (before.size_bytes, before.modified_ns, before.changed_ns, before.inode) == (
        after.size_bytes,
        after.modified_ns,
        after.changed_ns,
        after.inode,
    )
