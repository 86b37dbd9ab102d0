"""Writes the small library that the tests and the README search in.

Run with `uv run python tests/make_library.py`; the files are the same each time, byte for byte, with the same versions
of Pillow and of PyAV's FFmpeg.
"""

from __future__ import annotations

import sys
from pathlib import Path

from library_files import write_library

LIBRARY = Path(__file__).parent / "data" / "library"


def main() -> None:
    files = write_library(LIBRARY)
    total_bytes = sum(path.stat().st_size for path in files)
    sys.stdout.write(f"{len(files)} files, {total_bytes:,} bytes in {LIBRARY.relative_to(LIBRARY.parents[2])}\n")


if __name__ == "__main__":
    main()
