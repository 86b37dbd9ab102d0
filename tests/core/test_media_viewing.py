"""Images as a viewer shows them: compared with ImageMagick, and property by property."""

from __future__ import annotations

import io
import json
import logging
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin
from qwen_vl_utils.vision_process import to_rgb

from qwen3_vl_retrieval import MediaError, MediaPolicy, MediaPolicyError
from qwen3_vl_retrieval.media import DocumentPage, find_page, measure_image, read_image, read_image_header, render_page
from viewed_images import (
    CORNERS,
    SHOWN_BY_IMAGEMAGICK,
    TURNED_SINCE_IMAGEMAGICK_7,
    ask_imagemagick,
    average_corners,
    draw_corners,
    draw_greys,
    encode,
    find_imagemagick,
    make_profile,
    make_samples,
    note_orientation,
    pack_png,
    pack_tiff,
)

POLICY = MediaPolicy()
SAMPLES = make_samples()
SHOWN = json.loads(SHOWN_BY_IMAGEMAGICK.read_text(encoding="utf-8"))
MAX_DIFFERENCE = 3
"""Levels: what two decoders of JPEG and two roundings of transparency differ by."""


@pytest.mark.parametrize("name", SAMPLES)
def test_an_image_is_what_imagemagick_shows(name):
    image = read_image(SAMPLES[name], POLICY)
    assert image.mode == "RGB"
    assert list(image.size) == SHOWN[name]["size"]
    assert measure_image(SAMPLES[name], POLICY) == image.size
    difference = np.abs(np.array(average_corners(image)) - np.array(SHOWN[name]["corners"])).max()
    assert difference <= MAX_DIFFERENCE


@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in TURNED_SINCE_IMAGEMAGICK_7])
def test_the_stored_figures_are_those_of_imagemagick_where_it_is_installed(name):
    program = find_imagemagick()
    if program is None:
        # The figures above hold without it.
        return
    image = ask_imagemagick(program, name, SAMPLES[name])
    assert list(image.size) == SHOWN[name]["size"]
    assert np.abs(np.array(average_corners(image)) - np.array(SHOWN[name]["corners"])).max() <= MAX_DIFFERENCE


@pytest.mark.parametrize("name", SAMPLES)
def test_the_reference_reading_is_that_of_the_official_scripts(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = to_rgb(Image.open(io.BytesIO(SAMPLES[name])))
    image = read_image(SAMPLES[name], POLICY, reading="reference")
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
    assert measure_image(SAMPLES[name], POLICY, reading="reference") == image.size


@pytest.mark.parametrize("name", SAMPLES)
def test_what_has_been_read_is_not_turned_or_converted_again(name):
    once = read_image(SAMPLES[name], POLICY)
    assert once.info == {}
    np.testing.assert_array_equal(np.asarray(read_image(once, POLICY)), np.asarray(once))


def test_an_orientation_after_the_pixels_of_a_png_is_found_by_measuring_and_by_reading():
    exif = note_orientation(6).tobytes().removeprefix(b"Exif\0\0")
    content = pack_png((48, 32), 8, 2, draw_corners().tobytes(), (b"late eXIf", exif))
    assert measure_image(content, POLICY) == (32, 48)
    assert average_corners(read_image(content, POLICY)) == SHOWN["orientation.png"]["corners"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_that_the_caller_opened_is_turned_too_and_stays_as_it_is(orientation):
    opened = Image.open(io.BytesIO(SAMPLES[f"orientation {orientation}.jpg"]))
    image = read_image(opened, POLICY)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(ImageOps.exif_transpose(opened)))
    assert opened.size == (48, 32)
    assert opened.getexif()[0x0112] == orientation
    assert measure_image(opened, POLICY) == image.size


@pytest.mark.parametrize("noted", [0, 9, 65535, "6", (6, 6), b"\x06"])
def test_an_orientation_that_is_none_turns_nothing(noted):
    image = draw_corners()
    image.info["exif"] = b""
    exif = image.getexif()
    exif[0x0112] = noted
    assert read_image(image, POLICY).size == (48, 32)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"II*\0\x08\0\0\0\x01\0\x12\x01", b"no exif"]
)
@pytest.mark.filterwarnings("error")
def test_damaged_exif_is_ignored_without_a_warning(exif):
    assert read_image(encode(draw_corners(), "JPEG", exif=exif), POLICY).size == (48, 32)


@pytest.mark.parametrize("profile", [b"", b"no profile", make_profile()[:200], b"\0" * 400])
def test_a_damaged_profile_is_ignored(profile):
    image = read_image(encode(draw_corners(), "PNG", icc_profile=profile), POLICY)
    assert average_corners(image) == [list(map(float, color)) for color in CORNERS]


def test_a_profile_of_another_colour_space_is_ignored():
    image = read_image(encode(draw_greys(), "PNG", icc_profile=make_profile()), POLICY)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(draw_greys().convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBa", "La", "PA", "HSV", "YCbCr", "LAB", "RGBX"])
def test_modes_that_no_file_above_has_keep_their_colours(mode):
    source = draw_greys().convert("RGBA") if mode in ("La", "PA") else draw_corners().convert("RGBA")
    expected = source.convert("RGB")
    if mode == "LAB":
        from PIL import ImageCms

        lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        image = ImageCms.applyTransform(expected, lab)
    else:
        steps = {"La": ("LA", "La"), "PA": ("LA", "PA"), "HSV": ("RGB", "HSV"), "YCbCr": ("RGB", "YCbCr")}
        image = source
        for step in steps.get(mode, (mode,)):
            image = image.convert(step)
    assert image.mode == mode
    difference = np.asarray(read_image(image, POLICY), dtype=int) - np.asarray(expected, dtype=int)
    # LAB and HSV have fewer colours than RGB.
    assert np.abs(difference).max() <= 8


def test_premultiplied_colours_are_laid_on_white():
    for image in (
        Image.new("RGBA", (8, 8), (200, 0, 0, 0)).convert("RGBa"),
        Image.new("LA", (8, 8), (9, 0)).convert("La"),
    ):
        assert read_image(image, POLICY).getpixel((0, 0)) == (255, 255, 255)


NUMBERS = [
    (np.array([[0.0, 0.5], [0.25, 1.0]], np.float32), [[0, 128], [64, 255]]),
    (np.array([[-1.0, 1.0], [0.0, 3.0]], np.float32), [[0, 128], [64, 255]]),
    (np.array([[0.0, 100.0], [200.0, 50.0]], np.float32), [[0, 128], [255, 64]]),
    (np.array([[np.nan, 0.0], [np.inf, 2.0]], np.float32), [[0, 0], [255, 255]]),
    (np.array([[np.nan, np.nan]], np.float32), [[0, 0]]),
    (np.array([[5.0, 5.0]], np.float32), [[255, 255]]),
    (np.array([[0, 1000], [4000, 2000]], np.int32), [[0, 64], [255, 128]]),
    (np.array([[-2000, 0], [2000, 1000]], np.int16), [[0, 128], [255, 191]]),
    (np.array([[0, 2**31], [2**32 - 1, 2**30]], np.uint32), [[0, 128], [255, 64]]),
    (np.array([[0, 257], [65535, 32896]], np.uint16), [[0, 1], [255, 128]]),
]


@pytest.mark.parametrize(
    ("numbers", "levels", "order"),
    # Pillow reads no big endian unsigned numbers of 32 bits.
    [(*one, order) for one in NUMBERS for order in "<>" if order == "<" or one[0].dtype != np.uint32],
)
def test_numbers_of_a_tiff_are_levels_or_spread_from_the_lowest_to_the_highest(numbers, levels, order):
    image = read_image(pack_tiff(numbers, order=order), POLICY)
    np.testing.assert_allclose(np.asarray(image)[:, :, 0], levels, atol=1)


@pytest.mark.parametrize(
    ("numbers", "levels"),
    [
        (np.array([[0, 200]], np.int32), [[0, 200]]),
        (np.array([[0, 65535]], np.int32), [[0, 255]]),
        (np.array([[-5, 70000]], np.int32), [[0, 255]]),
        (np.array([[0, 200]], np.float32), [[0, 200]]),
        (np.array([[0, 65535]], np.uint16), [[0, 255]]),
    ],
)
def test_numbers_from_no_file_are_levels_as_long_as_they_can_be(numbers, levels):
    np.testing.assert_array_equal(np.asarray(read_image(Image.fromarray(numbers), POLICY))[:, :, 0], levels)


# What is no image, or no longer one.


def close(image: Image.Image) -> Image.Image:
    image.close()
    return image


def open_on_closed_file(kind: str) -> Image.Image:
    file = io.BytesIO(encode(draw_corners(), kind))
    opened = Image.open(file)
    file.close()
    return opened


@pytest.mark.parametrize(
    "make",
    [
        lambda: close(Image.open(io.BytesIO(encode(draw_corners(), "PNG")))),
        lambda: close(Image.open(io.BytesIO(encode(draw_corners(), "JPEG")))),
        lambda: close(draw_corners()),
        lambda: open_on_closed_file("PNG"),
        lambda: open_on_closed_file("TIFF"),
        lambda: open_on_closed_file("GIF"),
    ],
)
@pytest.mark.parametrize("reading", ["viewer", "reference"])
def test_a_closed_image_is_a_named_error(make, reading):
    with pytest.raises(MediaError, match=r"the image given as \w+ is closed, .*; give it open, or give its path"):
        read_image(make(), POLICY, reading=reading)


def test_an_image_that_was_never_made_is_a_named_error():
    with pytest.raises(MediaError, match="the image given as Image is 0x0 pixels"):
        read_image(Image.Image(), POLICY)


def test_an_image_whose_file_was_cut_since_is_a_named_error(tmp_path):
    path = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    path.write_bytes(encode(Image.fromarray(noise), "PNG"))
    with Image.open(path) as opened:
        path.write_bytes(path.read_bytes()[:5_000])
        with pytest.raises(MediaError, match="damaged or truncated"):
            read_image(opened, POLICY)


def test_one_closed_image_is_the_loss_of_no_other(embedder):
    vectors = embedder.embed([draw_corners(), close(draw_corners()), draw_greys()], on_error="return")
    assert isinstance(vectors[1], MediaError)
    assert not isinstance(vectors[0], MediaError)
    assert not isinstance(vectors[2], MediaError)
    with pytest.raises(MediaError, match=r"item 1: .* is closed"):
        embedder.embed([draw_corners(), close(draw_corners())])


def test_an_unknown_reading_is_refused(make_embedder):
    for ask in (
        lambda: read_image(draw_corners(), POLICY, reading="sideways"),
        lambda: measure_image(draw_corners(), POLICY, reading="sideways"),
        lambda: make_embedder(image_reading="sideways"),
    ):
        with pytest.raises(
            ValueError, match='image_reading=\'sideways\' is unknown; allowed are "viewer" and "reference"'
        ):
            ask()


# Noise.


@pytest.mark.filterwarnings("error")
def test_pillow_warns_of_nothing_and_the_filters_are_as_before(capfd, caplog):
    content = bytearray(encode(draw_corners(), "TIFF", tiffinfo={270: "a" * 40}))
    place = content.index(b"\x0e\x01\x02\x00")
    content[place + 4 : place + 8] = (2**20).to_bytes(4, "little")
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: read_image(bytes(content), POLICY), range(16)))
    assert list(warnings.filters) == before
    with pytest.raises(MediaError):
        read_image(b"II*\x00" + bytes(40), POLICY)
    assert capfd.readouterr() == ("", "")
    assert caplog.get_records("call") == []


def test_warnings_of_the_program_itself_are_still_heard():
    read_image(draw_corners(), POLICY)
    with pytest.warns(UserWarning, match="of the program"):
        warnings.warn("of the program", stacklevel=1)
    assert logging.getLogger("PIL").level == logging.NOTSET


# Pages of a TIFF.


def save_pages(images: list[Image.Image], **options: object) -> bytes:
    return encode(images[0], "TIFF", save_all=True, append_images=images[1:], **options)


@pytest.mark.parametrize("compression", [None, "tiff_deflate", "tiff_lzw"])
@pytest.mark.parametrize("big_tiff", [False, True])
def test_each_page_of_a_tiff_is_read_by_its_number(compression, big_tiff, tmp_path):
    pages = [draw_corners(), draw_greys().resize((30, 40)), Image.new("RGB", (20, 20), (1, 2, 3))]
    path = tmp_path / "fax.tif"
    path.write_bytes(save_pages(pages, compression=compression, big_tiff=big_tiff))
    assert read_image_header(path, POLICY).pages == 3
    for source in (path, str(path), path.read_bytes()):
        for number, page in enumerate(pages, start=1):
            image = read_image(DocumentPage(source, number), POLICY)
            np.testing.assert_array_equal(np.asarray(image), np.asarray(page.convert("RGB")))
            assert measure_image(DocumentPage(source, number), POLICY) == page.size
            np.testing.assert_array_equal(
                np.asarray(render_page(find_page(source, number, POLICY), MediaPolicy(allow_dirs=()))),
                np.asarray(image),
            )
    np.testing.assert_array_equal(np.asarray(read_image(path, POLICY)), np.asarray(pages[0]))


def test_a_page_that_a_tiff_does_not_have_is_a_named_error(tmp_path):
    path = tmp_path / "fax.tif"
    path.write_bytes(save_pages([draw_corners(), draw_greys()]))
    for look in (read_image, measure_image):
        for number in (0, 3):
            with pytest.raises(
                MediaError, match=rf"there is no page {number} of the TIFF '.*fax.tif'; .* pages 1 to 2"
            ):
                look(DocumentPage(path, number), POLICY)


def test_a_tiff_of_too_many_pages_is_refused_but_its_first_page_is_an_image():
    content = save_pages([draw_corners()] * 5)
    strict = MediaPolicy(max_pages=4)
    with pytest.raises(MediaPolicyError, match="more than max_pages=4 pages"):
        read_image_header(content, strict)
    with pytest.raises(MediaPolicyError, match="more than max_pages=4 pages"):
        read_image(DocumentPage(content, 2), strict)
    assert read_image(content, strict).size == (48, 32)


@pytest.mark.parametrize("tag", [(254, 1), (254, 4), (255, 2)])
def test_overviews_thumbnails_and_masks_are_no_pages(tag):
    number, value = tag
    stream = io.BytesIO()
    small = draw_corners().resize((12, 8))
    small.encoderinfo = {"tiffinfo": {number: value}}
    draw_corners().save(stream, "TIFF", save_all=True, append_images=[small, draw_greys()])
    assert read_image_header(stream.getvalue(), POLICY).pages == 2
    page = read_image(DocumentPage(stream.getvalue(), 2), POLICY)
    np.testing.assert_array_equal(np.asarray(page), np.asarray(draw_greys().convert("RGB")))


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_of_a_cut_tiff_the_whole_pages_are_read(kept):
    content = save_pages([draw_corners(), draw_greys(), draw_corners()])
    cut = content[: int(len(content) * kept)]
    try:
        pages = read_image_header(cut, POLICY).pages
    except MediaError:
        return
    assert 1 <= pages <= 3


def test_a_tiff_whose_directories_lead_in_a_circle_ends():
    content = bytearray(save_pages([draw_corners(), draw_greys()]))
    first = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[first : first + 2], "little")
    second = int.from_bytes(content[first + 2 + 12 * count :][:4], "little")
    count = int.from_bytes(content[second : second + 2], "little")
    content[second + 2 + 12 * count :][:4] = content[4:8]
    place = second + 2 + 12 * count
    content[place : place + 4] = content[4:8]
    assert read_image_header(bytes(content), POLICY).pages == 2


def test_a_page_is_no_larger_than_asked_for():
    content = save_pages([draw_corners(), draw_corners().resize((480, 320))])
    page = DocumentPage(content, 2, max_pixels=40_000)
    image = read_image(page, POLICY)
    assert 0.9 * 40_000 <= image.width * image.height <= 40_000
    assert measure_image(page, POLICY) == image.size


# Formats.


@pytest.mark.parametrize(
    ("kind", "mime_type"),
    [
        ("PNG", "image/png"),
        ("JPEG", "image/jpeg"),
        ("MPO", "image/jpeg"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
        ("AVIF", "image/avif"),
    ],
)
def test_the_content_says_what_an_image_is(kind, mime_type, tmp_path):
    options = {"save_all": True, "append_images": [draw_greys().convert("RGB")]} if kind == "MPO" else {}
    path = tmp_path / "misnamed.gif"
    path.write_bytes(encode(draw_corners(), kind, **options))
    header = read_image_header(path, POLICY)
    assert (header.mime_type, header.width, header.height, header.pages) == (mime_type, 48, 32, 1)
    difference = np.array(average_corners(read_image(path, POLICY))) - np.array(CORNERS)
    assert np.abs(difference).max() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_upright(orientation):
    content = encode(draw_corners(), "AVIF", quality=95, exif=note_orientation(orientation))
    image = read_image(content, POLICY)
    assert measure_image(content, POLICY) == image.size
    expected = np.array(SHOWN[f"orientation {orientation}.jpg"]["corners"])
    assert np.abs(np.array(average_corners(image)) - expected).max() < 12


def test_avif_is_held_to_the_limit_of_pixels_before_it_is_decoded():
    with pytest.raises(MediaPolicyError, match="max_pixels=100"):
        read_image(encode(draw_corners(), "AVIF"), MediaPolicy(max_pixels=100))


@pytest.mark.parametrize("kind", ["AVIF", "GIF", "PNG", "WEBP"])
def test_of_every_animation_the_first_image_is_read(kind):
    frames = [Image.new("RGB", (32, 32), color) for color in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert max(abs(a - b) for a, b in zip(read_image(content, POLICY).getpixel((16, 16)), (200, 0, 0), strict=True)) < 8
    assert read_image_header(content, POLICY).pages == 1


def test_heic_is_upright_and_says_what_is_missing(tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    for orientation in range(1, 9):
        stream = io.BytesIO()
        heif = pillow_heif.from_pillow(draw_corners())
        heif.info["exif"] = note_orientation(orientation).tobytes()
        heif.save(stream, quality=95)
        image = read_image(stream.getvalue(), POLICY)
        assert measure_image(stream.getvalue(), POLICY) == image.size
        assert read_image_header(stream.getvalue(), POLICY).mime_type == "image/heic"
        expected = np.array(SHOWN[f"orientation {orientation}.jpg"]["corners"])
        assert np.abs(np.array(average_corners(image)) - expected).max() < 12
    (tmp_path / "a.heic").write_bytes(stream.getvalue())


def test_without_pillow_heif_the_error_says_what_to_install(monkeypatch, tmp_path):
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif.as_plugin", None)
    # In this process, whose modules the test has changed.
    here = MediaPolicy(isolate_reading=False)
    with pytest.raises(MediaError, match=r"a\.heic' is a HEIC, .*; pip install 'qwen3-vl-retrieval\[heic\]'"):
        read_image(path, here)


def test_a_video_in_the_same_container_is_no_image():
    with pytest.raises(MediaError, match="not an image that is understood"):
        read_image(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(40), POLICY)


# Properties.

COLOUR_MODES = ["P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"]
MODES = [*COLOUR_MODES, "1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L"]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(MODES),
    st.integers(1, 40),
    st.integers(1, 40),
    st.one_of(st.none(), st.integers(0, 10)),
    st.one_of(st.none(), st.integers(0, 70_000), st.binary(max_size=300), st.tuples(*[st.integers(0, 70_000)] * 3)),
    st.one_of(st.none(), st.binary(max_size=40), st.just(make_profile())),
    st.integers(0, 2**32 - 1),
)
def test_any_image_becomes_rgb_upright_and_stays_as_it_is(mode, width, height, orientation, key, profile, seed):
    rng = np.random.default_rng(seed)
    depth = {"I": np.int32, "F": np.float32, "I;16": np.uint16, "I;16B": ">u2", "I;16L": "<u2"}.get(mode)
    if depth is not None:
        image = Image.frombytes(mode, (width, height), rng.integers(0, 60_000, (height, width)).astype(depth).tobytes())
    elif mode == "P":
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).quantize(16)
    else:
        image = Image.new(mode, (width, height))
        image.frombytes(rng.bytes(len(image.tobytes())))
    if key is not None:
        image.info["transparency"] = key
    if profile is not None:
        image.info["icc_profile"] = profile
    if orientation is not None:
        image.info["exif"] = note_orientation(orientation).tobytes()
    info, pixels = dict(image.info), image.tobytes()
    shown = read_image(image, POLICY)
    assert shown.mode == "RGB"
    assert shown.size == ((height, width) if orientation in (5, 6, 7, 8) else (width, height))
    assert measure_image(image, POLICY) == shown.size
    assert (image.mode, image.size, image.info, image.tobytes()) == (mode, (width, height), info, pixels)
    if mode == "RGB" and key is None and profile is None:
        turned = ImageOps.exif_transpose(image)
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(turned))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([1, 2, 4, 8, 16]), st.integers(0, 15), st.booleans(), st.integers(1, 8), st.integers(1, 8))
def test_any_depth_of_a_grey_png_is_spread_over_all_levels(bits, level, is_clear, width, height):
    most = 2**bits - 1
    value = min(level * (1 if bits < 16 else 4000), most)
    row = np.unpackbits(np.full((width, 1), value, ">u2").view(np.uint8).reshape(width, 2), axis=1)[:, 16 - bits :]
    rows = np.packbits(np.tile(row.reshape(1, -1), (height, 1)), axis=1).tobytes()
    chunks = [(b"tRNS", value.to_bytes(2, "big"))] if is_clear else []
    image = read_image(pack_png((width, height), bits, 0, rows, *chunks), POLICY)
    expected = 255 if is_clear else round(value * 255 / most)
    assert np.abs(np.asarray(image, dtype=int) - expected).max() <= 1


def test_readers_of_png_text_do_not_slow_measuring_down(monkeypatch):
    """Metadata after the pixels are looked for without decoding."""
    content = encode(draw_corners(), "PNG")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", None)
    assert measure_image(content, POLICY) == (48, 32)
