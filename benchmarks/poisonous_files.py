"""Small files that would take all memory, or days, or never end, wherever no limit holds.

uv run python benchmarks/poisonous_files.py FOLDER

Each is drawn byte for byte the same on every machine, and has at most 20 KB.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from poisonous_images import POISONOUS_IMAGES
from poisonous_pdfs import POISONOUS_PDFS
from poisonous_videos import POISONOUS_VIDEOS

__all__ = ["POISONOUS_FILES", "write_poisonous_files"]

POISONOUS_FILES: dict[str, Callable[[], bytes]] = {
    **POISONOUS_IMAGES,
    **POISONOUS_PDFS,
    **POISONOUS_VIDEOS,
    "markdown-quoted.md": lambda: b"> " * 10_000,
    "markdown-bracketed.md": lambda: b"[" * 20_000,
}
"""The name of a file, and what writes it; the function says what is wrong with it."""


def write_poisonous_files(folder: Path) -> list[Path]:
    """Writes all of them into `folder` and returns where."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in POISONOUS_FILES]
    for path in paths:
        path.write_bytes(POISONOUS_FILES[path.name]())
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for path in write_poisonous_files(parser.parse_args().folder):
        print(f"{path.stat().st_size:>6} {path}")


if __name__ == "__main__":
    main()
