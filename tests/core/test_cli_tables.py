"""What is printed: thumbnails, places in time, and names that are not ours."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from qwen3_vl_retrieval import MediaError, MediaPolicy
from qwen3_vl_retrieval.cli.report import SearchReport, encode_report
from qwen3_vl_retrieval.cli.tables import print_failures, print_results
from qwen3_vl_retrieval.cli.thumbnails import COLUMNS, ROWS, draw_thumbnail
from qwen3_vl_retrieval.documents.labels import clean_text
from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.index.results.failures import FailedFile, Found

LIBRARY = Path(__file__).parents[1] / "data" / "library"
POLICY = MediaPolicy()


def make_report(*units, failures=()):
    results = [
        Found(rank=place, unit=unit, similarity_score=0.5, relevance_score=0.25)
        for place, unit in enumerate(units, start=1)
    ]
    return SearchReport(
        folder=LIBRARY,
        query="q",
        query_image=None,
        embedder="e",
        reranker="r",
        files=len(units),
        units=len(units),
        ranked_files=len(units),
        skipped=(),
        hidden=0,
        results=tuple(results),
        failures=tuple(failures),
        seconds={"searching_seconds": 1.0},
    )


def draw(print_function, report, *, color_system=None):
    console = Console(file=io.StringIO(), width=120, force_terminal=color_system is not None, color_system=color_system)
    print_function(report, console, *((POLICY,) if print_function is print_results else ()))
    return console.file.getvalue()


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
    drawn = draw_thumbnail(Unit(source=LIBRARY / name, media_type=media_type, **place), POLICY)
    lines = drawn.plain.split("\n")
    assert 1 <= len(lines) <= ROWS
    assert all(set(line) == {"▀"} and len(line) <= COLUMNS for line in lines)
    assert len({span.style for span in drawn.spans}) > 1


def test_the_thumbnail_of_a_window_is_from_its_middle():
    def has_red(start, end):
        unit = Unit(source=LIBRARY / "clips" / "parking-camera.mp4", media_type="video", start=start, end=end)
        colors = [span.style.color.triplet for span in draw_thumbnail(unit, POLICY).spans]
        return any(color.red > color.green + 40 and color.red > color.blue + 40 for color in colors)

    assert has_red(50.0, 64.0)
    assert not has_red(0.0, 30.0)


@pytest.mark.parametrize(
    "text", ["Kitchen rules\n\n1. The orange kettle", "会议纪要，今天讨论的是黄色雨伞的销量和价格。", ""]
)
def test_a_thumbnail_of_text_is_a_sheet_of_equal_lines(text):
    lines = draw_thumbnail(Unit(source=Path("a.txt"), media_type="text", text=text), POLICY).plain.split("\n")
    assert [cell_len(line) for line in lines] == [COLUMNS] * ROWS
    assert text[:4] in lines[0]


def test_a_thumbnail_of_what_is_gone_is_a_question_mark():
    assert draw_thumbnail(Unit(source=LIBRARY / "gone.png", media_type="image"), POLICY).plain == "?"


def test_thumbnails_appear_only_where_colours_do():
    report = make_report(Unit(source=LIBRARY / "products" / "red-mug.png", media_type="image"))
    assert "▀" in draw(print_results, report, color_system="truecolor")
    plain = draw(print_results, report)
    assert "▀" not in plain
    assert "image" in plain


def test_times_are_minutes_and_seconds_and_hours_where_there_are_any():
    windows = [Unit(source=LIBRARY / "a.mp4", media_type="video", start=s, end=s + 30) for s in (725.0, 3725.0)]
    shown = draw(print_results, make_report(*windows))
    assert "12:05-12:35" in shown
    assert "1:02:05-1:02:35" in shown


def test_markup_and_escape_sequences_in_names_and_texts_are_not_obeyed():
    unit = Unit(source=LIBRARY / "[red]a\x1b[2Jb.txt", media_type="text", text="[bold]\x1b]0;owned\x07 text")
    failure = FailedFile(path=LIBRARY / "c\x1b[31m.png", unit=None, error=MediaError("bad \x1b[31m"))
    report = make_report(unit, failures=[failure])
    shown = draw(print_results, report) + draw(print_failures, report)
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[red]a" in shown
    assert "[bold]" in shown
    assert "c\N{REPLACEMENT CHARACTER}[31m.png" in shown


def test_a_failed_page_and_window_are_named_with_their_place():
    page = Unit(source=LIBRARY / "a.pdf", media_type="page", page=2)
    window = Unit(source=LIBRARY / "b.mp4", media_type="video", start=25.0, end=55.0)
    failures = [FailedFile(path=unit.source, unit=unit, error=MediaError("damaged")) for unit in (page, window)]
    shown = draw(print_failures, make_report(failures=failures))
    assert "a.pdf, page 2  damaged" in shown
    assert "b.mp4, 00:25-00:55  damaged" in shown
    assert draw(print_failures, make_report()) == ""


def test_the_json_text_is_one_short_line():
    unit = Unit(source=LIBRARY / "a.txt", media_type="text", text="word \n\n" * 100)
    text = json.loads(encode_report(make_report(unit)))["results"][0]["text"]
    assert len(text) == 200
    assert text.endswith("…")
    assert text.startswith("word word")


def test_cleaning_keeps_every_script():
    assert clean_text(" é\t杯子\n ") == "é 杯子"
    assert clean_text("a\udce9") == "a\N{REPLACEMENT CHARACTER}"
