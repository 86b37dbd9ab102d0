"""Results as a page and in a notebook: complete, escaped, and whole where files are gone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hit_samples import BLUE, RED, make_hit, make_results, write_samples
from qwen3_vl_retrieval import MediaError, MediaPolicy
from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.index.results.hits import FailedFile

HOSTILE = '<script>alert(1)</script>"onerror="x\x1b[31m\udce9.png'
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;&#34;onerror=&#34;x\ufffd[31m\ufffd.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_samples(tmp_path_factory.mktemp("samples"))


def make_failure(path, reason, **place):
    unit = Unit(source=path, media_type="page", **place) if place else None
    return FailedFile(path=path, unit=unit, error=MediaError(reason))


def find_foreign_references(page):
    """What a page would fetch, run or lead to."""
    sources = re.findall(r'\b(?:src|href|srcset|action)\s*=(?!"data:image/jpeg;base64,)', page)
    return [*sources, *re.findall(r"<script|<iframe|<link|<object|@import|url\(|\son\w+=", page)]


def test_a_page_shows_the_query_scores_places_names_excerpts_twins_and_failures(folder):
    twin = str(folder / "copies" / "red-2.png")
    red = str(folder / "red.png")
    results = make_results(
        make_hit(media_type="page", source=str(folder / "pages.pdf"), page=2, text="Total 1,821.60", keyword_rank=1),
        make_hit(rank=2, source=red, sources=(twin, red), similarity_score=0.123, relevance_score=0.9876),
        make_hit(rank=3, media_type="video", source=str(folder / "turning.mp4"), start=4.0, end=8.0),
        make_hit(rank=4, media_type="text", source=str(folder / "notes" / "a.txt"), text="a note"),
        query={"text": "which invoice?", "image": folder / "blue.png", "video": folder / "turning.mp4"},
        failures=[make_failure(folder / "torn.pdf", "damaged", page=3)],
        seconds={"embedding_seconds": 0.25, "reranking_seconds": 2},
    )
    page = results.to_html(title="For the customer")
    for shown in (
        "<title>For the customer</title>",
        '<h1 dir="auto">which invoice?</h1>',
        "4 results, ordered by the probability of the reranker",
        "<dt>embedding</dt><dd>0.25 s</dd>",
        "<dt>cosine</dt><dd>0.123</dd>",
        "<dt>probability</dt><dd>0.988</dd>",
        '<div class="meter"><i style="width:98.8%"></i></div>',
        '<p class="name">pages.pdf</p><p class="place">page 2</p>',
        '<p class="place">00:04-00:08</p>',
        '<p class="excerpt" dir="auto">Total 1,821.60</p>',
        "1 identical file: copies/red-2.png",
        '<span class="parent">notes/</span>a.txt',
        '<div class="image paper"><p dir="auto">a note</p></div>',
        "<b>torn.pdf, page 3</b> damaged",
    ):
        assert shown in page
    assert page.count('<img class="asked"') == 2
    assert page.count('<div class="image"><img') == 3
    assert page.count("keyword match") == 1
    assert str(folder) not in page
    assert find_foreign_references(page) == []


def test_hostile_names_and_texts_are_escaped_everywhere(folder):
    hits = [
        make_hit(source=f"/d/{HOSTILE}", sources=(f"/d/{HOSTILE}", f"/d/2{HOSTILE}"), text=HOSTILE),
        make_hit(media_type="text", source=f"/d/x{HOSTILE}/a.txt", text=HOSTILE),
        make_hit(media_type="text", id=HOSTILE, text=HOSTILE),
    ]
    results = make_results(
        *hits,
        query=HOSTILE.replace("\udce9", ""),
        failures=[make_failure(Path(f"/d/y{HOSTILE}"), HOSTILE)],
        seconds={HOSTILE: 1.0},
    )
    page = results.to_html(title=HOSTILE)
    for written in (page, results._repr_html_(), hits[0]._repr_html_()):
        assert find_foreign_references(written) == []
        assert "\x1b" not in written
        assert ESCAPED.removesuffix(".png") in written
        written.encode("utf-8")
    assert f"<title>{ESCAPED}</title>" in page
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page


def test_what_is_gone_or_forbidden_has_a_tile_that_says_so(folder, tmp_path):
    results = make_results(
        make_hit(source=str(folder / "gone.png")),
        make_hit(media_type="page", source=str(folder / "gone.pdf"), page=1),
        make_hit(media_type="video", source=str(folder / "gone.mp4")),
        make_hit(source=str(folder / "red.png"), policy=MediaPolicy(allow_dirs=(tmp_path,))),
        make_hit(stored_item={"image": "https://example.org/a.png"}),
        make_hit(stored_item={}),
    )
    for written in (results.to_html(), results._repr_html_()):
        assert written.count('<li class="tile">') == 6
        assert written.count('<div class="image unreadable">no longer readable</div>') == 4
        assert written.count('<div class="image unreadable">may not be opened</div>') == 2


def test_a_notebook_grid_has_images_and_a_style_that_touches_nothing_else(folder):
    results = make_results(
        make_hit(source=str(folder / "red.png")), make_hit(media_type="text", text="a note"), is_reranked=False
    )
    grid = results._repr_html_()
    assert grid.startswith('<div class="qwen3vl notebook"><style>')
    assert grid.endswith("</div>")
    assert grid.count("data:image/jpeg;base64,") == 1
    assert "2 results, ordered by cosine" in grid
    assert find_foreign_references(grid) == []
    style = re.search(r"<style>(.*?)</style>", grid, re.DOTALL)[1]
    rules = re.sub(r"@supports[^{]*\{|/\*.*?\*/", "", style, flags=re.DOTALL)
    selectors = [one.strip() for group in re.findall(r"([^{}]+)\{", rules) for one in group.split(",")]
    assert len(selectors) > 30
    assert [one for one in selectors if not re.match(r"\.qwen3vl[ .]", one) and one != ".qwen3vl.notebook"] == []


def test_a_notebook_shows_twenty_four_tiles_and_says_how_to_see_the_rest():
    hits = [make_hit(rank=rank, media_type="text", text="a") for rank in range(1, 28)]
    grid = make_results(*hits, failures=[make_failure(Path("a.pdf"), "torn")])._repr_html_()
    assert grid.count("<li") == 24
    assert "3 more are not shown: slice the results, or use to_html. 1 could not be read, and took no part" in grid
    assert make_results(*hits).to_html().count("<li") == 27
    assert "not shown" not in make_results(*hits[:24])._repr_html_()


def test_a_hit_alone_is_one_tile_with_its_name(folder):
    tile = make_hit(source=str(folder / "red.png"))._repr_html_()
    assert tile.count('<li class="tile">') == 1
    assert '<p class="name">red.png</p>' in tile
    assert str(folder) not in tile


def test_without_a_reranker_there_are_no_probabilities_and_without_hits_no_tiles(folder):
    page = make_results(make_hit(source=str(folder / "red.png"), relevance_score=None), is_reranked=False).to_html()
    assert "probability" not in page
    assert "<title>Search results</title>" in page
    assert "1 result, ordered by cosine" in page
    empty = make_results().to_html()
    assert '<p class="outcome">No results</p>' in empty
    assert "<li" not in empty


def test_a_page_is_written_as_it_is_returned(tmp_path):
    path = tmp_path / "out.html"
    page = make_results(make_hit(media_type="text", text="黄色雨伞 \udce9")).to_html(str(path))
    assert path.read_bytes().decode("utf-8") == page
    assert "黄色雨伞" in page


def test_images_of_a_query_that_cannot_be_read_are_said_to_be(folder):
    query = {"image": [folder / "gone.png", "https://example.org/a.png", folder / "red.png"]}
    page = make_results(query=query).to_html()
    assert page.count('<div class="asked missing">cannot be shown</div>') == 2
    assert page.count('<img class="asked"') == 1
    assert "What looks like this" in page
    assert "What looks like this" in make_results(query={}).to_html()


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ({"image": "https://example.org/b/photo.png?signature=secret"}, "photo.png"),
        ({"image": Path("/b/photo.png"), "text": "t"}, "photo.png"),
        ({"video": "/b/clip.mp4"}, "clip.mp4"),
        ({"image": "data:image/png;base64,AAAA"}, "0123456789abcde…"),
        ({"image": Image.new("RGB", (40, 40), RED)}, "0123456789abcde…"),
        ("only text", "0123456789abcde…"),
        ({}, "0123456789abcde…"),
    ],
)
def test_an_item_given_in_memory_is_named_by_its_file_or_its_id(item, name):
    page = make_results(make_hit(media_type="text", stored_item=item)).to_html()
    assert f'<p class="name">{name}</p>' in page
    assert "secret" not in page


def test_the_text_of_an_item_is_shown_below_its_image(folder):
    hit = make_hit(media_type="mixed", stored_item={"image": folder / "red.png", "text": "The red one. " * 40})
    page = make_results(hit).to_html()
    excerpt = re.search(r'<p class="excerpt" dir="auto">([^<]*)</p>', page)
    assert excerpt[1].startswith("The red one. The")
    assert len(excerpt[1]) == 240
    assert excerpt[1].endswith("…")
    assert 'alt="item"' in page


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["/d/a/1.png", "/d/b/2.png"], ['<span class="parent">a/</span>1.png', '<span class="parent">b/</span>2.png']),
        (["1.png", "b/2.png"], ['<p class="name">1.png', '<span class="parent">b/</span>2.png']),
        (["/d/a/1.png", "b/2.png"], ['<p class="name">1.png', '<p class="name">2.png']),
    ],
)
def test_names_are_told_below_the_folder_that_all_share(sources, names):
    page = make_results(*[make_hit(media_type="text", source=source, text="t") for source in sources]).to_html()
    for name in names:
        assert name in page


def test_many_identical_files_and_failures_are_counted():
    hit = make_hit(media_type="text", source="/d/a", sources=("/d/a", "/d/b", "/d/c", "/d/e", "/d/f"), text="t")
    assert "4 identical files: b, c and 2 more" in make_results(hit).to_html()
    assert "took no part" not in make_results(hit).to_html()
    listed = make_results(failures=[make_failure(Path(f"{number}.pdf"), "torn") for number in range(53)]).to_html()
    assert listed.count("torn") == 50
    assert "took no part (53)" in listed
    assert "<li>and 3 more</li>" in listed


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, chromium-browser, google-chrome or chrome on the PATH")
def test_a_browser_shows_the_images_in_the_order_of_the_hits(folder, tmp_path):
    page, screenshot = tmp_path / "page.html", tmp_path / "page.png"
    names = ["red.png", "blue.png"]
    make_results(*[make_hit(rank=n, source=str(folder / name)) for n, name in enumerate(names, start=1)]).to_html(page)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"]
    subprocess.run(  # noqa: S603 - a browser of this machine, with a page written here
        [
            *(CHROMIUM, *options, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=800,600"),
            *(f"--screenshot={screenshot}", page.as_uri()),
        ],
        check=True,
        capture_output=True,
        timeout=200,
    )
    with Image.open(screenshot) as opened:
        pixels = np.asarray(opened.convert("RGB")).astype(int)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    # Three columns of 241 pixels between margins of 24, and gaps of 14.
    for color, left in ((RED, 24), (BLUE, 279)):
        shown = np.argwhere(np.abs(pixels - color).sum(axis=2) < 24)
        (top, first), (bottom, last) = shown.min(axis=0), shown.max(axis=0)
        assert left < first < left + 20
        assert left + 220 < last < left + 241
        assert 100 < top < bottom < 420
        assert len(shown) > 0.98 * (last - first) * (bottom - top)
