"""A unit of an index that was found: opened, described and shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from PIL import Image

from qwen3_vl_retrieval.documents.descriptions import describe_unit
from qwen3_vl_retrieval.documents.labels import cut_excerpt, describe_place
from qwen3_vl_retrieval.documents.previews import (
    SIDE_PIXELS,
    View,
    draw_miniature,
    encode_picture,
    read_frames,
    read_picture,
    view_item,
    view_unit,
)
from qwen3_vl_retrieval.documents.units import MediaType, Unit, load_item
from qwen3_vl_retrieval.errors import InputError, MediaPolicyError, quote
from qwen3_vl_retrieval.index.results.html import Tile, render_notebook_grid
from qwen3_vl_retrieval.index.results.names import find_folder, read_text, shorten_path
from qwen3_vl_retrieval.index.store.records import Metadata
from qwen3_vl_retrieval.items import Item, TextPart, VideoPart
from qwen3_vl_retrieval.media.policy import MediaPolicy, resolve_path
from qwen3_vl_retrieval.paths import decode_path, encode_path

__all__ = ["Hit", "describe_hit", "make_tile", "name_hit"]

_ID_CHARACTERS = 16
_PAPER_CHARACTERS = 260
_EXCERPT_CHARACTERS = 240
_MOST_TWINS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A unit of the index that was found. It holds no pixels: files are opened when they are asked for.

    Attributes:
        rank: Place in the results, from 1.
        id: Id of the unit in the store.
        unit: The page, window, image or chunk that was found; see `Unit.is_in_file` for items given in memory.
        sources: All files that hold the same content, as text (see `qwen3_vl_retrieval.paths`).
        similarity_score: Cosine of the first stage, in [-1, 1].
        relevance_score: Probability of the second stage, in [0, 1]; `None` without a reranker.
        keyword_rank: Place in the order of the keyword index, from 1; `None` if it is not in it.
        metadata: The caller's own.
        stored_item: The item, if it was given in memory.
        policy: What may be opened of it.
    """

    rank: int
    id: str
    unit: Unit
    sources: tuple[str, ...]
    similarity_score: float
    relevance_score: float | None
    keyword_rank: int | None
    metadata: Metadata = field(hash=False)
    stored_item: Item | None = field(repr=False, compare=False)
    policy: MediaPolicy = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises `ValueError` for a hit that has nothing to open."""
        if self.source is None and self.stored_item is None and self.text is None:
            raise ValueError(f"the hit {quote(self.id)} has no source, no stored_item and no text; give one of them")

    def item(self, *, render_pages: bool = True) -> Item:
        """Returns what an embedder, a reranker or a chain takes: text, a rendered page, or where to find the pixels.

        Args:
            render_pages: `False` leaves a page for `Qwen3VLEmbedder` and `Qwen3VLReranker` to render, as `build_item`
                does.

        Raises:
            MediaPolicyError: The policy refuses the file.
            MediaError: The file is gone, or is no longer the PDF that it was.
        """
        if self.stored_item is not None:
            return self.stored_item
        if self.media_type != "text":
            # The item goes to models with a policy of their own: whether this one allows the file is checked here.
            resolve_path(self.unit.source, self.policy)
        return load_item(self.unit, self.policy, render_pages=render_pages)

    def image(self) -> Image.Image:
        """Returns one RGB picture: the picture, the page, a frame from the middle of the window, or a card of text.

        A page is rendered at the size that the models see by default, about 1.8 million pixels. Text is drawn with the
        font that comes with Pillow, which has the Latin letters; those of other scripts are boxes. An item of several
        pictures or clips shows the first.

        Raises:
            MediaPolicyError: The policy refuses the file.
            MediaError: The file is gone, damaged, or no longer what it was.
        """
        return read_picture(self._find_view(), self.policy)

    def frames(self, *, count: int = 4) -> list[Image.Image]:
        """Returns `count` frames of a clip, from the middles of as many equal parts of its window; else `[image()]`.

        Raises:
            ValueError: `count` is below 1.
            MediaPolicyError: The policy refuses the file.
            MediaError: The file is gone, damaged, or no longer what it was.
        """
        if count < 1:
            raise ValueError(f"count={count} must be at least 1")
        view = self._find_view()
        if not isinstance(view, VideoPart):
            return [read_picture(view, self.policy)]
        return read_frames(view, self.policy, shares=[(place + 0.5) / count for place in range(count)])

    def thumbnail(self, *, side_pixels: int = SIDE_PIXELS) -> Image.Image:
        """Returns a small RGB picture, at most `side_pixels` wide and high; of a clip, four moments in two rows.

        Raises:
            ValueError: `side_pixels` is below 16.
            MediaPolicyError: The policy refuses the file.
            MediaError: The file is gone, damaged, or no longer what it was.
        """
        return draw_miniature(self._find_view(), self.policy, side_pixels=side_pixels)

    def _repr_html_(self) -> str:
        folder = None if self.source is None else find_folder([self.source])
        return render_notebook_grid([make_tile(self, folder=folder)], summary="")

    def _find_view(self) -> View:
        return view_unit(self.unit) if self.stored_item is None else view_item(self.stored_item)

    @property
    def media_type(self) -> MediaType:
        """What it is."""
        return self.unit.media_type

    @property
    def source(self) -> str | None:
        """The file, as text (see `qwen3_vl_retrieval.paths`); `None` for an item that was given in memory."""
        return encode_path(self.unit.source) if self.unit.is_in_file else None

    @property
    def page(self) -> int | None:
        """Number of the page, from 1."""
        return self.unit.page

    @property
    def start(self) -> float | None:
        """First second of the window of a video; `None` if the unit is the whole video."""
        return self.unit.start

    @property
    def end(self) -> float | None:
        """Last second of the window."""
        return self.unit.end

    @property
    def text(self) -> str | None:
        """The chunk, or the text layer of the page."""
        return self.unit.text


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
        excerpt=None if is_text or not text.strip() else cut_excerpt(text, most_characters=_EXCERPT_CHARACTERS),
        details=_describe_twins(hit, folder),
    )


def name_hit(hit: Hit, *, folder: str | None) -> PurePath:
    """Returns what to call a hit: its file below `folder`, the file that its item names, or the beginning of its id.

    Folders above `folder` are not told: what is shown may be sent to others.
    """
    if hit.source is not None:
        return shorten_path(hit.source, folder)
    named = None if hit.stored_item is None else _find_file_name(hit.stored_item)
    return PurePath(named if named else cut_excerpt(hit.id, most_characters=_ID_CHARACTERS))


def describe_hit(hit: Hit) -> dict[str, str | int | float | bool]:
    """Returns the metadata of a hit: those of its unit, the caller's own, and the scores of both stages.

    An item that was given in memory is named by its files, as far as it has some.
    """
    own: dict[str, Any] = {**hit.metadata, **describe_unit(hit.unit)}
    if not hit.unit.is_in_file and hit.stored_item is not None:
        own |= _describe_files(hit.stored_item)
    own["similarity_score"] = hit.similarity_score
    if hit.relevance_score is not None:
        own["relevance_score"] = hit.relevance_score
    return own


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
    return "" if hit.stored_item is None else read_text(hit.stored_item)


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
    twins = [shorten_path(source, folder).as_posix() for source in hit.sources if source != hit.source]
    if not twins:
        return ()
    names = ", ".join(twins[:_MOST_TWINS])
    more = f" and {len(twins) - _MOST_TWINS} more" if len(twins) > _MOST_TWINS else ""
    return (f"{len(twins)} identical {'file' if len(twins) == 1 else 'files'}: {names}{more}",)


def _describe_files(item: Item) -> dict[str, Any]:
    """The file of the picture or clip of an item; nothing for what has no file."""
    view = view_item(item)
    source = None if isinstance(view, TextPart) else view.source
    if not isinstance(source, (str, Path)):
        return {}
    told = encode_path(source) if isinstance(source, Path) else source
    if isinstance(view, VideoPart):
        window = {"start": view.start, "end": view.end}
        return {"video": told} | {name: value for name, value in window.items() if value is not None}
    return {"image": told}
