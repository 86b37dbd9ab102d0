"""Which image formats are read: their names, MIME types, suffixes and first bytes, said once for every package.

Nothing here opens a file: `qwen3_vl_retrieval.media` does.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HEADER_BYTES", "IMAGE_FORMATS", "IMAGE_SUFFIXES", "ImageFormat", "guess_mime_type", "identify_image"]

HEADER_BYTES = 64
"""As many first bytes as `identify_image` looks at: the brands of AVIF and HEIC files fit in."""

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
"""Brands of ISO/IEC 23008-12, annex B (HEIC) and section 10 (mif1, msf1), and of the AVIF specification, section 8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFormat:
    """A format that is read.

    Attributes:
        name: As Pillow calls it. A photograph of several views (MPO) is a JPEG whose first image is read.
        mime_type: What a file of the format is served as.
        suffixes: What names of such files end in; a new file takes the first.
        begins: Tells the format by the first `HEADER_BYTES` of a file.
    """

    name: str
    mime_type: str
    suffixes: tuple[str, ...]
    begins: Callable[[bytes], bool]


def _starts_with(*magic: bytes) -> Callable[[bytes], bool]:
    return lambda start: start.startswith(magic)


def _is_webp(start: bytes) -> bool:
    return start.startswith(b"RIFF") and start[8:12] == b"WEBP"


def _is_avif(start: bytes) -> bool:
    return not _AVIF_BRANDS.isdisjoint(_list_brands(start))


def _is_heic(start: bytes) -> bool:
    # A video may list `mif1` among its compatible brands, too: what comes first says what the file is.
    return _list_brands(start)[:1] != [] and _list_brands(start)[0] in _HEIC_BRANDS and not _is_avif(start)


def _list_brands(start: bytes) -> list[bytes]:
    """The major and the compatible brands of the container that MP4, HEIC and AVIF share; none of anything else."""
    if start[4:8] != b"ftyp":
        return []
    box = start[: int.from_bytes(start[:4], "big")]
    return [box[8:12], *(box[place : place + 4] for place in range(16, len(box) - 3, 4))]


IMAGE_FORMATS = (
    # The suffixes are those that Pillow and `mimetypes` know, and `.jfif`, as which browsers save JPEGs.
    ImageFormat(
        name="PNG",
        mime_type="image/png",
        suffixes=(".png", ".apng"),
        begins=_starts_with(b"\x89PNG"),
    ),
    ImageFormat(
        name="JPEG",
        mime_type="image/jpeg",
        suffixes=(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
        begins=_starts_with(b"\xff\xd8\xff"),
    ),
    ImageFormat(name="WEBP", mime_type="image/webp", suffixes=(".webp",), begins=_is_webp),
    ImageFormat(name="GIF", mime_type="image/gif", suffixes=(".gif",), begins=_starts_with(b"GIF87a", b"GIF89a")),
    ImageFormat(name="BMP", mime_type="image/bmp", suffixes=(".bmp",), begins=_starts_with(b"BM")),
    ImageFormat(
        name="TIFF",
        mime_type="image/tiff",
        suffixes=(".tiff", ".tif"),
        # The last two are BigTIFF.
        begins=_starts_with(b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
    ),
    ImageFormat(name="AVIF", mime_type="image/avif", suffixes=(".avif", ".avifs"), begins=_is_avif),
    ImageFormat(name="HEIC", mime_type="image/heic", suffixes=(".heic", ".heif", ".hif"), begins=_is_heic),
)

IMAGE_SUFFIXES = frozenset(suffix for one in IMAGE_FORMATS for suffix in one.suffixes)


def identify_image(start: bytes) -> ImageFormat | None:
    """Returns the format of a file that begins with `start`, of which `HEADER_BYTES` are looked at; else `None`."""
    return next((one for one in IMAGE_FORMATS if one.begins(start[:HEADER_BYTES])), None)


def guess_mime_type(source: str | Path) -> str | None:
    """Returns the MIME type of a file or URL by its name; of an image always the one in `IMAGE_FORMATS`.

    What `mimetypes` knows of newer image formats depends on the version of Python, and on the machine.
    """
    # With a folder before it, a name such as `data:,x.png` is not taken for a URI.
    name = f"./{source.name}" if isinstance(source, Path) else source
    path = re.split(r"[?#]", name, maxsplit=1)[0] if "://" in name else name
    found = next((one for one in IMAGE_FORMATS if path.lower().endswith(one.suffixes)), None)
    return mimetypes.guess_type(name)[0] if found is None else found.mime_type
