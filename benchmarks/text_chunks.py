"""How long does it take to cut a text into chunks, by what it is made of? Two sizes show that time grows with length.

uv run python benchmarks/text_chunks.py [--megabytes 0.5 2]
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import time
from collections.abc import Callable

from machine import write_result

from qwen3_vl_retrieval.documents.chunks import split_text

_WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "umbrella", "invoice", "the", "of", "and")


def _make_kinds() -> dict[str, Callable[[random.Random], str]]:
    """By kind, what makes a piece of text of about a kilobyte; a text is as many as are needed."""

    def draw_words(generator: random.Random, count: int) -> str:
        return " ".join(generator.choice(_WORDS) for _ in range(count))

    def draw_paragraph(generator: random.Random) -> str:
        return ". ".join(draw_words(generator, 12).capitalize() for _ in range(14)) + ".\n\n"

    def draw_rows(generator: random.Random, separators: tuple[str, str], indent: int | None) -> str:
        rows = [{"id": generator.randrange(10**6), "name": generator.choice(_WORDS)} for _ in range(30)]
        return json.dumps(rows, separators=separators, indent=indent)

    return {
        "paragraphs": draw_paragraph,
        "lines": lambda generator: "".join(draw_words(generator, 10) + "\n" for _ in range(18)),
        "short lines": lambda _: "ab\n" * 340,
        "one line of words": lambda generator: draw_words(generator, 180) + " ",
        "one line of sentences": lambda generator: (draw_words(generator, 11).capitalize() + ". ") * 16,
        "one word": lambda _: "a" * 1024,
        "base64": lambda generator: base64.b64encode(generator.randbytes(768)).decode(),
        "Han without breaks": lambda generator: "".join(chr(0x4E00 + generator.randrange(5000)) for _ in range(340)),
        "minified JSON": lambda generator: draw_rows(generator, (",", ":"), None) + ",",
        "indented JSON": lambda generator: draw_rows(generator, (",", ": "), 1) + ",\n",
        "one row of CSV": lambda generator: ",".join(str(generator.randrange(10**6)) for _ in range(150)) + ",",
        "empty lines": lambda _: "\n" * 1023 + "a",
        "Markdown": lambda generator: f"# {draw_words(generator, 4)}\n\n" + draw_paragraph(generator),
        "Markdown list": lambda generator: "".join(
            f"{'  ' * (n % 6)}- {draw_words(generator, 8)}\n" for n in range(20)
        ),
        "Markdown table": lambda generator: "".join(f"|{draw_words(generator, 5)}|{n}|\n" for n in range(28)),
        "Markdown tags": lambda _: "<div>" * 200,
    }


def _measure(kind: str, make: Callable[[random.Random], str], megabytes: float) -> dict[str, object]:
    generator = random.Random(kind)
    pieces: list[str] = []
    size_bytes = 0
    while size_bytes < megabytes * 1e6:
        pieces.append(make(generator))
        size_bytes += len(pieces[-1].encode())
    text = "".join(pieces)
    began = time.perf_counter()
    chunks = split_text(text, is_markdown=kind.startswith("Markdown"))
    seconds = time.perf_counter() - began
    return {
        "kind": kind,
        "megabytes": round(size_bytes / 1e6, 2),
        "chunks": len(chunks),
        "seconds": round(seconds, 3),
        "seconds_per_megabyte": round(seconds / size_bytes * 1e6, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[0.5, 2.0])
    sizes = parser.parse_args().megabytes
    runs = [_measure(kind, make, size) for kind, make in _make_kinds().items() for size in sizes]
    write_result("text_chunks", {"runs": runs})


if __name__ == "__main__":
    main()
