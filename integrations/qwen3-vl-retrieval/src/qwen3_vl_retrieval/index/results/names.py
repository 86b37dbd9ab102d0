"""Hits, failures and queries made ready to be shown: named, with pictures, and never failing on what is gone."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from qwen3_vl_retrieval.documents.labels import cut_excerpt, describe_place
from qwen3_vl_retrieval.documents.previews import draw_miniature, encode_picture, view_item
from qwen3_vl_retrieval.errors import InputError, MediaPolicyError
from qwen3_vl_retrieval.index.results.html import Tile
from qwen3_vl_retrieval.items import Item, TextPart, coerce_input
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.paths import decode_path, encode_path

if TYPE_CHECKING:
    from qwen3_vl_retrieval.index.results.failures import FailedFile
    from qwen3_vl_retrieval.index.results.hits import Hit

__all__ = ["find_folder", "make_tile", "name_failures", "name_hit", "read_query_text", "show_query_pictures"]

_ID_CHARACTERS = 16
_PAPER_CHARACTERS = 260
_MOST_TWINS = 2


def find_folder(paths: Sequence[str]) -> str | None:
    """Returns the deepest folder that holds all files; `None` if there is none, or relative paths among others."""
    try:
        return os.path.commonpath([str(decode_path(path).parent) for path in paths])
    except ValueError:
        return None


def name_hit(hit: Hit, *, folder: str | None) -> PurePath:
    """Returns what to call a hit: its file below `folder`, the file that its item names, or the beginning of its id.

    Folders above `folder` are not told: what is shown may be sent to others.
    """
    if hit.source is not None:
        return _shorten_path(hit.source, folder)
    named = None if hit.stored_item is None else _find_file_name(hit.stored_item)
    return PurePath(named if named else cut_excerpt(hit.id, most_characters=_ID_CHARACTERS))


def make_tile(hit: Hit, *, folder: str | None) -> Tile:
    """Returns the tile of a hit; where its file cannot be opened, a tile that says so.

    Args:
        hit: What to show.
        folder: Names are shown below it; see `name_hit`.
    """
    name = name_hit(hit, folder=folder)
    text = _find_text(hit)
    is_text = hit.media_type == "text"
    picture, unreadable = (None, "") if is_text else _draw_picture(hit)
    return Tile(
        rank=hit.rank,
        media_type=hit.media_type,
        name=name.name,
        parent="" if name.parent == PurePath() else name.parent.as_posix(),
        place=describe_place(hit),
        picture=picture,
        paper=cut_excerpt(text, most_characters=_PAPER_CHARACTERS) if is_text else None,
        unreadable=unreadable,
        similarity_score=hit.similarity_score,
        relevance_score=hit.relevance_score,
        badge=None if hit.keyword_rank is None else "keyword match",
        excerpt=None if is_text or not text.strip() else text,
        details=_describe_twins(hit, folder),
    )


def name_failures(failures: Sequence[FailedFile], *, folder: str | None) -> list[tuple[str, str]]:
    """Returns for each failure the file below `folder`, with its page or window, and the reason."""
    named: list[tuple[str, str]] = []
    for failure in failures:
        name = _shorten_path(encode_path(failure.path), folder).as_posix()
        place = "" if failure.unit is None else describe_place(failure.unit)
        named.append((f"{name}, {place}" if place else name, failure.error.reason))
    return named


def read_query_text(query: Item) -> str:
    """Returns the text of a query; `""` if it has none."""
    try:
        parts = coerce_input(query).parts
    except InputError:
        # It was refused where it was searched for, if at all; showing results is no place to fail.
        return ""
    return " ".join(part.text for part in parts if isinstance(part, TextPart)).strip()


def show_query_pictures(query: Item) -> list[str | None]:
    """Returns the pictures and clips of a query as data URIs; `None` for one that cannot be read, or is a URL."""
    try:
        parts = coerce_input(query).parts
    except InputError:
        # As above.
        return []
    shown: list[str | None] = []
    for part in parts:
        if not isinstance(part, TextPart):
            try:
                shown.append(encode_picture(draw_miniature(part, MediaPolicy())))
            except InputError:
                shown.append(None)
    return shown


def _draw_picture(hit: Hit) -> tuple[str | None, str]:
    """The picture as a data URI, or what to say in its place."""
    try:
        return encode_picture(hit.thumbnail()), ""
    except MediaPolicyError:
        return None, "may not be opened"
    except InputError:
        return None, "no longer readable"


def _find_text(hit: Hit) -> str:
    if hit.text is not None:
        return hit.text
    return "" if hit.stored_item is None else read_query_text(hit.stored_item)


def _find_file_name(item: Item) -> str:
    """The name of the file that an item shows; `""` if it has none."""
    try:
        source = getattr(view_item(item), "source", None)
    except InputError:
        return ""
    if isinstance(source, Path):
        return source.name
    if not isinstance(source, str) or source[:5].lower() == "data:":
        return ""
    if source[:5].lower() == "file:":
        return decode_path(source).name
    # What follows in a URL may be a signature, which is nobody else's.
    path = re.split(r"[?#]", source, maxsplit=1)[0] if "://" in source else source
    return PurePath(path).name


def _describe_twins(hit: Hit, folder: str | None) -> tuple[str, ...]:
    """One line on the other files of the same content, the first of them named."""
    twins = [_shorten_path(source, folder).as_posix() for source in hit.sources if source != hit.source]
    if not twins:
        return ()
    names = ", ".join(twins[:_MOST_TWINS])
    more = f" and {len(twins) - _MOST_TWINS} more" if len(twins) > _MOST_TWINS else ""
    return (f"{len(twins)} identical {'file' if len(twins) == 1 else 'files'}: {names}{more}",)


def _shorten_path(path: str, folder: str | None) -> PurePath:
    pure = decode_path(path)
    return pure.relative_to(folder) if folder is not None and pure.is_relative_to(folder) else PurePath(pure.name)
