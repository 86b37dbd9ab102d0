"""The progress bar of a run over files."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from qwen3_vl_retrieval.index.progress import IndexProgress, OnIndexProgress

__all__ = ["show_bar"]


@contextmanager
def show_bar(
    total: int, *, enabled: bool, on_progress: OnIndexProgress | None
) -> Generator[OnIndexProgress | None, None, None]:
    """Yields a callback that moves a bar over `total` files, if it is enabled, and calls `on_progress`, if it is given.

    The bar shows files, units in a second, and the time that is left.
    """
    if not enabled:
        yield on_progress
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc="indexing", unit="file") as bar:

        def advance(progress: IndexProgress) -> None:
            bar.update(progress.files_done - bar.n)
            bar.set_postfix_str(f"{progress.units_embedded:,} units, {progress.units_per_second:.1f}/s")
            if on_progress is not None:
                on_progress(progress)

        yield advance
