"""A unit of an index that was found: opened, described and shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, overload

from markupsafe import Markup
from PIL import Image
from rich.cells import cell_len, set_cell_size

from qwen3_vl_retrieval.documents.descriptions import describe_unit
from qwen3_vl_retrieval.documents.labels import clean_text, cut_excerpt, describe_place
from qwen3_vl_retrieval.documents.previews import (
    SIDE_PIXELS,
    View,
    draw_miniature,
    encode_thumbnail,
    read_frames,
    read_view,
    view_item,
    view_unit,
)
from qwen3_vl_retrieval.documents.units import MediaType, Unit, load_item
from qwen3_vl_retrieval.errors import InputError, MediaPolicyError, quote
from qwen3_vl_retrieval.explanations.explaining import explain_unit, name_failure
from qwen3_vl_retrieval.explanations.explanation import ExplainMethod, Explanation
from qwen3_vl_retrieval.explanations.search_context import SearchContext
from qwen3_vl_retrieval.index.results.html import ResultsPage, Tile, render_notebook_grid, render_results_page
from qwen3_vl_retrieval.index.store.catalog import Metadata
from qwen3_vl_retrieval.items import Item, TextPart, VideoPart, coerce_input
from qwen3_vl_retrieval.media.policy import MediaPolicy, resolve_path
from qwen3_vl_retrieval.paths import decode_path, encode_path
from qwen3_vl_retrieval.protocols import Embedder, Reranker

__all__ = [
    "FailedFile",
    "Hit",
    "SearchResults",
    "describe_hit",
    "explain_hits",
    "find_folder",
    "find_text",
    "make_tile",
    "name_failures",
    "name_hit",
    "read_text",
    "shorten_path",
]

_MOST_ROWS = 20

_NAME_CELLS = 44

_ROW_EXCERPT_CHARACTERS = 60

_QUERY_CHARACTERS = 400

_MOST_TILES = 24
"""Tiles in the output of a notebook, which is saved with it: about half a megabyte."""

_ID_CHARACTERS = 16

_PAPER_CHARACTERS = 260

_TILE_EXCERPT_CHARACTERS = 240

_MOST_TWINS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedFile:
    """A file, a folder that cannot be listed, or the unit of a file, that takes no part in the ranking.

    Attributes:
        path: The file or folder.
        unit: The page, window or chunk that failed; `None` if it is the whole file.
        error: What was wrong.
    """

    path: Path
    unit: Unit | None
    error: InputError

    @classmethod
    def of_unit(cls, unit: Unit, error: InputError) -> FailedFile:
        """Returns the failure of a unit of a file; of one that is the whole file, that of the file."""
        return cls(path=unit.source, unit=None if unit.is_whole_file else unit, error=error.at(None))


def find_folder(paths: Sequence[str]) -> str | None:
    """Returns the deepest folder that holds all files; `None` if there is none, or relative paths among others."""
    try:
        return os.path.commonpath([str(decode_path(path).parent) for path in paths])
    except ValueError:
        return None


def shorten_path(path: str, folder: str | None) -> PurePath:
    """Returns a path below `folder`, or the name of the file alone: what is shown may be sent to others."""
    pure = decode_path(path)
    return pure.relative_to(folder) if folder is not None and pure.is_relative_to(folder) else PurePath(pure.name)


def name_failures(failures: Sequence[FailedFile], *, folder: str | None) -> list[tuple[str, str]]:
    """Returns for each failure the file below `folder`, with its page or window, and the reason."""
    named: list[tuple[str, str]] = []
    for failure in failures:
        name = shorten_path(encode_path(failure.path), folder).as_posix()
        place = "" if failure.unit is None else describe_place(failure.unit)
        named.append((f"{name}, {place}" if place else name, failure.error.reason))
    return named


def read_text(item: Item) -> str:
    """Returns the text of an item; `""` if it has none, or is none that can be embedded."""
    try:
        parts = coerce_input(item).parts
    except InputError:
        # It was refused where it was searched for, if at all: showing results is no place to fail.
        return ""
    return " ".join(part.text for part in parts if isinstance(part, TextPart)).strip()


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
        context: The search that found it, for `explain`; `None` if none did. Pickled, it leaves the models behind.
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
    context: SearchContext | None = field(default=None, repr=False, compare=False)

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
        """Returns one RGB image: the image, the page, a frame from the middle of the window, or a card of text.

        A page is rendered at the size that the models see by default, about 1.8 million pixels. Text is drawn with the
        font that comes with Pillow, which has the Latin letters; those of other scripts are boxes. An item of several
        images or videos shows the first.

        Raises:
            MediaPolicyError: The policy refuses the file.
            MediaError: The file is gone, damaged, or no longer what it was.
        """
        return read_view(self._find_view(), self.policy)

    def frames(self, *, count: int = 4) -> list[Image.Image]:
        """Returns `count` frames of a video, from the middles of as many equal parts of its window; else `[image()]`.

        Raises:
            ValueError: `count` is below 1.
            MediaPolicyError: The policy refuses the file.
            MediaError: The file is gone, damaged, or no longer what it was.
        """
        if count < 1:
            raise ValueError(f"count={count} must be at least 1")
        view = self._find_view()
        if not isinstance(view, VideoPart):
            return [read_view(view, self.policy)]
        return read_frames(view, self.policy, shares=[(place + 0.5) / count for place in range(count)])

    def thumbnail(self, *, side_pixels: int = SIDE_PIXELS) -> Image.Image:
        """Returns a small RGB image, at most `side_pixels` wide and high; of a video, four moments in two rows.

        Raises:
            ValueError: `side_pixels` is below 16.
            MediaPolicyError: The policy refuses the file.
            MediaError: The file is gone, damaged, or no longer what it was.
        """
        return draw_miniature(self._find_view(), self.policy, side_pixels=side_pixels)

    def explain(
        self, *, method: ExplainMethod = "auto", embedder: Embedder | None = None, reranker: Reranker | None = None
    ) -> Explanation:
        """Returns why it was found: regions of the image or page, spans of the video, or words of the text.

        The words of the question are looked for in the text layer of a page of a PDF, and in texts; that asks no model.
        Occlusion alters parts of the image, or blanks spans of the video, and tells what takes most from the score of
        the reranker, or from the cosine if the search had none; that takes as long as judging about a dozen. Neither
        says what is true: the one is where words stand, the other what a score depends on.

        Args:
            method: `"words"`, `"occlusion"`, or `"auto"`: the words, and occlusion where none of them stands.
            embedder: In place of the one of the search, which a pickled hit leaves behind.
            reranker: The same.

        Raises:
            ValueError: There is no such method.
            InputError: No search found the hit, its models were left behind, or it is a text without an image.
            MediaPolicyError: The policy refuses the file.
            MediaError: The file is gone, damaged, or no longer what it was.
        """
        if self.context is None:
            raise InputError("no search found this hit, so there is nothing to explain; call MultimodalIndex.search")
        context = self.context
        if embedder is not None or reranker is not None:
            context = replace(context, embedder=embedder, reranker=reranker)
        return explain_unit(self.unit, context, self.policy, stored_item=self.stored_item, method=method)

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


def make_tile(hit: Hit, *, folder: str | None, explanation: Explanation | InputError | None = None) -> Tile:
    """Returns the tile of a hit; where its file cannot be opened, a tile that says so.

    Args:
        hit: What to show.
        folder: Names are shown below it; see `name_hit`.
        explanation: Why it was found, or why that cannot be said.
    """
    name = name_hit(hit, folder=folder)
    text = find_text(hit)
    is_text = hit.media_type == "text"
    image, unreadable = (None, "") if is_text else _draw_thumbnail(hit)
    return Tile(
        rank=hit.rank,
        media_type=hit.media_type,
        name=name.name,
        parent="" if name.parent == PurePath() else name.parent.as_posix(),
        place=describe_place(hit),
        image=image,
        paper=cut_excerpt(text, most_characters=_PAPER_CHARACTERS) if is_text else None,
        unreadable=unreadable,
        similarity_score=hit.similarity_score,
        relevance_score=hit.relevance_score,
        badge=None if hit.keyword_rank is None else "keyword match",
        excerpt=None if is_text or not text.strip() else cut_excerpt(text, most_characters=_TILE_EXCERPT_CHARACTERS),
        details=_describe_twins(hit, folder),
        explanation=None if explanation is None else _show_explanation(explanation),
    )


def _show_explanation(explanation: Explanation | InputError) -> Markup:
    if isinstance(explanation, Explanation):
        return Markup(explanation.to_html())  # noqa: S704 - it escapes what it shows
    # The reason may name a path, which what is shown must not.
    return Markup("<p>{}</p>").format(name_failure(explanation))


def explain_hits(hits: Iterable[Hit], *, method: ExplainMethod = "auto") -> list[Explanation | InputError]:
    """Returns why each hit was found, or in its place the error of one that cannot be opened or judged."""
    explained: list[Explanation | InputError] = []
    for hit in hits:
        try:
            explained.append(hit.explain(method=method))
        except InputError as error:
            explained.append(error)
    return explained


def name_hit(hit: Hit, *, folder: str | None) -> PurePath:
    """Returns what to call a hit: its file below `folder`, the file that its item names, or the beginning of its id.

    Folders above `folder` are not shown: what is shown may be sent to others.
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


def _draw_thumbnail(hit: Hit) -> tuple[str | None, str]:
    """The image as a data URI, or what to say in its place."""
    try:
        return encode_thumbnail(hit.thumbnail()), ""
    except MediaPolicyError:
        return None, "may not be opened"
    except InputError:
        return None, "no longer readable"


def find_text(hit: Hit) -> str:
    """Returns the chunk, the text layer of the page, or the text of the item; `""` if there is none."""
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
    """The file of the image or video of an item; nothing for what has no file."""
    view = view_item(item)
    source = None if isinstance(view, TextPart) else view.source
    if not isinstance(source, (str, Path)):
        return {}
    named = encode_path(source) if isinstance(source, Path) else source
    if isinstance(view, VideoPart):
        window = {"start": view.start, "end": view.end}
        return {"video": named} | {name: value for name, value in window.items() if value is not None}
    return {"image": named}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SearchResults(Sequence[Hit]):
    """The hits of a search, best first. A slice of them is a `SearchResults`, too, and keeps the ranks.

    Printed, they are a table; in a notebook, a grid of tiles; `to_html` gives a page.

    Attributes:
        hits: The hits.
        query: What was looked for.
        is_reranked: Whether a reranker ordered them.
        failures: What could not be read or judged, and took no part.
        seconds: Duration of each step.
    """

    hits: Sequence[Hit]
    query: Item
    is_reranked: bool
    failures: Sequence[FailedFile]
    seconds: Mapping[str, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "hits", tuple(self.hits))
        object.__setattr__(self, "failures", tuple(self.failures))

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> SearchResults: ...
    def __getitem__(self, index: int | slice) -> Hit | SearchResults:
        return replace(self, hits=self.hits[index]) if isinstance(index, slice) else self.hits[index]

    def __repr__(self) -> str:
        query = cut_excerpt(read_text(self.query), most_characters=_ROW_EXCERPT_CHARACTERS)
        lines = [f"{self._summarize()}, for {repr(query) if query else 'images'}"]
        if self.hits:
            lines.append(f"{'#':>3}  cosine  {'probability  ' if self.is_reranked else ''}found")
        folder = self._find_folder()
        named = [(hit, _name_place(hit, folder)) for hit in self.hits[:_MOST_ROWS]]
        width = min(max((cell_len(name) for _, name in named), default=0), _NAME_CELLS)
        for hit, name in named:
            relevance = "" if hit.relevance_score is None else f"{hit.relevance_score:.3f}"
            judged = f"{relevance:>11}  " if self.is_reranked else ""
            text = "" if hit.text is None else cut_excerpt(hit.text, most_characters=_ROW_EXCERPT_CHARACTERS)
            line = f"{hit.rank:>3}  {hit.similarity_score:>6.3f}  {judged}{_fit_cells(name, width)}  {text}"
            lines.append(line.rstrip())
        if len(self.hits) > _MOST_ROWS:
            lines.append(f"and {len(self.hits) - _MOST_ROWS} more")
        if self.failures:
            lines.append(f"{len(self.failures)} took no part, see failures")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        folder = self._find_folder()
        tiles = [make_tile(hit, folder=folder) for hit in self.hits[:_MOST_TILES]]
        notes: list[str] = []
        if len(self.hits) > _MOST_TILES:
            notes.append(f"{len(self.hits) - _MOST_TILES} more are not shown: slice the results, or use to_html")
        if self.failures:
            notes.append(f"{len(self.failures)} could not be read, and took no part: see failures")
        return render_notebook_grid(tiles, summary=self._summarize(), more=". ".join(notes) if notes else None)

    def explain(self, *, method: ExplainMethod = "auto") -> list[Explanation | InputError]:
        """Returns why each hit was found (see `Hit.explain`), or in its place the error of one that cannot be read.

        Raises:
            ValueError: There is no such method.
        """
        return explain_hits(self.hits, method=method)

    def to_html(
        self,
        path: str | Path | None = None,
        *,
        title: str | None = None,
        explain: ExplainMethod | Sequence[Explanation | InputError] | None = None,
    ) -> str:
        """Returns the results as a page that holds everything it shows: no script, and nothing is fetched.

        Files that can no longer be read are said to be so. Of the paths only what differs is shown: the folder that all
        of them share is left out. Images of the query are opened as local files whatever the index allows; a URL is
        not.

        Args:
            path: A file to write the page to, in UTF-8; an existing one is replaced.
            title: Shown above the query; `None` is `Search results`.
            explain: Show with each hit why it was found: by this method (see `Hit.explain`), or as `explain` returned
                it; `None` does not.

        Raises:
            OSError: `path` cannot be written to.
        """
        folder = self._find_folder()
        query = cut_excerpt(read_text(self.query), most_characters=_QUERY_CHARACTERS)
        reasons: Sequence[Explanation | InputError | None] = [None] * len(self.hits)
        if explain is not None:
            reasons = self.explain(method=explain) if isinstance(explain, str) else explain
        page = render_results_page(
            ResultsPage(
                query=query if query else "What looks like this",
                query_images=_show_query_images(self.query),
                summary=self._summarize(),
                seconds=[
                    (name.removesuffix("_seconds").replace("_", " "), duration)
                    for name, duration in self.seconds.items()
                ],
                tiles=[
                    make_tile(hit, folder=folder, explanation=reason)
                    for hit, reason in zip(self.hits, reasons, strict=True)
                ],
                failures=name_failures(self.failures, folder=folder),
            ),
            title="Search results" if title is None else title,
        )
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    def _find_folder(self) -> str | None:
        sources = [hit.source for hit in self.hits if hit.source is not None]
        return find_folder([*sources, *(encode_path(failure.path) for failure in self.failures)])

    def _summarize(self) -> str:
        counted = "1 result" if len(self.hits) == 1 else f"{len(self.hits)} results" if self.hits else "No results"
        if not self.hits:
            return counted
        if self.is_reranked:
            return f"{counted}, ordered by the probability of the reranker"
        is_worded = any(hit.keyword_rank is not None for hit in self.hits)
        return f"{counted}, ordered by cosine{' and exact words' if is_worded else ''}"


def _show_query_images(query: Item) -> list[str | None]:
    """The images and videos of a query as data URIs; `None` for one that cannot be read, or is a URL."""
    try:
        parts = coerce_input(query).parts
    except InputError:
        # As in `read_text`.
        return []
    shown: list[str | None] = []
    for part in parts:
        if not isinstance(part, TextPart):
            try:
                shown.append(encode_thumbnail(draw_miniature(part, MediaPolicy())))
            except InputError:
                shown.append(None)
    return shown


def _name_place(hit: Hit, folder: str | None) -> str:
    name, place = clean_text(name_hit(hit, folder=folder).as_posix()), describe_place(hit)
    return f"{name}, {place}" if place else name


def _fit_cells(text: str, width: int) -> str:
    """The text in `width` cells; of a longer one the end, where the name and the page are."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    kept = text
    while cell_len(kept) > width - 1:
        kept = kept[1:]
    return set_cell_size("…" + kept, width)
