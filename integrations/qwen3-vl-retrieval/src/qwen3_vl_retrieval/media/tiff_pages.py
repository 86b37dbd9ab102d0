"""The pages of a TIFF: which of its images are pages, and which are thumbnails, overviews and masks of them."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

__all__ = ["list_tiff_pages"]

_NEW_SUBFILE_TYPE, _OLD_SUBFILE_TYPE = 254, 255
_NOT_PAGES = 0b101
"""Bits of NewSubfileType: a reduced version of another image, and a transparency mask (TIFF 6.0, section 8)."""

_OLD_REDUCED = 2


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
