"""What a run over many files has done, how fast, and what is left; and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TypeAlias

from qwen3_vl_retrieval.documents.files import SkippedFile
from qwen3_vl_retrieval.documents.labels import clean_text
from qwen3_vl_retrieval.index.results.hits import FailedFile
from qwen3_vl_retrieval.paths import encode_path

__all__ = ["IndexProgress", "IndexReport", "OnIndexProgress", "RunCounter", "show_bar", "show_name", "write_failures"]

_NAME_CHARACTERS = 32
"""Characters of a file's name beside a bar, in a terminal of 80 columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexProgress:
    """A moment of a run.

    Attributes:
        files_done: Files that are finished, unchanged ones included.
        files_total: Files there are.
        units_embedded: Units that went through the model.
        units_per_second: How many of them in a second, since the run began.
        seconds_left: Estimated from the files; `None` before the first one is finished.
        current: The file that is being read; `None` if none is.
    """

    files_done: int
    files_total: int
    units_embedded: int
    units_per_second: float
    seconds_left: float | None
    current: Path | None = None


OnIndexProgress: TypeAlias = Callable[[IndexProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """What came of a run.

    Attributes:
        added_files: New files.
        changed_files: Files whose content was replaced.
        removed_files: Files that vanished, moved ones included.
        moved_files: Those of them whose content is at another path now.
        unchanged_files: Files that were left alone.
        failed_files: Files of which nothing could be read or embedded.
        skipped_files: How many files and folders were skipped; which, and why, is in `skipped`.
        hidden_files: Files and folders whose names begin with a dot; they are not among the skipped.
        embedded_units: Units that went through the model.
        reused_units: Units whose content was there already, in another file or version.
        removed_units: Units that nobody holds any more.
        failures: What could not be read, and why.
        known_failures: How many of them are of earlier runs and were not tried again, because nothing changed.
        skipped: What is not read, and why: files of other kinds, what was excluded, links that lead outside, pipes.
        seconds: How long it took.
    """

    added_files: int = 0
    changed_files: int = 0
    removed_files: int = 0
    unchanged_files: int = 0
    failed_files: int = 0
    skipped_files: int = 0
    hidden_files: int = 0
    embedded_units: int = 0
    reused_units: int = 0
    removed_units: int = 0
    failures: tuple[FailedFile, ...] = ()
    moved_files: int = 0
    known_failures: int = 0
    skipped: tuple[SkippedFile, ...] = ()
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class RunCounter:
    """Counts a run as it goes."""

    files_total: int
    on_progress: OnIndexProgress | None = None
    added_files: int = 0
    changed_files: int = 0
    unchanged_files: int = 0
    failed_files: int = 0
    embedded_units: int = 0
    reused_units: int = 0
    removed_units: int = 0
    failures: list[FailedFile] = field(default_factory=list[FailedFile])
    known_failures: int = 0
    current: Path | None = None
    reported: Path | None = None
    begun: float = field(default_factory=perf_counter)

    @property
    def files_done(self) -> int:
        """Files of which nothing is left to do."""
        return self.added_files + self.changed_files + self.unchanged_files + self.failed_files

    def add_known_failures(self, failures: Sequence[FailedFile]) -> None:
        """Counts failures of earlier runs."""
        self.failures.extend(failures)
        self.known_failures += len(failures)

    def begin_file(self, file: Path | None) -> None:
        """Notes which file is being read; called by the thread that reads."""
        self.current = file

    def tell_file(self) -> None:
        """Calls `on_progress`, if there is one, and if another file is being read than was reported."""
        if self.current != self.reported:
            self.tell()

    def tell(self) -> None:
        """Calls `on_progress`, if there is one."""
        if self.on_progress is None:
            return
        self.reported = self.current
        seconds = max(perf_counter() - self.begun, 1e-9)
        left = self.files_total - self.files_done
        self.on_progress(
            IndexProgress(
                files_done=self.files_done,
                files_total=self.files_total,
                units_embedded=self.embedded_units,
                units_per_second=self.embedded_units / seconds,
                seconds_left=seconds / self.files_done * left if self.files_done else None,
                current=self.reported,
            )
        )

    def finish(
        self,
        *,
        skipped: tuple[SkippedFile, ...] = (),
        hidden_files: int = 0,
        removed_files: int = 0,
        moved_files: int = 0,
    ) -> IndexReport:
        """Returns the report."""
        return IndexReport(
            added_files=self.added_files,
            changed_files=self.changed_files,
            removed_files=removed_files,
            moved_files=moved_files,
            unchanged_files=self.unchanged_files,
            failed_files=self.failed_files,
            skipped_files=len(skipped),
            hidden_files=hidden_files,
            embedded_units=self.embedded_units,
            reused_units=self.reused_units,
            removed_units=self.removed_units,
            failures=tuple(self.failures),
            known_failures=self.known_failures,
            skipped=skipped,
            seconds=perf_counter() - self.begun,
        )


def write_failures(failures: Sequence[FailedFile], path: Path) -> None:
    """Writes one JSON object a line: source, page, start, end, error (name of its class) and message."""
    lines = [json.dumps(describe_failure(failure), ensure_ascii=False) for failure in failures]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def describe_failure(failure: FailedFile) -> dict[str, str | int | float | None]:
    """Returns a failure as flat values."""
    unit = failure.unit
    return {
        "source": encode_path(failure.path),
        "page": None if unit is None else unit.page,
        "start": None if unit is None else unit.start,
        "end": None if unit is None else unit.end,
        "error": type(failure.error).__name__,
        "message": failure.error.reason,
    }


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
