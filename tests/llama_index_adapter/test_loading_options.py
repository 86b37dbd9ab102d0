"""Loading options, taken by name by every class that names a model; how images are read, and what nodes say of one."""

import pytest
from pydantic import ValidationError

from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.indices.qwen3_vl.media_folders import describe_file
from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
from qwen3_vl_retrieval import ShareOptions
from qwen3_vl_retrieval.index import keep_media
from qwen3_vl_retrieval.options import list_option_names
from viewed_images import draw_corners, draw_greys, encode, note_orientation


@pytest.mark.parametrize(("kind", "name"), [(Qwen3VLEmbedding, "model_name"), (Qwen3VLRerank, "model")])
def test_the_reading_is_an_option_of_the_model(kind, name):
    assert kind(**{name: "pocket"}).loading_options == {}
    reference = kind(**{name: "pocket"}, image_reading="reference")
    assert reference.loading_options == {"image_reading": "reference"}
    with pytest.raises(ValidationError, match="image_reading"):
        kind(**{name: "pocket"}, image_reading="sideways")


@pytest.mark.parametrize("kind", [Qwen3VLEmbedding, Qwen3VLRerank])
def test_every_loading_option_of_the_core_is_taken_by_name(kind):
    for name in list_option_names(ShareOptions) - {"token", "media_policy"}:
        with pytest.raises(ValidationError, match=f"Value error, {name}"):
            kind("pocket", **{name: object()})
    given = kind("pocket", device="cpu", max_length=512)
    assert given.loading_options == {"device": "cpu", "max_length": 512}
    assert kind.from_dict(given.to_dict(), max_length=256).loading_options == {"device": "cpu", "max_length": 256}
    with pytest.raises(ValidationError, match=r"'colour' is not a loading option; allowed are .*device"):
        kind("pocket", loading_options={"colour": "red"})


def test_a_node_tells_the_size_and_the_type_that_a_viewer_shows(tmp_path):
    path = tmp_path / "phone.jpg"
    path.write_bytes(encode(draw_corners(), "JPEG", exif=note_orientation(6)))
    told = describe_file(str(path), "image")
    assert (told["mime_type"], told["width"], told["height"]) == ("image/jpeg", 32, 48)


def test_a_photograph_of_several_views_is_a_jpeg(tmp_path):
    content = encode(draw_corners(), "MPO", save_all=True, append_images=[draw_greys().convert("RGB")])
    path = tmp_path / "views.mpo"
    path.write_bytes(content)
    assert describe_file(str(path), "image")["mime_type"] == "image/jpeg"
    assert keep_media(content, "image", tmp_path).suffix == ".jpg"


def test_an_avif_in_memory_is_an_image_and_no_video(tmp_path):
    assert keep_media(encode(draw_corners(), "AVIF"), "image", tmp_path).suffix == ".avif"
