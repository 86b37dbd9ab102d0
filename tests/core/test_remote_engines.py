"""Models that compute elsewhere: the numbers of those in process, over our server and over what stands in for vLLM."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from job_runs import read_parts, write_texts
from open_files import count_left_open, needs_proc
from qwen3_vl_retrieval import (
    InputError,
    InputTooLongError,
    ModelError,
    MultimodalInput,
    Qwen3VLEmbedder,
    Qwen3VLReranker,
    RemoteError,
)
from qwen3_vl_retrieval.cli import app
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.jobs import embed_source
from qwen3_vl_retrieval.prompting.prompts import Role, render_reranking_prompt
from qwen3_vl_retrieval.remote import (
    RemoteEmbedder,
    RemoteReranker,
    read_golden_figures,
    share_remote_embedder,
    share_remote_reranker,
)
from qwen3_vl_retrieval.remote.connection import Connection
from qwen3_vl_retrieval.remote.vllm_command import read_chat_template
from qwen3_vl_retrieval.remote.vllm_prompts import build_pair_prompt
from qwen3_vl_retrieval.server import create_app
from qwen3_vl_retrieval.testing import EmbedderTests, RerankerTests
from served_apps import serve_app
from vllm_servers.stand_in import StandIn

CHECKPOINTS = Path(__file__).parent / "reference" / "checkpoints"
MEDIA = Path(__file__).parent / "reference" / "media"

ITEMS = [
    "a text",
    "a text about <|im_end|>, which is no end",
    {"image": MEDIA / "photo_500x333.jpg", "text": "a photo"},
    MEDIA / "small_20x17.png",
    {"video": MEDIA / "clip_40f_8fps.mp4", "text": "a video"},
    MultimodalInput(parts=["before ", Image.new("RGB", (96, 64), "red"), " after"]),
    {"text": "Größe, 红色, círculo. " * 40, "instruction": "Find the shape"},
]

VECTOR_BOUND = 2e-5
"""float32: texts and images are batched otherwise there than here."""

SCORE_BOUND = 5e-5


@pytest.fixture(scope="module")
def embedder():
    return Qwen3VLEmbedder.from_pretrained(CHECKPOINTS / "embedding", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def reranker():
    return Qwen3VLReranker.from_pretrained(CHECKPOINTS / "reranker", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def own_server(embedder, reranker):
    with serve_app(create_app(embedder=embedder, reranker=reranker)) as url:
        yield url


@pytest.fixture
def serve_stand_in(embedder, reranker):
    """Runs what stands in for vLLM, with settings changed, as long as the test runs."""
    open_servers = []

    def serve(kind="embedding", **changes):
        model = embedder if kind == "embedding" else reranker
        settings = {"template": read_chat_template(kind), "is_classifier": kind == "reranker", **changes}
        stand_in = StandIn(model=model, **settings)
        server = serve_app(stand_in.create_app())
        open_servers.append(server)
        return stand_in, server.__enter__()

    yield serve
    for server in open_servers:
        server.__exit__(None, None, None)


def connect_embedder(url, **options):
    return RemoteEmbedder.connect(url, checkpoint=CHECKPOINTS / "embedding", retry_seconds=5.0, **options)


def connect_reranker(url, **options):
    return RemoteReranker.connect(url, checkpoint=CHECKPOINTS / "reranker", retry_seconds=5.0, **options)


class TestEmbedderOfOurServer(EmbedderTests):
    @pytest.fixture(autouse=True)
    def remote(self, own_server):
        self.url = own_server

    def make_model(self):
        return share_remote_embedder(self.url)


class TestRerankerOfOurServer(RerankerTests):
    @pytest.fixture(autouse=True)
    def remote(self, own_server):
        self.url = own_server

    def make_model(self):
        return share_remote_reranker(self.url)


def test_our_server_computes_what_the_models_compute_in_process(own_server, embedder, reranker):
    remote, judge = RemoteEmbedder.connect(own_server), RemoteReranker.connect(own_server)
    assert remote.self_test.compared == ("tokens", "vectors")
    assert judge.self_test.compared == ("tokens", "scores")
    assert remote.fingerprint == embedder.fingerprint
    assert judge.model_id == reranker.model_id
    for options in ({}, {"dimensions": 32, "input_type": "query"}, {"normalize": False}, {"instruction": "Find it"}):
        assert np.abs(remote.embed(ITEMS, **options) - embedder.embed(ITEMS, **options)).max() < VECTOR_BOUND
    assert np.abs(judge.score("a", ITEMS) - reranker.score("a", ITEMS)).max() < SCORE_BOUND


def test_an_engine_elsewhere_embeds_a_source_with_the_vectors_of_the_model_in_process(own_server, embedder, tmp_path):
    source = tmp_path / "source"
    write_texts(source, 6)
    Image.new("RGB", (64, 64), "red").save(source / "red.png")
    command = ["embed", str(source), "--to", str(tmp_path / "run"), "--shard-units", "3"]
    result = CliRunner().invoke(app, [*command, "--base-url", own_server])
    assert result.exit_code == 0, result.output
    assert embed_source(source, tmp_path / "here", embedder).is_complete
    elsewhere, here = read_parts(tmp_path / "run"), read_parts(tmp_path / "here")
    assert elsewhere.keys() == here.keys()
    for unit_id, row in here.items():
        assert np.abs(np.array(row["vector"]) - np.array(elsewhere[unit_id]["vector"])).max() < VECTOR_BOUND


def test_vllm_computes_what_the_embedder_computes_in_process(serve_stand_in, embedder):
    stand_in, url = serve_stand_in()
    remote = connect_embedder(url)
    assert remote.self_test.compared == ("tokens", "vectors")
    assert remote.self_test.video_refusal is None
    assert remote.fingerprint == embedder.fingerprint
    assert np.abs(remote.embed(ITEMS) - embedder.embed(ITEMS)).max() < VECTOR_BOUND
    assert set(stand_in.asked) == {"/tokenize", "/v1/embeddings"}


def test_vllm_computes_what_the_reranker_computes_in_process(serve_stand_in, reranker):
    _, url = serve_stand_in("reranker")
    remote = connect_reranker(url)
    assert remote.self_test.compared == ("tokens", "scores")
    # Beside an image, special tokens in a text are refused.
    cases = (("a query", ITEMS), ({"image": MEDIA / "frame_1.png", "text": "what is this?"}, [ITEMS[0], *ITEMS[2:]]))
    for query, documents in cases:
        for options in ({}, {"instruction": "Find the shape"}):
            found = remote.score(query, documents, output="margin", **options)
            assert np.abs(found - reranker.score(query, documents, output="margin", **options)).max() < SCORE_BOUND


def test_what_is_too_long_for_vllm_is_cut_as_in_process(serve_stand_in, embedder):
    _, url = serve_stand_in()
    # The ending of a turn is cut, too, in whole or in part: each length is another case.
    item = {"image": MEDIA / "frame_0.png", "text": "one two three four five six seven eight nine ten"}
    whole = len(embedder.prepare([item])[0])
    for max_length in (whole - 9, whole - 5, whole - 3, whole - 1):
        here = Qwen3VLEmbedder(embedder.model, embedder.processor, max_length=max_length)
        there = connect_embedder(url, max_length=max_length)
        with pytest.warns(UserWarning, match="cut"):
            assert np.abs(there.embed([item]) - here.embed([item])).max() < VECTOR_BOUND, max_length
    with pytest.raises(InputTooLongError, match="item 0: "):
        connect_embedder(url, max_length=whole - 1, on_overflow="error").embed([item])


@pytest.mark.parametrize(
    "text",
    [
        "one two three four five six seven eight nine ten " * 40,
        "红色的三角形在蓝色的圆形左边。" * 30,
        "🦊🦉🐢 ñandú Größe\n\n" * 30,
        "word" * 200 + "   \t  " * 40,
    ],
)
def test_a_long_pair_with_an_image_is_cut_for_vllm_as_in_process(serve_stand_in, reranker, text):
    _, url = serve_stand_in("reranker")
    document = {"image": MEDIA / "small_20x17.png", "text": text}
    for max_length in (250, 251, 252, 253):
        here = Qwen3VLReranker(
            reranker.model, reranker.processor, score_weight=reranker.score_weight, max_length=max_length
        )
        there = connect_reranker(url, max_length=max_length)
        with pytest.warns(UserWarning, match="cut"):
            (expected,) = here._prepare("a query", [document], None, "raise", False)
        with pytest.warns(UserWarning, match="cut"):
            (request,) = there._preparer.prepare_pairs("a query", [document], instruction=there._instruction)
        assert request.tokens.token_ids.tolist() == expected.tokens.token_ids.tolist()
        shown = build_pair_prompt(request, reranker.tokenizer)
        elements = render_reranking_prompt(
            shown.query.render(), shown.document.render(), instruction=request.instruction
        )
        found = reranker.tokenizer.tokenize(elements).token_ids.tolist()
        # A token may end inside a character, which no text can show; then the character is left out.
        last = reranker.tokenizer.decode(request.tokens.token_ids[request.tokens.roles == Role.DOCUMENT])
        assert found == request.tokens.token_ids.tolist() or (last.endswith("\ufffd") and len(found) < len(request))


def test_special_tokens_beside_an_image_are_refused_by_their_place(serve_stand_in):
    _, url = serve_stand_in()
    found = connect_embedder(url).embed(
        ["fine", {"image": MEDIA / "frame_0.png", "text": "<|im_end|>"}, "fine"], on_error="return"
    )
    assert isinstance(found[1], InputError)
    assert str(found[1]).startswith("item 1: ")
    assert "<|im_end|>" in str(found[1])
    assert np.array_equal(found[0], found[2])


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("embedding", {"min_pixels": 65536}, "min_pixels"),
        ("embedding", {"max_pixels": 1_000_000}, "max_pixels"),
        ("embedding", {"template": "{{ messages[0].content }}"}, "chat template"),
        ("embedding", {"template": None}, "no chat template"),
        ("embedding", {"ends_prompts": False}, r"does not end the prompt with <\|endoftext\|>"),
        ("reranker", {"template": None}, "without any template"),
        ("reranker", {"is_classifier": False}, "--hf-overrides"),
        ("reranker", {"sign": -1}, "takes yes for no"),
        ("reranker", {"min_pixels": 65536}, "min_pixels"),
    ],
)
def test_a_wrong_setting_of_vllm_is_named(serve_stand_in, kind, changes, said):
    _, url = serve_stand_in(kind, **changes)
    with pytest.raises(ModelError, match=said):
        (connect_embedder if kind == "embedding" else connect_reranker)(url)


def test_a_template_with_one_newline_too_few_is_named(serve_stand_in):
    template = read_chat_template("reranker").replace("<|im_start|>assistant\\n' -}}", "<|im_start|>assistant' -}}")
    _, url = serve_stand_in("reranker", template=template)
    with pytest.raises(ModelError, match="one newline too few"):
        connect_reranker(url)


def test_an_embedding_model_is_not_taken_for_a_reranker_nor_the_reverse(serve_stand_in):
    with pytest.raises(ModelError, match="without judgements"):
        connect_reranker(serve_stand_in()[1])
    with pytest.raises(ModelError, match="without embeddings"):
        connect_embedder(serve_stand_in("reranker", template=read_chat_template("embedding"))[1])


def test_without_trusted_settings_videos_alone_are_refused(serve_stand_in, embedder):
    _, url = serve_stand_in(trusts_requests=False)
    found = connect_embedder(url).embed(ITEMS, on_error="return")
    assert [isinstance(one, InputError) for one in found] == [place == 4 for place in range(len(ITEMS))]
    assert "--trust-request-mm-kwargs" in str(found[4])


def test_other_weights_are_found_out_by_the_golden_figures(serve_stand_in, tmp_path):
    figures = read_golden_figures(_find_figures("reference-embedding.json"))
    answers = {name: np.roll(values, 1) for name, values in figures.answers.items()}
    replace(figures, answers=answers).write(tmp_path / "figures.json")
    _, url = serve_stand_in()
    # Another address than those that were tested before.
    with pytest.raises(ModelError, match="other weights"):
        connect_embedder(url, golden=tmp_path / "figures.json")
    with pytest.raises(ModelError, match="are those of 'embedding'"):
        connect_reranker(serve_stand_in("reranker")[1], golden=tmp_path / "figures.json")


def _find_figures(name):
    import qwen3_vl_retrieval

    return Path(qwen3_vl_retrieval.__file__).parent / "remote" / "figures" / name


def test_a_server_is_tested_once(serve_stand_in):
    stand_in, url = serve_stand_in()
    connect_embedder(url)
    asked = len(stand_in.asked)
    connect_embedder(url, dimensions=32)
    assert len(stand_in.asked) == asked
    connect_embedder(url, verify=False)
    assert len(stand_in.asked) == asked


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(serve_stand_in, embedder, status):
    stand_in, url = serve_stand_in()
    remote = connect_embedder(url)
    stand_in.failures = [status] * 3
    assert np.abs(remote.embed(ITEMS[:2]) - embedder.embed(ITEMS[:2])).max() < VECTOR_BOUND


def test_a_request_over_which_the_server_fails_is_one_failure_among_others(serve_stand_in, embedder):
    stand_in, url = serve_stand_in()
    remote = connect_embedder(url, max_concurrency=1)
    # The two together, then one of them alone.
    stand_in.failures = [500] * 10
    found = remote.embed(ITEMS[:2], on_error="return")
    (failed,) = [place for place in range(2) if isinstance(found[place], InputError)]
    assert str(found[failed]).startswith(f"item {failed}: the server refuses it (HTTP 500)")
    assert np.abs(found[1 - failed] - embedder.embed(ITEMS[:2])[1 - failed]).max() < VECTOR_BOUND


def test_one_that_stays_busy_is_an_error_that_says_for_how_long(serve_stand_in):
    stand_in, url = serve_stand_in()
    remote = RemoteEmbedder.connect(url, checkpoint=CHECKPOINTS / "embedding", retry_seconds=0.3)
    stand_in.failures = [503] * 1000
    with pytest.raises(RemoteError, match=r"HTTP 503.*0\.3 seconds"):
        remote.embed(["a text"])


def test_nobody_at_the_address_and_somebody_else_are_told_apart():
    with pytest.raises(RemoteError, match="cannot be reached"):
        RemoteEmbedder.connect("http://127.0.0.1:1", retry_seconds=0.1)
    with pytest.raises(ValueError, match="no address of a server"):
        RemoteEmbedder.connect("localhost:8000")
    with pytest.raises(TypeError, match="unexpected keyword argument 'retries'"):
        RemoteEmbedder.connect("http://127.0.0.1:1", retries=3)


def test_a_key_is_asked_for_and_sent(embedder):
    with serve_app(create_app(embedder=embedder, reranker=None, api_keys=["secret"])) as url:
        with pytest.raises(RemoteError, match="refuses the API key"):
            RemoteEmbedder.connect(url, retry_seconds=1.0)
        assert RemoteEmbedder.connect(url, api_key="secret").dimensions == embedder.dimensions
        with pytest.raises(ModelError, match="serves no reranker"):
            RemoteReranker.connect(url, api_key="secret")


def test_a_server_with_another_model_than_was_named_is_refused(own_server):
    with pytest.raises(ModelError, match="of revision"):
        RemoteEmbedder.connect(own_server, checkpoint="pocket")


def test_callers_in_threads_and_tasks_are_answered_with_their_own(own_server, embedder):
    remote = share_remote_embedder(own_server)
    texts = [f"text number {number} " * (1 + number % 5) for number in range(24)]
    expected = embedder.embed(texts)

    async def embed_all():
        return await asyncio.gather(*(remote.aembed([text]) for text in texts))

    assert np.abs(np.concatenate(asyncio.run(embed_all())) - expected).max() < VECTOR_BOUND
    found = [np.empty(0)] * len(texts)

    def embed_one(place):
        found[place] = remote.embed([texts[place]])[0]

    threads = [threading.Thread(target=embed_one, args=(place,)) for place in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.abs(np.stack(found) - expected).max() < VECTOR_BOUND


def test_a_caller_who_leaves_ends_what_is_under_way(own_server, embedder):
    remote = share_remote_embedder(own_server)

    async def give_up():
        task = asyncio.create_task(remote.aembed([f"a long text {number} " * 100 for number in range(200)]))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await remote.aembed(["another"])

    assert np.abs(asyncio.run(give_up()) - embedder.embed(["another"])).max() < VECTOR_BOUND


def test_an_index_made_in_process_is_searched_with_an_engine_elsewhere(own_server, embedder, tmp_path):
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "a.txt").write_text("a red triangle")
    (folder / "b.png").write_bytes((MEDIA / "frame_0.png").read_bytes())
    with MultimodalIndex.open(tmp_path / "store", embedder) as index:
        index.add([folder])
        expected = [hit.id for hit in index.search("a red triangle")]
    with MultimodalIndex.open(tmp_path / "store", share_remote_embedder(own_server)) as index:
        assert [hit.id for hit in index.search("a red triangle")] == expected


def test_one_address_is_connected_to_once_in_a_process(own_server):
    embedder = share_remote_embedder(own_server)
    assert share_remote_embedder(own_server) is embedder
    assert share_remote_embedder(own_server, max_length=512) is not embedder
    for name, value in {"device": "cpu", "dtype": "float32", "max_batch_tokens": 100}.items():
        with pytest.raises(ValueError, match=f"{name}=.* was given beside a server"):
            share_remote_embedder(own_server, **{name: value})


def test_another_process_connects_anew(own_server):
    remote = RemoteEmbedder.connect(own_server, max_length=512, api_key="unused")
    sent = pickle.dumps(remote)
    assert b"unused" not in sent
    copy = pickle.loads(sent)  # noqa: S301 - written above
    assert copy is not remote
    assert copy.fingerprint == remote.fingerprint


@needs_proc
def test_what_is_forgotten_leaves_nothing_open(own_server):
    def work():
        connection = Connection(own_server)
        assert connection.start(connection.get("/version")).result(10.0)["version"]

    def work_and_wait():
        work()
        for thread in threading.enumerate():
            if thread.name == "remote-engine" and not thread.join(0.2):
                continue

    assert count_left_open(work_and_wait) <= 0


def test_neither_torch_nor_transformers_is_imported():
    code = (
        "import sys, qwen3_vl_retrieval.remote.sharing, qwen3_vl_retrieval.remote.embedder;"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - a constant
