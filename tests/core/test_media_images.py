"""Images: measured, decoded, resized."""

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from qwen_vl_utils.vision_process import fetch_image

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.media.images import measure_image, read_image, resize_image
from qwen3_vl_retrieval.media.policy import MediaPolicy

POLICY = MediaPolicy()
LIMITS = {"min_pixels": 4096, "max_pixels": 1_843_200}


def draw(mode="RGB", size=(40, 30)):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8), "RGBA")
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_six_formats_are_read_from_bytes_and_files(kind, tmp_path):
    content = encode(draw(), kind)
    (tmp_path / "picture").write_bytes(content)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    for source in (content, tmp_path / "picture", str(tmp_path / "picture")):
        assert measure_image(source, POLICY) == (40, 30)
        image = read_image(source, POLICY)
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), expected)


@pytest.mark.parametrize("kind", ["PPM", "PCX", "ICO", "SGI", "EPS"])
def test_other_formats_are_refused(kind):
    with pytest.raises(MediaError, match="allowed are PNG, JPEG, WEBP, GIF, BMP, TIFF, AVIF and HEIC"):
        read_image(encode(draw(), kind), POLICY)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_is_no_image_is_an_error(content):
    with pytest.raises(MediaError, match=r"empty|not an image"):
        measure_image(content, POLICY)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_truncated_file_is_an_error(kind, kept):
    content = encode(draw(size=(200, 150)), kind)
    with pytest.raises(MediaError):
        read_image(content[: int(len(content) * kept)], POLICY)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "1", "I", "F"])
def test_rgb_is_that_of_the_reference_and_the_image_of_the_caller_is_unchanged(mode):
    image = draw(mode)
    before = image.copy()
    expected = fetch_image({"image": image, **LIMITS}, image_patch_size=16)
    read = read_image(image, POLICY, reading="reference")
    assert read is not image
    np.testing.assert_array_equal(np.asarray(resize_image(read, **LIMITS)), np.asarray(expected))
    assert image.mode == mode
    assert image == before


def test_transparency_is_laid_on_white():
    assert read_image(Image.new("RGBA", (32, 32), (255, 0, 0, 0)), POLICY).getpixel((0, 0)) == (255, 255, 255)


def test_a_palette_with_transparent_entries_is_read_without_a_warning():
    image = draw("P")
    image.info["transparency"] = bytes(range(256))
    expected = np.asarray(draw("P").convert("RGB"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_image(encode(image, "PNG"), POLICY, reading="reference")
        np.testing.assert_array_equal(np.asarray(read), expected)
    assert image.info["transparency"] == bytes(range(256))


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 1), (30, 40, 3), (30, 40, 4)])
def test_arrays_are_images(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    before = array.copy()
    assert measure_image(array, POLICY) == (40, 30)
    pixels = np.asarray(read_image(array[::-1][::-1], POLICY))
    assert pixels.shape == (30, 40, 3)
    if shape[2:] != (4,):
        np.testing.assert_array_equal(pixels, np.broadcast_to(array.reshape(30, 40, -1), (30, 40, 3)))
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("array", [np.zeros((3, 4, 2), np.uint8), np.zeros((3, 4)), np.zeros((0, 4, 3), np.uint8)])
def test_other_arrays_are_refused(array):
    with pytest.raises(MediaError, match="image array must be uint8"):
        read_image(array, POLICY)


def test_the_reference_reading_ignores_the_orientation_in_exif():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_image(encode(draw(), "JPEG", exif=exif), POLICY, reading="reference").size == (40, 30)


def test_of_an_animation_the_first_image_is_read():
    frames = [Image.new("RGB", (32, 32), color) for color in ((200, 0, 0), (0, 200, 0))]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert read_image(content, POLICY).getpixel((5, 5)) == (200, 0, 0)


@pytest.mark.filterwarnings("error")
def test_an_image_of_50000_by_50000_is_refused_from_its_header_without_a_warning():
    content = png_header(50_000, 50_000)
    assert len(content) < 100
    for look in (measure_image, read_image):
        with pytest.raises(MediaPolicyError, match="max_pixels=100,000,000"):
            look(content, POLICY)


def test_the_limit_of_the_policy_holds_where_pillow_would_warn_and_is_not_pillows():
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert measure_image(png_header(20_000, 20_000), MediaPolicy(max_pixels=400_000_000)) == (20_000, 20_000)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("source", [draw(), np.zeros((30, 40, 3), np.uint8), encode(draw(), "PNG")])
def test_every_kind_of_source_is_held_to_the_pixel_limit(source):
    assert measure_image(source, MediaPolicy(max_pixels=1200)) == (40, 30)
    with pytest.raises(MediaPolicyError, match="max_pixels=1,199"):
        read_image(source, MediaPolicy(max_pixels=1199))


def test_a_gif_frame_larger_than_its_screen_is_refused():
    content = bytearray(encode(Image.new("P", (4, 4)), "GIF"))
    place = content.index(b"\x2c")
    content[place + 5 : place + 9] = struct.pack("<HH", 2000, 2000)
    with pytest.raises(MediaPolicyError, match="max_pixels"):
        read_image(bytes(content), MediaPolicy(max_pixels=1000))


def test_one_side_may_be_200_times_the_other_and_no_more():
    assert measure_image(Image.new("RGB", (400, 2)), POLICY) == (400, 2)
    with pytest.raises(MediaError, match="200 times"):
        measure_image(Image.new("RGB", (401, 2)), POLICY)


def test_an_image_without_pixels_is_refused():
    with pytest.raises(MediaError, match="at least 1"):
        measure_image(Image.new("RGB", (0, 5)), POLICY)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 600), st.integers(1, 600), st.sampled_from([(4096, 1_843_200), (4096, 60_000), (90_000, 90_000)]))
def test_sizes_and_pixels_are_those_of_the_reference(width, height, limits):
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    options = dict(zip(("min_pixels", "max_pixels"), limits, strict=True))
    try:
        expected = fetch_image({"image": image, **options}, image_patch_size=16)
    except ValueError:
        # A ratio above 200, or a side that rounds to nothing.
        with pytest.raises(MediaError):
            resize_image(read_image(image, POLICY), **options)
        return
    resized = resize_image(read_image(image, POLICY), **options)
    np.testing.assert_array_equal(np.asarray(resized), np.asarray(expected))


def test_one_opened_image_may_be_given_to_several_threads(media):
    for _ in range(5):
        opened = Image.open(media / "big_2200x1500.jpg")
        with ThreadPoolExecutor(8) as pool:
            pictures = list(pool.map(read_image, [opened] * 8, [MediaPolicy()] * 8))
        assert {picture.tobytes() for picture in pictures} == {opened.tobytes()}


def test_errors_about_the_size_name_the_image(tmp_path):
    for name, size in (("large.png", (40, 30)), ("thin.png", (401, 2))):
        Image.new("RGB", size).save(tmp_path / name)
    for look in (measure_image, read_image):
        with pytest.raises(MediaPolicyError, match=r"the image '.*large\.png' is 40x30 = 1,200 pixels"):
            look(tmp_path / "large.png", MediaPolicy(max_pixels=1000))
        with pytest.raises(MediaError, match=r"the image '.*thin\.png' is 401x2 pixels; the longer side"):
            look(tmp_path / "thin.png", POLICY)
        with pytest.raises(MediaError, match="the image given as Image is 0x5 pixels"):
            look(Image.new("RGB", (0, 5)), POLICY)
    with pytest.raises(MediaError, match=r"image 'a\.png' of 40x30 pixels does not fit"):
        resize_image(Image.new("RGB", (40, 30)), min_pixels=4096, max_pixels=2048, shown="the image 'a.png'")


def test_a_gif_frame_larger_than_its_screen_is_named(tmp_path):
    content = bytearray(encode(Image.new("P", (4, 4)), "GIF"))
    place = content.index(b"\x2c")
    content[place + 5 : place + 9] = struct.pack("<HH", 2000, 2000)
    (tmp_path / "a.gif").write_bytes(content)
    with pytest.raises(MediaPolicyError, match=r"a\.gif' is 2000x2000"):
        read_image(tmp_path / "a.gif", MediaPolicy(max_pixels=1000))
