"""The files of the test library, drawn and written here: images, pages, videos and notes to search in.

The same calls give the same files, byte for byte, with the same versions of Pillow and FFmpeg.
"""

from __future__ import annotations

from pathlib import Path

from library_files.clips import write_clips
from library_files.notes import write_notes
from library_files.pages import write_pages
from library_files.pictures import write_pictures

__all__ = ["write_library"]


def write_library(folder: Path) -> list[Path]:
    """Writes the library into `folder`, which is made if need be; returns the 24 files, sorted.

    Files of the same names are replaced, others are left alone.

    Raises:
        OSError: The folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return sorted([*write_pictures(folder), *write_pages(folder), *write_clips(folder), *write_notes(folder)])
