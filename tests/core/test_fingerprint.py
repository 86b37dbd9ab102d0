"""Identity of a vector space."""

from __future__ import annotations

import json

import numpy as np
import pytest

from qwen3_vl_retrieval import Fingerprint, FingerprintMismatchError, FrameSampling, PixelBudget, Qwen3VLEmbedder


def test_a_fingerprint_survives_json(embedder):
    stored = json.loads(json.dumps(embedder.fingerprint.to_dict()))
    assert Fingerprint.from_dict(stored) == embedder.fingerprint
    embedder.fingerprint.require_match(Fingerprint.from_dict(stored))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"dimensions": 32}, "dimensions: stored 64, now 32"),
        ({"document_instruction": "Represent the page"}, 'instruction: stored "Represent the user\'s input."'),
        ({"pixel_budget": PixelBudget(max_pixels=1280 * 1024)}, "pixel_budget"),
        ({"frame_sampling": FrameSampling(fps=2)}, "frame_sampling"),
        ({"model_id": "other"}, "model: "),
        ({"revision": "abc"}, "revision: "),
        ({"image_reading": "reference"}, "image_reading: stored 'viewer', now 'reference'"),
        ({"max_length": 1000}, "max_length: stored 8192, now 1000"),
    ],
)
def test_a_mismatch_names_what_differs(make_embedder, embedder, options, field):
    with pytest.raises(FingerprintMismatchError, match="another vector space") as caught:
        make_embedder(**options).fingerprint.require_match(embedder.fingerprint)
    assert field in str(caught.value)


def test_the_precision_of_a_call_belongs_to_it(embedder):
    with pytest.raises(FingerprintMismatchError, match="precision: stored 'float32', now 'int8'"):
        embedder.compute_fingerprint(precision="int8").require_match(embedder.fingerprint)


def test_a_fingerprint_from_before_there_was_a_choice_is_of_the_reference_reading(make_embedder, embedder):
    stored = embedder.fingerprint.to_dict()
    del stored["image_reading"]
    found = Fingerprint.from_dict(stored)
    assert found.image_reading == "reference"
    make_embedder(image_reading="reference").fingerprint.require_match(found)
    with pytest.raises(FingerprintMismatchError, match="image_reading: stored 'reference', now 'viewer'"):
        embedder.fingerprint.require_match(found)


@pytest.mark.parametrize("change", [{"image_reading": 1}, {"image_writing": "viewer"}])
def test_a_fingerprint_with_a_wrong_field_is_refused(embedder, change):
    with pytest.raises(FingerprintMismatchError, match="not a fingerprint"):
        Fingerprint.from_dict(embedder.fingerprint.to_dict() | change)


def test_a_query_instruction_does_not_change_stored_vectors(make_embedder, embedder):
    make_embedder(query_instruction="Find it").fingerprint.require_match(embedder.fingerprint)


@pytest.mark.parametrize("values", [{"model": "x"}, {1: 2, "a": 3}, None, "text"])
def test_what_is_no_fingerprint_is_refused(values):
    with pytest.raises(FingerprintMismatchError, match="not a fingerprint"):
        Fingerprint.from_dict(values)


def test_equal_options_have_equal_fingerprints(make_embedder, embedder):
    other = make_embedder(
        frame_sampling=FrameSampling(fps=1, max_frames=np.int64(64)),
        pixel_budget=PixelBudget(max_pixels=np.int64(1_843_200)),
        dimensions=np.int64(64),
    )
    other.fingerprint.require_match(embedder.fingerprint)
    json.dumps(other.fingerprint.to_dict())


def test_a_ready_model_is_named_by_the_last_part_of_its_path(embedder):
    assert embedder.fingerprint.model == "embedding"


def test_a_folder_is_identified_by_its_weights(media, embedder):
    loaded = Qwen3VLEmbedder.from_pretrained(media.parent / "checkpoints/embedding", device="cpu", dtype="float32")
    assert loaded.fingerprint.revision.startswith("sha256:")
    assert loaded.fingerprint.model == "embedding"
