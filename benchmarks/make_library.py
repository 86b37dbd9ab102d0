"""Writes the small library that the tests and the README search in.

Run with `uv run python benchmarks/make_library.py`; the files are the same each time, byte for byte, with the same
versions of Pillow and of PyAV's FFmpeg.
"""

from __future__ import annotations

from pathlib import Path

from qwen3_vl_retrieval.cli.office import write_office

LIBRARY = Path(__file__).parents[1] / "tests" / "data" / "library"


def main() -> None:
    files = write_office(LIBRARY)
    total_bytes = sum(path.stat().st_size for path in files)
    print(f"{len(files)} files, {total_bytes:,} bytes in {LIBRARY.relative_to(LIBRARY.parents[2])}")


if __name__ == "__main__":
    main()
