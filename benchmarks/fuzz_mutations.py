"""A valid file damaged in a way that a number decides."""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence

__all__ = ["mutate_file"]

_NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_PDF_NUMBERS = (b"0", b"-1", b"1", b"0.0001", b"1e9", b"65535", b"100000", b"2147483647", b"-2147483648", b"4294967295")
_NAMES = re.compile(rb"/[A-Za-z][A-Za-z0-9]*")
_DIGITS = re.compile(rb"(?<![A-Za-z\d.])-?\d+(?:\.\d+)?(?![A-Za-z\d])")
_REFERENCES = re.compile(rb"(\d+) 0 R")
_OBJECTS = re.compile(rb"\d+ 0 obj\n.*?endobj\n", re.DOTALL)
_OPERATORS = (
    b" q",
    b" Q",
    b" f",
    b" S",
    b" sh",
    b" Do",
    b" cm",
    b" BT",
    b" ET",
    b" W n",
    b" re",
    b" d",
    b" scn",
    b" Tj",
)

_Mutation = Callable[[bytes, random.Random], bytes]


def mutate_file(content: bytes, suffix: str, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Returns `content` after one to six damages; `others` are files that pieces are taken from."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 6))):
        if rng.random() < 0.1:
            content = _splice(content, rng.choice(others), rng)
            continue
        mutations = _BY_SUFFIX.get(suffix, ())
        known = mutations and rng.random() < 0.6
        content = rng.choice(mutations if known else _OF_BYTES)(content, rng)
    return content


def _flip_bits(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16, 64)) if damaged else 0):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _set_bytes(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16)) if damaged else 0):
        damaged[rng.randrange(len(damaged))] = rng.choice((0, 255, 127, 128, rng.randrange(256)))
    return bytes(damaged)


def _set_number(content: bytes, rng: random.Random) -> bytes:
    """What may be a length, a count or an offset, near the beginning more often than elsewhere."""
    form = rng.choice((">H", "<H", ">I", "<I", ">Q", "<Q"))
    size = struct.calcsize(form)
    if len(content) <= size:
        return content
    at = rng.randrange(min(len(content) - size, rng.choice((64, 512, len(content)))))
    number = rng.choice((*_NUMBERS, len(content), len(content) - at)) % (1 << 8 * size)
    return content[:at] + struct.pack(form, number) + content[at + size :]


def _truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    start, end = _choose_block(content, rng)
    return content[:end] + content[start:end] * rng.choice((1, 1, 2, 50)) + content[end:]


def _remove(content: bytes, rng: random.Random) -> bytes:
    start, end = _choose_block(content, rng)
    return content[:start] + content[end:]


def _move(content: bytes, rng: random.Random) -> bytes:
    start, end = _choose_block(content, rng)
    rest = content[:start] + content[end:]
    at = rng.randrange(len(rest) + 1)
    return rest[:at] + content[start:end] + rest[at:]


def _insert(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    size = rng.choice((1, 2, 4, 100, 5_000))
    return content[:at] + rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size))) + content[at:]


def _splice(content: bytes, other: bytes, rng: random.Random) -> bytes:
    start, end = _choose_block(other, rng)
    at, until = _choose_block(content, rng)
    return content[:at] + other[start:end] + content[until if rng.random() < 0.5 else at :]


def _choose_block(content: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    return start, min(len(content), start + rng.choice((1, 4, 16, 64, 256, 2_048)))


def _exchange(pattern: re.Pattern[bytes], values: Sequence[bytes] = ()) -> _Mutation:
    """Puts another match of `pattern`, or one of `values`, where a match was."""

    def exchange(content: bytes, rng: random.Random) -> bytes:
        found = list(pattern.finditer(content))
        if not found:
            return content
        chosen = rng.choice(found)
        others = [rng.choice(found).group(), *([rng.choice(values)] if values else [])]
        return content[: chosen.start()] + rng.choice(others) + content[chosen.end() :]

    return exchange


def _point_to_itself(content: bytes, rng: random.Random) -> bytes:
    """Lets an object of a PDF name itself where it named another."""
    whole = list(_OBJECTS.finditer(content))
    if not whole:
        return content
    chosen = rng.choice(whole)
    number = chosen.group().split(b" ", 1)[0]
    text = _REFERENCES.sub(number + b" 0 R", chosen.group(), count=rng.choice((1, 2, 0)))
    return content[: chosen.start()] + text + content[chosen.end() :]


def _repeat_operators(content: bytes, rng: random.Random) -> bytes:
    found = list(re.finditer(rb"stream\n", content))
    if not found:
        return content
    at = rng.choice(found).end()
    return content[:at] + rng.choice(_OPERATORS) * rng.choice((1, 3, 40, 3_000)) + b" " + content[at:]


def _change_png_chunk(content: bytes, rng: random.Random) -> bytes:
    """Damages the content of a chunk and gives it a check sum that fits."""
    chunks = []
    at = 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        if at + 12 + size > len(content):
            break
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return content
    number = rng.randrange(len(chunks))
    kind, data = chunks[number]
    if kind == b"IDAT" and rng.random() < 0.7:
        try:
            data = zlib.compress(rng.choice(_OF_BYTES)(zlib.decompress(data), rng))
        except zlib.error:
            data = _flip_bits(data, rng)
    else:
        data = rng.choice((_flip_bits, _set_bytes, _set_number))(data, rng)
    chunks[number] = (kind, data)
    if rng.random() < 0.2:
        rng.shuffle(chunks)
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _change_box(content: bytes, rng: random.Random) -> bytes:
    """Sets a number inside a box of an MP4 or AVIF, after its name."""
    found = list(re.finditer(rb"[a-z][a-z0-9]{2,3}[a-z0-9 ]", content))
    if not found:
        return content
    at = rng.choice(found).end() + 4 * rng.randrange(-2, 6)
    if not 0 <= at < len(content) - 4:
        return content
    return content[:at] + struct.pack(">I", rng.choice((*_NUMBERS, rng.randrange(2**32)))) + content[at + 4 :]


_OF_BYTES: tuple[_Mutation, ...] = (
    *(_flip_bits, _flip_bits, _set_bytes, _set_number, _set_number),
    *(_truncate, _repeat, _remove, _move, _insert),
)
_OF_PDF: tuple[_Mutation, ...] = (
    _exchange(_DIGITS, _PDF_NUMBERS),
    _exchange(_DIGITS, _PDF_NUMBERS),
    _exchange(_REFERENCES),
    _exchange(_REFERENCES),
    _exchange(_NAMES),
    _exchange(_OBJECTS),
    _point_to_itself,
    _repeat_operators,
)
_BY_SUFFIX: dict[str, tuple[_Mutation, ...]] = {
    "pdf": _OF_PDF,
    "png": (_change_png_chunk,),
    **dict.fromkeys(("mp4", "mov", "avif"), (_change_box,)),
}
