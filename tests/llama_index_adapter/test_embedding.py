"""Embedding: queries, texts, images, videos and mixtures, as LlamaIndex asks for them."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import pickle
import random
import threading
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from llama_index.core import Settings
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.embeddings.utils import resolve_embed_model
from llama_index.core.rate_limiter import BaseRateLimiter
from llama_index.core.schema import ImageNode, QueryBundle, TextNode
from PIL import Image

from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle, Qwen3VLEmbedding
from llama_index_adapter.plain_models import PlainEmbedder
from qwen3_vl_pocket.world.facts import draw_facts
from qwen3_vl_pocket.world.sentences import ask
from qwen3_vl_retrieval import (
    FingerprintMismatchError,
    InputError,
    MediaError,
    MediaPolicy,
    MediaPolicyError,
    PixelBudget,
)
from rounding import bound


def open_picture(path):
    with Image.open(path) as picture:
        return picture.copy()


def assert_close(left, right):
    np.testing.assert_allclose(left, right, atol=bound(1e-5))


@pytest.fixture(scope="module")
def core(embedding):
    return embedding.embedder


@pytest.fixture(scope="module")
def picture(pictures):
    return pictures / "picture-0.png"


def test_it_is_a_multimodal_embedding_of_llama_index():
    names = [base.__name__ for base in Qwen3VLEmbedding.__mro__]
    assert BaseEmbedding.__name__ in names
    assert MultiModalEmbedding.__name__ in names
    assert Qwen3VLEmbedding.class_name() == "Qwen3VLEmbedding"


def test_queries_and_texts_have_the_vectors_of_the_core_as_python_floats(embedding, core):
    texts = ["a red ball", "an invoice", "a red ball on a table"]
    vectors = embedding.get_text_embedding_batch(texts)
    assert {type(number) for vector in vectors for number in vector} == {float}
    assert_close(vectors, core.embed_documents(texts))
    assert_close(embedding.get_text_embedding(texts[1]), vectors[1])
    assert_close(embedding.get_query_embedding(texts[0]), core.embed_queries(texts[:1])[0])
    assert not np.allclose(embedding.get_query_embedding(texts[0]), vectors[0], atol=1e-3)
    assert_close(np.linalg.norm(vectors, axis=1), [1, 1, 1])
    mean = embedding.get_agg_embedding_from_queries(texts)
    assert_close(mean, core.embed_queries(texts).mean(axis=0))
    assert embedding.get_text_embedding_batch([]) == []


def test_hooks_of_llama_index_give_the_same(embedding, core, picture):
    texts, images = ["a red ball", "an invoice"], [str(picture), BytesIO(picture.read_bytes())]
    documents, [query] = core.embed_documents(texts), core.embed_queries(texts[:1])
    pictured = core.embed_documents([{"image": picture}] * 2)
    assert_close(embedding._get_query_embedding(texts[0]), query)
    assert_close(embedding._get_text_embedding(texts[0]), documents[0])
    assert_close(embedding._get_text_embeddings(texts), documents)
    assert_close(embedding._get_image_embedding(images[0]), pictured[0])
    assert_close(embedding._get_image_embeddings(images), pictured)

    async def ask_all():
        return [
            await embedding._aget_query_embedding(texts[0]),
            await embedding._aget_text_embedding(texts[0]),
            (await embedding._aget_text_embeddings(texts))[1],
            await embedding._aget_image_embedding(images[0]),
            (await embedding._aget_image_embeddings(images))[1],
        ]

    assert_close(asyncio.run(ask_all()), [query, *documents, *pictured])


def test_a_text_that_looks_like_a_path_or_url_stays_text(embedding, core, picture):
    encoded = base64.b64encode(picture.read_bytes()).decode()
    texts = [str(picture), "red.png", "https://example.org/a.jpg", f"data:image/png;base64,{encoded[:200]}"]
    vectors = embedding.get_text_embedding_batch(texts)
    assert_close(vectors, core.embed_documents(texts))
    assert not np.allclose(vectors[0], embedding.get_image_embedding(texts[0]), atol=1e-3)
    assert_close(embedding.get_query_embedding(texts[0]), core.embed_queries(texts[:1])[0])


def test_every_form_of_an_image_has_one_vector(embedding, core, picture):
    content = picture.read_bytes()
    stream = BytesIO(content)
    stream.read(7)
    forms = [
        str(picture),
        picture,
        picture.as_uri(),
        f"data:image/png;base64,{base64.b64encode(content).decode()}",
        content,
        stream,
        open_picture(picture),
        np.asarray(open_picture(picture).convert("RGB")),
    ]
    [expected] = core.embed_documents([{"image": picture}])
    for vector in embedding.get_image_embedding_batch(forms):
        assert_close(vector, expected)
    assert_close(embedding.get_image_embedding(stream), expected)
    assert_close(asyncio.run(embedding.aget_image_embedding(stream)), expected)
    assert stream.tell() == 7


def test_urls_and_folders_are_opened_as_the_policy_says(embedding, picture, tmp_path):
    with pytest.raises(MediaPolicyError, match=r"^(?!item 0).*allow_urls"):
        embedding.get_image_embedding("https://example.org/a.png")
    strict = Qwen3VLEmbedding("pocket", media_policy=MediaPolicy(allow_dirs=(tmp_path,)))
    with pytest.raises(MediaPolicyError):
        strict.get_image_embedding(picture)
    with pytest.raises(MediaPolicyError):
        strict.get_query_bundle_embedding(QueryBundle("", image_path=str(picture)))


def test_videos_and_mixtures_have_the_vectors_of_the_core(embedding, core, picture, pictures):
    clip, frames = pictures / "clip.mp4", [open_picture(pictures / f"picture-{number}.png") for number in (0, 1)]
    expected = core.embed_documents([{"video": clip}, {"video": frames}])
    assert_close(embedding.get_video_embeddings([str(clip), frames]), expected)
    assert_close(embedding.get_video_embedding(BytesIO(clip.read_bytes())), expected[0])
    mixture = {"text": "two of these", "image": str(picture), "instruction": "Find drawings"}
    [mixed] = core.embed_documents([mixture])
    assert_close(embedding.get_multimodal_embedding(**mixture), mixed)
    assert not np.allclose(mixed, embedding.get_multimodal_embedding(text="two of these", image=picture), atol=1e-3)
    several = [mixture | {"video": None}, {"image": [BytesIO(picture.read_bytes()), frames[1]]}, "a text"]
    batch = core.embed_documents([mixture, {"image": [picture, frames[1]]}, "a text"])
    assert_close(embedding.get_multimodal_embedding_batch(several), batch)
    with pytest.raises(InputError, match="empty item"):
        embedding.get_multimodal_embedding()


def test_a_query_may_be_anything(embedding, core, picture, pictures):
    clip = pictures / "clip.mp4"
    queries = {
        "text": ("red", "red"),
        "picture": (QueryBundle("", image_path=str(picture)), {"image": picture}),
        "both": (QueryBundle("red", image_path=str(picture)), {"image": picture, "text": "red"}),
        "clip": (MultiModalQueryBundle("red", videos=[clip]), {"video": clip, "text": "red"}),
        "asked": (
            MultiModalQueryBundle("red", images=[picture], instruction="Find colours"),
            {"image": picture, "text": "red", "instruction": "Find colours"},
        ),
        "node": (ImageNode(image_path=str(picture)), {"image": picture}),
    }
    expected = core.embed_queries([item for _, item in queries.values()])
    found = [embedding.get_query_bundle_embedding(query) for query, _ in queries.values()]
    assert_close(found, expected)

    async def ask_all():
        return await asyncio.gather(*(embedding.aget_query_bundle_embedding(query) for query, _ in queries.values()))

    assert_close(asyncio.run(ask_all()), expected)
    assert queries["both"][0].embedding is None


def test_an_empty_query_is_an_error_and_not_a_vector(embedding):
    for query in ("", QueryBundle(""), MultiModalQueryBundle(" ")):
        with pytest.raises(InputError, match=r"^query: the query is empty"):
            embedding.get_query_bundle_embedding(query)
        with pytest.raises(InputError, match=r"^query: the query is empty"):
            asyncio.run(embedding.aget_query_bundle_embedding(query))
    with pytest.raises(MediaError, match=r"^query: .*gone.png"):
        embedding.get_query_bundle_embedding(QueryBundle("", image_path="gone.png"))


def test_a_query_with_a_vector_has_that_and_several_texts_have_their_mean(embedding, core, picture):
    known = [0.0, 1.0]
    assert embedding.get_query_bundle_embedding(QueryBundle("red", embedding=known)) is known
    assert asyncio.run(embedding.aget_query_bundle_embedding(QueryBundle("red", embedding=known))) is known
    bundle = QueryBundle("red", image_path=str(picture), custom_embedding_strs=["a red ball", "red"])
    mean = core.embed_queries([{"image": picture, "text": text} for text in bundle.custom_embedding_strs]).mean(axis=0)
    assert_close(embedding.get_query_bundle_embedding(bundle), mean / np.linalg.norm(mean))
    assert_close(asyncio.run(embedding.aget_query_bundle_embedding(bundle)), mean / np.linalg.norm(mean))


def test_awaited_methods_give_the_same(embedding, picture, pictures):
    clip = pictures / "clip.mp4"
    mixture = {"text": "red", "image": picture}

    async def ask_all():
        return [
            [await embedding.aget_query_embedding("red")],
            [await embedding.aget_text_embedding("red")],
            await embedding.aget_text_embedding_batch(["red", "blue"]),
            await embedding.aget_image_embedding_batch([picture, str(picture)]),
            [await embedding.aget_video_embedding(clip)],
            await embedding.aget_video_embeddings([clip]),
            [await embedding.aget_multimodal_embedding(**mixture)],
            await embedding.aget_multimodal_embedding_batch([mixture, "red"]),
            await embedding.aget_node_embeddings([ImageNode(image_path=str(picture)), TextNode(text="red")]),
        ]

    waited = [
        [embedding.get_query_embedding("red")],
        [embedding.get_text_embedding("red")],
        embedding.get_text_embedding_batch(["red", "blue"]),
        embedding.get_image_embedding_batch([picture, str(picture)]),
        [embedding.get_video_embedding(clip)],
        embedding.get_video_embeddings([clip]),
        [embedding.get_multimodal_embedding(**mixture)],
        embedding.get_multimodal_embedding_batch([mixture, "red"]),
        embedding.get_node_embeddings([ImageNode(image_path=str(picture)), TextNode(text="red")]),
    ]
    for left, right in zip(asyncio.run(ask_all()), waited, strict=True):
        assert_close(left, right)


def test_batches_keep_the_order_and_errors_the_position(embedding, core, picture):
    small = embedding.model_copy(update={"embed_batch_size": 2})
    texts = [f"number {number}" for number in range(5)]
    assert_close(small.get_text_embedding_batch(texts, show_progress=True), core.embed_documents(texts))
    assert_close(asyncio.run(small.aget_text_embedding_batch(texts, show_progress=True)), core.embed_documents(texts))
    images = [picture, picture, picture, "gone.png"]
    with pytest.raises(MediaError, match=r"^item 3: .*gone.png"):
        small.get_image_embedding_batch(images)
    with pytest.raises(MediaError, match=r"^item 3: .*gone.png"):
        asyncio.run(small.aget_image_embedding_batch(images))
    nodes = [TextNode(text="fine"), TextNode(text="fine"), TextNode(text="")]
    with pytest.raises(InputError, match=r"^node 2: the TextNode"):
        small.get_node_embeddings(nodes)
    with pytest.raises(InputError, match=r"^got ImageNode where only text is taken; .* get_node_embeddings"):
        embedding.get_text_embedding(ImageNode())
    with pytest.raises(InputError, match=r"^image is None"):
        embedding.get_image_embedding(None)


def test_workers_are_batches_that_are_awaited_at_once(embedding):
    running, most = 0, []

    class Watched(Qwen3VLEmbedding):
        async def _acompute(self, items, role):
            nonlocal running
            running += 1
            most.append(running)
            await asyncio.sleep(0.01)
            running -= 1
            return [[1.0]] * len(items)

    for workers, expected in ((None, 2), (1, 1), (3, 3)):
        most.clear()
        watched = Watched("pocket", embed_batch_size=1, num_workers=workers)
        assert len(asyncio.run(watched.aget_text_embedding_batch(["x"] * 6))) == 6
        assert max(most) == expected


def test_dimensions_and_instructions_are_those_of_the_options(core, picture):
    embedding = Qwen3VLEmbedding("pocket", dimensions=64, query_instruction="Ask", text_instruction="Keep")
    assert embedding.embedder is core
    assert_close(embedding.get_query_embedding("red"), core.embed_queries(["red"], dimensions=64, instruction="Ask")[0])
    expected = core.embed_documents(["red", {"image": picture}], dimensions=64, instruction="Keep")
    assert_close(embedding.get_text_embedding("red"), expected[0])
    assert_close(asyncio.run(embedding.aget_image_embedding(picture)), expected[1])
    assert embedding.fingerprint == core.compute_fingerprint(dimensions=64, instruction="Keep")


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="querry_instruction"):
        Qwen3VLEmbedding("pocket", querry_instruction="x")
    with pytest.raises(ValueError, match="embed_batch_size"):
        Qwen3VLEmbedding("pocket", embed_batch_size=0)
    with pytest.raises(ValueError, match="caption_mode"):
        Qwen3VLEmbedding("pocket", caption_mode="both")
    with pytest.raises(ValueError, match=r"device was given beside a ready PlainEmbedder"):
        Qwen3VLEmbedding(embedder=PlainEmbedder(), device="cpu")
    with pytest.raises(ValueError, match=r"model_name='pocket' was given beside a ready object of 'plain'"):
        Qwen3VLEmbedding("pocket", embedder=PlainEmbedder())
    with pytest.raises(ValueError, match=r"got str; an embedder is an object with"):
        Qwen3VLEmbedding(embedder="pocket")


def test_a_ready_object_is_used_as_it_is(core, picture):
    ready = Qwen3VLEmbedding(embedder=core)
    assert ready.embedder is core
    assert ready.model_name == core.fingerprint.model
    assert_close(ready.get_text_embedding("red"), core.embed_documents(["red"])[0])
    plain = PlainEmbedder()
    embedding = Qwen3VLEmbedding(embedder=plain)
    assert (embedding.get_query_embedding("a"), embedding.get_image_embedding(picture)) == ([1.0, 0.0], [0.0, 1.0])
    assert asyncio.run(embedding.aget_query_embedding("b")) == [1.0, 0.0]
    assert embedding.fingerprint == plain.fingerprint
    assert plain.calls == [("query", ["a"]), ("document", [{"image": picture}]), ("query", ["b"])]


def test_options_of_calls_are_refused_where_calls_take_none():
    for options in ({"dimensions": 64}, {"query_instruction": "x"}, {"text_instruction": "x"}):
        with pytest.raises(ValueError, match=r"was given, and PlainEmbedder takes no options with its calls"):
            Qwen3VLEmbedding(embedder=PlainEmbedder(), **options)


def test_it_survives_dicts_and_json_without_secrets(tmp_path):
    embedding = Qwen3VLEmbedding(
        "pocket",
        token="hf_secret",  # noqa: S106 - of nobody
        dimensions=64,
        query_instruction="Ask",
        caption_mode="image_only",
        media_policy=MediaPolicy(allow_dirs=(tmp_path,), allow_hosts=("example.org",)),
        pixel_budget=PixelBudget(max_pixels=64 * 1024),
    )
    values = embedding.to_dict()
    assert "hf_secret" not in repr(embedding)
    assert "hf_secret" not in json.dumps(values) + embedding.to_json() + repr(embedding.to_payload())
    assert values["class_name"] == "Qwen3VLEmbedding"
    for made in (Qwen3VLEmbedding.from_dict(values), Qwen3VLEmbedding.from_json(embedding.to_json())):
        assert made.to_dict() == values
        assert (made.token, made.loading_options) == (None, embedding.loading_options)
        assert made.media_policy == MediaPolicy(allow_dirs=(str(tmp_path),), allow_hosts=("example.org",))


def test_what_changes_vectors_changes_the_dict():
    base = str(Qwen3VLEmbedding("pocket").to_dict())
    changes = [
        {"revision": "main"},
        {"dimensions": 64},
        {"query_instruction": "x"},
        {"text_instruction": "x"},
        {"caption_mode": "image_only"},
        {"pixel_budget": PixelBudget(max_pixels=64 * 1024)},
        {"max_length": 512},
        {"quantization": "torchao-int8"},
    ]
    assert len({base, *(str(Qwen3VLEmbedding("pocket", **change).to_dict()) for change in changes)}) == 9


def test_a_ready_object_is_named_by_its_fingerprint_and_asked_for_again():
    values = Qwen3VLEmbedding(embedder=PlainEmbedder()).to_dict()
    assert values["fingerprint"] == PlainEmbedder().fingerprint.to_dict()
    assert values != Qwen3VLEmbedding(embedder=PlainEmbedder("2")).to_dict()
    assert Qwen3VLEmbedding.from_dict(values, embedder=PlainEmbedder()).to_dict() == values
    with pytest.raises(ValueError, match=r"made of a ready 'plain', .*: from_dict\(data, embedder=…\)"):
        Qwen3VLEmbedding.from_dict(values)
    with pytest.raises(FingerprintMismatchError, match="revision: stored '1', now '2'"):
        Qwen3VLEmbedding.from_dict(values, embedder=PlainEmbedder("2"))


def test_pickles_hold_neither_weights_nor_secrets(embedding, core):
    embedding.get_text_embedding("red")
    content = pickle.dumps(embedding)
    assert len(content) < 20_000
    assert b"hf_secret" not in pickle.dumps(Qwen3VLEmbedding("pocket", token="hf_secret"))  # noqa: S106 - as above
    opened = pickle.loads(content)  # noqa: S301 - written above
    assert opened.to_dict() == embedding.to_dict()
    assert opened.embedder is core
    assert embedding.embedder is core
    sent = pickle.loads(pickle.dumps(Qwen3VLEmbedding(embedder=PlainEmbedder("7"))))  # noqa: S301 - as above
    assert sent.fingerprint.revision == "7"


def test_copies_share_the_weights(embedding, core):
    embedding.get_text_embedding("red")
    assert copy.deepcopy(embedding).embedder is core
    assert copy.deepcopy(Qwen3VLEmbedding(embedder=core)).embedder is core
    assert embedding.model_copy(update={"dimensions": 64}).embedder is core


def test_settings_and_resolving_take_it(embedding, monkeypatch):
    assert resolve_embed_model(embedding) is embedding
    monkeypatch.setattr(Settings, "_embed_model", None)
    Settings.embed_model = embedding
    assert Settings.embed_model is embedding


class CountingLimiter(BaseRateLimiter):
    def __init__(self):
        self.acquired = 0

    def acquire(self):
        self.acquired += 1

    async def async_acquire(self):
        self.acquired += 1


def test_a_rate_limiter_is_asked_before_each_batch(picture):
    limiter = CountingLimiter()
    embedding = Qwen3VLEmbedding(embedder=PlainEmbedder(), embed_batch_size=2, rate_limiter=limiter)
    embedding.get_image_embedding_batch([picture] * 3)
    asyncio.run(embedding.aget_text_embedding_batch(["red"] * 3))
    assert limiter.acquired == 4


def test_a_hundred_concurrent_queries_share_forward_passes(embedding, core):
    rng = random.Random(11)
    crowd = [ask(draw_facts("pair", rng, split="test"), "en", rng) for _ in range(100)]

    async def ask_all():
        return await asyncio.gather(*(embedding.aget_query_embedding(question) for question in crowd))

    expected = core.embed_queries(crowd)
    passes = []
    handle = core.model.language_model.embed_tokens.register_forward_pre_hook(lambda *_: passes.append(1))
    try:
        vectors = asyncio.run(ask_all())
    finally:
        handle.remove()
    assert_close(vectors, expected)
    assert 0 < len(passes) < 25


def test_the_loop_is_free_while_vectors_are_computed(embedding, pictures):
    """A model is loaded, and images are read, in other threads."""
    threads = set()

    class Watched(Qwen3VLEmbedding):
        def _build(self, work, first):
            threads.add(threading.get_ident())
            return super()._build(work, first)

    asyncio.run(Watched("pocket").aget_image_embedding(pictures / "picture-1.png"))
    assert threads
    assert threading.get_ident() not in threads


def test_a_folder_may_name_the_model(tmp_path):
    assert Qwen3VLEmbedding(tmp_path).model_name == str(tmp_path)
    assert Qwen3VLEmbedding(model_name=Path("somewhere")).model_name == "somewhere"
    assert Qwen3VLEmbedding().model_name == "Qwen/Qwen3-VL-Embedding-2B"
