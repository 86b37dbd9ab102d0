"""Hits open, show themselves, and say what is wrong when their files are gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hit_samples import BLUE, GREEN, ORANGE, RED, encode_clip, find_color, make_hit, make_results, write_samples
from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy, MediaPolicyError, MultimodalInput
from qwen3_vl_retrieval.documents.previews import draw_card, encode_thumbnail, read_frames, view_item
from qwen3_vl_retrieval.index import SearchResults, Unit, describe_hit
from qwen3_vl_retrieval.index.results.hits import FailedFile
from qwen3_vl_retrieval.items import VideoPart


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_samples(tmp_path_factory.mktemp("samples"))


def make_hits(folder):
    """One of each kind, by name."""
    return {
        "image": make_hit(source=str(folder / "red.png")),
        "page": make_hit(media_type="page", source=str(folder / "pages.pdf"), page=2, text="layer"),
        "clip": make_hit(media_type="video", source=str(folder / "turning.mp4")),
        "window": make_hit(media_type="video", source=str(folder / "turning.mp4"), start=4.0, end=8.0),
        "text": make_hit(media_type="text", source=str(folder / "gone.txt"), text="a chunk"),
        "stored text": make_hit(media_type="text", stored_item="a chunk", text="a chunk"),
        "kept text": make_hit(media_type="text", text="a chunk"),
        "stored picture": make_hit(stored_item={"image": folder / "blue.png"}),
        "stored clip": make_hit(
            media_type="video", stored_item={"video": str(folder / "turning.mp4"), "start": 4.0, "end": 8.0}
        ),
        "stored parts": make_hit(
            media_type="mixed",
            stored_item=MultimodalInput(parts=["first", folder / "blue.png", "then", folder / "red.png"]),
        ),
    }


@pytest.mark.parametrize(
    ("kind", "color"),
    [
        ("image", RED),
        ("page", ORANGE),
        ("clip", RED),
        ("window", RED),
        ("stored picture", BLUE),
        ("stored clip", RED),
        ("stored parts", BLUE),
    ],
)
def test_every_hit_with_pixels_opens_as_what_it_shows(folder, kind, color):
    hit = make_hits(folder)[kind]
    image, thumbnail = hit.image(), hit.thumbnail()
    assert image.mode == thumbnail.mode == "RGB"
    assert find_color(image) == color
    # Below the middle: of four moments in two rows the last one.
    assert find_color(thumbnail, (0.75, 0.75)) == color
    assert max(thumbnail.size) <= 360
    assert max(hit.thumbnail(side_pixels=40).size) <= 40


@pytest.mark.parametrize("kind", ["text", "stored text", "kept text"])
def test_text_opens_as_a_card_even_if_its_file_is_gone(folder, kind):
    hit = make_hits(folder)[kind]
    assert hit.item() == "a chunk"
    card = np.asarray(hit.image())
    assert card.min() < 100
    assert card[0].min() > 240
    assert max(hit.thumbnail().size) <= 360


def test_a_page_is_as_large_as_the_models_see_it_and_small_in_a_thumbnail(folder):
    page = make_hits(folder)["page"]
    width, height = page.image().size
    assert 1_700_000 < width * height <= 1_843_200
    assert page.thumbnail().height == 360
    assert make_hit(media_type="page", source=str(folder / "pages.pdf"), page=1).image().getpixel((9, 9))[1] > 120


def test_items_are_what_an_embedder_takes(folder):
    hits = make_hits(folder)
    assert hits["image"].item() == {"image": folder / "red.png"}
    assert hits["window"].item() == {"video": folder / "turning.mp4", "start": 4.0, "end": 8.0}
    assert find_color(hits["page"].item()) == ORANGE
    assert hits["page"].item(render_pages=False)["image"].page == hits["page"].page
    assert hits["stored parts"].item() is hits["stored parts"].stored_item


def test_frames_are_the_middles_of_equal_parts_of_the_window(folder):
    hits = make_hits(folder)
    assert [find_color(frame) for frame in hits["clip"].frames()] == [BLUE, BLUE, RED, RED]
    assert [find_color(frame) for frame in hits["clip"].frames(count=2)] == [BLUE, RED]
    assert [find_color(frame) for frame in hits["window"].frames(count=3)] == [RED] * 3
    assert [find_color(frame) for frame in hits["image"].frames(count=3)] == [RED]
    with pytest.raises(ValueError, match="count=0 must be at least 1"):
        hits["clip"].frames(count=0)


def test_the_thumbnail_of_a_video_shows_four_moments(folder):
    sheet = make_hits(folder)["clip"].thumbnail()
    assert [find_color(sheet, place) for place in ((0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8))] == [
        *(BLUE, BLUE, RED, RED)
    ]
    assert np.asarray(sheet)[sheet.height // 2].min() > 200


def test_a_video_of_frames_shows_those_of_its_window():
    frames = [Image.new("RGB", (64, 64), color) for color in (BLUE, BLUE, GREEN, RED)]
    hit = make_hit(media_type="video", stored_item={"video": frames})
    assert [find_color(frame) for frame in hit.frames(count=4)] == [BLUE, BLUE, GREEN, RED]
    window = VideoPart(source=frames, fps=1.0, start=2.0, end=3.0)
    assert [find_color(frame) for frame in read_frames(window, MediaPolicy(), shares=(0.0, 1.0))] == [GREEN, RED]


def test_a_video_of_bytes_opens_and_damage_is_said_to_be_in_bytes(folder):
    content = (folder / "turning.mp4").read_bytes()
    assert find_color(read_frames(VideoPart(source=content), MediaPolicy(), shares=(0.0,))[0]) == BLUE
    with pytest.raises(MediaError, match="the video given as bytes cannot be decoded"):
        read_frames(VideoPart(source=content[:200]), MediaPolicy(), shares=(0.0,))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("gone.png", {}),
        ("gone.pdf", {"media_type": "page", "page": 1}),
        ("gone.mp4", {"media_type": "video", "start": 1.0, "end": 2.0}),
    ],
)
def test_a_file_that_is_gone_is_named(folder, name, fields):
    hit = make_hit(source=str(folder / name), **fields)
    for open_hit in (hit.item, hit.image, hit.frames, hit.thumbnail):
        with pytest.raises(MediaError, match=f"no such file: .*{name}"):
            open_hit()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "the image .*changed.* is not an image that is understood"),
        ({"media_type": "page", "page": 1}, "the PDF .*changed.* is no PDF"),
        ({"media_type": "video"}, "the video .*changed.* cannot be decoded"),
    ],
)
def test_a_file_that_became_something_else_is_named(tmp_path, fields, message):
    path = tmp_path / "changed"
    path.write_text("only words now")
    with pytest.raises(MediaError, match=message):
        make_hit(source=str(path), **fields).image()


def test_a_page_and_a_window_that_are_no_longer_there_are_errors(folder, tmp_path):
    with pytest.raises(MediaError, match=r"no page 9 of the PDF .*pages\.pdf"):
        make_hit(media_type="page", source=str(folder / "pages.pdf"), page=9).image()
    encode_clip(tmp_path / "short.mp4", [RED] * 8)
    window = make_hit(media_type="video", source=str(tmp_path / "short.mp4"), start=2.0, end=8.0)
    with pytest.raises(MediaError, match=r"short\.mp4' lasts 2\.0 seconds, and the window begins at 2\.0: .* index it"):
        window.thumbnail()


@pytest.mark.parametrize("kind", ["image", "page", "clip"])
def test_nothing_outside_the_policy_is_opened_or_handed_on(folder, tmp_path, kind):
    hit = make_hits(folder)[kind]
    fields = {name: getattr(hit, name) for name in ("media_type", "source", "page")}
    strict = make_hit(**fields, policy=MediaPolicy(allow_dirs=(tmp_path,)))
    for open_hit in (strict.item, strict.image, strict.thumbnail):
        with pytest.raises(MediaPolicyError, match="outside the allowed folders"):
            open_hit()


def test_a_hit_needs_something_to_open_and_a_thumbnail_needs_pixels(folder):
    with pytest.raises(ValueError, match="no source, no stored_item and no text"):
        make_hit()
    with pytest.raises(ValueError, match="side_pixels=15 must be at least 16"):
        make_hits(folder)["image"].thumbnail(side_pixels=15)


def test_hits_can_be_compared_and_put_in_sets_and_do_not_print_their_items(folder):
    one = make_hit(source="a", metadata={"year": 2024}, stored_item="secret")
    assert {one, make_hit(source="a", metadata={"year": 2024})} == {one}
    assert one != make_hit(source="a", metadata={"year": 2025})
    assert "secret" not in repr(one)


def test_an_item_stands_for_its_first_image_or_video_or_all_of_its_text():
    assert view_item({"text": ["a", "b"]}).text == "a\nb"
    assert view_item({"text": "a", "image": "b.png"}).source == "b.png"
    with pytest.raises(InputError, match="empty item"):
        view_item({})


@pytest.mark.parametrize("text", ["word " * 2000, "字" * 5000, "x" * 5000, "line\n" * 900])
def test_a_card_holds_its_text_within_the_margins_and_ends_in_an_ellipsis(text):
    card = draw_card(text)
    ink = np.argwhere(np.asarray(card.convert("L")) < 200)
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
    assert card.size[0] == 900
    assert 1400 < card.size[1] <= 1600
    assert min(top, left) > 40
    assert right < 890
    assert bottom < card.height - 40


def test_a_short_card_is_a_postcard_and_keeps_its_lines():
    assert draw_card("").size == draw_card("one").size == (900, 562)
    rows = np.asarray(draw_card("one\n\n\nfour").convert("L")).min(axis=1) < 200
    assert np.diff(np.flatnonzero(rows)).max() > 60


def test_an_image_with_transparency_is_encoded_as_a_small_jpeg():
    uri = encode_thumbnail(Image.new("RGBA", (900, 300), (1, 2, 3, 4)), side_pixels=100)
    assert uri.startswith("data:image/jpeg;base64,")


def test_results_are_a_sequence_whose_slices_keep_ranks_and_query():
    hits = [make_hit(rank=rank, source=f"{rank}.png") for rank in (1, 2, 3)]
    results = make_results(*hits, seconds={"embedding_seconds": 1.0})
    assert len(results) == 3
    assert list(results) == hits
    assert results[-1] is hits[2]
    assert hits[1] in results
    tail = results[1:]
    assert isinstance(tail, SearchResults)
    assert [hit.rank for hit in tail] == [2, 3]
    assert (tail.query, tail.seconds) == ("q", {"embedding_seconds": 1.0})


def test_printed_results_are_a_table_of_names_below_the_shared_folder():
    long_name = "/data/" + "x" * 60 + "/end.mp4"
    results = make_results(
        make_hit(source="/data/a.pdf", media_type="page", page=3, text="words \x1b[2J " * 30),
        make_hit(rank=2, source=long_name, media_type="video", start=25.0, end=55.0, relevance_score=None),
        query={"text": "what?\x1b[2J"},
        failures=[FailedFile(path=Path("/data/torn.pdf"), unit=None, error=MediaError("torn"))],
    )
    lines = repr(results).split("\n")
    assert lines[0] == "2 results, ordered by the probability of the reranker, for 'what?\N{REPLACEMENT CHARACTER}[2J'"
    assert lines[1] == "  #  cosine  probability  found"
    assert lines[2].startswith("  1   0.500        0.250  a.pdf, page 3 ")
    assert lines[2].endswith("…")
    assert len(lines[2].split("page 3", 1)[1].strip()) == 60
    assert lines[3].startswith("  2   0.500               …xxx")
    assert lines[3].endswith("/end.mp4, 00:25-00:55")
    assert lines[4] == "1 took no part, see failures"
    assert "\x1b" not in repr(results)


def test_printed_results_without_a_reranker_have_no_probabilities_and_end_after_twenty():
    hits = [make_hit(rank=rank, source=f"会议{rank}.png", relevance_score=None) for rank in range(1, 24)]
    lines = repr(make_results(*hits, query={"image": "a.png"}, is_reranked=False)).split("\n")
    assert lines[0] == "23 results, ordered by cosine, for images"
    assert lines[1] == "  #  cosine  found"
    assert lines[2] == "  1   0.500  会议1.png"
    assert len(lines) == 23
    assert lines[-1] == "and 3 more"
    assert repr(make_results()) == "No results, for 'q'"


def test_importing_hits_loads_neither_torch_nor_a_vector_store_nor_a_codec():
    program = (
        "import sys; import qwen3_vl_retrieval.index.results.hits; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'chromadb', 'av')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0  # noqa: S603 - fixed


def test_a_hit_reads_the_fields_of_its_unit(folder):
    unit = Unit(source=folder / "red.png", media_type="image", width=160, height=120)
    hit = make_hit(unit=unit)
    assert (hit.media_type, hit.source, hit.page, hit.start, hit.end, hit.text) == (
        *("image", str(folder / "red.png")),
        *(None, None, None, None),
    )
    assert hit.unit is unit
    described = describe_hit(hit)
    assert (described["width"], described["height"], described["image"]) == (160, 120, str(folder / "red.png"))


@pytest.mark.parametrize(
    ("fields", "is_part"),
    [
        ({"media_type": "text", "text": "a chunk"}, True),
        ({"media_type": "page", "page": 1}, True),
        ({"media_type": "video", "start": 0.0, "end": 5.0}, True),
        ({"media_type": "video"}, False),
        ({"media_type": "image"}, False),
    ],
)
def test_a_failure_is_of_a_part_of_a_file_or_of_the_file(folder, fields, is_part):
    unit = Unit(source=folder / "a", **fields)
    failure = FailedFile.of_unit(unit, MediaError("damaged"))
    assert failure.path == folder / "a"
    assert failure.unit == (unit if is_part else None)
