"""Does any damaged file crash, hang, take much memory, or raise what no one expects?

uv run python benchmarks/fuzz_media.py [--minutes 30] [--seed 0] [--to .benchmarks/fuzz]
uv run python benchmarks/fuzz_media.py --case 4711           one case again
uv run python benchmarks/fuzz_media.py --files FILE ...      these files, as they are

Small valid images, PDFs and videos are damaged (bytes, lengths, blocks, pieces of other files; in PDFs numbers, names
and references) and given to the public functions that read them, in a process of its own that is watched. The outcome
must be a result, or an `InputError` that says what is wrong. Everything else is written to the folder with its number,
and the status is 1. The poisonous files come first. Cases depend on the seed and their number alone.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fuzz_mutations import mutate_file
from fuzz_seeds import write_image_seeds, write_pdf_seeds, write_video_seeds
from poisonous_files import POISONOUS_FILES
from process_trees import kill_tree, measure_tree_bytes, measure_tree_seconds

_POLL_SECONDS = 0.02
_STACK_SECONDS = 10
_READ_SECONDS = 3
_READ_BYTES = 1 << 30
"""Limits of the policy. A file is read up to nine times, in a process below the one that is watched."""
_WAITS = 10
"""Seconds on the clock that a file may take for each second of processor time."""
_MOST_PAGES = 2
"""Pages of a damaged PDF that are read: it may say that it has thousands."""
_IMAGES = ("png", "jpg", "gif", "webp", "bmp", "tif", "avif")
_VIDEOS = ("mp4", "mov", "mkv", "webm", "avi", "ts", "mpg", "flv", "ogv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a case: `kind` is `"read"`, the name of an `InputError`, or a fault."""

    kind: str
    detail: str = ""
    is_fault: bool = False


class Reader:
    """A process that reads files; ended with all its children when it takes too much time or memory."""

    def __init__(self, seconds: float, memory_mib: int, noise: Path) -> None:
        self._seconds = seconds
        self._memory_bytes = memory_mib << 20
        self._noise = noise
        self._start()

    def read(self, path: Path, suffix: str) -> Outcome:
        """Returns what reading `path` came to, within the limits."""
        self._noise.write_bytes(b"")
        self._connection.send((str(path), suffix))
        pid = self._process.pid or 0
        begun, spent = time.monotonic(), measure_tree_seconds(pid)
        peak = 0
        while not self._connection.poll(_POLL_SECONDS):
            peak = max(peak, measure_tree_bytes(pid))
            if not self._process.is_alive():
                return self._restart("crash", f"exit status {self._process.exitcode}")
            if peak > self._memory_bytes:
                return self._restart("memory", f"{peak >> 20:,} MiB")
            # Processor time, as the machine may be busy; and some time on the clock for what waits for ever.
            if measure_tree_seconds(pid) - spent > self._seconds:
                return self._restart("hang", f"more than {self._seconds:g} s of processor time")
            if time.monotonic() - begun > _WAITS * self._seconds:
                return self._restart("hang", f"more than {_WAITS * self._seconds:g} s, most of them waiting")
        try:
            return self._connection.recv()
        except EOFError:
            self._process.join(5)
            return self._restart("crash", f"exit status {self._process.exitcode}")

    def close(self) -> None:
        kill_tree(self._process.pid or 0)
        self._process.join()
        self._connection.close()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._noise))
        self._process.start()
        theirs.close()
        if self._connection.recv() != "ready":
            raise RuntimeError("the reading process did not start")

    def _restart(self, kind: str, detail: str) -> Outcome:
        self.close()
        said = self._noise.read_text(errors="replace")
        self._start()
        return Outcome(kind=kind, detail=f"{detail}\n{said[-4000:]}", is_fault=True)


def _serve(connection: Connection, noise: Path) -> None:
    """Runs in the process that reads."""
    handle = os.open(noise, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    faulthandler.enable()
    # What is imported when first used is no time of a file.
    for content, suffix in ((write_image_seeds()["png"][0], "png"), (write_pdf_seeds()[0], "pdf"), _find_video_seed()):
        with tempfile.NamedTemporaryFile(suffix=f".{suffix}") as file:
            file.write(content)
            file.flush()
            _read_file(Path(file.name), suffix)
    connection.send("ready")
    while True:
        try:
            path, suffix = connection.recv()
        except EOFError:
            return
        # Where it hangs, before the process is ended.
        faulthandler.dump_traceback_later(_STACK_SECONDS, file=sys.stderr)
        outcome = _read_file(Path(path), suffix)
        faulthandler.cancel_dump_traceback_later()
        connection.send(outcome)


def _find_video_seed() -> tuple[bytes, str]:
    suffix, contents = next(iter(write_video_seeds().items()))
    return contents[0], suffix


def _read_file(path: Path, suffix: str) -> Outcome:
    from qwen3_vl_retrieval.errors import InputError

    outcome = Outcome(kind="read")
    for read in _list_readers(path, suffix):
        try:
            read()
        except InputError as error:
            # The first is about the file; what follows may be about a part of it.
            outcome = outcome if outcome.detail else Outcome(kind=type(error).__name__, detail=str(error))
        except Exception:  # noqa: BLE001 - whatever else is raised is what is looked for
            return Outcome(kind=f"raised {sys.exc_info()[0].__name__}", detail=traceback.format_exc(), is_fault=True)
    return outcome


def _list_readers(path: Path, suffix: str) -> Iterator[Callable[[], object]]:
    from qwen3_vl_retrieval import media
    from qwen3_vl_retrieval.documents.units import read_units
    from qwen3_vl_retrieval.items import VideoPart

    policy = media.MediaPolicy(max_read_seconds=_READ_SECONDS, max_read_bytes=_READ_BYTES)
    yield lambda: read_units(path, policy)
    if suffix in _IMAGES:
        yield lambda: media.measure_image(path, policy)
        yield lambda: media.read_image(path, policy)
    elif suffix in _VIDEOS:
        limits: dict[str, Any] = {"policy": policy, "sampling": media.FrameSampling(), "budget": media.PixelBudget()}
        yield lambda: media.measure_video(VideoPart(source=path), **limits)
        yield lambda: media.read_video(VideoPart(source=path), **limits)
        yield lambda: media.read_video(VideoPart(source=path, start=0.1, end=0.4, fps=10.0), **limits)
    elif suffix == "pdf":
        pages: list[int] = []
        yield lambda: pages.append(media.count_pdf_pages(path, policy))
        for page in range(1, min([_MOST_PAGES, *pages]) + 1):
            yield lambda page=page: media.read_pdf_text(path, page, policy)
            yield lambda page=page: media.render_pdf_page(path, page, policy)
            yield lambda page=page: media.render_pdf_page(path, page, policy, max_pixels=90_000)


class Cases:
    """Damaged files by number."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._seeds = {**write_image_seeds(), **write_video_seeds(), "pdf": write_pdf_seeds()}
        self._all = [content for contents in self._seeds.values() for content in contents]

    def draw(self, number: int) -> tuple[bytes, str]:
        """Returns a damaged file and its suffix: a third each of images, PDFs and videos."""
        rng = random.Random(f"{self._seed}:{number}")
        group = rng.choice((_IMAGES, _VIDEOS, ("pdf",)))
        suffix = rng.choice([each for each in group if each in self._seeds])
        contents = self._seeds[suffix]
        return mutate_file(rng.choice(contents), suffix, [*contents, rng.choice(self._all)], rng), suffix


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="only this one")
    parser.add_argument("--damaged-only", action="store_true", help="without the poisonous files")
    parser.add_argument("--files", type=Path, nargs="+", help="only these, undamaged")
    parser.add_argument("--seconds", type=float, default=240.0, help="of processor time for one file, read in all ways")
    parser.add_argument("--memory-mib", type=int, default=3072, help="of the reading process and its children")
    parser.add_argument("--to", type=Path, default=Path(".benchmarks/fuzz"), help="where faults are written")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    # The reading process is ended with this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    reader = Reader(options.seconds, options.memory_mib, options.to / "noise.txt")
    counts: Counter[tuple[str, str]] = Counter()
    faults = 0
    try:
        for name, content, suffix in _list_cases(options):
            path = options.to / f"case.{suffix}"
            path.write_bytes(content)
            outcome = reader.read(path, suffix)
            counts[suffix, outcome.kind] += 1
            if outcome.is_fault:
                faults += 1
                _write_fault(options.to / f"{options.seed}-{name}", content, suffix, outcome)
            elif options.files or options.case is not None:
                print(f"{name}: {outcome.kind} {outcome.detail}")
            if sum(counts.values()) % 500 == 0:
                print(f"{sum(counts.values()):,} files, {faults} faults", flush=True)
    finally:
        reader.close()
        _print_table(counts)
    sys.exit(1 if faults else 0)


def _list_cases(options: argparse.Namespace) -> Iterator[tuple[str, bytes, str]]:
    """Name, content and suffix of each file to read."""
    if options.files:
        yield from ((path.name, path.read_bytes(), path.suffix[1:].lower()) for path in options.files)
        return
    cases = Cases(options.seed)
    if options.case is not None:
        yield (str(options.case), *cases.draw(options.case))
        return
    end = time.monotonic() + options.minutes * 60
    for name, draw in () if options.damaged_only else POISONOUS_FILES.items():
        yield Path(name).stem, draw(), Path(name).suffix[1:]
    number = 0
    while time.monotonic() < end:
        yield (str(number), *cases.draw(number))
        number += 1


def _write_fault(place: Path, content: bytes, suffix: str, outcome: Outcome) -> None:
    place.with_name(f"{place.name}.{suffix}").write_bytes(content)
    document = {"kind": outcome.kind, "detail": outcome.detail}
    place.with_name(f"{place.name}.json").write_text(json.dumps(document, indent=2), encoding="utf-8")
    lines = outcome.detail.strip().splitlines()
    print(
        f"FAULT {place.name}.{suffix}: {outcome.kind}: {lines[-1 if lines[0].startswith('Traceback') else 0]}",
        flush=True,
    )


def _print_table(counts: Counter[tuple[str, str]]) -> None:
    kinds = sorted({kind for _, kind in counts})
    print("| format | " + " | ".join(kinds) + " |")
    print("|---" * (len(kinds) + 1) + "|")
    for suffix in sorted({suffix for suffix, _ in counts}):
        print(f"| {suffix} | " + " | ".join(f"{counts[suffix, kind]:,}" for kind in kinds) + " |")
    print(f"{sum(counts.values()):,} files")


if __name__ == "__main__":
    main()
