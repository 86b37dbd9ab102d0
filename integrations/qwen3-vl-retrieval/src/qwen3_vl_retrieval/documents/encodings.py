"""The encoding of a text file: UTF-8, UTF-16 with or without its mark, or the one that it is most likely in."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from qwen3_vl_retrieval.errors import MediaError

if TYPE_CHECKING:
    from charset_normalizer import CharsetMatch

__all__ = ["decode_text"]

# The four bytes of UTF-32 begin with the two of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_SAMPLE_BYTES = 64 * 1024
"""What is looked at, from the line of the first byte that is not ASCII on."""

_MOST_USUAL = "cp1252"
_SINGLE_BYTE = (
    *(_MOST_USUAL, "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r", "iso8859_2"),
)
_MULTI_BYTE = ("cp932", "euc_jp", "gb18030", "big5", "cp949")
"""What text files are in, where they are not in Unicode; rarer ones fit the same bytes too often."""

_LEAST_COHERENCE = 0.1
"""Share of letters that are as frequent as in some language (`charset_normalizer`); ordinary text has 0.2 to 0.7."""

# Letters that a text in one of the multi-byte encodings is made of, and the least share of what is not ASCII.
_KANA, _HAN, _HANGUL = r"[\u3040-\u30ff]", r"[\u4e00-\u9fff]", r"[\uac00-\ud7a3]"
_SCRIPTS = {
    "cp932": (_KANA, 0.2),
    "euc_jp": (_KANA, 0.2),
    "gb18030": (_HAN, 0.6),
    "big5": (_HAN, 0.6),
    "cp949": (_HANGUL, 0.6),
}
_LEAST_LETTERS = 8

_LEAST_NULLS = 4
_LEAST_NULL_SHARE = 0.05
"""Null bytes in UTF-16 of any language: those of spaces, digits and ends of lines. Other text has none."""

_LEAST_VALID_SEQUENCES = 10
"""Sequences of UTF-8 for each byte that is none, in a file that is damaged rather than in another encoding."""

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\ufffe\uffff]")
_ADVICE = "save it as UTF-8"


def decode_text(content: bytes) -> str:
    """Returns the text of a file, without its byte order mark.

    It is in UTF-8, or in UTF-16 or UTF-32 with its mark. Else in UTF-16 without, if it has null bytes at every other
    place. Else in UTF-8 with damage, if there are ten sequences of it for each byte that is none: those become U+FFFD.
    Else in one of the usual encodings of Windows, Unix and East Asia, if `charset_normalizer` is sure enough of it from
    64 KiB.

    Raises:
        MediaError: The content is binary, or text in an encoding that is not sure.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _check_text(_decode(content, encoding))
    try:
        return _check_text(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        place = error.start
    except MediaError:
        # Null characters: binary, or UTF-16 of ASCII letters.
        place = 0
    if encoding := _find_utf_16(content[: _SAMPLE_BYTES // 2 * 2]):
        return _check_text(_decode(content, encoding))
    if b"\0" in content:
        raise MediaError("the file is binary, not text: it holds null characters")
    repaired = content.decode("utf-8", errors="replace")
    if "\ufffd" in repaired and _is_damaged_utf_8(content, repaired):
        return _check_text(repaired)
    return _check_text(_decode(content, _detect(content, place)))


def _decode(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise MediaError(
            f"the text begins as {encoding}, but byte {error.start:,} is none ({error.reason}); {_ADVICE}"
        ) from error


def _check_text(text: str) -> str:
    if "\0" in text:
        raise MediaError("the file is binary, not text: it holds null characters")
    return text


def _find_utf_16(sample: bytes) -> str | None:
    nulls = sample.count(0)
    if nulls < max(_LEAST_NULL_SHARE * len(sample), _LEAST_NULLS):
        return None
    # In the little-endian form the zero half of a letter comes second.
    encoding = {nulls: "utf-16-le", 0: "utf-16-be"}.get(sample[1::2].count(0))
    if encoding is None:
        return None
    # The sample may end within a character of two units.
    text = sample.decode(encoding, errors="ignore")
    return None if _CONTROL.search(text) or 2 * len(text.encode(encoding)) < len(sample) else encoding


def _is_damaged_utf_8(content: bytes, repaired: str) -> bool:
    damaged = repaired.count("\ufffd") - content.count("\ufffd".encode())
    valid = sum(len(run) for run in re.findall(r"[^\x00-\x7f\ufffd]+", repaired))
    return valid >= _LEAST_VALID_SEQUENCES * damaged


def _detect(content: bytes, place: int) -> str:
    from charset_normalizer import from_bytes

    begin = max(content.rfind(b"\n", 0, place) + 1, place - _SAMPLE_BYTES // 2)
    sample = content[begin : begin + _SAMPLE_BYTES]
    if begin + len(sample) < len(content):
        # No byte below the digits is a part of a letter in any of these encodings.
        ends = [found.end() for found in re.finditer(rb"[\x09-\x2f]", sample)]
        sample = sample[: ends[-1]] if ends else sample
    matches = list(from_bytes(sample, cp_isolation=[*_SINGLE_BYTE, *_MULTI_BYTE], preemptive_behaviour=False))
    sure = [match for match in matches if _is_sure(match)]
    if sure:
        # The Latin ones often fit a text alike; then it is in the most usual.
        alike = {match.encoding for match in sure if match.coherence >= sure[0].coherence}
        is_single_byte = sure[0].encoding in _SINGLE_BYTE
        return _MOST_USUAL if is_single_byte and _MOST_USUAL in alike else sure[0].encoding
    found = f"byte {place:,} is {content[place]:#04x}"
    if not matches:
        raise MediaError(f"the text is not UTF-8 ({found}), nor in any other usual encoding; is it binary? {_ADVICE}")
    raise MediaError(
        f"the text is not UTF-8 ({found}), and it is not sure what it is: perhaps {matches[0].encoding} "
        f"(confidence {matches[0].coherence:.0%}, {_LEAST_COHERENCE:.0%} are needed); {_ADVICE}"
    )


def _is_sure(match: CharsetMatch) -> bool:
    if match.encoding not in _SCRIPTS:
        return match.coherence >= _LEAST_COHERENCE
    letters, share = _SCRIPTS[match.encoding]
    others = re.findall(r"[^\x00-\x7f\u3000-\u303f\uff00-\uffef]", str(match))
    return len(others) >= _LEAST_LETTERS and len(re.findall(letters, "".join(others))) >= share * len(others)
