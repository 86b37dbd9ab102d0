"""What callers may give: text, images, videos and any mixture of them; checked once, and made ordered parts.

Nothing here opens a file or a connection; a `str` is always text.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Protocol,
    SupportsFloat,
    TypeAlias,
    TypedDict,
    cast,
    get_args,
    runtime_checkable,
)

import numpy as np
import numpy.typing as npt
from PIL import Image

from qwen3_vl_retrieval.errors import InputError, explain, quote
from qwen3_vl_retrieval.image_formats import IMAGE_SUFFIXES, identify_image

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "IMAGE_SUFFIXES",
    "TEXT_SUFFIXES",
    "VIDEO_SUFFIXES",
    "CoercedInput",
    "DocumentPage",
    "GivenImage",
    "GivenVideo",
    "ImagePart",
    "ImageReading",
    "ImageSource",
    "Item",
    "MultimodalInput",
    "OnError",
    "Part",
    "ReadableBytes",
    "TextPart",
    "VideoPart",
    "VideoSource",
    "check_instruction",
    "check_on_error",
    "check_text",
    "coerce_input",
    "describe_text",
    "list_items",
]

ImageReading: TypeAlias = Literal["viewer", "reference"]
"""How images are read: as a viewer shows them, or as the official scripts see them; see `media.read_image`."""

OnError: TypeAlias = Literal["raise", "return"]
"""What becomes of an item that cannot be embedded or judged: its error is raised, or returned in its place."""

ImageSource: TypeAlias = "str | Path | bytes | Image.Image | npt.NDArray[Any] | DocumentPage"
"""An image: path, URL, `data:` or `file:` URI as `str`; `Path`; encoded `bytes`; PIL image; `(h, w[, c])` array;
`DocumentPage`."""

VideoSource: TypeAlias = "str | Path | bytes | npt.NDArray[Any] | Sequence[ImageSource]"
"""A video: path or URI as `str`; `Path`; encoded `bytes`; `(frames, h, w, c)` array; sequence of images."""


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
"""What callers may give for an image: an `ImageSource`, what else holds its bytes, or a tensor of the shapes of an
array."""

GivenVideo: TypeAlias = "VideoSource | bytearray | memoryview[Any] | ReadableBytes | Tensor"
"""What callers may give for a video: a `VideoSource`, what else holds its bytes, or a tensor `(frames, h, w, c)`."""


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """A page of a PDF or of a TIFF in place of an image, rendered or decoded when its pixels are needed.

    Unlike a rendered page it is known again: a page whose features a model keeps is not rendered for the next query.

    Attributes:
        source: Path, URL, `data:` or `file:` URI as `str`; `Path`; the content as `bytes`. Its content says
            which of the two it is, of a URL its name.
        page: Its number, from 1.
        max_pixels: Most pixels of the image; `None` is as many as the models see by default.

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
    """An image, not opened yet."""

    source: ImageSource


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPart:
    """A video, not opened yet.

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
        image: An image (see `GivenImage`) or a list of them.
        video: A video (see `GivenVideo`) or a list of them. A list whose first element is an image is one video
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


VIDEO_SUFFIXES = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".ogv"),
        *(".mpg", ".mpeg", ".vob", ".ts", ".mts", ".m2ts"),
    }
)
TEXT_SUFFIXES = frozenset(
    {
        *(".txt", ".md", ".markdown", ".mdx", ".rst", ".adoc", ".org", ".tex", ".log", ".srt", ".vtt"),
        *(".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".geojson", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf"),
        *(".properties", ".xml", ".xsd", ".xsl", ".svg", ".sql", ".diff", ".patch", ".proto", ".graphql"),
        # Source code.
        *(".py", ".pyi", ".js", ".mjs", ".cjs", ".jsx", ".tsx", ".cts", ".vue", ".svelte", ".css", ".scss", ".less"),
        *(".java", ".kt", ".kts", ".scala", ".groovy", ".gradle", ".c", ".h", ".cc", ".cpp", ".cxx", ".hh", ".hpp"),
        *(".cs", ".fs", ".vb", ".go", ".rs", ".swift", ".m", ".mm", ".rb", ".php", ".pl", ".pm", ".lua", ".r", ".jl"),
        *(".dart", ".hs", ".ml", ".mli", ".ex", ".exs", ".erl", ".clj", ".lisp", ".el", ".zig", ".nim", ".f90", ".pas"),
        *(".sh", ".bash", ".zsh", ".fish", ".ps1", ".bat", ".cmd", ".tf", ".cmake", ".mk"),
    }
)


class _VideoOptions(TypedDict, total=False):
    fps: float
    max_frames: int
    start: float
    end: float


def coerce_input(item: Item) -> CoercedInput:
    """Returns `item` as ordered parts.

    Raises:
        InputError: The item is of an unsupported type, empty, or has unknown or contradicting keys.
    """
    if isinstance(item, str):
        return CoercedInput((_text_part(item),), None)
    if isinstance(item, Path):
        return CoercedInput((_part_from_path(item),), None)
    if isinstance(item, Image.Image):
        return CoercedInput((ImagePart(item),), None)
    if isinstance(item, MultimodalInput):
        return _coerce_fields(item)
    if isinstance(item, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not use a type checker
        return _coerce_fields(_fields_from_mapping(cast("Mapping[Any, Any]", item)))
    raise InputError(
        f"got {_show(item)}; allowed are str (text), pathlib.Path, PIL.Image, dict and MultimodalInput. "
        "Wrap other image sources as {'image': …} and videos as {'video': …}."
    )


def _fields_from_mapping(item: Mapping[Any, Any]) -> MultimodalInput:
    allowed = [field.name for field in fields(MultimodalInput)]
    unknown = [key for key in item if key not in allowed]
    if unknown:
        raise InputError(f"unknown key {quote(unknown[0])}; allowed are {', '.join(allowed)}")
    return MultimodalInput(**item)


def _coerce_fields(item: MultimodalInput) -> CoercedInput:
    check_instruction(item.instruction)
    options = _read_video_options(item)
    named = [item.video, item.image, item.text]
    if item.parts is not None:
        if any(value is not None for value in named):
            raise InputError("give either parts, or text/image/video, not both")
        if isinstance(item.parts, (str, bytes, Mapping)) or not isinstance(item.parts, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - as above
            raise InputError(f"parts must be a list, got {_show(item.parts)}")
        parts = tuple(_coerce_part(part, options, position) for position, part in enumerate(item.parts))
    else:
        parts = (
            *(_video_part(video, options) for video in _split_videos(item.video)),
            *(ImagePart(_check_image_source(image)) for image in _as_list(item.image)),
            *(_text_part(text) for text in _as_list(item.text)),
        )
    if not parts:
        raise InputError(
            "empty item: no text, image or video was given. An empty text is {'text': ''}; "
            "nothing is ever embedded in place of missing content."
        )
    return CoercedInput(parts, item.instruction)


def _coerce_part(part: Any, options: _VideoOptions, position: int) -> Part:
    match part:
        case str():
            return _text_part(part)
        case TextPart():
            return _text_part(part.text)
        case Image.Image():
            return ImagePart(part)
        case ImagePart():
            return ImagePart(_check_image_source(part.source))
        case VideoPart():
            return _video_part(part.source, options | _read_video_options(part))
        case Path():
            found = _part_from_path(part)
            return _video_part(found.source, options) if isinstance(found, VideoPart) else found
        case Mapping():
            return _part_from_mapping(cast("Mapping[Any, Any]", part), options, position)
        case _:
            raise InputError(f"part {position} is {_show(part)}; allowed are str, Path, PIL.Image and dict")


def _part_from_mapping(part: Mapping[Any, Any], options: _VideoOptions, position: int) -> Part:
    inner = _fields_from_mapping(part)
    given = [name for name in ("text", "image", "video") if getattr(inner, name) is not None]
    if len(given) != 1 or inner.parts is not None or inner.instruction is not None:
        raise InputError(f"part {position} must have exactly one of text, image and video, got {quote(list(part))}")
    if given == ["text"]:
        if not isinstance(inner.text, str):
            raise InputError(f"the text of part {position} must be one str, got {_show(inner.text)}")
        return _text_part(inner.text)
    if given == ["image"]:
        return ImagePart(_check_image_source(inner.image))
    return _video_part(inner.video, options | _read_video_options(inner))


def _part_from_path(path: Path) -> Part:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return ImagePart(path)
    if suffix in VIDEO_SUFFIXES:
        return VideoPart(source=path)
    if suffix == ".pdf":
        raise InputError(
            f"{quote(path)} is a PDF, which has many pages; render the page you mean with "
            "qwen3_vl_retrieval.media.render_pdf_page(path, page) and pass the image"
        )
    if suffix in TEXT_SUFFIXES:
        raise InputError(f"{quote(path)} is a text file; pass its content: path.read_text(encoding='utf-8')")
    raise InputError(
        f"{quote(path)} has the suffix {quote(suffix)}; images are {', '.join(sorted(IMAGE_SUFFIXES))}, videos "
        f"{', '.join(sorted(VIDEO_SUFFIXES))}. For other names say which it is: {{'image': path}} or {{'video': path}}."
    )


def _text_part(text: Any) -> TextPart:
    if not isinstance(text, str):
        raise InputError(f"text must be a str or a list of str, got {_show(text)}")
    return TextPart(check_text(text, "text"))


def check_on_error(on_error: str) -> None:
    """Raises `ValueError` if `on_error` is neither `"raise"` nor `"return"`."""
    if on_error not in get_args(OnError):
        raise ValueError(f'on_error={quote(on_error)} is unknown; allowed are "raise" and "return"')


def check_text(text: object, name: str) -> str:
    """Returns a text that databases, JSON and models can take.

    Args:
        text: The text.
        name: What it is called in messages.

    Raises:
        InputError: It is no text, or holds half of a surrogate pair.
    """
    if not isinstance(text, str):
        raise InputError(f"{name} must be a str, got {quote(text)}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} holds half of a surrogate pair ({text[error.start]!r} at position {error.start}), which is no "
            "character; repair it where it was decoded, or replace it: text.encode('utf-8', 'replace').decode()"
        ) from None
    # A plain one, where it is a member of an enumeration or of another class that is a str, too.
    return str.__str__(text)


def check_instruction(instruction: object) -> None:
    """Raises an error unless `instruction` is a text or `None`.

    Raises:
        InputError: `instruction` is of another type.
    """
    if instruction is None:
        return
    if not isinstance(instruction, str):
        raise InputError(f"instruction must be a str, got {_show(instruction)}")
    check_text(instruction, "instruction")


def _video_part(source: Any, options: _VideoOptions) -> VideoPart:
    start, end = options.get("start"), options.get("end")
    if start is not None and end is not None and start >= end:
        raise InputError(f"start must be before end, got start={quote(start)} and end={quote(end)}")
    return VideoPart(source=_check_video_source(source), **options)


def _check_image_source(source: Any) -> ImageSource:
    source = _unwrap(source)
    if isinstance(source, (str, Path, bytes, Image.Image, DocumentPage)):
        return source
    if isinstance(source, np.ndarray):
        array = cast("npt.NDArray[Any]", source)
        if _is_image_array(array):
            return array
        raise InputError(
            f"an image array must be uint8 of shape (height, width) or (height, width, 1, 3 or 4), "
            f"got {array.dtype} {array.shape}; channels come last: array.transpose(1, 2, 0), tensor.permute(1, 2, 0)"
        )
    raise InputError(
        f"image is {_show(source)}; allowed are path, URL, data URI, bytes, binary file, PIL.Image, ndarray, tensor"
    )


def _check_video_source(source: Any) -> VideoSource:
    source = _unwrap(source)
    if isinstance(source, (str, Path, bytes)):
        return source
    if isinstance(source, np.ndarray):
        array = cast("npt.NDArray[Any]", source)
        if array.ndim == 4 and array.shape[0] > 0 and array.shape[3] in (1, 3, 4) and array.dtype == np.uint8:
            return array
        raise InputError(
            f"a video array must be uint8 of shape (frames, height, width, 1, 3 or 4), got {array.dtype} {array.shape}"
        )
    if isinstance(source, Sequence):
        frames = cast("Sequence[Any]", source)
        if not frames:
            raise InputError("a video given as frames needs at least one frame, got an empty list")
        return tuple(_check_image_source(frame) for frame in frames)
    raise InputError(
        f"video is {_show(source)}; allowed are path, URL, data URI, bytes, binary file, ndarray, tensor and "
        "list of frames"
    )


def _unwrap(source: Any) -> Any:
    """Bytes of what holds bytes, an array of a tensor, a list of an array of objects; anything else as it is.

    `str` stays as it is, one of NumPy's included: `str` is what it is.
    """
    if isinstance(source, (bytearray, memoryview)):
        return bytes(cast("bytearray | memoryview[Any]", source))
    if _is_tensor(source):
        return source.detach().cpu().numpy()
    if _is_object_array(source):
        return source.tolist()
    if isinstance(source, ReadableBytes):
        return _read_stream(source)
    return source


def _read_stream(stream: ReadableBytes) -> bytes:
    """All that is in a file object, from its beginning, and its position left as it was: an item may be read twice."""
    try:
        if stream.seekable():
            position = stream.tell()
            stream.seek(0)
            content = stream.read()
            stream.seek(position)
        else:
            content = stream.read()
    except (OSError, ValueError) as error:
        # ValueError: it is closed.
        raise InputError(f"the file object {_show(stream)} cannot be read: {explain(error)}") from error
    if isinstance(content, bytes):  # pyright: ignore[reportUnnecessaryIsInstance] - of a file in text mode it is a str
        return content
    raise InputError(f"the file object {_show(stream)} gave {_show(content)}; open it for bytes: open(path, 'rb')")


def _is_tensor(value: object) -> bool:
    # Whoever has a tensor has imported torch, and nobody else is made to.
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _is_object_array(value: object) -> bool:
    """Whether it is a list in the form of an array: of texts, paths or images."""
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "UO"


def _read_video_options(holder: MultimodalInput | VideoPart) -> _VideoOptions:
    """The options that are given, as Python numbers."""
    options: _VideoOptions = {}
    fps, max_frames = _read_number(holder.fps, "fps"), _read_number(holder.max_frames, "max_frames")
    start, end = _read_number(holder.start, "start"), _read_number(holder.end, "end")
    if fps is not None:
        options["fps"] = fps
    if max_frames is not None:
        if not max_frames.is_integer():
            raise InputError(f"max_frames must be a whole number, got {quote(holder.max_frames)}")
        options["max_frames"] = int(max_frames)
    if start is not None:
        options["start"] = start
    if end is not None:
        options["end"] = end
    return options


def _read_number(value: object, name: str) -> float | None:
    """The value as a float: NumPy's numbers, fractions and decimals are welcome, a bool is one only by accident."""
    if value is None:
        return None
    allowed = "non-negative" if name == "start" else "positive"
    number = math.nan
    if isinstance(value, SupportsFloat) and not isinstance(value, (bool, np.ndarray)):
        with suppress(TypeError, ValueError, OverflowError):
            number = float(value)
    if not math.isfinite(number) or number < 0 or (number == 0 and name != "start"):
        raise InputError(f"{name} must be a {allowed} number, got {quote(cast('object', value))}")
    return number


def _split_videos(video: Any) -> list[Any]:
    """One video or several: a list whose first element is an image is one video, as in the official scripts."""
    if video is None:
        return []
    if _is_object_array(video):
        video = video.tolist()
    if isinstance(video, (str, bytes, bytearray, memoryview)) or not isinstance(video, Sequence):
        return [video]
    videos = cast("Sequence[Any]", video)
    if not videos or _is_image(videos[0]):
        return [videos]
    return list(videos)


def _is_image(source: Any) -> bool:
    if _is_tensor(source):
        return source.ndim in (2, 3)
    match source:
        case Image.Image() | DocumentPage():
            return True
        case bytearray() | memoryview() | ReadableBytes():
            return _is_image(_unwrap(source))
        case np.ndarray():
            return _is_image_array(cast("npt.NDArray[Any]", source))
        case bytes():
            return identify_image(source) is not None
        case Path():
            return source.suffix.lower() in IMAGE_SUFFIXES
        case str():
            if source[:5].lower() == "data:":
                return source[5:11].lower() == "image/"
            # Not urlsplit, which raises for some malformed URLs; what is wrong with them is said when they are opened.
            path = re.split(r"[?#]", source, maxsplit=1)[0] if "://" in source else source
            return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a URL path is no file path
        case _:
            return False


def _is_image_array(array: npt.NDArray[Any]) -> bool:
    is_image_shape = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    return is_image_shape and array.dtype == np.uint8 and array.size > 0


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, (list, tuple)):
        return list(cast("Sequence[Any]", value))
    return value.tolist() if _is_object_array(value) else [value]


def _show(value: object) -> str:
    return quote(value, with_type=True)


def describe_text(item: Item) -> str:
    """Returns the texts of an item, joined by spaces.

    Raises:
        InputError: The item is not understood.
    """
    return " ".join(part.text for part in coerce_input(item).parts if isinstance(part, TextPart))


def list_items(inputs: Iterable[Item]) -> list[Item]:
    """Returns the items as a new list.

    Raises:
        InputError: `inputs` is a single item, whose letters, keys or pixels would be taken for items.
    """
    given: object = inputs
    if _is_object_array(given):
        return cast("npt.NDArray[Any]", given).tolist()
    single = (str, bytes, bytearray, memoryview, Path, Mapping, Image.Image, MultimodalInput, np.ndarray, ReadableBytes)
    if isinstance(given, single) or _is_tensor(given) or not isinstance(given, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - as above
        shown = _show(cast("object", given))
        raise InputError(f"expected a list of items, got {shown}; wrap a single item in a list: [item]")
    return list(inputs)
