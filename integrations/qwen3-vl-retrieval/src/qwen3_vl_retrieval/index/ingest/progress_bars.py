"""The progress bar of a run over files."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from qwen3_vl_retrieval.documents.labels import clean_text
from qwen3_vl_retrieval.index.ingest.progress import IndexProgress, OnIndexProgress

__all__ = ["show_bar", "show_name"]

_NAME_CHARACTERS = 32
"""Of a file's name beside a bar, in a terminal of 80 columns."""


def show_name(file: Path, *, characters: int = _NAME_CHARACTERS) -> str:
    """Returns the name of a file in so many characters at most, its ending kept."""
    # Bytes that are no UTF-8 are halves of surrogate pairs here, which cannot be printed.
    name = clean_text(file.name.encode("utf-8", "replace").decode())
    if len(name) <= characters:
        return name
    ending = characters // 3
    return f"{name[: characters - ending - 1]}…{name[-ending:]}"


@contextmanager
def show_bar(
    total: int, *, enabled: bool, on_progress: OnIndexProgress | None
) -> Generator[OnIndexProgress | None, None, None]:
    """Yields a callback that moves a bar over `total` files, if it is enabled, and calls `on_progress`, if it is given.

    The bar shows files, units in a second, the time that is left, and the file that is being read.
    """
    if not enabled:
        yield on_progress
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc="indexing", unit="file") as bar:

        def advance(progress: IndexProgress) -> None:
            bar.update(progress.files_done - bar.n)
            said = f"{progress.units_embedded:,} units, {progress.units_per_second:.1f}/s"
            bar.set_postfix_str(said if progress.current is None else f"{said}, {show_name(progress.current)}")
            if on_progress is not None:
                on_progress(progress)

        yield advance
