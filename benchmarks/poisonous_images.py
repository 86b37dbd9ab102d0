"""Images of at most 20 KB that declare, unpack to, or loop over far more than that."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image

__all__ = ["POISONOUS_IMAGES", "deflate_png"]


def deflate_png(side: int = 9_999) -> bytes:
    """100 million black pixels of one bit in 13 KB, just below the limit: 300 MB once they are RGB."""
    line = bytes(1 + (side + 7) // 8)
    return _write_png(side, side, _chunk(b"IDAT", zlib.compress(line * side, 9)), bits=1)


def declare_png() -> bytes:
    """A PNG whose header says 2^31 - 1 pixels a side."""
    return _write_png(2**31 - 1, 2**31 - 1, _chunk(b"IDAT", zlib.compress(bytes(64))))


def inflate_png_pixels(size_mib: int = 16) -> bytes:
    """Eight by eight pixels, followed in the same stream by 16 MiB of zeros that no pixel needs."""
    return _write_png(8, 8, _chunk(b"IDAT", zlib.compress(bytes(size_mib << 20), 9)))


def inflate_png_text() -> bytes:
    """A compressed comment that inflates to 16 MiB, ahead of the pixels."""
    text = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(16 << 20), 9))
    return _write_png(8, 8, text + _chunk(b"IDAT", zlib.compress(bytes(25 * 8))))


def inflate_png_profile() -> bytes:
    """A colour profile that inflates to 16 MiB and is none."""
    profile = _chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(16 << 20), 9))
    return _write_png(8, 8, profile + _chunk(b"IDAT", zlib.compress(bytes(25 * 8))))


def circle_tiff_pages() -> bytes:
    """A TIFF whose only page names itself as the next."""
    return _write_tiff([(8, 8, 8, zlib.compress(b"\x80" * 64))], next_offset=8)


def chain_tiff_pages(count: int = 60) -> bytes:
    """60 pages of 100 million pixels each, all made of the same ten kilobytes."""
    strip = zlib.compress(bytes(1250 * 9_999), 9)
    return _write_tiff([(9_999, 9_999, 1, strip)] * count)


def empty_tiff_pages(count: int = 3_000) -> bytes:
    """3,000 pages without a single tag."""
    head = b"II*\0" + struct.pack("<I", 8)
    return head + b"".join(struct.pack("<HI", 0, 8 + 6 * (page + 1)) for page in range(count - 1)) + bytes(6)


def declare_tiff_tag() -> bytes:
    """A tag with four billion values, and strips by the million that all lie at the same place."""
    entries = [(256, 4, 1, 9_000), (257, 4, 1, 9_000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, 2**32 - 1, 8), (278, 4, 1, 1), (279, 4, 2**32 - 1, 8), (34675, 7, 2**32 - 1, 8)]
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4)


def scale_tiff_floats() -> bytes:
    """Floats of 32 bits, none of them finite."""
    pixels = struct.pack("<4f", float("nan"), float("inf"), float("-inf"), 3e38) * 64
    return _write_tiff([(16, 16, 32, zlib.compress(pixels))], sample_format=3)


def widen_gif_screen() -> bytes:
    """A GIF whose screen has 65,535 pixels a side, around a frame of one pixel."""
    return _write_gif((65_535, 65_535), [(0, 0, 1, 1)])


def widen_gif_frame() -> bytes:
    """A screen of one pixel, around a frame of 65,535 pixels a side."""
    return _write_gif((1, 1), [(0, 0, 65_535, 65_535)])


def multiply_gif_frames(count: int = 800) -> bytes:
    """800 frames of 9,999 pixels a side that hold one pixel each."""
    return _write_gif((9_999, 9_999), [(9_998, 9_998, 1, 1)] * count)


def declare_bmp() -> bytes:
    """A BMP of two billion pixels a side, upside down."""
    return _write_bmp(2**31 - 1, -(2**31 - 1), 24, 0, b"")


def encode_bmp_runs() -> bytes:
    """A run-length encoded BMP of 100 million pixels that ends at once."""
    return _write_bmp(9_999, 9_999, 8, 1, b"\0\1")


def declare_jpeg() -> bytes:
    """A JPEG of 65,500 pixels a side without any."""
    return _write_jpeg(65_500, 65_500, scans=1)


def scan_jpeg_again(scans: int = 1_500) -> bytes:
    """A progressive JPEG of 100 million pixels in 1,500 scans of ten bytes; each walks over all its blocks."""
    return _write_jpeg(9_992, 9_992, scans=scans)


def declare_webp() -> bytes:
    """A canvas of 2^24 pixels a side without any."""
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff" * 6
    return b"RIFF" + struct.pack("<I", 4 + len(canvas)) + b"WEBP" + canvas


def encode_webp_constant(side: int = 9_999) -> bytes:
    """A lossless WebP of 100 million pixels of one colour in 32 bytes: each takes no bits."""
    bits = f"{side - 1:014b}"[::-1] * 2 + "0" + "000" + "0" + "0" + "0" + "1000" * 5
    packed = b"\x2f" + int(bits[::-1], 2).to_bytes(-(-len(bits) // 8), "little")
    packed += bytes(len(packed) % 2)
    chunk = b"VP8L" + struct.pack("<I", len(packed)) + packed
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def declare_avif() -> bytes:
    """An AVIF of eight pixels a side, and of a billion as its properties say."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "AVIF")
    return file.getvalue().replace(
        b"ispe" + bytes(4) + struct.pack(">II", 8, 8), b"ispe" + bytes(4) + b"\x40\0\0\0" * 2
    )


def stretch_png() -> bytes:
    """A line of 60,000 pixels."""
    return _write_png(60_000, 1, _chunk(b"IDAT", zlib.compress(bytes(1 + 180_000), 9)))


def _write_png(width: int, height: int, chunks: bytes, *, bits: int = 8) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, 0 if bits == 1 else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + chunks + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _write_tiff(pages: list[tuple[int, int, int, bytes]], *, sample_format: int = 1, next_offset: int = 0) -> bytes:
    """Grey pages (width, height, bits, deflated strip), the last followed by the page at `next_offset`."""
    entries_count = 9
    size = 2 + 12 * entries_count + 4
    strips = {strip: 8 + size * len(pages) for _, _, _, strip in pages[:1]}
    body = b"II*\0" + struct.pack("<I", 8)
    for number, (width, height, bits, strip) in enumerate(pages):
        values = [(256, width), (257, height), (258, bits), (259, 8), (262, 1), (273, strips[strip])]
        values += [(278, height), (279, len(strip)), (339, sample_format)]
        body += struct.pack("<H", entries_count)
        body += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values)
        body += struct.pack("<I", next_offset if number == len(pages) - 1 else 8 + size * (number + 1))
    return body + b"".join(strips)


def _write_gif(screen: tuple[int, int], frames: list[tuple[int, int, int, int]]) -> bytes:
    """Frames at (left, top) of (width, height) that hold one pixel each."""
    head = b"GIF89a" + struct.pack("<HH", *screen) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    return head + b"".join(b"," + struct.pack("<HHHH", *frame) + b"\0\2\2\x44\1\0" for frame in frames) + b";"


def _write_bmp(width: int, height: int, bits: int, compression: int, pixels: bytes) -> bytes:
    palette = bytes(1024) if bits == 8 else b""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(pixels), 0, 0, 0, 0)
    offset = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + header + palette + pixels


def _write_jpeg(width: int, height: int, *, scans: int) -> bytes:
    """A progressive grey JPEG: a table of one code, then scans without a bit of data."""
    frame = b"\xff\xc2\0\x0b\x08" + struct.pack(">HH", height, width) + b"\1\1\x11\0"
    quantization = b"\xff\xdb\0\x43\0" + b"\1" * 64
    tables = b"".join(b"\xff\xc4\0\x14" + kind + b"\1" + bytes(15) + b"\0" for kind in (b"\0", b"\x10"))
    first = b"\xff\xda\0\x08\1\1\0\0\0\0"
    others = b"\xff\xda\0\x08\1\1\0\1\x3f\0" * (scans - 1)
    return b"\xff\xd8" + quantization + frame + tables + first + others + b"\xff\xd9"


POISONOUS_IMAGES: dict[str, Callable[[], bytes]] = {
    "avif-declared.avif": declare_avif,
    "bmp-declared.bmp": declare_bmp,
    "bmp-runs.bmp": encode_bmp_runs,
    "gif-frame-wide.gif": widen_gif_frame,
    "gif-frames.gif": multiply_gif_frames,
    "gif-screen-wide.gif": widen_gif_screen,
    "jpeg-declared.jpg": declare_jpeg,
    "jpeg-scans.jpg": scan_jpeg_again,
    "png-declared.png": declare_png,
    "png-deflated.png": deflate_png,
    "png-pixels-inflated.png": inflate_png_pixels,
    "png-profile-inflated.png": inflate_png_profile,
    "png-stretched.png": stretch_png,
    "png-text-inflated.png": inflate_png_text,
    "tiff-circular.tif": circle_tiff_pages,
    "tiff-floats.tif": scale_tiff_floats,
    "tiff-pages-empty.tif": empty_tiff_pages,
    "tiff-pages-large.tif": chain_tiff_pages,
    "tiff-tag.tif": declare_tiff_tag,
    "webp-constant.webp": encode_webp_constant,
    "webp-declared.webp": declare_webp,
}
"""The name of a file, and what writes it."""
