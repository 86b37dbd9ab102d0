"""What is printed: thumbnails, places in time, and names that are not ours."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from hit_samples import make_hit, make_results
from qwen3_vl_retrieval import MediaError
from qwen3_vl_retrieval.cli.options import SearchRequest
from qwen3_vl_retrieval.cli.store_session import Search
from qwen3_vl_retrieval.cli.tables import encode_search, print_failures, print_results
from qwen3_vl_retrieval.cli.thumbnails import COLUMNS, ROWS, draw_thumbnail
from qwen3_vl_retrieval.documents.labels import clean_text
from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.index.ingest.progress import describe_failure
from qwen3_vl_retrieval.index.results.hits import FailedFile

LIBRARY = Path(__file__).parents[1] / "data" / "library"


def make_found(name, media_type, **place):
    return make_hit(source=str(LIBRARY / name), media_type=media_type, **place)


def make_search(*hits, failures=()):
    models: Any = None
    return Search(
        results=make_results(*hits, failures=failures, seconds={"embedding": 1.0}),
        models=models,
        embedder_name="e",
        folder=LIBRARY,
        files=len(hits),
        ranked_files=len(hits),
        units=len(hits),
    )


def draw(print_function, printed, *, color_system=None, **options):
    console = Console(file=io.StringIO(), width=120, force_terminal=color_system is not None, color_system=color_system)
    print_function(printed, console, **options)
    return console.file.getvalue()


def draw_failures(*failures):
    return draw(print_failures, [describe_failure(failure) for failure in failures], folder=LIBRARY)


@pytest.mark.parametrize(
    ("name", "media_type", "place"),
    [
        ("products/red-mug.png", "image", {}),
        ("papers/invoice-2024-118.pdf", "page", {"page": 2}),
        ("clips/parking-camera.mp4", "video", {"start": 50.0, "end": 64.0}),
        ("clips/conveyor-belt.mp4", "video", {}),
    ],
)
def test_a_thumbnail_of_pixels_fits_its_cells_and_has_colours(name, media_type, place):
    drawn = draw_thumbnail(make_found(name, media_type, **place))
    lines = drawn.plain.split("\n")
    assert 1 <= len(lines) <= ROWS
    assert all(set(line) == {"▀"} and len(line) <= COLUMNS for line in lines)
    assert len({span.style for span in drawn.spans}) > 1


def test_the_thumbnail_of_a_window_is_from_its_middle():
    def has_red(start, end):
        hit = make_found("clips/parking-camera.mp4", "video", start=start, end=end)
        colors = [span.style.color.triplet for span in draw_thumbnail(hit).spans]
        return any(color.red > color.green + 40 and color.red > color.blue + 40 for color in colors)

    assert has_red(50.0, 64.0)
    assert not has_red(0.0, 30.0)


@pytest.mark.parametrize(
    "text", ["Kitchen rules\n\n1. The orange kettle", "会议纪要，今天讨论的是黄色雨伞的销量和价格。", ""]
)
def test_a_thumbnail_of_text_is_a_sheet_of_equal_lines(text):
    lines = draw_thumbnail(make_found("a.txt", "text", text=text)).plain.split("\n")
    assert [cell_len(line) for line in lines] == [COLUMNS] * ROWS
    assert text[:4] in lines[0]


def test_a_thumbnail_of_what_is_gone_is_a_question_mark():
    assert draw_thumbnail(make_found("gone.png", "image")).plain == "?"


def test_thumbnails_appear_only_where_colours_do():
    search = make_search(make_found("products/red-mug.png", "image"))
    assert "▀" in draw(print_results, search, color_system="truecolor")
    plain = draw(print_results, search)
    assert "▀" not in plain
    assert "image" in plain


def test_times_are_minutes_and_seconds_and_hours_where_there_are_any():
    windows = [make_found("a.mp4", "video", start=s, end=s + 30) for s in (725.0, 3725.0)]
    shown = draw(print_results, make_search(*windows))
    assert "12:05-12:35" in shown
    assert "1:02:05-1:02:35" in shown


def test_markup_and_escape_sequences_in_names_and_texts_are_not_obeyed():
    hit = make_found("[red]a\x1b[2Jb.txt", "text", text="[bold]\x1b]0;owned\x07 text")
    failure = FailedFile(path=LIBRARY / "c\x1b[31m.png", unit=None, error=MediaError("bad \x1b[31m"))
    shown = draw(print_results, make_search(hit)) + draw_failures(failure)
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[red]a" in shown
    assert "[bold]" in shown
    assert "c\N{REPLACEMENT CHARACTER}[31m.png" in shown


def test_a_failed_page_and_window_are_named_with_their_place():
    page = Unit(source=LIBRARY / "a.pdf", media_type="page", page=2)
    window = Unit(source=LIBRARY / "b.mp4", media_type="video", start=25.0, end=55.0)
    failures = [FailedFile(path=unit.source, unit=unit, error=MediaError("damaged")) for unit in (page, window)]
    shown = draw_failures(*failures)
    assert "a.pdf, page 2  damaged" in shown
    assert "b.mp4, 00:25-00:55  damaged" in shown
    assert draw_failures() == ""


def test_the_json_text_is_one_short_line():
    search = make_search(make_found("a.txt", "text", text="word \n\n" * 100))
    text = json.loads(encode_search(search, SearchRequest(query="q")))["results"][0]["text"]
    assert len(text) == 300
    assert text.endswith("…")
    assert text.startswith("word word")


def test_cleaning_keeps_every_script():
    assert clean_text(" é\t杯子\n ") == "é 杯子"
    assert clean_text("a\udce9") == "a\N{REPLACEMENT CHARACTER}"


def test_sources_are_told_below_the_folder_that_was_read_and_whole_for_an_index():
    failure = FailedFile(path=LIBRARY / "b" / "c.png", unit=None, error=MediaError("damaged"))
    hit = make_found("a/b.png", "image")
    search = make_search(hit, failures=[failure])
    request = SearchRequest(query="q")
    told = json.loads(encode_search(search, request))
    assert (told["results"][0]["source"], told["errors"][0]["source"]) == ("a/b.png", "b/c.png")
    assert (told["timings"]["embedding_seconds"], told["timings"]["reranking_seconds"]) == (1.0, 0.0)
    whole = json.loads(encode_search(replace(search, folder=None), request))
    assert (whole["results"][0]["source"], whole["errors"][0]["source"]) == (hit.source, str(failure.path))


def test_twenty_failures_are_shown_and_the_others_counted():
    failures = [FailedFile(path=LIBRARY / f"{n}.png", unit=None, error=MediaError("damaged")) for n in range(23)]
    shown = draw_failures(*failures)
    assert shown.count("damaged") == 20
    assert "and 3 more; all are listed with --json" in shown
