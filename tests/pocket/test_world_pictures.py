"""Images, pages and videos of the pocket world show what their facts say."""

from __future__ import annotations

import io
import random

import av
import numpy as np
import pypdfium2
import pytest
from PIL import Image

from qwen3_vl_pocket.world.artefacts import add_scan_artefacts
from qwen3_vl_pocket.world.canvas import PALETTE, Canvas, choose_ink
from qwen3_vl_pocket.world.facts import GROUPS, KINDS, SCHEMAS, draw_facts
from qwen3_vl_pocket.world.files import write_clip, write_pdf
from qwen3_vl_pocket.world.pages import draw_page
from qwen3_vl_pocket.world.pictures import (
    CLIP_FRAME_COUNT,
    CLIP_FRAME_RATE,
    CLIP_SECONDS,
    SIZES,
    draw_frames,
    draw_picture,
)

CLIPS = tuple(kind for kind in KINDS if GROUPS[kind] == "clip")
PICTURES = tuple(kind for kind in KINDS if GROUPS[kind] != "clip")
COLOR_NAMES = tuple(PALETTE)


def make_rng(seed):
    return random.Random(seed)


def find_color(image, name):
    """Where an image has a colour of the palette: within 16 of 255 in every channel."""
    pixels = np.asarray(image).astype(int)
    return (np.abs(pixels - np.asarray(PALETTE[name])) <= 16).all(axis=-1)


def find_centre(mask):
    rows, columns = np.nonzero(mask)
    return columns.mean(), rows.mean()


def count_islands(mask):
    """How many connected areas a mask has; fringes of a few pixels do not count."""
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    sizes = []
    while left:
        edge, size = [left.pop()], 0
        while edge:
            row, column = edge.pop()
            size += 1
            near = {(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)} & left
            left -= near
            edge.extend(near)
        sizes.append(size)
    return sum(size > 20 for size in sizes)


def draw_any(facts, seed, *, scale=1.0):
    rng = make_rng(seed)
    if facts.kind in CLIPS:
        return draw_frames(facts, rng, indices=[0, 12, 23], scale=scale)
    return [draw_picture(facts, rng, scale=scale)]


def make_facts(kind, seed=0, **values):
    return draw_facts(kind, make_rng(seed), split="training").replace(**values)


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_of_every_slot_can_be_drawn_and_shows(kind):
    start = make_facts(kind)
    unseen = {"company", "tens", "ones"} if kind == "product" else set()
    for slot, values in SCHEMAS[kind].items():
        drawn = {
            tuple(image.tobytes() for image in draw_any(start.replace(**{slot: value}), seed=5)) for value in values
        }
        assert len(drawn) == (1 if slot in unseen else len(values)), slot


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1.0, 2.0, 2.5])
def test_an_image_has_the_size_of_its_kind_times_the_scale(kind, scale):
    width, height = SIZES[kind]
    for image in draw_any(make_facts(kind), seed=1, scale=scale):
        assert (image.mode, image.size) == ("RGB", (width * scale, height * scale))


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_give_equal_images_and_others_do_not(kind):
    facts = make_facts(kind)
    first, again, other = ([image.tobytes() for image in draw_any(facts, seed)] for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize("kind", CLIPS)
def test_a_video_is_the_same_whichever_frames_are_asked_for(kind):
    facts = make_facts(kind)
    whole = draw_frames(facts, make_rng(8))
    some = draw_frames(facts, make_rng(8), indices=[20, 3])
    assert len(whole) == CLIP_FRAME_COUNT == CLIP_SECONDS * CLIP_FRAME_RATE
    assert [image.tobytes() for image in some] == [whole[20].tobytes(), whole[3].tobytes()]


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("color", COLOR_NAMES)
def test_the_colour_occurs(kind, color):
    other = {"other_color": "blue" if color == "red" else "red"} if kind in ("pair", "count") else {}
    # Neither a warning's triangle nor a cross on red would do: those have colours of their own.
    icon = {"icon": "question"} if kind == "screenshot" else {}
    image = draw_picture(make_facts(kind, color=color, **other, **icon), make_rng(2))
    absent = next(name for name in COLOR_NAMES if name not in (color, "black", "red", "blue"))
    assert find_color(image, color).mean() > 0.01
    assert not find_color(image, absent).mean() > 0.001


@pytest.mark.parametrize("relation", SCHEMAS["pair"]["relation"])
@pytest.mark.parametrize("seed", range(5))
def test_the_first_of_a_pair_is_where_its_relation_says(relation, seed):
    facts = make_facts("pair", seed, color="red", other_color="blue", relation=relation)
    image = draw_picture(facts, make_rng(seed))
    across, down = np.subtract(find_centre(find_color(image, "red")), find_centre(find_color(image, "blue")))
    seen = {"left": -across, "right": across, "above": -down, "below": down}
    assert max(seen, key=lambda name: seen[name]) == relation


@pytest.mark.parametrize("count", SCHEMAS["count"]["count"])
@pytest.mark.parametrize("shape", SCHEMAS["count"]["shape"])
def test_equal_shapes_can_be_counted(count, shape):
    for seed in range(3):
        facts = make_facts("count", seed, count=count, color="green", shape=shape, other_color="red")
        image = draw_picture(facts, make_rng(seed), scale=1)
        assert count_islands(find_color(image, "green")) == int(count)
        assert count_islands(find_color(image, "red")) == 1


@pytest.mark.parametrize("relation", SCHEMAS["pair"]["relation"])
@pytest.mark.parametrize("shape", SCHEMAS["pair"]["shape"])
def test_shapes_of_a_pair_never_touch(relation, shape):
    for seed in range(12):
        facts = make_facts("pair", color="red", other_color="red", relation=relation, shape=shape, other_shape="square")
        assert count_islands(find_color(draw_picture(facts, make_rng(seed), scale=1), "red")) == 2


@pytest.mark.parametrize("peak", SCHEMAS["chart"]["peak"])
@pytest.mark.parametrize("sort", SCHEMAS["chart"]["type"])
def test_the_peak_of_a_chart_is_the_highest(peak, sort):
    image = draw_picture(make_facts("chart", color="red", peak=peak, type=sort), make_rng(6), scale=1)
    plot = find_color(image, "red")[30:]
    column = plot[plot.any(axis=1).argmax()].nonzero()[0].mean()
    assert abs(column - (27 + 35.5 * SCHEMAS["chart"]["peak"].index(peak))) < 6


@pytest.mark.parametrize(
    ("direction", "heading"), [("left", (-1, 0)), ("right", (1, 0)), ("up", (0, -1)), ("down", (0, 1))]
)
def test_a_shape_moves_in_its_direction_while_the_other_stands_still(direction, heading):
    for seed in range(5):
        facts = make_facts("motion", seed, color="red", other_color="blue", direction=direction)
        frames = draw_frames(facts, make_rng(seed), scale=1)
        places = [find_centre(find_color(frame, "red")) for frame in frames]
        steps = np.diff(places, axis=0)
        assert (steps @ heading > 1).all()
        assert np.abs(steps @ heading[::-1]).max() < 1.5
        others = {find_color(frame, "blue").tobytes() for frame in frames}
        assert len(others) == 1


@pytest.mark.parametrize("event", SCHEMAS["change"]["event"])
@pytest.mark.parametrize(("moment", "earliest", "latest"), [("early", 1.6, 2.5), ("late", 3.8, 4.7)])
def test_a_shape_appears_or_vanishes_at_its_moment(event, moment, earliest, latest):
    for seed in range(8):
        facts = make_facts("change", seed, color="red", other_color="blue", event=event, moment=moment)
        frames = draw_frames(facts, make_rng(seed), scale=1)
        seen = [bool(find_color(frame, "red").any()) for frame in frames]
        assert seen[0] == (event == "vanishes")
        assert seen[-1] == (event == "appears")
        changes = [index for index in range(1, len(seen)) if seen[index] != seen[index - 1]]
        assert len(changes) == 1
        assert earliest <= changes[0] / CLIP_FRAME_RATE <= latest
        assert all(find_color(frame, "blue").any() for frame in frames)


@pytest.mark.parametrize(("moment", "earliest", "latest"), [("early", 1.6, 2.5), ("late", 3.8, 4.7)])
def test_a_shape_changes_its_colour_at_its_moment_and_stays_in_place(moment, earliest, latest):
    for seed in range(8):
        facts = make_facts("recolor", seed, color="red", new_color="blue", moment=moment)
        frames = draw_frames(facts, make_rng(seed), scale=1)
        red, blue = ([find_color(frame, name) for frame in frames] for name in ("red", "blue"))
        assert all(first.any() != second.any() for first, second in zip(red, blue, strict=True))
        change = next(index for index, mask in enumerate(blue) if mask.any())
        assert earliest <= change / CLIP_FRAME_RATE <= latest
        assert (red[0] == blue[-1]).all()


def test_a_video_is_not_drawn_as_an_image():
    with pytest.raises(ValueError, match="'motion' is a kind of clip"):
        draw_picture(make_facts("motion"), make_rng(0))


def test_an_image_is_not_drawn_as_a_video():
    with pytest.raises(ValueError, match="'page' is a kind of picture"):
        draw_frames(make_facts("page"), make_rng(0))


@pytest.mark.parametrize("index", [-1, 24])
def test_a_frame_outside_the_video_is_refused(index):
    with pytest.raises(ValueError, match=rf"frame {index} is not in the clip: indices go from 0 to 23"):
        draw_frames(make_facts("recolor"), make_rng(0), indices=[0, index])


@pytest.mark.parametrize(("ground", "ink"), [("black", 255), ("blue", 255), ("red", 255), ("yellow", 28), ("pink", 28)])
def test_words_on_a_bar_are_light_or_dark_whichever_reads_better(ground, ink):
    assert choose_ink(PALETTE[ground])[0] == ink


def test_a_word_is_as_wide_as_is_said():
    canvas = Canvas((100, 30), scale=2, ground=(255, 255, 255))
    width = canvas.write(10, 15, "museum", 20)
    columns = (np.asarray(canvas.image)[:, :, 0] < 200).any(axis=0).nonzero()[0] / 2
    assert columns.min() == pytest.approx(10, abs=2)
    assert columns.max() == pytest.approx(10 + width, abs=2)


@pytest.mark.parametrize("kind", ["page", "chart", "screenshot"])
def test_no_word_runs_over_the_edge(kind):
    """The outermost pixels hold nothing as dark as ink, where no bar in colour does."""
    for seed in range(40):
        facts = make_facts(kind, seed, color="yellow")
        image = draw_picture(facts, make_rng(seed), scale=1)
        pixels = np.asarray(image).max(axis=-1)
        edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (edges > 110).all()


def test_a_scan_without_strength_is_the_image_itself():
    image = draw_page(make_facts("page"), make_rng(1), scale=1)
    assert add_scan_artefacts(image, make_rng(0), strength=0).tobytes() == image.tobytes()


def test_a_scan_is_noisy_darker_and_askew():
    paper = Image.new("RGB", (300, 600), (250, 250, 250))
    paper.paste((0, 0, 0), (0, 300, 300, 600))
    scan = np.asarray(add_scan_artefacts(paper, make_rng(3), strength=1.0)).astype(int)
    light = scan[50:200]
    assert scan.shape == (600, 300, 3)
    assert 4 < light[:, :, 0].std() < 20
    assert light[:, :, 0].mean() < 249
    assert light[:, :, 2].mean() < light[:, :, 0].mean() - 2
    left, right = (int((scan[:, column, 0] < 125).argmax()) for column in (5, 294))
    assert 1 <= abs(left - right) <= 300 * np.tan(np.radians(1.5)) + 1


def test_a_skewed_page_shows_paper_at_its_corners_not_its_header():
    paper = Image.new("RGB", (256, 320), (250, 250, 250))
    paper.paste((0, 0, 255), (0, 0, 256, 50))
    scan = np.asarray(add_scan_artefacts(paper, make_rng(3), strength=1.0)).astype(int)
    assert (scan[60:, :, 0] > 150).all()


@pytest.mark.parametrize("sort", SCHEMAS["page"]["type"])
def test_some_pages_are_scanned_and_most_are_not(sort):
    facts = make_facts("page", type=sort)
    noisy = [len(draw_picture(facts, make_rng(seed), scale=1).getcolors(1 << 16)) > 500 for seed in range(60)]
    assert 6 <= sum(noisy) <= 30


def test_a_video_file_holds_every_frame_as_drawn(tmp_path):
    frames = draw_frames(make_facts("motion"), make_rng(1))
    write_clip(frames, tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == CLIP_FRAME_RATE
        assert float(stream.duration * stream.time_base) == pytest.approx(CLIP_SECONDS)
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(decoded) == 24
    for frame, drawn in zip(decoded, frames, strict=True):
        assert np.abs(frame.astype(int) - np.asarray(drawn)).mean() < 5


def test_equal_videos_give_equal_files():
    frames = draw_frames(make_facts("recolor"), make_rng(1), indices=range(8))
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        write_clip(frames, file, frame_rate=2)
    assert files[0].getvalue() == files[1].getvalue()
    files[0].seek(0)
    with av.open(files[0]) as container:
        assert container.streams.video[0].average_rate == 2


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([], "a clip needs frames, all of one size"),
        ([(32, 32), (32, 34)], "all of one size"),
        ([(33, 32)], "frames are 33x32: H.264 with 4:2:0 colours needs even sides"),
    ],
)
def test_frames_that_make_no_video_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        write_clip([Image.new("RGB", size) for size in sizes], io.BytesIO())


def test_a_pdf_shows_its_pages_as_they_were_drawn(tmp_path):
    facts = [make_facts(kind) for kind in ("page", "chart", "page")]
    pages = [draw_picture(one, make_rng(index)) for index, one in enumerate(facts)]
    write_pdf(pages, tmp_path / "pages.pdf")
    with pypdfium2.PdfDocument(tmp_path / "pages.pdf") as document:
        assert len(document) == 3
        for number, page in enumerate(pages):
            width, height = document[number].get_size()
            assert (width, height) == pytest.approx((420, 420 * page.height / page.width), abs=0.01)
            shown = document[number].render(scale=page.width / width).to_pil().convert("RGB").resize(page.size)
            assert np.abs(np.asarray(shown).astype(int) - np.asarray(page)).mean() < 4


def test_equal_pages_give_equal_pdfs(tmp_path):
    page = draw_picture(make_facts("page"), make_rng(0))
    for name in ("one.pdf", "two.pdf"):
        write_pdf([page], tmp_path / name, width_points=300, quality=80)
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()
    with pypdfium2.PdfDocument(tmp_path / "one.pdf") as document:
        assert document[0].get_size()[0] == pytest.approx(300)


def test_a_pdf_without_pages_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no pages were given"):
        write_pdf([], tmp_path / "none.pdf")
