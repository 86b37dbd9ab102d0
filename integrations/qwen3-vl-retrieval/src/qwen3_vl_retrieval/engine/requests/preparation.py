"""From what callers give to requests: every item read, sized and tokenised, or the error that names its position."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from tqdm.auto import tqdm

from qwen3_vl_retrieval.engine.requests.builder import Contents, Request, RequestBuilder
from qwen3_vl_retrieval.engine.requests.media_reader import MediaReader, PreparedMedia
from qwen3_vl_retrieval.engine.requests.outcome import raise_first_failure
from qwen3_vl_retrieval.engine.statistics import StatisticsRecorder
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.items import CoercedInput, Item, OnError, TextPart, check_on_error, coerce_input, list_items
from qwen3_vl_retrieval.media import FrameSampling, ImageReading, MediaPolicy, PixelBudget
from qwen3_vl_retrieval.options import OnOverflow, PairTruncation
from qwen3_vl_retrieval.prompting.prompts import normalize_instruction
from qwen3_vl_retrieval.prompting.tokenization import PromptTokenizer

__all__ = ["HeldPixels", "RequestPreparer", "build_preparer", "report_progress"]

MAX_HELD_BYTES = 1 << 30
"""Decoded pixels that a call keeps between reading and computing; beyond it images are decoded a second time."""

T = TypeVar("T")


class HeldPixels:
    """Counts the decoded pixels of one call and releases those beyond a bound."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._lock = threading.Lock()

    def admit(self, media: Sequence[PreparedMedia]) -> None:
        """Keeps the pixels of `media` if they fit the bound, and releases them otherwise."""
        size = sum(item.held_bytes for item in media)
        with self._lock:
            fits = self._held_bytes + size <= self._max_bytes
            self._held_bytes += size if fits else 0
        if not fits:
            for item in media:
                item.release()


class RequestPreparer:
    """Makes the requests of calls, without computing anything; safe to share between threads.

    Args:
        builder: Builds the requests.
        role: What the items are called in errors: `"item"` or `"document"`.
        statistics: Where the time that reading takes is counted.

    Attributes:
        max_held_bytes: Decoded pixels kept between reading and computing.
    """

    def __init__(self, builder: RequestBuilder, *, role: str, statistics: StatisticsRecorder) -> None:
        self.builder = builder
        self.max_held_bytes = MAX_HELD_BYTES
        self._role = role
        self._statistics = statistics

    def prepare_items(
        self, inputs: Iterable[Item], *, instruction: str, on_error: OnError = "raise", show_progress: bool = False
    ) -> list[Request | InputError]:
        """Returns the request that embeds each item, in input order.

        Args:
            inputs: Items.
            instruction: What they are to be represented for; an item's own instruction goes before it.
            on_error: Whether the first bad item's error is raised, or errors are returned in place of requests.
            show_progress: Whether a progress bar is shown.

        Raises:
            InputError: An item cannot be embedded, and `on_error` is `"raise"`; the message begins with its position.
        """

        def build(contents: Contents, item: CoercedInput) -> Request:
            own = normalize_instruction(item.instruction, default=instruction)
            return self.builder.build_item(contents, instruction=own)

        check_on_error(on_error)
        return self._prepare(list_items(inputs), build, frozenset(), on_error, show_progress)

    def prepare_pairs(
        self,
        query: Item,
        documents: Iterable[Item],
        *,
        instruction: str,
        on_error: OnError = "raise",
        show_progress: bool = False,
    ) -> list[Request | InputError]:
        """Returns the request that judges each document for the query, in input order; the query is read once.

        Args:
            query: An item, whose own instruction goes before `instruction`.
            documents: Items; an instruction of their own is not used.
            instruction: What makes a document relevant.
            on_error: Whether the first bad document's error is raised, or errors are returned in place of requests.
            show_progress: Whether a progress bar is shown.

        Raises:
            InputError: The query cannot be read, or a document, and `on_error` is `"raise"`; `role` says which.
        """
        check_on_error(on_error)
        items = list_items(documents)
        try:
            coerced = coerce_input(query)
            query_contents = self.builder.read_contents(coerced.parts)
        except InputError as error:
            raise error.at(None, role="query") from error
        # As the official script: the instruction is not normalised, only an empty one is the default.
        own = coerced.instruction or instruction

        def build(contents: Contents, _item: CoercedInput) -> Request:
            return self.builder.build_pair(query_contents, contents, instruction=own)

        # The query's pixels belong to all requests and stay whatever the others hold.
        shared_keys = frozenset(media.key for media in query_contents.media)
        return self._prepare(items, build, shared_keys, on_error, show_progress)

    def _prepare(
        self,
        items: Sequence[Item],
        build: Callable[[Contents, CoercedInput], Request],
        shared_keys: frozenset[bytes],
        on_error: OnError,
        show_progress: bool,
    ) -> list[Request | InputError]:
        held = HeldPixels(self.max_held_bytes)

        def build_request(item: CoercedInput) -> Request:
            contents = self.builder.read_contents(item.parts)
            request = build(contents, item)
            held.admit([media for media in request.media if media.key not in shared_keys])
            return request

        coerced = [_coerce(item) for item in items]
        with (
            self._statistics.time("seconds_reading"),
            report_progress("reading", total=len(items), enabled=show_progress) as advance,
        ):
            built = _build_all(coerced, build_request, advance)
        _warn_of_fitted(built, role=self._role)
        prepared = [
            request.at(position, role=self._role) if isinstance(request, InputError) else request
            for position, request in enumerate(built)
        ]
        if on_error == "raise":
            raise_first_failure([request for request in prepared if isinstance(request, InputError)])
        return prepared


def build_preparer(
    tokenizer: PromptTokenizer,
    *,
    role: str,
    media_policy: MediaPolicy,
    pixel_budget: PixelBudget,
    frame_sampling: FrameSampling,
    image_reading: ImageReading,
    max_length: int,
    on_overflow: OnOverflow,
    pair_truncation: PairTruncation = "longest_first",
    statistics: StatisticsRecorder | None = None,
    is_known: Callable[[bytes], bool] = lambda _: False,
) -> RequestPreparer:
    """Returns what makes requests of items, wherever they are computed.

    Args:
        tokenizer: The model's tokenizer.
        role: What the items are called in errors: `"item"` or `"document"`.
        media_policy: What may be opened.
        pixel_budget: Limits on the pixels that the model sees.
        frame_sampling: How frames are taken from videos.
        image_reading: How images are read, see `read_image`.
        max_length: Tokens of an item at most.
        on_overflow: What happens to an item beyond that.
        pair_truncation: Which side of a long pair is cut.
        statistics: Where the time that reading takes is counted.
        is_known: Whether the features of a content key are kept, so that its pixels are not needed.

    Raises:
        ValueError: An option is out of range.
    """
    reader = MediaReader(
        policy=media_policy, budget=pixel_budget, sampling=frame_sampling, reading=image_reading, is_known=is_known
    )
    builder = RequestBuilder(
        tokenizer, reader, max_length=max_length, on_overflow=on_overflow, pair_truncation=pair_truncation
    )
    return RequestPreparer(builder, role=role, statistics=StatisticsRecorder() if statistics is None else statistics)


@contextmanager
def report_progress(description: str, *, total: int, enabled: bool) -> Generator[Callable[[int], None] | None]:
    """Yields a callback that advances a bar by so many items, or `None` when nothing is to be shown."""
    if not enabled:
        yield None
        return
    with tqdm(total=total, desc=description, unit="item") as bar:

        def advance(count: int) -> None:
            bar.update(count)

        yield advance


def _build_all(
    items: Sequence[CoercedInput | InputError],
    build: Callable[[CoercedInput], Request],
    on_progress: Callable[[int], None] | None,
) -> list[Request | InputError]:
    """Returns the request of each item, or why there is none, in input order.

    Items with media are read by several threads (Pillow and FFmpeg work outside the interpreter lock); an item that
    is already an error stays one.
    """

    def prepare(item: CoercedInput | InputError) -> Request | InputError:
        if isinstance(item, InputError):
            return item
        try:
            return build(item)
        except InputError as error:
            return error

    if not any(_has_media(item) for item in items):
        return [prepare(item) for item in _report(items, on_progress)]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="read-media") as pool:
        return list(_report(pool.map(prepare, items), on_progress))


def _has_media(item: CoercedInput | InputError) -> bool:
    return isinstance(item, CoercedInput) and any(not isinstance(part, TextPart) for part in item.parts)


def _report(values: Iterable[T], on_progress: Callable[[int], None] | None) -> Iterator[T]:
    for value in values:
        yield value
        if on_progress is not None:
            on_progress(1)


def _coerce(item: Item) -> CoercedInput | InputError:
    try:
        return coerce_input(item)
    except InputError as error:
        return error


def _warn_of_fitted(prepared: Sequence[Request | InputError], *, role: str) -> None:
    """One warning a call, however many items were reduced."""
    fitted = [
        (position, request.fitted)
        for position, request in enumerate(prepared)
        if isinstance(request, Request) and request.fitted is not None
    ]
    if fitted:
        position, what = fitted[0]
        others = f", and {len(fitted) - 1} more" if len(fitted) > 1 else ""
        warnings.warn(f"{role} {position}: {what}{others}", stacklevel=5)
