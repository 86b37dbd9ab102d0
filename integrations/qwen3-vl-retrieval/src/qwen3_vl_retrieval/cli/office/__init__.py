"""The files of a small office, drawn and written by this package: pictures, pages, clips and notes to search in.

The same calls give the same files, byte for byte, with the same versions of Pillow and FFmpeg.
"""

from __future__ import annotations

from pathlib import Path

from qwen3_vl_retrieval.cli.office.clips import write_clips
from qwen3_vl_retrieval.cli.office.notes import write_notes
from qwen3_vl_retrieval.cli.office.pages import write_pages
from qwen3_vl_retrieval.cli.office.pictures import write_pictures

__all__ = ["write_office"]


def write_office(folder: Path) -> list[Path]:
    """Writes the office into `folder`, which is made if need be; returns the 24 files, sorted.

    Files of the same names are replaced, others are left alone.

    Raises:
        OSError: The folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return sorted([*write_pictures(folder), *write_pages(folder), *write_clips(folder), *write_notes(folder)])
