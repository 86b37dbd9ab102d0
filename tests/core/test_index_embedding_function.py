"""Collections of plain Chroma with our embedding function: what they find, remember and refuse."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

import chromadb
import numpy as np
import pytest
from PIL import Image

from qwen3_vl_retrieval import (
    Fingerprint,
    FingerprintMismatchError,
    InputError,
    MediaError,
    MediaPolicy,
    MediaPolicyError,
    ModelError,
    Qwen3VLEmbedder,
    sharing,
)
from qwen3_vl_retrieval.chroma.embedding_function import MediaUriLoader, Qwen3VLEmbeddingFunction
from qwen3_vl_retrieval.errors import StoreError

TEXTS = ["a red mug on a desk", "a green lamp", "数字四十二"]


@pytest.fixture(scope="session")
def checkpoint(reference):
    return str(reference / "checkpoints/embedding")


@pytest.fixture
def client(tmp_path):
    client = chromadb.PersistentClient(str(tmp_path / "collections"))
    yield client
    client.close()


@pytest.fixture
def no_models(monkeypatch):
    """The models that the process shares, none at first; and the arguments with which they are loaded."""
    monkeypatch.setattr(sharing, "_EMBEDDERS", WeakValueDictionary())
    loaded = []
    load = Qwen3VLEmbedder.from_pretrained.__func__

    def count(cls, *args, **options):
        loaded.append((args, options))
        return load(cls, *args, **options)

    monkeypatch.setattr(Qwen3VLEmbedder, "from_pretrained", classmethod(count))
    return loaded


@pytest.fixture(scope="session")
def pictures():
    shades = np.random.default_rng(0).integers(0, 255, (3, 64, 96, 3), dtype=np.uint8)
    return list(shades)


@dataclass
class PlainEmbedder:
    """What the protocol asks for, and no more."""

    fingerprint: Fingerprint

    def embed_queries(self, inputs):
        return np.full((len(inputs), 4), 2, dtype=np.float16)

    def embed_documents(self, inputs):
        return np.full((len(inputs), 4), 1, dtype=np.float16)


# Vectors


def test_stored_records_and_queries_have_their_own_instructions(embedder):
    function = Qwen3VLEmbeddingFunction(embedder=embedder)
    np.testing.assert_array_equal(function(TEXTS), embedder.embed_documents(TEXTS))
    np.testing.assert_array_equal(function.embed_query(TEXTS), embedder.embed_queries(TEXTS))
    assert not np.array_equal(function(TEXTS), function.embed_query(TEXTS))


def test_arrays_are_images(embedder, pictures):
    function = Qwen3VLEmbeddingFunction(embedder=embedder)
    items = [{"image": picture} for picture in pictures]
    np.testing.assert_array_equal(function(pictures), embedder.embed_documents(items))
    np.testing.assert_array_equal(function.embed_query(pictures), embedder.embed_queries(items))


def test_a_text_that_names_a_file_is_text(embedder, media):
    function = Qwen3VLEmbeddingFunction(embedder=embedder)
    name = str(media / "photo_500x333.jpg")
    np.testing.assert_array_equal(function([name]), embedder.embed_documents([name]))


def test_every_embedder_of_the_protocol_will_do(embedder):
    function = Qwen3VLEmbeddingFunction(embedder=PlainEmbedder(embedder.fingerprint))
    assert [(row.dtype, row.tolist()) for row in function(["a"])] == [(np.float32, [1.0] * 4)]
    assert [row.tolist() for row in function.embed_query(["a", "b"])] == [[2.0] * 4] * 2


@pytest.mark.parametrize("embed", ["__call__", "embed_query"])
def test_errors_name_the_position_of_the_record(embedder, pictures, embed):
    function = Qwen3VLEmbeddingFunction(embedder=embedder)
    with pytest.raises(InputError, match=r"^item 1: an image array must be uint8") as caught:
        getattr(function, embed)([pictures[0], pictures[1].astype(np.float64)])
    assert caught.value.index == 1
    with pytest.raises(InputError, match=r"^item 2: got NoneType; allowed are documents \(str\) and images"):
        getattr(function, embed)(["a", "b", None])


def test_records_are_looked_at_before_a_model_is_loaded(no_models, checkpoint):
    with pytest.raises(InputError, match="item 0"):
        Qwen3VLEmbeddingFunction(model=checkpoint)([None])
    assert no_models == []


# Arguments


def test_a_misspelt_argument_fails():
    with pytest.raises(TypeError, match="unexpected keyword argument 'dimension'"):
        Qwen3VLEmbeddingFunction(dimension=256)


@pytest.mark.parametrize(
    "other",
    [{"model": "pocket"}, {"device": "cpu"}, {"dimensions": 32}, {"query_instruction": "Find."}, {"token": "t"}],
)
def test_a_ready_embedder_is_given_alone(embedder, other):
    with pytest.raises(ValueError, match="embedder was given together with arguments for loading another"):
        Qwen3VLEmbeddingFunction(embedder=embedder, **other)


def test_a_ready_embedder_of_another_space_is_refused_at_once(embedder):
    wanted = replace(embedder.fingerprint, dimensions=32)
    with pytest.raises(FingerprintMismatchError, match="dimensions: stored 32, now 64"):
        Qwen3VLEmbeddingFunction(embedder=embedder, fingerprint=wanted)


# Loading


def test_nothing_is_loaded_before_it_is_needed_and_then_once_for_all(no_models, checkpoint, embedder):
    options = {"model": checkpoint, "dtype": "float32", "token": "secret"}
    whole = Qwen3VLEmbeddingFunction(**options)
    short = Qwen3VLEmbeddingFunction(
        **options, device="cpu", dimensions=32, document_instruction="Describe it", query_instruction="Find it"
    )
    assert no_models == []
    np.testing.assert_array_equal(whole(TEXTS), embedder.embed_documents(TEXTS))
    np.testing.assert_array_equal(whole.embed_query(TEXTS), embedder.embed_queries(TEXTS))
    np.testing.assert_array_equal(
        short(TEXTS), embedder.embed_documents(TEXTS, dimensions=32, instruction="Describe it")
    )
    np.testing.assert_array_equal(
        short.embed_query(TEXTS), embedder.embed_queries(TEXTS, dimensions=32, instruction="Find it")
    )
    assert short.fingerprint == replace(whole.fingerprint, dimensions=32, instruction="Describe it.")
    (((name,), given),) = no_models
    assert (name, given["token"], given["device"], given["dtype"]) == (checkpoint, "secret", "cpu", "float32")


def test_another_dtype_is_another_model(no_models, checkpoint):
    # Of these weights, which are bfloat16 already, the vectors are equal on a CPU that computes them in float32.
    functions = [
        Qwen3VLEmbeddingFunction(model=checkpoint, dtype=dtype) for dtype in ("float32", "bfloat16", "float32")
    ]
    for function in functions:
        function(["a"])
    assert [given["dtype"] for _, given in no_models] == ["float32", "bfloat16"]


def test_a_model_that_is_missing_is_reported():
    with pytest.raises(ModelError, match="'missing/model/folder' does not exist"):
        Qwen3VLEmbeddingFunction(model="missing/model/folder")(["a"])


# Configuration


def test_the_configuration_is_json_without_secrets_and_comes_back(no_models, checkpoint):
    secret = {"token": "hf_secret"}
    function = Qwen3VLEmbeddingFunction(
        model=checkpoint, dtype="float32", device="cpu", dimensions=32, query_instruction="Find it", **secret
    )
    config = function.get_config()
    written = json.dumps(config)
    assert "hf_secret" not in written
    assert "cpu" not in written
    assert config["fingerprint"] == function.fingerprint.to_dict()
    rebuilt = Qwen3VLEmbeddingFunction.build_from_config(json.loads(written))
    assert rebuilt.get_config() == config
    np.testing.assert_array_equal(rebuilt(TEXTS), function(TEXTS))
    np.testing.assert_array_equal(rebuilt.embed_query(TEXTS), function.embed_query(TEXTS))
    assert len(no_models) == 1


def test_building_from_a_configuration_loads_nothing(no_models, embedder):
    config = Qwen3VLEmbeddingFunction(embedder=embedder).get_config()
    assert Qwen3VLEmbeddingFunction.build_from_config(config).get_config() == config
    assert no_models == []


def test_a_ready_embedder_is_remembered_by_its_names(make_embedder, embedder):
    ready = make_embedder(
        model_id="Qwen/Qwen3-VL-Embedding-2B",
        revision="52b2e2f+torchao-int8",
        dimensions=32,
        document_instruction="Describe it",
        query_instruction="Find it",
    )
    config = Qwen3VLEmbeddingFunction(embedder=ready).get_config()
    assert config == {
        "model": "Qwen/Qwen3-VL-Embedding-2B",
        "revision": "52b2e2f",
        "model_hub": "huggingface",
        "dtype": "auto",
        "quantization": "torchao-int8",
        "query_instruction": "Find it.",
        "fingerprint": ready.fingerprint.to_dict(),
    }
    plain = Qwen3VLEmbeddingFunction(embedder=PlainEmbedder(embedder.fingerprint)).get_config()
    assert (plain["revision"], plain["quantization"]) == (None, None)
    assert plain["query_instruction"] == "Retrieve images or text relevant to the user's query."


def test_the_commit_that_a_branch_led_to_finds_the_loaded_model(no_models, checkpoint, monkeypatch):
    monkeypatch.setattr(
        Qwen3VLEmbedder, "fingerprint", property(lambda found: replace(found.compute_fingerprint(), revision="52b2e2f"))
    )
    options = {"model": checkpoint, "dtype": "float32"}
    functions = [Qwen3VLEmbeddingFunction(**options), Qwen3VLEmbeddingFunction(**options, revision="52b2e2f")]
    for function in functions:
        function(["a"])
    assert len(no_models) == 1


def test_a_rebuilt_function_whose_model_has_changed_is_refused(no_models, checkpoint):
    config = Qwen3VLEmbeddingFunction(model=checkpoint, dtype="float32").get_config()
    config["fingerprint"]["revision"] = "sha256:0123"
    rebuilt = Qwen3VLEmbeddingFunction.build_from_config(config)
    for _ in range(2):
        with pytest.raises(FingerprintMismatchError, match=r"revision: stored 'sha256:0123', now 'sha256:"):
            rebuilt(["a"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"normalize": True}, StoreError, "'normalize'"),
        ({"fingerprint": {"model": "x"}}, FingerprintMismatchError, "not a fingerprint of this version"),
    ],
)
def test_configurations_of_others_are_refused(embedder, change, error, message):
    config = {**Qwen3VLEmbeddingFunction(embedder=embedder).get_config(), **change}
    with pytest.raises(error, match=message):
        Qwen3VLEmbeddingFunction.build_from_config(config)


def test_configurations_that_lack_something_are_refused(embedder):
    config = Qwen3VLEmbeddingFunction(embedder=embedder).get_config()
    del config["model"]
    with pytest.raises(StoreError, match="not a configuration of this version"):
        Qwen3VLEmbeddingFunction.build_from_config(config)


def test_an_update_may_change_queries_but_not_the_space(make_embedder):
    function = Qwen3VLEmbeddingFunction(embedder=make_embedder())
    config = function.get_config()
    function.validate_config_update(config, {**config, "query_instruction": "Find it.", "dtype": "float32"})
    short = Qwen3VLEmbeddingFunction(embedder=make_embedder(dimensions=32)).get_config()
    with pytest.raises(FingerprintMismatchError, match="dimensions: stored 64, now 32"):
        function.validate_config_update(config, short)


# Collections


def test_a_collection_finds_texts_images_and_files(client, embedder, pictures, tmp_path):
    Image.fromarray(pictures[2]).save(tmp_path / "third.png")
    collection = client.create_collection(
        "all", embedding_function=Qwen3VLEmbeddingFunction(embedder=embedder), data_loader=MediaUriLoader()
    )
    collection.add(ids=["text"], documents=TEXTS[:1])
    collection.add(ids=["first", "second"], images=pictures[:2])
    collection.add(ids=["third"], uris=[str(tmp_path / "third.png")])
    assert collection.configuration_json["hnsw"]["space"] == "cosine"
    for query, expected in (
        ({"query_embeddings": embedder.embed_documents([{"image": pictures[1]}])}, "second"),
        ({"query_embeddings": embedder.embed_documents([{"image": tmp_path / "third.png"}])}, "third"),
        ({"query_embeddings": embedder.embed_documents(TEXTS[:1])}, "text"),
    ):
        found = collection.query(**query, n_results=1)
        assert found["ids"] == [[expected]]
        assert abs(found["distances"][0][0]) < 1e-5
    by_text = collection.query(query_texts=["a mug"], n_results=4)
    expected = 1 - embedder.embed_queries(["a mug"])[0] @ embedder.embed_documents(TEXTS[:1])[0]
    assert by_text["distances"][0][by_text["ids"][0].index("text")] == pytest.approx(expected, abs=1e-5)
    by_picture = collection.query(query_images=[pictures[0]], n_results=4)
    by_file = collection.query(query_uris=[str(tmp_path / "third.png")], n_results=4, include=["data", "distances"])
    expected = 1 - embedder.embed_queries([{"image": pictures[0]}])[0] @ embedder.embed_documents(TEXTS[:1])[0]
    assert by_picture["distances"][0][by_picture["ids"][0].index("text")] == pytest.approx(expected, abs=1e-5)
    np.testing.assert_array_equal(by_file["data"][0][by_file["ids"][0].index("third")], pictures[2])
    assert by_file["data"][0][by_file["ids"][0].index("text")] is None


REOPEN = """
import sys
import chromadb
import qwen3_vl_retrieval.chroma.embedding_function

assert "torch" not in sys.modules
collection = chromadb.PersistentClient(sys.argv[1]).get_collection("kept")
assert "torch" not in sys.modules
found = collection.query(query_texts=["a mug"], n_results=3)
print(found["ids"][0], [round(distance, 4) for distance in found["distances"][0]])
"""


def test_a_collection_is_opened_in_a_new_process_without_its_function(client, checkpoint, tmp_path):
    function = Qwen3VLEmbeddingFunction(model=checkpoint, dtype="float32", dimensions=32, query_instruction="Find it")
    collection = client.create_collection("kept", embedding_function=function)
    collection.add(ids=["mug", "lamp", "number"], documents=TEXTS)
    found = collection.query(query_texts=["a mug"], n_results=3)
    run = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", REOPEN, str(tmp_path / "collections")], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"{found['ids'][0]} {[round(distance, 4) for distance in found['distances'][0]]}\n"


def test_a_collection_refuses_a_model_that_makes_other_vectors(client, checkpoint, make_embedder):
    ready = make_embedder(model_id=checkpoint, max_length=77)
    collection = client.create_collection("limited", embedding_function=Qwen3VLEmbeddingFunction(embedder=ready))
    collection.add(ids=["a"], documents=["a mug"])
    with pytest.raises(FingerprintMismatchError, match="max_length: stored 77, now 8192"):
        client.get_collection("limited").query(query_texts=["a mug"])


def test_a_collection_is_compared_with_the_function_that_opens_it(client, make_embedder):
    function = Qwen3VLEmbeddingFunction(embedder=make_embedder())
    function.check_collection(client.create_collection("own", embedding_function=function))
    other = Qwen3VLEmbeddingFunction(embedder=make_embedder(dimensions=32))
    with pytest.raises(FingerprintMismatchError, match="dimensions: stored 64, now 32"):
        other.check_collection(client.get_collection("own", embedding_function=other))
    with pytest.raises(StoreError, match="'foreign' remembers"):
        function.check_collection(client.create_collection("foreign", embedding_function=None))


def test_a_collection_whose_model_was_missing_keeps_its_distance_and_is_found_out(client, embedder):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        collection = client.create_collection(
            "hasty", embedding_function=Qwen3VLEmbeddingFunction(model="missing/model/folder")
        )
    assert any("'missing/model/folder' does not exist" in str(warning.message) for warning in caught)
    assert collection.configuration_json["hnsw"]["space"] == "cosine"
    with pytest.raises(StoreError, match="'hasty' remembers"):
        Qwen3VLEmbeddingFunction(embedder=embedder).check_collection(collection)


# The loader


def test_images_are_loaded_as_the_model_is_to_see_them(tmp_path):
    modes = ("RGB", "L", "P", "RGBA", "CMYK", "1")
    for mode in modes:
        suffix = "jpg" if mode == "CMYK" else "png"
        Image.new("RGB", (30, 20), (0, 0, 0)).convert(mode).save(tmp_path / f"{mode}.{suffix}")
    paths = [str(next(tmp_path.glob(f"{mode}.*"))) for mode in modes]
    loaded = MediaUriLoader()(paths)
    assert [(picture.shape, picture.dtype) for picture in loaded] == [((20, 30, 3), np.uint8)] * len(modes)
    assert [int(picture.max()) for picture in loaded] == [0] * len(modes)


def test_records_without_a_uri_stay_without_an_image(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    assert [picture is None for picture in MediaUriLoader()([None, str(tmp_path / "a.png"), None])] == [
        True,
        False,
        True,
    ]


def test_the_policy_holds_for_the_loader(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    (tmp_path / "inside").mkdir()
    with pytest.raises(MediaPolicyError, match=r"^item 1: .*allow_urls"):
        MediaUriLoader()([str(tmp_path / "a.png"), "https://example.org/a.png"])
    policy = MediaPolicy(allow_dirs=(tmp_path / "inside",))
    with pytest.raises(MediaPolicyError, match=r"^item 0: .*outside the allowed folders"):
        MediaUriLoader(policy=policy, max_workers=1)([str(tmp_path / "a.png")])


def test_a_file_that_is_missing_is_reported_with_its_position(tmp_path):
    with pytest.raises(MediaError, match=r"^item 0: no such file") as caught:
        MediaUriLoader()([str(tmp_path / "missing.png")])
    assert caught.value.index == 0
