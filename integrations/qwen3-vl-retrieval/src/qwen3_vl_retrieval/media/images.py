"""Images: measured from the header, decoded to RGB, resized as the official scripts do; pages of documents among them.

An image is read in one of two ways. `"viewer"` is what a person sees who opens the file: turned as the camera notes,
transparent parts on white, 16 bits and numbers scaled, embedded colour profiles converted. `"reference"` is what the
official scripts see, who do none of this. Of an animation the first image is read, and of a photograph of several views
(MPO) the main one; the other pages of a TIFF are read by their number, see `DocumentPage`.

Files are read in processes of their own (`reader_processes`), where `_read_header` and `_decode_image` are called;
images that a caller has opened are read here.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.forks import ForkSafeLock
from qwen3_vl_retrieval.image_formats import HEADER_BYTES, ImageFormat, identify_image
from qwen3_vl_retrieval.items import DocumentPage, ImageReading, ImageSource
from qwen3_vl_retrieval.media.pages import describe_page
from qwen3_vl_retrieval.media.policy import MediaPolicy, check_pixels, open_file, open_source, shorten_name
from qwen3_vl_retrieval.media.reader_processes import read, resolve_dirs
from qwen3_vl_retrieval.media.sizing import MAX_ASPECT_RATIO, fit_image_size
from qwen3_vl_retrieval.media.viewing import find_key_scale, find_orientation, has_late_metadata, view_image

__all__ = [
    "ImageHeader",
    "check_image_reading",
    "convert_to_rgb",
    "decode_image",
    "describe_image",
    "list_tiff_pages",
    "measure_image",
    "read_header",
    "read_image",
    "read_image_header",
    "read_resized_image",
    "resize_image",
]

_NEW_SUBFILE_TYPE, _OLD_SUBFILE_TYPE = 254, 255

_NOT_PAGES = 0b101
"""Bits of NewSubfileType: a reduced version of another image, and a transparency mask (TIFF 6.0, section 8)."""

_OLD_REDUCED = 2

_Opener: TypeAlias = Callable[[Any], ImageFile.ImageFile]

# An image that a caller opened reads its file when it is first used. Several threads may be given the same one, and
# Pillow does not expect them (https://github.com/python-pillow/Pillow/issues/4848).
_CALLERS_IMAGES = ForkSafeLock()

_TURNED = (5, 6, 7, 8)
"""Orientations of EXIF that exchange width and height."""


def list_tiff_pages(file: BinaryIO, *, most: int) -> list[int]:
    """Returns the numbers, from 0, of those images that are pages; the search ends once there are more than `most`.

    The directories are followed as far as they are whole. At least one image is a page.

    Args:
        file: A TIFF or BigTIFF, read from its beginning.
        most: Pages that are of interest.
    """
    file.seek(0)
    header = file.read(16)
    order = "<" if header.startswith(b"II") else ">"
    is_big = header[2:4] in (b"+\x00", b"\x00+")
    count_form, entry_bytes, offset_form = (f"{order}Q", 20, f"{order}Q") if is_big else (f"{order}H", 12, f"{order}I")
    pages: list[int] = []
    seen: set[int] = set()
    try:
        (offset,) = struct.unpack_from(offset_form, header, 8 if is_big else 4)
        while offset and offset not in seen and len(pages) <= most:
            seen.add(offset)
            file.seek(offset)
            (count,) = struct.unpack(count_form, file.read(struct.calcsize(count_form)))
            entries = _read_exactly(file, min(count, 65_535) * entry_bytes)
            if _is_page(entries, entry_bytes, order):
                pages.append(len(seen) - 1)
            (offset,) = struct.unpack(offset_form, file.read(struct.calcsize(offset_form)))
    except (struct.error, EOFError, OSError, OverflowError, ValueError):
        # What is left of a damaged file; opening an image says what is wrong with it.
        pass
    finally:
        file.seek(0, io.SEEK_SET)
    return pages if pages else [0]


def _read_exactly(file: BinaryIO, count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise EOFError
    return content


def _is_page(entries: bytes, entry_bytes: int, order: str) -> bool:
    for start in range(0, len(entries), entry_bytes):
        tag, kind = struct.unpack_from(f"{order}HH", entries, start)
        if tag not in (_NEW_SUBFILE_TYPE, _OLD_SUBFILE_TYPE):
            continue
        # A single SHORT (3) or LONG (4) stands in the entry itself, at its beginning.
        place = start + (12 if entry_bytes == 20 else 8)
        (value,) = struct.unpack_from(f"{order}H" if kind == 3 else f"{order}I", entries, place)
        if value & _NOT_PAGES if tag == _NEW_SUBFILE_TYPE else value == _OLD_REDUCED:
            return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader:
    """What is known of an image file without decoding it.

    Attributes:
        mime_type: What its content is, whatever its name.
        width: In pixels, as the image is read.
        height: In pixels, as the image is read.
        pages: How many images of it are pages: more than one only in a TIFF.
    """

    mime_type: str
    width: int
    height: int
    pages: int


def check_image_reading(reading: object) -> ImageReading:
    """Returns `reading`.

    Raises:
        ValueError: It is neither `"viewer"` nor `"reference"`.
    """
    for known in get_args(ImageReading):
        if reading == known:
            return known
    raise ValueError(f'image_reading={reading!r} is unknown; allowed are "viewer" and "reference"')


def measure_image(source: ImageSource, policy: MediaPolicy, *, reading: ImageReading = "viewer") -> tuple[int, int]:
    """Returns (width, height) in pixels of the image as `read_image` gives it, from the header without decoding.

    A page of a PDF is rendered.

    Raises:
        MediaPolicyError: The policy refuses the source, or it has more than `max_pixels`.
        MediaError: The source is not an image in an allowed format, or is too thin.
    """
    check_image_reading(reading)
    if isinstance(source, DocumentPage):
        from qwen3_vl_retrieval.media.documents import measure_page

        size = measure_page(source, policy, reading=reading)
        # A page that was found under a policy of its own is held to this one, too.
        _check_sides(size, policy, describe_image(source))
        return size
    shown = describe_image(source)
    if isinstance(source, (str, Path, bytes)):
        header = read_header(open_source(source, policy), policy, reading, page=None, shown=shown)
        return header.width, header.height
    image = source if isinstance(source, Image.Image) else _image_from_array(source, shown)
    _check_sides(image.size, policy, shown)
    if reading == "viewer" and isinstance(source, Image.Image):
        # The orientation of a PNG may follow its pixels.
        _load_callers(source, shown)
        return _turn(image.size, find_orientation(image))
    return image.size


def read_image_header(
    source: str | Path | bytes, policy: MediaPolicy, *, reading: ImageReading = "viewer"
) -> ImageHeader:
    """Returns what an image file says of itself: MIME type, size as read, and pages. It is not decoded.

    Raises:
        MediaPolicyError: The policy refuses the source, or it has more than `max_pixels` or `max_pages`.
        MediaError: The source is not an image in an allowed format, or is too thin.
    """
    check_image_reading(reading)
    return read_header(open_source(source, policy), policy, reading, page=None, shown=describe_image(source))


def read_image(source: ImageSource, policy: MediaPolicy, *, reading: ImageReading = "viewer") -> Image.Image:
    """Returns the image decoded to RGB; a caller's own image is not changed.

    Args:
        source: What to read.
        policy: What may be opened.
        reading: `"viewer"`: upright, on white where it is transparent, in 8 bits and sRGB; `"reference"`: as
            `to_rgb` of `qwen_vl_utils`.

    Raises:
        MediaPolicyError: The policy refuses the source, or it has more than `max_pixels`.
        MediaError: The source is not an image in an allowed format, is damaged, truncated, closed, or too thin.
    """
    check_image_reading(reading)
    if isinstance(source, DocumentPage):
        from qwen3_vl_retrieval.media.documents import render_page

        page = render_page(source, policy, reading=reading)
        _check_sides(page.size, policy, describe_image(source))
        return page
    shown = describe_image(source)
    if isinstance(source, (str, Path, bytes)):
        return decode_image(open_source(source, policy), policy, reading, page=None, shown=shown)
    image = source if isinstance(source, Image.Image) else _image_from_array(source, shown)
    _check_sides(image.size, policy, shown)
    if isinstance(source, Image.Image):
        key_scale = _load_callers(source, shown)
        check_pixels(*image.size, policy, shown=shown)
    else:
        key_scale = 1
    return _convert(image, reading, key_scale, shown)


def read_resized_image(
    source: ImageSource, policy: MediaPolicy, *, reading: ImageReading, min_pixels: int, max_pixels: int
) -> Image.Image:
    """Returns the image as the models see it: `read_image`, then `resize_image`.

    A file is resized in the process that reads it, so that only what is needed of a large photograph is sent.

    Raises:
        MediaPolicyError: The policy refuses the source, or it has more than `max_pixels` of the policy.
        MediaError: The source is not an image in an allowed format, is damaged, truncated, closed, or too thin.
    """
    shown = describe_image(source)
    if not isinstance(source, (str, Path, bytes)):
        image = read_image(source, policy, reading=reading)
        return resize_image(image, min_pixels=min_pixels, max_pixels=max_pixels, shown=shown)
    check_image_reading(reading)
    opened = open_source(source, policy)
    return read(
        _decode_resized_image,
        policy,
        shown,
        opened,
        resolve_dirs(policy),
        reading,
        shown,
        min_pixels=min_pixels,
        max_pixels=max_pixels,
    )


def _decode_resized_image(
    opened: Path | bytes, policy: MediaPolicy, reading: ImageReading, shown: str, *, min_pixels: int, max_pixels: int
) -> Image.Image:
    image = _decode_image(opened, policy, reading, None, shown)
    return resize_image(image, min_pixels=min_pixels, max_pixels=max_pixels, shown=shown)


def read_header(
    opened: Path | bytes, policy: MediaPolicy, reading: ImageReading, *, page: int | None, shown: str
) -> ImageHeader:
    """Returns what an image file says of itself.

    Args:
        opened: The file, or its content; see `open_source`.
        policy: What may be opened.
        reading: How the image is read.
        page: Number of the page of a TIFF, from 1; `None` is the first.
        shown: Names the image in errors.

    Raises:
        MediaPolicyError: It has more than `max_pixels` or `max_pages`, or takes too much to read.
        MediaError: It is not an image in an allowed format, or is too thin, or there is no such page.
    """
    return read(_read_header, policy, shown, opened, resolve_dirs(policy), reading, page, shown)


def _read_header(
    opened: Path | bytes, policy: MediaPolicy, reading: ImageReading, page: int | None, shown: str
) -> ImageHeader:
    with ExitStack() as stack:
        image, file, found, pages = _open_file(opened, policy, reading, page, shown, stack)
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            # Pillow turns a TIFF while it loads, and only from version 11.1 on says so before.
            stored = image.tag_v2.get(TiffImagePlugin.IMAGEWIDTH), image.tag_v2.get(TiffImagePlugin.IMAGELENGTH)
            if (width, height) == stored:
                width, height = _turn((width, height), image.tag_v2.get(0x0112))
        elif reading == "viewer":
            if isinstance(image, PngImagePlugin.PngImageFile) and has_late_metadata(file):
                file.seek(0)
                image = stack.enter_context(_open_format(file, found, shown))
                _load(image, shown)
            width, height = _turn((width, height), find_orientation(image))
        return ImageHeader(mime_type=found.mime_type, width=width, height=height, pages=pages)


def decode_image(
    opened: Path | bytes, policy: MediaPolicy, reading: ImageReading, *, page: int | None, shown: str
) -> Image.Image:
    """Returns an image file decoded to RGB.

    Arguments and errors are those of `read_header`; a damaged or truncated file is a `MediaError`, too.
    """
    return read(_decode_image, policy, shown, opened, resolve_dirs(policy), reading, page, shown)


def _decode_image(
    opened: Path | bytes, policy: MediaPolicy, reading: ImageReading, page: int | None, shown: str
) -> Image.Image:
    with ExitStack() as stack:
        image, _, _, _ = _open_file(opened, policy, reading, page, shown, stack, first_only=page is None)
        key_scale = find_key_scale(image)
        _load(image, shown)
        # A frame of a GIF may be larger than the screen that the header declares.
        check_pixels(*image.size, policy, shown=shown)
        return _convert(image, reading, key_scale, shown)


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Returns a new RGB image: RGBA is laid on white, every other mode converted (`to_rgb` of `qwen_vl_utils`)."""
    if image.mode == "RGBA":
        canvas = Image.new("RGB", image.size, (255, 255, 255))
        canvas.paste(image, mask=image.getchannel("A"))
        return canvas
    if "transparency" in image.info and image.mode == "P":
        # Converting drops it anyway, with a warning.
        image = image.copy()
        del image.info["transparency"]
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def resize_image(image: Image.Image, *, min_pixels: int, max_pixels: int, shown: str = "an image") -> Image.Image:
    """Returns `image` resized as `fetch_image` does: sides multiples of 32, pixels within the limits, bicubic.

    `shown` names the image in errors (see `describe_image`).

    Raises:
        MediaError: One side is more than 200 times the other, or too thin for `max_pixels`.
    """
    width, height = image.size
    return image.resize(fit_image_size(width, height, min_pixels=min_pixels, max_pixels=max_pixels, shown=shown))


def describe_image(source: ImageSource) -> str:
    """Returns what to call `source` in a message: its path or URI, else the way in which it was given."""
    match source:
        case str() | Path():
            return f"the image {shorten_name(str(source))!r}"
        case bytes():
            return f"the image given as {len(source)} bytes"
        case DocumentPage():
            return describe_page(source)
        case _:
            return f"the image given as {type(source).__name__}"


def _open_file(
    opened: Path | bytes,
    policy: MediaPolicy,
    reading: ImageReading,
    page: int | None,
    shown: str,
    stack: ExitStack,
    *,
    first_only: bool = False,
) -> tuple[ImageFile.ImageFile, BinaryIO, ImageFormat, int]:
    """The image with its size checked and its pixels not read, its file, format and pages; `stack` closes them."""
    file: io.BytesIO | io.BufferedReader = stack.enter_context(
        io.BytesIO(opened) if isinstance(opened, bytes) else open_file(opened, policy)
    )
    found = _find_format(file, shown)
    image = stack.enter_context(_open_format(file, found, shown))
    number, pages = 0, 1
    if found.name == "TIFF":
        numbers = list_tiff_pages(file, most=0 if first_only else policy.max_pages)
        pages = len(numbers)
        if pages > policy.max_pages:
            raise MediaPolicyError(
                f"{shown} has more than max_pages={policy.max_pages:,} pages; "
                "split it, or raise max_pages of the MediaPolicy"
            )
        if page is not None and not 1 <= page <= pages:
            raise MediaError(f"there is no page {page} of {shown}; it has pages 1 to {pages}")
        # The official scripts take what comes first, a thumbnail or not.
        number = numbers[page - 1] if page is not None else numbers[0] if reading == "viewer" else 0
    if number > 0:
        with _explain_damage(shown):
            image.seek(number)
    _check_sides(image.size, policy, shown)
    return image, file, found, pages


def _find_format(file: BinaryIO, shown: str) -> ImageFormat:
    start = file.read(HEADER_BYTES)
    file.seek(0)
    found = identify_image(start)
    if found is None:
        kind = "empty" if not start else "not an image that is understood"
        raise MediaError(f"{shown} is {kind}; allowed are PNG, JPEG, WEBP, GIF, BMP, TIFF, AVIF and HEIC")
    return found


def _open_format(file: BinaryIO, found: ImageFormat, shown: str) -> ImageFile.ImageFile:
    # The readers are called by name, not through `Image.open`: no other format can be reached, and `Image.open`
    # compares sizes with a process-wide limit and warns, where this package compares with the policy and raises.
    opener = _find_opener(found.name, shown)
    with _explain_damage(shown):
        return opener(file)


def _find_opener(name: str, shown: str) -> _Opener:
    match name:
        case "PNG":
            return PngImagePlugin.PngImageFile
        case "JPEG":
            return JpegImagePlugin.JpegImageFile
        case "GIF":
            return GifImagePlugin.GifImageFile
        case "BMP":
            return BmpImagePlugin.BmpImageFile
        case "TIFF":
            return TiffImagePlugin.TiffImageFile
        case "WEBP":
            return WebPImagePlugin.WebPImageFile
        case "AVIF":
            return _find_avif_opener(shown)
        case _:
            return _find_heic_opener(shown)


def _find_avif_opener(shown: str) -> _Opener:
    try:
        from PIL import AvifImagePlugin
    except ImportError as error:
        raise MediaError(
            f"{shown} is an AVIF, which Pillow reads from version 11.3 on; pip install -U pillow"
        ) from error
    if not AvifImagePlugin.SUPPORTED:
        raise MediaError(f"{shown} is an AVIF, and this Pillow was built without AVIF; pip install -U pillow")
    return AvifImagePlugin.AvifImageFile


def _find_heic_opener(shown: str) -> _Opener:
    try:
        from pillow_heif.as_plugin import HeifImageFile
    except ImportError as error:
        raise MediaError(
            f"{shown} is a HEIC, which needs pillow-heif; pip install 'qwen3-vl-retrieval[heic]'"
        ) from error
    return HeifImageFile


def _load(image: Image.Image, shown: str) -> None:
    with _explain_damage(shown):
        image.load()


def _load_callers(image: Image.Image, shown: str) -> int:
    """Reads the pixels of a caller's image, and returns what is only known before, see `find_key_scale`."""
    with _CALLERS_IMAGES, _SILENCE:
        key_scale = find_key_scale(image)
        try:
            image.load()
        except Image.DecompressionBombError as error:
            raise MediaPolicyError(f"{shown} decodes to more than its header declares: {error}") from error
        except Exception as error:
            if isinstance(error, (AssertionError, AttributeError)) or "closed" in str(error):
                # Pillow lets the file go, and then stumbles over its absence in one way or another.
                raise MediaError(
                    f"{shown} is closed, or its file was before its pixels were read; give it open, or give its path"
                ) from error
            raise MediaError(f"{shown} is damaged or truncated: {error}") from error
    return key_scale


def _convert(image: Image.Image, reading: ImageReading, key_scale: int, shown: str) -> Image.Image:
    with _explain_damage(shown):
        return view_image(image, key_scale=key_scale) if reading == "viewer" else convert_to_rgb(image)


@contextmanager
def _explain_damage(shown: str) -> Generator[None, None, None]:
    """Makes a named error of whatever Pillow raises: its readers of damaged files know no common one."""
    try:
        with _SILENCE:
            yield
    except MemoryError:
        # Of this machine, or of the limit under which files are read: not the file's damage.
        raise
    except Image.DecompressionBombError as error:
        raise MediaPolicyError(f"{shown} is too large: {error}") from error
    except Exception as error:
        # OSError, SyntaxError, struct.error, AssertionError, RuntimeError and more have been seen.
        raise MediaError(f"{shown} is damaged or truncated: {error}") from error


class _PillowSilence:
    """Pillow's own warnings left out while any thread reads an image.

    They name no file ("Corrupt EXIF data"), and the image is read all the same. `warnings.catch_warnings` would
    exchange the filters of all threads, and leave the wrong ones behind where two overlap; `warnings.filterwarnings`
    would have every warning of the process shown once more.
    """

    _FILTER = ("ignore", None, Warning, re.compile(r"PIL\.|pillow_heif\."), 0)

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._readers = 0
        self._filters: list[Any] = []

    def __enter__(self) -> None:
        with self._lock:
            self._readers += 1
            if self._readers == 1:
                self._filters = cast("list[Any]", warnings.filters)
                self._filters.insert(0, self._FILTER)
                # Without a handler of the program, what Pillow logs goes to stderr.
                if not _PILLOW_LOG.handlers:
                    _PILLOW_LOG.addHandler(logging.NullHandler())

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                # Somebody may have exchanged the list in the meantime, for a copy of it.
                for filters in (self._filters, cast("list[Any]", warnings.filters)):
                    if self._FILTER in filters:
                        filters.remove(self._FILTER)


_PILLOW_LOG = logging.getLogger("PIL")


_SILENCE = _PillowSilence()


def _check_sides(size: tuple[int, int], policy: MediaPolicy, shown: str) -> None:
    width, height = size
    check_pixels(width, height, policy, shown=shown)
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise MediaError(
            f"{shown} is {width}x{height} pixels; the longer side may be at most "
            f"{MAX_ASPECT_RATIO} times the shorter: cut it into parts"
        )


def _turn(size: tuple[int, int], orientation: object) -> tuple[int, int]:
    return (size[1], size[0]) if orientation in _TURNED else size


def _image_from_array(array: npt.NDArray[Any], shown: str) -> Image.Image:
    if not isinstance(array, np.ndarray):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not check types
        raise MediaError(f"{shown} is not read; give a path, URI, bytes, PIL image or ndarray")
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not is_image or array.dtype != np.uint8 or array.size == 0:
        raise MediaError(
            f"an image array must be uint8 of shape (height, width) or (height, width, 1, 3 or 4), not empty; "
            f"got {array.dtype} {array.shape}"
        )
    # Contiguous: `fromarray` reads the memory as it lies.
    return Image.fromarray(np.ascontiguousarray(array[:, :, 0] if array.shape[2:] == (1,) else array))
