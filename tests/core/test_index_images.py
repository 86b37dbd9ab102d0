"""Images in an index: pages of TIFFs, formats, and the reading that belongs to a store."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from qwen3_vl_retrieval import FingerprintMismatchError, MediaPolicy, PixelBudget, Qwen3VLEmbedder
from qwen3_vl_retrieval.documents.identity import hash_space
from qwen3_vl_retrieval.index import MultimodalIndex, Qwen3VLEmbeddingFunction, read_units
from qwen3_vl_retrieval.index.store.store import Store
from qwen3_vl_retrieval.prompting.prompts import DEFAULT_INSTRUCTION
from viewed_images import draw_corners, draw_greys, encode, make_samples, note_orientation

POLICY = MediaPolicy()
SMALL = PixelBudget(min_pixels=4096, max_pixels=4096, frame_min_pixels=4096, frame_max_pixels=4096)


@pytest.fixture(scope="module")
def viewer(make_embedder):
    return make_embedder(pixel_budget=SMALL, query_instruction=DEFAULT_INSTRUCTION)


@pytest.fixture(scope="module")
def reference_reader(make_embedder):
    return make_embedder(pixel_budget=SMALL, query_instruction=DEFAULT_INSTRUCTION, image_reading="reference")


@pytest.fixture
def fax(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    pages = [draw_corners(), draw_greys().convert("RGB"), Image.new("RGB", (40, 60), (9, 99, 199))]
    (folder / "fax.tif").write_bytes(encode(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    return folder, pages


def test_each_page_of_a_tiff_is_a_unit_with_its_number(fax):
    folder, _ = fax
    units = read_units(folder / "fax.tif", POLICY)
    assert [(unit.media_type, unit.page) for unit in units] == [("page", 1), ("page", 2), ("page", 3)]


def test_a_tiff_of_one_page_is_an_image(tmp_path):
    (tmp_path / "a.tiff").write_bytes(encode(draw_corners(), "TIFF"))
    (unit,) = read_units(tmp_path / "a.tiff", POLICY)
    assert (unit.media_type, unit.page, unit.width, unit.height) == ("image", None, 48, 32)


def test_words_of_the_pages_of_a_tiff_are_read(fax):
    folder, pages = fax
    units = read_units(folder / "fax.tif", POLICY, ocr=lambda image: f"{image.width}x{image.height}")
    assert [unit.text for unit in units] == [f"{page.width}x{page.height}" for page in pages]


@pytest.mark.parametrize("with_reranker", [False, True])
def test_a_page_of_a_tiff_is_found_with_its_number_and_opens_again(fax, viewer, make_reranker, tmp_path, with_reranker):
    folder, pages = fax
    reranker = make_reranker(pixel_budget=SMALL) if with_reranker else None
    with MultimodalIndex.open(tmp_path / "store", viewer, reranker) as index:
        report = index.sync(folder)
        assert (report.embedded_units, report.failures) == (3, ())
        for number, page in enumerate(pages, start=1):
            hits = index.search({"image": page}, k=3)
            hit = max(hits, key=lambda one: one.similarity_score)
            assert (hit.media_type, hit.page) == ("page", number)
            assert hit.similarity_score > 0.999
            np.testing.assert_array_equal(np.asarray(hit.image()), np.asarray(page))
            assert hit.thumbnail().size == hit.image().size
            for render_pages in (True, False):
                vector = viewer.embed([hit.item(render_pages=render_pages)])[0]
                assert vector @ viewer.embed([{"image": page}])[0] > 0.9999
        assert index.sync(folder).embedded_units == 0


def test_a_page_that_cannot_be_decoded_costs_no_other(fax, viewer, tmp_path):
    folder, pages = fax
    content = bytearray(encode(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="tiff_deflate"))
    place = [at for at in range(len(content) - 1) if content[at : at + 2] == b"\x78\x9c"][1]
    content[place : place + 8] = bytes(8)
    (folder / "fax.tif").write_bytes(content)
    with MultimodalIndex.open(tmp_path / "store", viewer) as index:
        report = index.sync(folder)
        assert report.embedded_units == 2
        assert [failure.unit.page for failure in report.failures] == [2]


def test_photographs_lie_as_they_are_seen_in_index_metadata_and_preview(tmp_path, viewer, reference_reader):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "phone.jpg").write_bytes(encode(draw_corners(), "JPEG", quality=95, exif=note_orientation(6)))
    with Image.open(folder / "phone.jpg") as stored:
        # Its pixels alone: an image that still says how it is turned would be turned once more.
        upright = Image.fromarray(np.asarray(stored.transpose(Image.Transpose.ROTATE_270)))
    for embedder, size, cosine in ((viewer, (32, 48), 0.999), (reference_reader, (48, 32), None)):
        with MultimodalIndex.open(tmp_path / embedder.image_reading, embedder) as index:
            index.sync(folder)
            (hit,) = index.search({"image": upright}, k=1)
            (unit,) = read_units(folder / "phone.jpg", POLICY, image_reading=embedder.image_reading)
            assert (unit.width, unit.height) == size
            # People are shown what a viewer shows, whatever the model sees.
            assert hit.image().size == (32, 48)
            assert (hit.similarity_score > 0.999) == (cosine is not None)


def test_images_given_in_memory_are_kept_as_the_model_sees_them(tmp_path, viewer, reference_reader):
    for embedder in (viewer, reference_reader):
        opened = Image.open(io.BytesIO(make_samples()["orientation 6.jpg"]))
        expected = embedder.embed([opened])[0]
        with MultimodalIndex.open(tmp_path / embedder.image_reading, embedder) as index:
            index.add([{"image": opened}])
            (hit,) = index.search({"image": opened}, k=1)
            assert embedder.embed([hit.item()])[0] @ expected > 0.9999


def test_a_store_is_opened_with_its_own_reading_only(tmp_path, viewer, reference_reader):
    with MultimodalIndex.open(tmp_path / "store", reference_reader):
        pass
    with (
        pytest.raises(FingerprintMismatchError, match="image_reading: stored 'reference', now 'viewer'"),
        Store.open(tmp_path / "store") as store,
    ):
        MultimodalIndex(store, viewer)


def test_the_ids_of_units_from_before_there_was_a_choice_hold(reference_reader, viewer):
    values = reference_reader.fingerprint.to_dict()
    del values["image_reading"]
    import hashlib
    import json

    before = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    assert hash_space(reference_reader.fingerprint) == before != hash_space(viewer.fingerprint)


@pytest.mark.parametrize(
    ("name", "kind", "mime_type"),
    [
        ("a.jfif", "JPEG", "image/jpeg"),
        ("a.MPO", "MPO", "image/jpeg"),
        ("a.avif", "AVIF", "image/avif"),
        ("a.apng", "PNG", "image/png"),
        ("a.webp", "WEBP", "image/webp"),
        ("misnamed.png", "AVIF", "image/png"),
    ],
)
def test_further_formats_are_indexed(name, kind, mime_type, tmp_path, viewer):
    folder = tmp_path / "files"
    folder.mkdir()
    options = {"save_all": True, "append_images": [draw_greys().convert("RGB")]} if kind in ("MPO", "PNG") else {}
    (folder / name).write_bytes(encode(draw_corners(), kind, **options))
    with MultimodalIndex.open(tmp_path / "store", viewer) as index:
        assert index.sync(folder).embedded_units == 1
        (record,) = [unit.record for unit in index.store.catalog.load_units([1]).values()]
        assert (record.unit.media_type, record.mime_type) == ("image", mime_type)


def test_the_embedding_function_remembers_its_reading(reference):
    folder = reference / "checkpoints/embedding"
    function = Qwen3VLEmbeddingFunction(model=str(folder), device="cpu", dtype="float32", image_reading="reference")
    assert function.fingerprint.image_reading == "reference"
    again = Qwen3VLEmbeddingFunction.build_from_config(function.get_config())
    assert again.fingerprint == function.fingerprint
    with pytest.raises(ValueError, match="together with arguments for loading another"):
        Qwen3VLEmbeddingFunction(
            embedder=Qwen3VLEmbedder.from_pretrained(folder, device="cpu"), image_reading="reference"
        )
