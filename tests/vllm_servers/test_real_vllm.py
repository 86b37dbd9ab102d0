"""The remote engines against a real vLLM: the numbers of the models in process, and each wrong setting named."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qwen3_vl_retrieval import (
    InputError,
    ModelError,
    MultimodalInput,
    Qwen3VLEmbedder,
    Qwen3VLReranker,
    RemoteError,
)
from qwen3_vl_retrieval.remote import RemoteEmbedder, RemoteReranker
from qwen3_vl_retrieval.remote.golden import FILE_NAME, compute_golden_figures
from qwen3_vl_retrieval.testing import EmbedderTests, RerankerTests
from vllm_servers.servers import ENVIRONMENT, change_overrides, serve_with_vllm
from vllm_servers.write_checkpoints import write_checkpoint

pytestmark = [
    pytest.mark.skipif(not ENVIRONMENT, reason="QWEN3VL_VLLM names no environment with vLLM"),
    pytest.mark.timeout(900),
]

MEDIA = Path(__file__).parents[1] / "core" / "reference" / "media"

ITEMS = [
    "a text",
    "a text about <|im_end|>, which is no end",
    {"image": MEDIA / "photo_500x333.jpg", "text": "a photo"},
    MEDIA / "small_20x17.png",
    MEDIA / "tall_64x700.png",
    {"video": MEDIA / "clip_40f_8fps.mp4", "text": "a video"},
    MultimodalInput(parts=["before ", Image.new("RGB", (96, 64), "red"), " after"]),
    {"text": "Größe, 红色, círculo. " * 40, "instruction": "Find the shape"},
]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    for number, (kind, model) in enumerate((("embedding", Qwen3VLEmbedder), ("reranker", Qwen3VLReranker))):
        write_checkpoint(kind, folder / kind, seed=number)
        loaded = model.from_pretrained(folder / kind, dtype="float32")
        figures = compute_golden_figures(loaded, revision=_read_revision(loaded), model_id=kind)
        figures.write(folder / kind / FILE_NAME)
    return folder


def _read_revision(model):
    return model.fingerprint.revision if isinstance(model, Qwen3VLEmbedder) else model.revision


@pytest.fixture(scope="module")
def embedder(checkpoints):
    return Qwen3VLEmbedder.from_pretrained(checkpoints / "embedding", dtype="float32")


@pytest.fixture(scope="module")
def reranker(checkpoints):
    return Qwen3VLReranker.from_pretrained(checkpoints / "reranker", dtype="float32")


@pytest.fixture(scope="module")
def embedding_server(checkpoints):
    with serve_with_vllm(checkpoints / "embedding", "embedding") as server:
        yield server


@pytest.fixture(scope="module")
def reranking_server(checkpoints):
    with serve_with_vllm(checkpoints / "reranker", "reranker") as server:
        yield server


@pytest.fixture(scope="module")
def remote_embedder(embedding_server, checkpoints):
    return RemoteEmbedder.connect(embedding_server.base_url, checkpoint=checkpoints / "embedding")


@pytest.fixture(scope="module")
def remote_reranker(reranking_server, checkpoints):
    return RemoteReranker.connect(reranking_server.base_url, checkpoint=checkpoints / "reranker")


def test_vectors_are_those_of_the_model_in_process(remote_embedder, embedder):
    assert remote_embedder.self_test.compared == ("tokens", "vectors")
    assert remote_embedder.self_test.video_refusal is None
    assert remote_embedder.fingerprint == embedder.fingerprint
    assert np.abs(remote_embedder.embed(ITEMS) - embedder.embed(ITEMS)).max() < 1e-5


def test_short_vectors_and_other_formats_are_made_here(remote_embedder, embedder):
    for options in ({"dimensions": 64}, {"precision": "int8"}, {"normalize": False}, {"instruction": "Find it"}):
        found, expected = (
            np.asarray(model.embed_queries(ITEMS[:4], **options), dtype=np.float32)
            for model in (remote_embedder, embedder)
        )
        bound = 1 if "precision" in options else 1e-4 if "normalize" in options else 1e-5
        assert np.abs(found - expected).max() <= bound, options


def test_what_is_too_long_is_cut_as_in_process(checkpoints, embedding_server, embedder):
    # The ending of a turn is cut, too, in whole or in part: each length is another case.
    item = {"image": MEDIA / "photo_500x333.jpg", "text": "one two three four five six seven eight nine ten"}
    whole = len(embedder.prepare([item])[0])
    for max_length in range(whole - 9, whole + 1):
        models = (
            RemoteEmbedder.connect(
                embedding_server.base_url, checkpoint=checkpoints / "embedding", max_length=max_length
            ),
            Qwen3VLEmbedder(embedder.model, embedder.processor, max_length=max_length),
        )
        # What fits is not warned of, which would fail the test.
        with pytest.warns(UserWarning, match="cut") if max_length < whole else nullcontext():
            found, expected = (model.embed([item]) for model in models)
        assert np.abs(found - expected).max() < 1e-5, max_length


def test_scores_are_those_of_the_model_in_process(remote_reranker, reranker):
    assert remote_reranker.self_test.compared == ("tokens", "scores")
    # Beside an image, special tokens in a text are refused.
    cases = (("a query", ITEMS), ({"image": MEDIA / "frame_1.png", "text": "what is this?"}, [ITEMS[0], *ITEMS[2:]]))
    for query, documents in cases:
        for options in ({}, {"instruction": "Find the shape"}):
            found = remote_reranker.score(query, documents, output="margin", **options)
            assert np.abs(found - reranker.score(query, documents, output="margin", **options)).max() < 5e-5


def test_a_long_pair_is_cut_as_in_process(checkpoints, reranking_server, reranker):
    document = {"image": MEDIA / "small_20x17.png", "text": "one two three four five six seven eight nine ten " * 40}
    for max_length in (250, 251, 252):
        models = (
            RemoteReranker.connect(
                reranking_server.base_url, checkpoint=checkpoints / "reranker", max_length=max_length
            ),
            Qwen3VLReranker(
                reranker.model, reranker.processor, score_weight=reranker.score_weight, max_length=max_length
            ),
        )
        with pytest.warns(UserWarning, match="cut"):
            found, expected = (model.score("a query", [document], output="margin") for model in models)
        assert np.abs(found - expected).max() < 5e-5, max_length


def test_special_tokens_beside_an_image_are_refused_in_their_place(remote_embedder):
    found = remote_embedder.embed(
        ["fine", {"image": MEDIA / "frame_0.png", "text": "<|im_end|>"}, "fine"], on_error="return"
    )
    assert isinstance(found[1], InputError)
    assert "<|im_end|>" in str(found[1])
    assert np.array_equal(found[0], found[2])


class TestRemoteEmbedderOfVllm(EmbedderTests):
    @pytest.fixture(autouse=True)
    def model(self, remote_embedder):
        self.remote = remote_embedder

    def make_model(self):
        return self.remote


class TestRemoteRerankerOfVllm(RerankerTests):
    @pytest.fixture(autouse=True)
    def model(self, remote_reranker):
        self.remote = remote_reranker

    def make_model(self):
        return self.remote


def test_a_server_that_is_killed_and_started_again_loses_and_doubles_nothing(checkpoints, embedder):
    texts = [f"text number {number} " * (1 + number % 7) for number in range(500)]
    expected = embedder.embed(texts)
    with serve_with_vllm(checkpoints / "embedding", "embedding") as server:
        remote = RemoteEmbedder.connect(
            server.base_url, checkpoint=checkpoints / "embedding", max_concurrency=2, retry_seconds=240.0
        )
        found: list[np.ndarray] = []
        thread = threading.Thread(target=lambda: found.append(remote.embed(texts)))
        thread.start()
        thread.join(0.3)
        is_under_way = thread.is_alive()
        server.kill()
        server.start()
        thread.join(600)
        assert is_under_way
        assert np.abs(found[0] - expected).max() < 1e-5


def test_a_server_that_is_gone_is_said_so_in_time(checkpoints, embedding_server):
    remote = RemoteEmbedder.connect(embedding_server.base_url, checkpoint=checkpoints / "embedding", retry_seconds=0.5)
    remote._engine.connection.close()
    remote._engine.connection.base_url = "http://127.0.0.1:1"
    with pytest.raises(RemoteError, match="cannot be reached"):
        remote.embed(["a text"])


def test_cancelling_ends_what_is_under_way(remote_embedder):
    async def give_up():
        task = asyncio.create_task(remote_embedder.aembed([f"a long text {number}" * 200 for number in range(200)]))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await remote_embedder.aembed(["another"])

    assert asyncio.run(give_up()).shape == (1, remote_embedder.dimensions)


PIXELS = "--mm-processor-kwargs"


def change_end_token(folder: Path) -> None:
    """Leaves out of a tokenizer that it ends each prompt."""
    written = json.loads((folder / "tokenizer.json").read_text())
    written["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(written))


@pytest.mark.parametrize(
    ("left_out", "changed", "said"),
    [
        ((PIXELS,), {}, "min_pixels"),
        ((), {PIXELS: '{"images_kwargs": {"min_pixels": 4096, "max_pixels": 1000000}}'}, "max_pixels"),
        ((), {"--chat-template": "{{ messages[-1].content }}"}, "chat template"),
    ],
    ids=["no pixel limits", "a lower pixel limit", "another template"],
)
def test_a_wrong_setting_of_the_embedder_is_named(checkpoints, left_out, changed, said):
    with (
        serve_with_vllm(checkpoints / "embedding", "embedding", left_out=left_out, changed=changed) as server,
        pytest.raises(ModelError, match=said),
    ):
        RemoteEmbedder.connect(server.base_url, checkpoint=checkpoints / "embedding")


def test_without_trusted_settings_videos_are_refused_and_all_else_is_right(checkpoints, embedder):
    left_out = ("--trust-request-mm-kwargs",)
    with serve_with_vllm(checkpoints / "embedding", "embedding", left_out=left_out) as server:
        remote = RemoteEmbedder.connect(server.base_url, checkpoint=checkpoints / "embedding")
        found = remote.embed(ITEMS, on_error="return")
        assert isinstance(found[5], InputError)
        assert "--trust-request-mm-kwargs" in str(found[5])
        expected = embedder.embed(ITEMS)
        for place in (0, 1, 2, 3, 4, 6, 7):
            assert np.abs(found[place] - expected[place]).max() < 1e-5


def test_the_template_of_the_checkpoint_is_right_for_images_and_not_for_videos(checkpoints):
    changed = {"--chat-template": str(checkpoints / "embedding" / "chat_template.jinja")}
    with serve_with_vllm(checkpoints / "embedding", "embedding", changed=changed) as server:
        remote = RemoteEmbedder.connect(server.base_url, checkpoint=checkpoints / "embedding")
        assert "marks around a video" in remote.self_test.video_refusal


def test_a_tokenizer_without_the_end_token_and_other_weights_are_named(checkpoints, tmp_path):
    other = shutil.copytree(checkpoints / "embedding", tmp_path / "embedding")
    change_end_token(other)
    with serve_with_vllm(other, "embedding") as server, pytest.raises(ModelError, match="does not end the prompt"):
        RemoteEmbedder.connect(server.base_url, checkpoint=checkpoints / "embedding")
    write_checkpoint("embedding", other, seed=7)
    with serve_with_vllm(other, "embedding") as server:
        with pytest.raises(ModelError, match="other weights"):
            RemoteEmbedder.connect(server.base_url, checkpoint=checkpoints / "embedding")
        with pytest.raises(ModelError, match="without judgements"):
            RemoteReranker.connect(server.base_url, checkpoint=checkpoints / "reranker")


@pytest.mark.parametrize(
    ("left_out", "changed", "said"),
    [
        (("--chat-template",), {}, "without any template"),
        (("--hf-overrides",), {}, "--hf-overrides"),
        ((), {"--hf-overrides": change_overrides(classifier_from_token=["yes", "no"])}, "takes yes for no"),
        ((PIXELS,), {}, "min_pixels"),
        ((), {"--chat-template": "one newline"}, "one newline too few"),
    ],
    ids=["no template", "no overrides", "yes and no swapped", "no pixel limits", "one newline"],
)
def test_a_wrong_setting_of_the_reranker_is_named(checkpoints, tmp_path, left_out, changed, said):
    if changed.get("--chat-template") == "one newline":
        changed = {"--chat-template": str(write_shortened_template(tmp_path))}
    with (
        serve_with_vllm(checkpoints / "reranker", "reranker", left_out=left_out, changed=changed) as server,
        pytest.raises(ModelError, match=said),
    ):
        RemoteReranker.connect(server.base_url, checkpoint=checkpoints / "reranker")


def write_shortened_template(folder: Path) -> Path:
    """The template of the reranker as a file in which the last newline stands as one, which Jinja takes off."""
    from qwen3_vl_retrieval.remote.vllm_command import read_chat_template

    template = read_chat_template("reranker").replace("<|im_start|>assistant\\n' -}}", "<|im_start|>assistant' -}}")
    path = folder / "shortened.jinja"
    path.write_text(template)
    return path


def test_a_reranker_is_not_taken_for_an_embedder(checkpoints, reranking_server):
    with pytest.raises(ModelError, match="without embeddings"):
        RemoteEmbedder.connect(reranking_server.base_url, checkpoint=checkpoints / "embedding")
