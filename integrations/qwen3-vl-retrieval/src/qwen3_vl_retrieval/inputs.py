"""What can be embedded or judged: text, pictures, clips and any mixture; and who embeds and judges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy.typing as npt
from PIL import Image

from qwen3_vl_retrieval.fingerprint import Fingerprint

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CoercedInput",
    "DocumentPage",
    "Embedder",
    "GivenImage",
    "GivenVideo",
    "ImagePart",
    "ImageReading",
    "ImageSource",
    "Item",
    "MultimodalInput",
    "Part",
    "Ranked",
    "ReadableBytes",
    "Reranker",
    "TextPart",
    "VideoPart",
    "VideoSource",
]

ImageReading: TypeAlias = Literal["viewer", "reference"]
"""How images are read: as a viewer shows them, or as the official scripts see them; see `media.read_image`."""

ImageSource: TypeAlias = "str | Path | bytes | Image.Image | npt.NDArray[Any] | DocumentPage"
"""A picture: path, URL, `data:` or `file:` URI as `str`; `Path`; encoded `bytes`; PIL image; `(h, w[, c])` array;
`DocumentPage`."""

VideoSource: TypeAlias = "str | Path | bytes | npt.NDArray[Any] | Sequence[ImageSource]"
"""A clip: path or URI as `str`; `Path`; encoded `bytes`; `(frames, h, w, c)` array; sequence of pictures."""


@runtime_checkable
class ReadableBytes(Protocol):
    """A file object opened for bytes: of `open(path, "rb")`, `io.BytesIO`, an upload, a member of an archive."""

    def read(self, size: int = -1, /) -> bytes:
        """Returns what is left of it."""
        ...

    def seek(self, offset: int, /) -> object:
        """Goes to a position."""
        ...

    def tell(self) -> int:
        """Returns the position."""
        ...

    def seekable(self) -> bool:
        """Returns whether it can go to a position."""
        ...


GivenImage: TypeAlias = "ImageSource | bytearray | memoryview[Any] | ReadableBytes | Tensor"
"""What callers may give for a picture: an `ImageSource`, what else holds its bytes, or a tensor of the shapes of an
array."""

GivenVideo: TypeAlias = "VideoSource | bytearray | memoryview[Any] | ReadableBytes | Tensor"
"""What callers may give for a clip: a `VideoSource`, what else holds its bytes, or a tensor `(frames, h, w, c)`."""


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """A page of a PDF or of a TIFF in place of an image, rendered or decoded when its pixels are needed.

    Unlike a rendered page it is known again: a page whose features a model keeps is not rendered for the next query.

    Attributes:
        source: Path, URL, `data:` or `file:` URI as `str`; `Path`; the content as `bytes`. Its content says
            which of the two it is, of a URL its name.
        page: Its number, from 1.
        max_pixels: Most pixels of the picture; `None` is as many as the models see by default.

    Raises:
        ValueError: `max_pixels` is below one.
    """

    source: str | Path | bytes
    page: int
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        if self.max_pixels is not None and self.max_pixels < 1:
            raise ValueError(f"max_pixels={self.max_pixels} must be at least 1")


@dataclass(frozen=True, slots=True)
class TextPart:
    """A run of text."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A picture, not opened yet."""

    source: ImageSource


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPart:
    """A clip, not opened yet.

    Attributes:
        source: The file, or the frames in order.
        fps: For a file, frames to sample per second; for frames, the rate at which they were taken. `None` is
            the embedder's own rate for a file, and 2.0 for frames, as in the official scripts.
        max_frames: Frames kept at most; `None` is the embedder's own limit.
        start: First second of the window, from the beginning of the file.
        end: Last second of the window.
    """

    source: VideoSource
    fps: float | None = None
    max_frames: int | None = None
    start: float | None = None
    end: float | None = None


Part: TypeAlias = "TextPart | ImagePart | VideoPart"


@dataclass(frozen=True, slots=True, kw_only=True)
class MultimodalInput:
    """One item in any mixture of modalities.

    `text`, `image` and `video` each take one value or a list and are laid out in the official order: video,
    image, text. For interleaved content give `parts` instead, in reading order: each a `str` (text), a `Path`,
    a PIL image, a dict with one of the keys `text`, `image`, `video` (a `video` dict may carry its own `fps`,
    `max_frames`, `start`, `end`), or a `TextPart`, `ImagePart`, `VideoPart`.

    Attributes:
        text: Text, or a list of texts; they are joined without a separator.
        image: A picture (see `GivenImage`) or a list of them.
        video: A clip (see `GivenVideo`) or a list of them. A list whose first element is a picture is one clip
            given as frames.
        instruction: What the item is to be represented for; overrides the call's.
        fps: Frames sampled per second from files; the real rate of frame lists.
        max_frames: Frames kept at most.
        start: First second of the window of every video file.
        end: Last second of the window of every video file.
        parts: Ordered content; excludes `text`, `image` and `video`.
    """

    text: str | Sequence[str] | None = None
    image: GivenImage | Sequence[GivenImage] | None = None
    video: GivenVideo | Sequence[GivenVideo] | None = None
    instruction: str | None = None
    fps: float | None = None
    max_frames: int | None = None
    start: float | None = None
    end: float | None = None
    parts: Sequence[Any] | None = None


Item: TypeAlias = "str | Path | Image.Image | Mapping[str, Any] | MultimodalInput"
"""What every method accepts as one item. A `str` is always text, never a path or URL."""


@dataclass(frozen=True, slots=True)
class CoercedInput:
    """An item as ordered parts, with the instruction it asks for (`None`: the call's)."""

    parts: tuple[Part, ...]
    instruction: str | None


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document's place in a ranking.

    Attributes:
        index: Position of the document in the list that was ranked.
        score: Probability that the document answers the query, in [0, 1].
        margin: Log-odds of the same judgement: `score == 1 / (1 + exp(-margin))`.
    """

    index: int
    score: float
    margin: float


@runtime_checkable
class Embedder(Protocol):
    """What the framework adapters need of an embedder."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vector space."""
        ...

    def embed_queries(self, inputs: Sequence[Item]) -> npt.NDArray[Any]:
        """Returns one vector per query, `(n, dimensions)`, in input order."""
        ...

    def embed_documents(self, inputs: Sequence[Item]) -> npt.NDArray[Any]:
        """Returns one vector per document, `(n, dimensions)`, in input order."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """What the framework adapters need of a reranker."""

    def score(self, query: Item, documents: Sequence[Item]) -> npt.NDArray[Any]:
        """Returns one probability in [0, 1] per document, `(n,)`, in input order."""
        ...

    def rank(self, query: Item, documents: Sequence[Item], *, top_n: int | None = None) -> list[Ranked]:
        """Returns the documents' places, best first."""
        ...
