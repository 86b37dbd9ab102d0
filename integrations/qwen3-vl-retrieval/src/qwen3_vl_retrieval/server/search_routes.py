"""`/v1/search` and what belongs to it: hits, their images by id, and what the index holds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qwen3_vl_retrieval.documents.labels import describe_place
from qwen3_vl_retrieval.documents.previews import encode_jpeg
from qwen3_vl_retrieval.documents.units import MediaType
from qwen3_vl_retrieval.errors import InputError, MediaPolicyError, StoreError, quote
from qwen3_vl_retrieval.explanations.explaining import describe_explanation
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.index.results.hits import FailedFile, Hit, SearchResults, explain_hits, name_hit
from qwen3_vl_retrieval.paths import encode_path
from qwen3_vl_retrieval.server.answering import answer_request, render_json
from qwen3_vl_retrieval.server.context import ServerContext
from qwen3_vl_retrieval.server.index_queries import IndexQuery, explain_failure, search_index
from qwen3_vl_retrieval.server.indexed_units import IndexedUnit, find_unit
from qwen3_vl_retrieval.server.request_errors import RequestError
from qwen3_vl_retrieval.server.source_names import SourceNames

__all__ = ["FoundHit", "build_search_router", "describe_found"]

_T = TypeVar("_T")

_LOGGER = logging.getLogger(__name__)

_MOST_HITS = 100
_MOST_CANDIDATES = 500
_MOST_EXPLAINED = 10
_MOST_QUERY_CHARACTERS = 20_000
_MOST_SOURCES = 1_000
_MOST_LISTED = 1_000

_TEXT_CHARACTERS = 2_000
"""Characters of a hit's text: a chunk is shorter, and the layer of a page rarely longer."""

_THUMBNAIL_SIDE_PIXELS = 480
"""Longer side of a thumbnail: sharp in a tile of 240 points on screens of two pixels to a point."""

_MEDIA_PIXELS = 16_000_000
"""Most pixels of an image at full size: more than a screen shows, and no more than a browser holds with ease."""

_IMAGE_HEADERS = {
    # An id is the hash of the content, the page and the window: what it shows does not change.
    "Cache-Control": "private, max-age=604800, immutable",
    "X-Content-Type-Options": "nosniff",
    # Pages of other sites do not show it.
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SearchRequest(BaseModel):
    """What is looked for. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field("", max_length=_MOST_QUERY_CHARACTERS, description="What to look for, in any language.")
    image: str | None = Field(
        None, description="An image that belongs to the query: a data: URI, or the content of a file as base64."
    )
    k: int = Field(10, ge=1, le=_MOST_HITS, description="Hits at most.")
    fetch_k: int | None = Field(
        None, ge=1, le=_MOST_CANDIDATES, description="Candidates that the reranker judges; 50, or k if that is more."
    )
    rerank: bool | None = Field(
        None, description="Whether the reranker judges the candidates; by default if the server has one."
    )
    filter: dict[str, Any] | None = Field(
        None,
        description="What hits must meet, in the filter language of the index. `source` is a name as hits show it.",
    )
    media_types: list[MediaType] | None = Field(None, min_length=1, description="Kinds of units to find.")
    sources: list[str] | None = Field(
        None, min_length=1, max_length=_MOST_SOURCES, description="Files and folders to search in, as hits name them."
    )
    instruction: str | None = Field(
        None, max_length=_MOST_QUERY_CHARACTERS, description="What makes a unit relevant, in a sentence."
    )
    threshold: float | None = Field(
        None, description="Lowest score of a hit: its relevance score, or its similarity score without a reranker."
    )
    explain: bool = Field(
        False,
        description="Say why each hit was found: boxes of the words of the query, or of what the score depends on. "
        f"Of the first {_MOST_EXPLAINED}, each of which may take as long as a dozen candidates.",
    )


class FoundRegion(BaseModel):
    """A region of a hit: `box` is left, top, right and bottom in shares of width and height, times are seconds."""

    weight: float
    box: list[float] | None = None
    start: float | None = None
    end: float | None = None
    text: str | None = None
    effect: float | None = None


class HitExplanation(BaseModel):
    """Why a hit was found, strongest region first; or the error that kept it from being said."""

    method: str | None = None
    measure: str | None = None
    statement: str | None = None
    regions: list[FoundRegion] = []
    error: str | None = None


class FoundHit(BaseModel):
    """A hit. `page` counts from 1, `start` and `end` are seconds, `width` and `height` are pixels of an image file."""

    rank: int
    id: str
    source: str
    identical_sources: list[str]
    media_type: MediaType
    page: int | None
    start: float | None
    end: float | None
    place: str
    text: str | None
    width: int | None
    height: int | None
    similarity_score: float
    relevance_score: float | None
    keyword_rank: int | None
    thumbnail_url: str
    media_url: str
    explanation: HitExplanation | None = None


class FailedSource(BaseModel):
    """What was found and took no part in the ranking."""

    source: str
    media_type: MediaType | None
    page: int | None
    start: float | None
    end: float | None
    reason: str


class SearchResponse(BaseModel):
    """Hits, best first; `seconds` is the duration of the search, `timings` of its steps."""

    results: list[FoundHit]
    is_reranked: bool
    seconds: float
    timings: dict[str, float]
    failures: list[FailedSource]


class IndexSummary(BaseModel):
    """What can be searched, and with what."""

    files: int
    units: int
    media_types: dict[str, int]
    has_reranker: bool


class IndexedSource(BaseModel):
    """A file of the index."""

    source: str
    units: int
    media_types: list[str]


class SourcePage(BaseModel):
    """Files in the order of their names; `next_offset` is `null` at the end."""

    sources: list[IndexedSource]
    total: int
    next_offset: int | None


def build_search_router(
    context: ServerContext,
    index: MultimodalIndex,
    *,
    max_concurrent_searches: int = 2,
    max_concurrent_images: int = 4,
) -> APIRouter:
    """Returns the routes below `/v1/search`.

    Callers name units by id and files by the names that hits show; no path and no URL is ever opened for them. A search
    and the drawing of an image block, and are run in threads.

    Args:
        context: What the routes of the server share.
        index: What is searched.
        max_concurrent_searches: Searches at a time; others wait.
        max_concurrent_images: Images that are drawn at a time; others wait.
    """
    routes = _SearchRoutes(
        context, index, CapacityLimiter(max_concurrent_searches), CapacityLimiter(max_concurrent_images)
    )
    router = APIRouter(prefix="/v1/search", tags=["search"])
    search = router.post(
        "",
        summary="Search the index",
        responses={200: {"model": SearchResponse}},
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": SearchRequest.model_json_schema()}}}},
    )
    search(routes.search)
    router.get("/index", summary="What the index holds")(routes.summarize)
    router.get("/sources", summary="List the files of the index")(routes.list_sources)
    image = router.get("/thumbnails/{unit_id}", summary="A small image of a hit", response_class=_Jpeg)
    image(routes.show_thumbnail)
    image = router.get("/media/{unit_id}", summary="A page, image or frame at full size", response_class=_Jpeg)
    image(routes.show_media)
    return router


class _Jpeg(Response):
    media_type = "image/jpeg"


class _SearchRoutes:
    def __init__(
        self, context: ServerContext, index: MultimodalIndex, searches: CapacityLimiter, images: CapacityLimiter
    ) -> None:
        self._context = context
        self._index = index
        self._searches = searches
        self._images = images

    async def search(self, request: Request) -> Response:
        """Returns the best hits, best first."""
        return await answer_request(self._context, request, self._answer_search)

    async def summarize(self) -> IndexSummary:
        """Returns how much can be searched, and with what."""
        return await self._run(lambda: _summarize(self._index))

    async def list_sources(
        self, offset: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=_MOST_LISTED)] = 100
    ) -> SourcePage:
        """Returns the files of the index, a page at a time."""
        return await self._run(lambda: _list_sources(self._index, offset, limit))

    async def show_thumbnail(self, unit_id: str, request: Request) -> Response:
        """Returns a small JPEG; of a video, four moments."""
        return await self._show(unit_id, request, "thumbnail", _draw_thumbnail)

    async def show_media(
        self, unit_id: str, request: Request, moment: Annotated[float, Query(ge=0, le=1)] = 0.5
    ) -> Response:
        """Returns a JPEG of the page, the image, or the frame at `moment`, a share of the window of a video."""
        return await self._show(unit_id, request, f"media-{moment}", lambda unit: _draw_media(unit, moment))

    async def _answer_search(self, body: dict[str, Any]) -> Response:
        try:
            asked = SearchRequest.model_validate(body)
        except ValidationError as error:
            raise _explain_validation(error) from error
        image = None
        if asked.image is not None:
            image = self._context.media.read_image(asked.image, self._context.media.count_pixels())
        async with self._context.admission.take_turn(items=1):
            try:
                found = await _run_in_thread(lambda: _search(self._index, asked, image), self._searches)
            except ValueError as error:
                raise RequestError(400, str(error)) from error
        return await render_json(found.model_dump(mode="json"))

    async def _show(self, unit_id: str, request: Request, kind: str, draw: Callable[[IndexedUnit], bytes]) -> Response:
        try:
            unit = await self._run(lambda: find_unit(self._index, unit_id))
        except InputError as error:
            raise RequestError(404, str(error)) from error
        headers = _IMAGE_HEADERS | {"ETag": f'"{unit.id}-{kind}"'}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        try:
            content = await self._run(lambda: draw(unit))
        except MediaPolicyError as error:
            raise RequestError(403, "the file may not be opened under the media policy of this server") from error
        except InputError as error:
            raise RequestError(
                410, "the file can no longer be read: it is missing, damaged, or no longer what was indexed"
            ) from error
        return _Jpeg(content, headers=headers)

    async def _run(self, function: Callable[[], _T]) -> _T:
        with self._context.admission.admit():
            return await _run_in_thread(function, self._images)


async def _run_in_thread(function: Callable[[], _T], limiter: CapacityLimiter) -> _T:
    try:
        return await to_thread.run_sync(function, limiter=limiter)
    except StoreError as error:
        # It names the folder of the index.
        _LOGGER.exception("the index cannot be used")
        raise RequestError(503, "the index cannot be used now; the log of the server says why") from error


def _explain_validation(error: ValidationError) -> RequestError:
    """The first thing that is wrong; what was given is quoted shortened, and texts of pydantic name no value."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    wrong = f"{place}={quote(first['input'])}" if place in SearchRequest.model_fields else quote(place)
    allowed = ", ".join(SearchRequest.model_fields)
    return RequestError(400, f"{wrong}: {first['msg'].lower()}; fields are {allowed}", parameter=place)


def _search(index: MultimodalIndex, request: SearchRequest, image: bytes | None) -> SearchResponse:
    begun = perf_counter()
    names = SourceNames.read(index.store.catalog)
    query = IndexQuery(
        text=request.query,
        image=image,
        k=request.k,
        fetch_k=request.fetch_k,
        rerank=request.rerank,
        where=request.filter,
        media_types=request.media_types,
        sources=request.sources,
        instruction=request.instruction,
        threshold=request.threshold,
    )
    results = search_index(index, query, names)
    explanations = explain_hits(results[:_MOST_EXPLAINED]) if request.explain else []
    found = _describe_results(results, names, seconds=perf_counter() - begun)
    for hit, explanation in zip(found.results, explanations, strict=False):
        hit.explanation = HitExplanation.model_validate(describe_explanation(explanation))
    return found


def _describe_results(results: SearchResults, names: SourceNames, *, seconds: float) -> SearchResponse:
    return SearchResponse(
        results=[describe_found(hit, names) for hit in results],
        is_reranked=results.is_reranked,
        seconds=seconds,
        timings=dict(results.seconds),
        failures=[_describe_failure(failure, names) for failure in results.failures],
    )


def describe_found(hit: Hit, names: SourceNames) -> FoundHit:
    """Returns a hit as clients are told of it: with the name of its file, and where its images are."""
    return FoundHit(
        rank=hit.rank,
        id=hit.id,
        source=name_hit(hit, folder=names.folder).as_posix() if hit.source is None else names.show(hit.source),
        identical_sources=[names.show(source) for source in hit.sources if source != hit.source],
        media_type=hit.media_type,
        page=hit.page,
        start=hit.start,
        end=hit.end,
        place=describe_place(hit),
        text=None if hit.text is None else hit.text[:_TEXT_CHARACTERS],
        width=hit.unit.width,
        height=hit.unit.height,
        similarity_score=hit.similarity_score,
        relevance_score=hit.relevance_score,
        keyword_rank=hit.keyword_rank,
        thumbnail_url=f"/v1/search/thumbnails/{hit.id}",
        media_url=f"/v1/search/media/{hit.id}",
    )


def _describe_failure(failure: FailedFile, names: SourceNames) -> FailedSource:
    unit = failure.unit
    return FailedSource(
        source=names.show(encode_path(failure.path)),
        media_type=None if unit is None else unit.media_type,
        page=None if unit is None else unit.page,
        start=None if unit is None else unit.start,
        end=None if unit is None else unit.end,
        reason=explain_failure(failure),
    )


def _summarize(index: MultimodalIndex) -> IndexSummary:
    catalog = index.store.catalog
    return IndexSummary(
        files=catalog.count_files(),
        units=catalog.count_units(),
        media_types=catalog.count_media_types(),
        has_reranker=index.reranker is not None,
    )


def _list_sources(index: MultimodalIndex, offset: int, limit: int) -> SourcePage:
    catalog = index.store.catalog
    names = SourceNames.read(catalog)
    found = catalog.list_file_summaries(offset=offset, limit=limit)
    total = catalog.count_files()
    end = offset + len(found)
    return SourcePage(
        sources=[
            IndexedSource(source=names.show(one.source), units=one.units, media_types=list(one.media_types))
            for one in found
        ],
        total=total,
        next_offset=end if found and end < total else None,
    )


def _draw_thumbnail(unit: IndexedUnit) -> bytes:
    return encode_jpeg(unit.draw_thumbnail(side_pixels=_THUMBNAIL_SIDE_PIXELS))


def _draw_media(unit: IndexedUnit, moment: float) -> bytes:
    return encode_jpeg(unit.read_image(moment=moment), max_pixels=_MEDIA_PIXELS)
