"""Limits on what commands open, as options: one option for each limit of `MediaPolicy` that a file can exceed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from qwen3_vl_retrieval.index.results.hits import FailedFile
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = [
    "Limits",
    "name_options",
    "parse_bytes",
    "parse_pixels",
    "parse_seconds",
    "rename_failure",
]

_NUMBER = re.compile(r"\s*(\d+(?:[_,]\d{3})*(?:\.\d+)?|\.\d+)\s*([a-zA-Z]*)\s*")

# As file managers and `ls -h` write them: of sizes in bytes, a bare letter is a power of 1024.
_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "k": 2**10,
    "m": 2**20,
    "g": 2**30,
    "t": 2**40,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_PIXELS = {"": 1, "k": 10**3, "m": 10**6, "mp": 10**6, "g": 10**9, "gp": 10**9}
_SECONDS = {"": 1, "s": 1, "min": 60, "m": 60, "h": 3600}

OPTIONS: Mapping[str, str] = {
    "max_bytes": "--max-file-size",
    "max_pixels": "--max-image-pixels",
    "max_pages": "--max-pages",
    "max_frames": "--max-frames",
    "max_duration_seconds": "--max-duration",
    "max_read_seconds": "--max-read-time",
    "max_read_bytes": "--max-read-memory",
}
"""Fields of `MediaPolicy`, and what the command line calls them."""

_NAMED_FIELD = re.compile(rf"\b({'|'.join(OPTIONS)}) of the MediaPolicy\b")


def parse_bytes(text: str) -> int:
    """Returns a size such as `2GiB`, `1.5 GB`, `300M` or `4096` in bytes."""
    return _parse(text, _BYTES, "a size such as 2GiB, 1.5GB or 300M, or a number of bytes")


def parse_pixels(text: str) -> int:
    """Returns a number of pixels such as `200MP` or `40000000`."""
    return _parse(text, _PIXELS, "a number of pixels such as 200MP")


def parse_seconds(text: str) -> int:
    """Returns a duration such as `90min`, `6h` or `3600` in seconds, rounded up."""
    return _parse(text, _SECONDS, "a duration such as 6h or 90min, or a number of seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits that a command was given, by the names of `MediaPolicy`; `None` leaves its default."""

    max_bytes: Annotated[
        int | None,
        typer.Option(
            OPTIONS["max_bytes"],
            parser=parse_bytes,
            metavar="SIZE",
            help="Largest file that is opened: 2GiB.  [default: 512MiB]",
        ),
    ] = None
    max_pixels: Annotated[
        int | None,
        typer.Option(
            OPTIONS["max_pixels"],
            parser=parse_pixels,
            metavar="PIXELS",
            help="Most pixels of an image or frame: 200MP.  [default: 100MP]",
        ),
    ] = None
    max_pages: Annotated[
        int | None,
        typer.Option(OPTIONS["max_pages"], min=1, help="Most pages of a PDF.  [default: 2000]", show_default=False),
    ] = None
    max_frames: Annotated[
        int | None,
        typer.Option(
            OPTIONS["max_frames"], min=1, help="Most frames of a video.  [default: 1000000]", show_default=False
        ),
    ] = None
    max_duration_seconds: Annotated[
        int | None,
        typer.Option(
            OPTIONS["max_duration_seconds"],
            parser=parse_seconds,
            metavar="DURATION",
            help="Longest video: 6h, 90min.  [default: 4h]",
        ),
    ] = None
    max_read_seconds: Annotated[
        int | None,
        typer.Option(
            OPTIONS["max_read_seconds"],
            parser=parse_seconds,
            metavar="DURATION",
            help="Longest time to read an image, a page, or the next frame of a video: 5min.  [default: 60]",
        ),
    ] = None
    max_read_bytes: Annotated[
        int | None,
        typer.Option(
            OPTIONS["max_read_bytes"],
            parser=parse_bytes,
            metavar="SIZE",
            help="Most memory to read one file with: 4GiB.  [default: 1GiB]",
        ),
    ] = None

    def build_policy(self, *, allow_dirs: tuple[Path, ...] | None = None) -> MediaPolicy:
        """Returns the policy for everything that a command opens, its models included."""
        given: dict[str, Any] = {name: getattr(self, name) for name in OPTIONS if getattr(self, name) is not None}
        return MediaPolicy(allow_dirs=allow_dirs, **given)


def name_options(message: str) -> str:
    """Returns an error message with the option of the command line in place of the field of `MediaPolicy` it names."""
    named = cast("list[str]", _NAMED_FIELD.findall(message))
    for name in named:
        message = message.replace(f"{name} of the MediaPolicy", OPTIONS[name])
        message = re.sub(rf"\b{name}=", f"{OPTIONS[name]} ", message)
    return message


def rename_failure(failure: FailedFile) -> FailedFile:
    """Returns the failure with its message as `name_options` has it."""
    return replace(failure, error=type(failure.error)(name_options(failure.error.reason)))


def _parse(text: str, units: Mapping[str, int], allowed: str) -> int:
    match = _NUMBER.fullmatch(text)
    unit = None if match is None else units.get(match[2].lower())
    number = 0 if match is None or unit is None else math.ceil(float(re.sub("[_,]", "", match[1])) * unit)
    if number < 1:
        raise typer.BadParameter(f"{text!r} is not understood; give {allowed}")
    return number
