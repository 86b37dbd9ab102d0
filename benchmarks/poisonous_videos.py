"""Video files of at most 20 KB that declare, repeat or loop over far more than that; written box by box."""

from __future__ import annotations

import struct
from collections.abc import Callable

from poisonous_images import deflate_png

__all__ = ["POISONOUS_VIDEOS"]

_IMAGE = deflate_png(64)


def declare_samples(count: int = 170_000_000) -> bytes:
    """An MP4 of one kilobyte with 170 million samples of one size: an index of them takes 4 GB."""
    return _write_mp4(64, 64, _IMAGE, frames=count, is_one_chunk=True)


def repeat_large_frame(frames: int = 800) -> bytes:
    """800 frames that all lie at the same place: a PNG of 100 million pixels, 300 MB once they are RGB."""
    return _write_mp4(9_999, 9_999, deflate_png(), frames=frames)


def last_a_hundred_hours() -> bytes:
    """Two frames, 50 hours apart."""
    return _write_mp4(64, 64, _IMAGE, frames=2, delta=50 * 3600 * 600)


def nest_boxes(levels: int = 2_000) -> bytes:
    """An MP4 of 2,000 boxes, each inside the one before."""
    content = b""
    for _ in range(levels):
        content = _box(b"moov", content)
    return _box(b"ftyp", b"isom\0\0\0\0isom") + content


def declare_boxes() -> bytes:
    """Boxes that declare more bytes than any disk has, none at all, or fewer than their own header."""
    head = _box(b"ftyp", b"isom\0\0\0\0isom")
    return head + b"".join(struct.pack(">I4sQ", 1, b"free", size) for size in (2**63, 0, 4)) + _box(b"moov", b"")


def skip_over_voids(count: int = 3_000) -> bytes:
    """A Matroska file of 3,000 empty elements in a segment of unknown size, and one that skips 2^55 bytes."""
    head = _element(0x1A45DFA3, _element(0x4282, b"matroska") + _element(0x4287, b"\4") + _element(0x4285, b"\2"))
    return head + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + b"\xec\x80" * count + b"\xec\x01\x7f" + b"\xff" * 6


def seek_in_a_circle(count: int = 300) -> bytes:
    """A Matroska file whose table of contents lists 300 times its own place."""
    head = _element(0x1A45DFA3, _element(0x4282, b"matroska") + _element(0x4287, b"\4") + _element(0x4285, b"\2"))
    entry = _element(0x4DBB, _element(0x53AB, b"\x11\x4d\x9b\x74") + _element(0x53AC, b"\0"))
    return head + _element(0x18538067, _element(0x114D9B74, entry * count))


def count_avi_frames() -> bytes:
    """An AVI of one frame whose header says a hundred hours."""
    return _write_avi(64, 64, 9_000_000, rate=25, scale=1)


def slow_avi_rate() -> bytes:
    """An AVI of a frame every 49,710 days."""
    return _write_avi(64, 64, 2, rate=1, scale=2**32 - 1)


def hurry_avi_rate() -> bytes:
    """An AVI of four billion frames per second."""
    return _write_avi(64, 64, 2, rate=2**32 - 1, scale=1)


def widen_avi_frames() -> bytes:
    """An AVI whose frames have 2^31 - 1 pixels a side."""
    return _write_avi(2**31 - 1, 2**31 - 1, 1, rate=25, scale=1)


def fill_transport_stream(packets: int = 100) -> bytes:
    """An MPEG transport stream of padding only."""
    return (b"G\x1f\xff\x10" + b"\xff" * 184) * packets


def list_flv_tags(count: int = 1_200) -> bytes:
    """An FLV of 1,200 empty tags whose times leap back and forth."""
    body = b"FLV\1\1\0\0\0\x09" + bytes(4)
    for number in range(count):
        time = (0xFFFFFF if number % 2 else 0).to_bytes(3, "big") + (b"\x7f" if number % 2 else b"\0")
        body += b"\x09\0\0\0" + time + bytes(3) + struct.pack(">I", 11)
    return body


def leap_ogg_pages(count: int = 600) -> bytes:
    """Empty Ogg pages with granules of 2^62, each the beginning of another stream."""
    return b"".join(b"OggS\0\2" + struct.pack("<QIIIB", 2**62, number, 0, 0, 0) for number in range(count))


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def _write_mp4(
    width: int, height: int, sample: bytes, *, frames: int, delta: int = 25, is_one_chunk: bool = False
) -> bytes:
    """A video of PNG images, in which each frame is `sample` at the same place; or all lie in one chunk."""
    head = _box(b"ftyp", b"qt  \0\0\0\0qt  ")
    chunk = len(head) + 8
    duration = min(frames * delta, 2**32 - 1)
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    entry = bytes(6) + b"\0\1" + bytes(16) + struct.pack(">HHIII", width, height, 0x480000, 0x480000, 0) + b"\0\1"
    entry += bytes(32) + b"\0\x18\xff\xff"
    per_chunk, chunks = (frames, [chunk]) if is_one_chunk else (1, [chunk] * frames)
    table = _box(b"stsd", struct.pack(">II", 0, 1) + _box(b"png ", entry))
    table += _box(b"stts", struct.pack(">IIII", 0, 1, frames, delta))
    table += _box(b"stsc", struct.pack(">IIIII", 0, 1, 1, per_chunk, 1))
    table += _box(b"stsz", struct.pack(">III", 0, len(sample), frames))
    table += _box(b"stco", struct.pack(f">II{len(chunks)}I", 0, len(chunks), *chunks))
    reference = _box(b"dinf", _box(b"dref", struct.pack(">II", 0, 1) + _box(b"url ", b"\0\0\0\1")))
    media = _box(b"mdhd", struct.pack(">5I", 0, 0, 0, 600, duration) + bytes(4))
    media += _box(b"hdlr", bytes(8) + b"vide" + bytes(13))
    media += _box(b"minf", _box(b"vmhd", b"\0\0\0\1" + bytes(8)) + reference + _box(b"stbl", table))
    track = struct.pack(">6I", 7, 0, 0, 1, 0, duration) + bytes(16) + matrix
    track += struct.pack(">II", min(width, 65_535) << 16, min(height, 65_535) << 16)
    movie = struct.pack(">5I", 0, 0, 0, 600, duration) + b"\0\1\0\0\1\0" + bytes(10) + matrix + bytes(24) + b"\0\0\0\2"
    content = _box(b"mvhd", movie) + _box(b"trak", _box(b"tkhd", track) + _box(b"mdia", media))
    return head + _box(b"mdat", sample) + _box(b"moov", content)


def _element(identifier: int, content: bytes) -> bytes:
    """An EBML element; its size in eight bytes."""
    name = identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")
    return name + b"\1" + len(content).to_bytes(7, "big") + content


def _write_avi(width: int, height: int, frames: int, *, rate: int, scale: int) -> bytes:
    """A video of PNG images with one frame, and a header that says something else."""
    main = struct.pack("<14I", 40_000, 0, 0, 0, frames, 0, 1, 0, width, height, 0, 0, 0, 0)
    stream = b"vidsMPNG" + struct.pack("<10I4H", 0, 0, 0, scale, rate, 0, frames, 0, 0, 0, 0, 0, 64, 64)
    layout = struct.pack("<IiiHH4s5I", 40, width, height, 1, 24, b"MPNG", 0, 0, 0, 0, 0)
    streams = _list(b"strl", _riff(b"strh", stream) + _riff(b"strf", layout))
    content = _list(b"hdrl", _riff(b"avih", main) + streams) + _list(b"movi", _riff(b"00dc", _IMAGE))
    return _riff(b"RIFF", b"AVI " + content)


def _riff(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _list(kind: bytes, content: bytes) -> bytes:
    return _riff(b"LIST", kind + content)


POISONOUS_VIDEOS: dict[str, Callable[[], bytes]] = {
    "avi-frames-wide.avi": widen_avi_frames,
    "avi-hundred-hours.avi": count_avi_frames,
    "avi-rate-high.avi": hurry_avi_rate,
    "avi-rate-low.avi": slow_avi_rate,
    "flv-tags.flv": list_flv_tags,
    "mkv-contents-circular.mkv": seek_in_a_circle,
    "mkv-voids.mkv": skip_over_voids,
    "mp4-boxes-declared.mp4": declare_boxes,
    "mp4-boxes-nested.mp4": nest_boxes,
    "mp4-frame-repeated.mp4": repeat_large_frame,
    "mp4-hundred-hours.mp4": last_a_hundred_hours,
    "mp4-samples.mp4": declare_samples,
    "ogg-pages.ogv": leap_ogg_pages,
    "ts-padding.ts": fill_transport_stream,
}
"""The name of a file, and what writes it."""
