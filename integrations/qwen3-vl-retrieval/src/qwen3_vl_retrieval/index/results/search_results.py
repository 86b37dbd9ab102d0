"""What a search of an index gives: the list of its hits, which shows itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

from rich.cells import cell_len, set_cell_size

from qwen3_vl_retrieval.documents.labels import clean_text, cut_excerpt, describe_place
from qwen3_vl_retrieval.documents.previews import draw_miniature, encode_picture
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.index.results.failures import FailedFile
from qwen3_vl_retrieval.index.results.hits import Hit, make_tile, name_hit
from qwen3_vl_retrieval.index.results.html import ResultsPage, render_notebook_grid, render_results_page
from qwen3_vl_retrieval.index.results.names import find_folder, name_failures, read_text
from qwen3_vl_retrieval.items import Item, TextPart, coerce_input
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.paths import encode_path

__all__ = ["SearchResults"]

_MOST_ROWS = 20
_NAME_CELLS = 44
_EXCERPT_CHARACTERS = 60
_QUERY_CHARACTERS = 400
_MOST_TILES = 24
"""Tiles in the output of a notebook, which is saved with it: about half a megabyte."""


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
        query = cut_excerpt(read_text(self.query), most_characters=_EXCERPT_CHARACTERS)
        lines = [f"{self._summarize()}, for {repr(query) if query else 'pictures'}"]
        if self.hits:
            lines.append(f"{'#':>3}  cosine  {'probability  ' if self.is_reranked else ''}found")
        folder = self._find_folder()
        named = [(hit, _name_place(hit, folder)) for hit in self.hits[:_MOST_ROWS]]
        width = min(max((cell_len(name) for _, name in named), default=0), _NAME_CELLS)
        for hit, name in named:
            relevance = "" if hit.relevance_score is None else f"{hit.relevance_score:.3f}"
            judged = f"{relevance:>11}  " if self.is_reranked else ""
            text = "" if hit.text is None else cut_excerpt(hit.text, most_characters=_EXCERPT_CHARACTERS)
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

    def to_html(self, path: str | Path | None = None, *, title: str | None = None) -> str:
        """Returns the results as a page that holds everything it shows: no script, and nothing is fetched.

        Files that can no longer be read are said to be so. Of the paths only what differs is shown: the folder that all
        of them share is left out. Pictures of the query are opened as local files whatever the index allows; a URL is
        not.

        Args:
            path: A file to write the page to, in UTF-8; an existing one is replaced.
            title: Shown above the query; `None` is `Search results`.

        Raises:
            OSError: `path` cannot be written to.
        """
        folder = self._find_folder()
        query = cut_excerpt(read_text(self.query), most_characters=_QUERY_CHARACTERS)
        page = render_results_page(
            ResultsPage(
                query=query if query else "What looks like this",
                query_pictures=_show_query_images(self.query),
                summary=self._summarize(),
                seconds=[
                    (name.removesuffix("_seconds").replace("_", " "), duration)
                    for name, duration in self.seconds.items()
                ],
                tiles=[make_tile(hit, folder=folder) for hit in self.hits],
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
                shown.append(encode_picture(draw_miniature(part, MediaPolicy())))
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
