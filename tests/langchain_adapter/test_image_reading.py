"""How images are read: an option of every class that names a model, and what documents say of an image."""

import pytest
from PIL import Image
from pydantic import ValidationError

from langchain_qwen3_vl import Qwen3VLEmbeddings, Qwen3VLRerank, image_document
from viewed_images import draw_corners, draw_greys, encode, note_orientation


@pytest.mark.parametrize("kind", [Qwen3VLEmbeddings, Qwen3VLRerank])
def test_the_reading_is_an_option_of_the_model(kind):
    assert kind(model="pocket", image_reading="reference").loading_options == {"image_reading": "reference"}
    with pytest.raises(ValidationError, match="image_reading"):
        kind(model="pocket", image_reading="sideways")


def test_a_document_tells_the_size_and_the_type_that_a_viewer_shows(tmp_path):
    path = tmp_path / "phone.jpg"
    path.write_bytes(encode(draw_corners(), "JPEG", exif=note_orientation(6)))
    metadata = image_document(path).metadata
    assert (metadata["mime_type"], metadata["width"], metadata["height"]) == ("image/jpeg", 32, 48)


def test_a_photograph_of_several_views_is_a_jpeg(tmp_path):
    path = tmp_path / "views.mpo"
    path.write_bytes(encode(draw_corners(), "MPO", save_all=True, append_images=[draw_greys().convert("RGB")]))
    assert image_document(path).metadata["mime_type"] == "image/jpeg"
    kept = image_document(path.read_bytes(), media_dir=tmp_path).metadata
    assert (kept["mime_type"], kept["image"][-4:]) == ("image/jpeg", ".jpg")


def test_an_image_in_memory_is_kept_with_its_orientation(tmp_path):
    path = tmp_path / "phone.jpg"
    path.write_bytes(encode(draw_corners(), "JPEG", exif=note_orientation(6)))
    with Image.open(path) as opened:
        metadata = image_document(opened, media_dir=tmp_path).metadata
    assert (metadata["mime_type"], metadata["width"], metadata["height"]) == ("image/png", 32, 48)


def test_an_avif_in_memory_is_an_image_and_no_video(tmp_path):
    metadata = image_document(encode(draw_corners(), "AVIF"), media_dir=tmp_path).metadata
    assert (metadata["mime_type"], metadata["image"][-5:]) == ("image/avif", ".avif")
