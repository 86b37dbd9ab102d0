"""Identity of a vector space."""

from __future__ import annotations

import json

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


def test_a_query_instruction_does_not_change_stored_vectors(make_embedder, embedder):
    make_embedder(query_instruction="Find it").fingerprint.require_match(embedder.fingerprint)


def test_a_foreign_dict_is_refused():
    with pytest.raises(FingerprintMismatchError, match="not a fingerprint"):
        Fingerprint.from_dict({"model": "x"})


def test_a_folder_is_identified_by_its_weights(media, embedder):
    loaded = Qwen3VLEmbedder.from_pretrained(media.parent / "checkpoints/embedding", device="cpu", dtype="float32")
    assert loaded.fingerprint.revision.startswith("sha256:")
    assert loaded.fingerprint.model == "embedding"
