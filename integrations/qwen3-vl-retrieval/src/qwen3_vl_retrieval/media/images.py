"""Pictures: measured from the header, decoded to RGB, resized as the official scripts do; pages of PDFs among them.

The orientation that a camera notes in EXIF is ignored, as in the reference: a portrait stored sideways stays sideways.
Turn it first (`PIL.ImageOps.exif_transpose`) where that matters, for queries and documents alike. Of an animation or a
file of several pages the first picture is read.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

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
from qwen3_vl_retrieval.inputs import ImageSource, PdfPage
from qwen3_vl_retrieval.media.pages import describe_page, find_policy
from qwen3_vl_retrieval.media.policy import MediaPolicy, check_pixels, open_file, shorten_name
from qwen3_vl_retrieval.media.sizing import MAX_ASPECT_RATIO, fit_image_size
from qwen3_vl_retrieval.media.sources import open_source

__all__ = ["convert_to_rgb", "describe_image", "measure_image", "read_image", "resize_image"]

_Opener: TypeAlias = Callable[[Any], ImageFile.ImageFile]

# The readers are called by name, not through `Image.open`: no other format can be reached, and `Image.open` compares
# sizes with a process-wide limit and warns, where this package compares with the policy and raises.
_OPENERS: tuple[tuple[bytes, _Opener], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"GIF87a", GifImagePlugin.GifImageFile),
    (b"GIF89a", GifImagePlugin.GifImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"II*\x00", TiffImagePlugin.TiffImageFile),
    (b"MM\x00*", TiffImagePlugin.TiffImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
)

# A picture that a caller opened reads its file when it is first used. Several threads may be given the same one, and
# Pillow does not expect them (https://github.com/python-pillow/Pillow/issues/4848).
_CALLERS_PICTURES = ForkSafeLock()

# What readers of damaged files raise, besides OSError (`PIL.Image.open` catches the same, and `load` lets out more).
_DAMAGE = (OSError, SyntaxError, IndexError, TypeError, ValueError, KeyError, EOFError, OverflowError, struct.error)


def measure_image(source: ImageSource, policy: MediaPolicy) -> tuple[int, int]:
    """Returns (width, height) in pixels, read from the header without decoding; a page of a PDF is rendered.

    Raises:
        MediaPolicyError: The policy refuses the source, or it has more than `max_pixels`.
        MediaError: The source is not a picture in an allowed format, or is too thin.
    """
    with ExitStack() as stack:
        return _open_image(source, policy, stack).size


def read_image(source: ImageSource, policy: MediaPolicy) -> Image.Image:
    """Returns the picture decoded to RGB, on white where it is transparent; a caller's own picture is not changed.

    Raises:
        MediaPolicyError: The policy refuses the source, or it has more than `max_pixels`.
        MediaError: The source is not a picture in an allowed format, is damaged or truncated, or too thin.
    """
    with ExitStack() as stack:
        image = _open_image(source, policy, stack)
        try:
            with _CALLERS_PICTURES if isinstance(source, Image.Image) else nullcontext():
                image.load()
            # A frame of a GIF may be larger than the screen that the header declares.
            check_pixels(*image.size, policy, shown=describe_image(source))
            return convert_to_rgb(image)
        except MediaError:
            raise
        except Image.DecompressionBombError as error:
            raise MediaPolicyError(
                f"{describe_image(source)} decodes to more than its header declares: {error}"
            ) from error
        except _DAMAGE as error:
            raise MediaError(f"{describe_image(source)} is damaged or truncated: {error}") from error


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Returns a new RGB picture: RGBA is laid on white, every other mode converted (`to_rgb` of `qwen_vl_utils`)."""
    if image.mode == "RGBA":
        canvas = Image.new("RGB", image.size, (255, 255, 255))
        canvas.paste(image, mask=image.getchannel("A"))
        return canvas
    if "transparency" in image.info and image.mode == "P":
        # Converting drops it anyway, with a warning.
        image = image.copy()
        del image.info["transparency"]
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def resize_image(image: Image.Image, *, min_pixels: int, max_pixels: int, shown: str = "a picture") -> Image.Image:
    """Returns `image` resized as `fetch_image` does: sides multiples of 32, pixels within the limits, bicubic.

    `shown` names the picture in errors (see `describe_image`).

    Raises:
        MediaError: One side is more than 200 times the other, or too thin for `max_pixels`.
    """
    width, height = image.size
    return image.resize(fit_image_size(width, height, min_pixels=min_pixels, max_pixels=max_pixels, shown=shown))


def describe_image(source: ImageSource) -> str:
    """Returns what to call `source` in a message: its path or URI, else the way in which it was given."""
    match source:
        case str() | Path():
            return f"the picture {shorten_name(str(source))!r}"
        case bytes():
            return f"the picture given as {len(source)} bytes"
        case PdfPage():
            return describe_page(source)
        case _:
            return f"the picture given as {type(source).__name__}"


def _open_image(source: ImageSource, policy: MediaPolicy, stack: ExitStack) -> Image.Image:
    """The picture with its size checked, its pixels not necessarily read; files are closed by `stack`."""
    if isinstance(source, Image.Image):
        image = source
    elif isinstance(source, np.ndarray):
        image = _image_from_array(source)
    elif isinstance(source, PdfPage):
        image = _render_page(source, policy)
    else:
        opened = open_source(source, policy)
        file: io.BytesIO | io.BufferedReader = (
            io.BytesIO(opened) if isinstance(opened, bytes) else open_file(opened, policy)
        )
        stack.enter_context(file)
        image = stack.enter_context(_open_header(file, describe_image(source)))
    width, height = image.size
    check_pixels(width, height, policy, shown=describe_image(source))
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise MediaError(
            f"{describe_image(source)} is {width}x{height} pixels; the longer side may be at most "
            f"{MAX_ASPECT_RATIO} times the shorter: cut it into parts"
        )
    return image


def _render_page(page: PdfPage, policy: MediaPolicy) -> Image.Image:
    from qwen3_vl_retrieval.media.pdf import render_pdf_page

    options = {} if page.max_pixels is None else {"max_pixels": page.max_pixels}
    return render_pdf_page(page.source, page.page, find_policy(page, policy), **options)


def _open_header(file: io.BytesIO | io.BufferedReader, shown: str) -> ImageFile.ImageFile:
    start = file.read(16)
    file.seek(0)
    for magic, opener in _OPENERS:
        if start.startswith(magic) and (magic != b"RIFF" or start[8:12] == b"WEBP"):
            try:
                return opener(file)
            except Image.DecompressionBombError as error:
                raise MediaPolicyError(f"{shown} is too large: {error}") from error
            except _DAMAGE as error:
                raise MediaError(f"{shown} is damaged: {error}") from error
    kind = "empty" if not start else "not a picture that is understood"
    raise MediaError(f"{shown} is {kind}; allowed are PNG, JPEG, WEBP, GIF, BMP and TIFF")


def _image_from_array(array: npt.NDArray[Any]) -> Image.Image:
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not is_picture or array.dtype != np.uint8 or array.size == 0:
        raise MediaError(
            f"an image array must be uint8 of shape (height, width) or (height, width, 1, 3 or 4), not empty; "
            f"got {array.dtype} {array.shape}"
        )
    # Contiguous: `fromarray` reads the memory as it lies.
    return Image.fromarray(np.ascontiguousarray(array[:, :, 0] if array.shape[2:] == (1,) else array))
