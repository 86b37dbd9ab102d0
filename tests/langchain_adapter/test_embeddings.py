"""Embeddings: texts, images, videos and mixtures, as LangChain asks for them."""

from __future__ import annotations

import asyncio
import base64
import copy
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_core.documents import Document
from langchain_core.documents.base import Blob
from langchain_core.embeddings import Embeddings
from langchain_core.stores import InMemoryByteStore
from PIL import Image
from pydantic import ValidationError

from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from qwen3_vl_retrieval import Fingerprint, InputError, MediaError, MediaPolicy, PixelBudget, ShareOptions
from qwen3_vl_retrieval.options import list_option_names
from qwen3_vl_retrieval.testing import FakeEmbedder
from rounding import bound


class PlainEmbedder:
    """All that the protocol asks for: items in, vectors out."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Any], int]] = []

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(
            model="plain",
            revision="1",
            dimensions=2,
            precision="float32",
            instruction="",
            pixel_budget="",
            frame_sampling="",
            max_length=1,
            prompt_version=1,
        )

    def embed_queries(self, inputs: Sequence[Any]) -> np.ndarray:
        self.calls.append(("query", list(inputs), threading.get_ident()))
        return np.array([[1.0, 0.0]] * len(inputs), dtype=np.float64)

    def embed_documents(self, inputs: Sequence[Any]) -> np.ndarray:
        self.calls.append(("document", list(inputs), threading.get_ident()))
        return np.array([[0.0, 1.0]] * len(inputs), dtype=np.float64)


def open_image(path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


def encode(path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def assert_close(left, right):
    np.testing.assert_allclose(left, right, atol=bound(1e-5))


def test_the_package_is_imported_without_torch_or_a_vector_store():
    code = (
        "import sys, langchain_qwen3_vl.embeddings as e, langchain_qwen3_vl.rerank, langchain_qwen3_vl.documents;"
        "e.Qwen3VLEmbeddings(model='pocket');"
        "sys.exit(', '.join({'torch', 'transformers', 'chromadb', 'langchain_chroma'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)  # noqa: S603
    assert done.returncode == 0, done.stderr


def test_vectors_are_those_of_the_core_as_python_floats(embeddings):
    core = embeddings.embedder
    vectors = embeddings.embed_documents(["a red ball", "an invoice"])
    assert isinstance(vectors, list)
    assert {type(number) for vector in vectors for number in vector} == {float}
    assert vectors == core.embed_documents(["a red ball", "an invoice"]).tolist()
    assert embeddings.embed_query("a red ball") == core.embed_queries(["a red ball"])[0].tolist()
    assert_close(np.linalg.norm(vectors, axis=1), [1, 1])


def test_a_query_is_not_represented_as_a_document(embeddings):
    assert not np.allclose(embeddings.embed_query("a red ball"), embeddings.embed_documents(["a red ball"])[0])


def test_no_documents_have_no_vectors(embeddings):
    assert embeddings.embed_documents([]) == []


def test_a_text_that_is_the_name_of_a_file_is_a_text(embeddings, images):
    name = str(images / "picture-0.png")
    as_text, as_image = embeddings.embed_documents([name]), embeddings.embed_image(uris=[name])
    assert not np.allclose(as_text, as_image)
    assert embeddings.embed_documents(["gone.png"])


def test_every_form_of_an_image_has_one_vector(embeddings, images):
    path = images / "picture-0.png"
    forms = [
        path,
        open_image(path),
        {"image": str(path)},
        {"type": "image", "base64": encode(path), "mime_type": "image/png"},
        [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encode(path)}"}}],
        Blob.from_path(path),
        Blob.from_data(path.read_bytes(), mime_type="image/png"),
        Document("", metadata={"image": str(path)}),
    ]
    vectors = embeddings.embed_documents(forms)
    for vector in vectors[1:]:
        assert_close(vector, vectors[0])
    for form in forms:
        assert_close(embeddings.embed_query(form), embeddings.embed_query(path))


def test_blocks_and_dict_of_one_mixture_have_one_vector(embeddings, images):
    path = images / "picture-0.png"
    blocks = [{"type": "image", "base64": encode(path)}, {"type": "text", "text": "two of these"}]
    assert_close(embeddings.embed_query(blocks), embeddings.embed_query({"image": path, "text": "two of these"}))


def test_questions_find_their_images(embeddings, images, questions):
    found = embeddings.embed_image(uris=[str(images / f"picture-{number}.png") for number in range(4)])
    similarities = np.array([embeddings.embed_query(question) for question in questions]) @ np.array(found).T
    assert np.diag(similarities).mean() > similarities.mean()


@pytest.mark.parametrize("name", ["embed_image", "embed_images"])
def test_a_list_of_images_gives_a_list_and_one_image_its_vector(embeddings, images, name):
    embed = getattr(embeddings, name)
    path = images / "picture-0.png"
    [expected] = embeddings.embed_documents([{"image": path}])
    array = np.asarray(open_image(path))
    for single in (path, str(path), path.as_uri(), path.read_bytes(), open_image(path), array, Blob.from_path(path)):
        assert_close(embed(single), expected)
    assert_close(embed(uris=[str(path)]), [expected])
    assert_close(embed(uris=(uri for uri in [str(path)])), [expected])


@pytest.mark.parametrize("name", ["embed_video", "embed_videos"])
def test_a_list_of_videos_gives_a_list_and_one_video_its_vector(embeddings, images, name):
    embed = getattr(embeddings, name)
    path = images / "clip.mp4"
    [expected] = embeddings.embed_documents([{"video": path}])
    assert_close(embed(str(path)), expected)
    assert_close(embed(uris=[path, path.read_bytes()]), [expected, expected])


def test_the_window_and_the_frames_of_a_video_are_heeded(embeddings, images):
    path = images / "clip.mp4"
    window = embeddings.embed_video(path, start=0.0, end=1.0, max_frames=2)
    assert_close(window, embeddings.embed_documents([{"video": path, "start": 0.0, "end": 1.0, "max_frames": 2}])[0])
    frames = [open_image(images / f"picture-{number}.png").resize((64, 64)) for number in range(2)]
    assert_close(embeddings.embed_video([frames])[0], embeddings.embed_documents([{"video": frames}])[0])


def test_images_can_be_queries(embeddings, images):
    path = images / "picture-0.png"
    assert_close(embeddings.embed_image(path, kind="query"), embeddings.embed_query(path))


def test_content_blocks_are_documents_or_queries(embeddings):
    blocks = [[{"type": "text", "text": "a"}], {"type": "text", "text": "b"}, "c"]
    assert_close(embeddings.embed_content_blocks(blocks), embeddings.embed_documents(["a", "b", "c"]))
    queries = [embeddings.embed_query(text) for text in "abc"]
    assert_close(embeddings.embed_content_blocks(blocks, kind="query"), queries)
    assert_close(asyncio.run(embeddings.aembed_content_blocks(blocks, kind="query")), queries)
    with pytest.raises(ValueError, match="kind='both' is unknown"):
        embeddings.embed_content_blocks(blocks, kind="both")


def test_arrays_hold_the_same_vectors_in_float32(embeddings):
    documents, query = embeddings.embed_documents_array(["a", "b"]), embeddings.embed_query_array("a")
    assert (documents.dtype, query.dtype) == (np.float32, np.float32)
    assert documents.tolist() == embeddings.embed_documents(["a", "b"])
    assert query.tolist() == embeddings.embed_query("a")


def test_the_async_methods_give_the_same(embeddings, images):
    items = ["a", {"image": images / "picture-0.png"}]
    assert_close(asyncio.run(embeddings.aembed_documents(items)), embeddings.embed_documents(items))
    assert_close(asyncio.run(embeddings.aembed_query("a")), embeddings.embed_query("a"))


def test_concurrent_callers_share_forward_passes(embeddings):
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1

    async def ask() -> list[list[float]]:
        return await asyncio.gather(*(embeddings.aembed_query(f"question {number}") for number in range(32)))

    hook = embeddings.embedder.model.language_model.embed_tokens.register_forward_hook(count)
    try:
        vectors = asyncio.run(ask())
    finally:
        hook.remove()
    assert len(vectors) == 32
    assert passes < 16


def test_instructions_are_passed_on_to_queries_and_documents():
    embeddings = Qwen3VLEmbeddings(model="pocket", query_instruction="Find a cat.", document_instruction="Keep a dog.")
    core = embeddings.embedder
    query = core.embed(["a"], instruction="Find a cat.")[0]
    document = core.embed(["a"], instruction="Keep a dog.")
    assert_close(embeddings.embed_query("a"), query)
    assert_close(asyncio.run(embeddings.aembed_query("a")), query)
    assert_close(embeddings.embed_documents(["a"]), document)
    assert_close(asyncio.run(embeddings.aembed_documents(["a"])), document)
    assert embeddings.fingerprint == core.compute_fingerprint(instruction="Keep a dog.")


def test_dimensions_are_cut_and_scaled(embeddings):
    short = Qwen3VLEmbeddings(model="pocket", dimensions=32)
    whole = np.array(embeddings.embed_query("a"))[:32]
    assert_close(short.embed_query("a"), whole / np.linalg.norm(whole))
    assert_close(asyncio.run(short.aembed_query("a")), short.embed_query("a"))
    assert short.fingerprint.dimensions == 32
    assert short.fingerprint != embeddings.fingerprint


def test_progress_is_shown_while_documents_are_embedded(capsys):
    embeddings = Qwen3VLEmbeddings(model="pocket", show_progress=True)
    embeddings.embed_query("a")
    assert "embedding" not in capsys.readouterr().err
    embeddings.embed_documents(["a"])
    assert "embedding" in capsys.readouterr().err


def test_all_who_name_a_model_hold_one(embeddings):
    assert Qwen3VLEmbeddings(model_name="pocket").embedder is embeddings.embedder
    other = Qwen3VLEmbeddings(model="pocket", pixel_budget=PixelBudget(max_pixels=65536))
    assert other.embedder is not embeddings.embedder
    assert other.embedder.model is embeddings.embedder.model


def test_copies_share_the_weights_and_pickles_do_not_hold_them(embeddings):
    embeddings.embed_query("a")
    assert copy.deepcopy(embeddings).embedder is embeddings.embedder
    assert embeddings.model_copy(deep=True).embedder is embeddings.embedder
    pickled = pickle.dumps(embeddings)
    assert len(pickled) < 10_000
    assert pickle.loads(pickled).embedder is embeddings.embedder  # noqa: S301 - our own


def test_every_loading_option_of_the_core_is_a_keyword():
    own = {"token", "media_policy"}
    options = dict.fromkeys(sorted(list_option_names(ShareOptions) - own))
    options |= {"dtype": "auto", "model_hub": "huggingface", "image_reading": "viewer"}
    assert Qwen3VLEmbeddings(model="pocket", **options).loading_options == options
    assert {"token", "media_policy"} <= Qwen3VLEmbeddings.model_fields.keys()
    assert not (list_option_names(ShareOptions) - own) & Qwen3VLEmbeddings.model_fields.keys()


def test_a_pickled_plain_embedder_comes_back_without_torch(tmp_path):
    path = tmp_path / "embeddings.pickle"
    path.write_bytes(pickle.dumps(Qwen3VLEmbeddings(model=FakeEmbedder())))
    code = (
        "import copy, pickle, sys; from pathlib import Path; "
        f"embeddings = copy.deepcopy(pickle.loads(Path({str(path)!r}).read_bytes())); "
        "assert len(embeddings.embed_query('a')) == 64; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code


def test_a_policy_and_limits_reach_the_model(images, tmp_path):
    embeddings = Qwen3VLEmbeddings(model="pocket", media_policy=MediaPolicy(allow_dirs=(tmp_path,)))
    with pytest.raises(MediaError, match="outside the allowed folders"):
        embeddings.embed_image(str(images / "picture-0.png"))


def test_a_ready_embedder_is_used_as_it_is(embeddings):
    given = Qwen3VLEmbeddings(model=embeddings.embedder, dimensions=32)
    assert given.embedder is embeddings.embedder
    assert given.model_name == embeddings.fingerprint.model
    assert embeddings.model_name == "pocket"
    assert len(given.embed_query("a")) == 32


def test_any_object_that_embeds_is_taken():
    plain = PlainEmbedder()
    embeddings = Qwen3VLEmbeddings(model=plain)
    assert embeddings.embed_query("a") == [1.0, 0.0]
    assert embeddings.embed_documents(["a", {"type": "text", "text": "b"}]) == [[0.0, 1.0], [0.0, 1.0]]
    assert embeddings.fingerprint == plain.fingerprint
    assert asyncio.run(embeddings.aembed_query("a")) == [1.0, 0.0]
    assert asyncio.run(embeddings.aembed_documents(["a"])) == [[0.0, 1.0]]
    assert [kind for kind, _, _ in plain.calls] == ["query", "document", "query", "document"]
    assert plain.calls[0][2] == threading.get_ident() != plain.calls[2][2]


MISTAKES = {
    "a misspelt option": ({"model": "pocket", "dimension": 32}, "dimension\n.*Extra inputs are not permitted"),
    "no model": ({"model": 7}, "got int; an embedder is an object with .* give one, a name, or a folder"),
    "not an embedder": ({"model": object()}, "got object; an embedder is an object with embed_queries"),
    "loading what is loaded": ({"model": PlainEmbedder(), "device": "cpu"}, "device was given beside a ready"),
    "an option given twice": (
        {"model": "pocket", "device": "cpu", "loading_options": {"device": "cpu"}},
        "device was given, and stands in loading_options, too",
    ),
    "a misspelt loading option": ({"model": "pocket", "loading_options": {"devise": "cpu"}}, "devise"),
    "a loading option of another type": ({"model": "pocket", "max_length": "many"}, "max_length"),
    "options it does not take": ({"model": PlainEmbedder(), "dimensions": 2}, "takes no options with its calls"),
}


@pytest.mark.parametrize(("options", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistaken_option_fails_by_name(options, message):
    with pytest.raises(ValidationError, match=message):
        Qwen3VLEmbeddings(**options)


def test_a_token_of_the_environment_does_not_count_as_given(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    embeddings = Qwen3VLEmbeddings(model=PlainEmbedder())
    assert embeddings.token is not None
    assert "hf_secret" not in repr(embeddings)


def test_a_bad_document_is_named_by_its_position(embeddings):
    for embed in (embeddings.embed_documents, lambda items: asyncio.run(embeddings.aembed_documents(items))):
        with pytest.raises(MediaError, match=r"^item 1: no such file"):
            embed(["a", {"image": "gone.png"}])
        with pytest.raises(InputError, match=r"^item 2: .*audio"):
            embed(["a", "b", {"type": "audio", "base64": ""}])
    with pytest.raises(MediaError, match=r"^item 1: no such file"):
        embeddings.embed_image(uris=[Image.new("RGB", (32, 32)), "gone.png"])


def test_a_bad_query_is_called_the_query(embeddings):
    for embed in (embeddings.embed_query, lambda item: asyncio.run(embeddings.aembed_query(item))):
        with pytest.raises(MediaError, match=r"^query: no such file"):
            embed({"image": "gone.png"})
        with pytest.raises(InputError, match=r"^query: got int 7"):
            embed(7)
    with pytest.raises(MediaError, match=r"^no such file"):
        embeddings.embed_image("gone.png")


def test_a_metadatum_of_the_caller_names_the_image(images):
    embeddings = Qwen3VLEmbeddings(model="pocket", media_key="scan")
    path = str(images / "picture-0.png")
    [vector] = embeddings.embed_documents([Document("", metadata={"scan": path})])
    assert_close(vector, embeddings.embed_image(path))


def test_a_cache_keeps_the_vectors_of_texts(embeddings):
    class Counting(Embeddings):
        calls = 0

        def embed_documents(self, texts):
            self.calls += 1
            return embeddings.embed_documents(texts)

        def embed_query(self, text):
            return embeddings.embed_query(text)

    counting = Counting()
    cached = CacheBackedEmbeddings.from_bytes_store(
        counting, InMemoryByteStore(), namespace="pocket", key_encoder="sha256"
    )
    first = cached.embed_documents(["a", "b"])
    assert cached.embed_documents(["a", "b"]) == first == embeddings.embed_documents(["a", "b"])
    assert counting.calls == 1


def test_the_cache_of_langchain_takes_texts_alone(embeddings, images):
    """What is documented: it hashes texts, and anything else fails before it reaches the model."""
    cached = CacheBackedEmbeddings.from_bytes_store(
        embeddings, InMemoryByteStore(), namespace="pocket", key_encoder="sha256"
    )
    item = {"image": str(images / "picture-0.png")}
    with pytest.raises((AttributeError, TypeError), match="encode"):
        cached.embed_documents([item])
    # Queries pass by the cache, unless it is asked to keep them.
    assert cached.embed_query(item) == embeddings.embed_query(item)
