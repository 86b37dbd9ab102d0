"""What a source holds, as a run sees it: files with the identity of their contents, and each content once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from qwen3_vl_retrieval.documents.files import FileKind
from qwen3_vl_retrieval.documents.identity import Signature

__all__ = ["Entry", "ListedFile", "group_contents"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A file of a source.

    Attributes:
        source: Its absolute path, or its URL.
        identity: What tells its content from others: `sha256:…`, `etag:…` of an object store, `url:…` of a download.
        size_bytes: Its length; 0 where it is not known.
        kind: What it is taken for.
        signature: What a local file looked like when it was hashed.
    """

    source: str
    identity: str
    size_bytes: int
    kind: FileKind
    signature: Signature | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A content, which is read once, wherever it lies.

    Attributes:
        sources: The files that hold it, sorted; the first is read.
        identity: What tells it from others.
        size_bytes: Its length.
        kind: What it is taken for.
    """

    sources: tuple[str, ...]
    identity: str
    size_bytes: int
    kind: FileKind


def group_contents(files: Iterable[ListedFile]) -> list[Entry]:
    """Returns each content once, by the first of its sources.

    Files of one content and several suffixes stay apart: a Markdown file is cut into chunks otherwise than a text.
    """
    groups: dict[tuple[str, str], list[ListedFile]] = {}
    for file in sorted(files, key=lambda file: file.source):
        groups.setdefault((file.identity, PurePosixPath(file.source).suffix.lower()), []).append(file)
    return [
        Entry(
            sources=tuple(file.source for file in group),
            identity=group[0].identity,
            size_bytes=group[0].size_bytes,
            kind=group[0].kind,
        )
        for group in groups.values()
    ]
