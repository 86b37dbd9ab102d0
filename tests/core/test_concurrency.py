"""Threads, tasks and cancellation."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from qwen3_vl_retrieval import InputError

TEXTS = [f"text number {number} " * (1 + number % 5) for number in range(24)]


@pytest.fixture(scope="module")
def expected(embedder):
    return embedder.embed(TEXTS)


def test_concurrent_callers_share_forward_passes(embedder, expected):
    before = embedder.stats

    async def embed_all():
        return await asyncio.gather(*(embedder.aembed([text]) for text in TEXTS))

    rows = np.concatenate(asyncio.run(embed_all()))
    assert np.abs(rows - expected).max() < 2e-5
    done = embedder.stats - before
    assert done.requests == len(TEXTS)
    assert done.batches < len(TEXTS) / 2


def test_concurrent_scores_share_forward_passes_too(reranker):
    expected = [reranker.score(query, TEXTS[:3]) for query in ("a", "b", "c")]

    async def score_all():
        return await asyncio.gather(*(reranker.ascore(query, TEXTS[:3]) for query in ("a", "b", "c")))

    assert np.abs(np.stack(asyncio.run(score_all())) - np.stack(expected)).max() < 2e-5


def test_a_bad_item_of_one_caller_is_not_the_others(embedder, expected):
    async def embed_all():
        return await asyncio.gather(
            embedder.aembed(TEXTS[:2]), embedder.aembed([{}]), embedder.aembed(TEXTS[2:4]), return_exceptions=True
        )

    first, bad, last = asyncio.run(embed_all())
    assert isinstance(bad, InputError)
    assert np.abs(np.concatenate([first, last]) - expected[:4]).max() < 2e-5


def test_errors_can_be_returned_to_a_task(embedder):
    rows = asyncio.run(embedder.aembed(["a", {}], on_error="return"))
    assert [type(row) for row in rows] == [np.ndarray, InputError]


def test_a_cancelled_caller_leaves_the_others_and_costs_nothing(embedder, expected):
    before = embedder.stats
    gate = threading.Event()
    started = threading.Event()

    def block(*_):
        started.set()
        gate.wait(10)

    handle = embedder.model.language_model.embed_tokens.register_forward_pre_hook(block)

    async def embed_all():
        first = asyncio.create_task(embedder.aembed(TEXTS[:1]))
        await asyncio.to_thread(started.wait, 10)
        cancelled = asyncio.create_task(embedder.aembed(TEXTS[1:9]))
        kept = asyncio.create_task(embedder.aembed(TEXTS[9:12]))
        await asyncio.sleep(0.3)
        cancelled.cancel()
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        return await first, await kept

    try:
        first, kept = asyncio.run(embed_all())
    finally:
        handle.remove()
    assert np.abs(np.concatenate([first, kept]) - expected[[0, 9, 10, 11]]).max() < 2e-5
    assert (embedder.stats - before).requests == 4


def test_a_query_does_not_wait_for_a_long_call(make_embedder):
    embedder = make_embedder(max_batch_tokens=64)
    texts = [f"text number {number}" for number in range(300)]

    async def embed_both():
        long = asyncio.create_task(embedder.aembed(texts))
        await asyncio.sleep(0.2)
        await embedder.aembed(["query"])
        is_done = long.done()
        return is_done, await long

    is_done, rows = asyncio.run(embed_both())
    assert not is_done
    assert rows.shape[0] == len(texts)


def test_a_failure_of_the_model_reaches_every_caller_and_the_next_call_works(embedder, expected):
    def fail(*_):
        raise RuntimeError("device lost")

    handle = embedder.model.language_model.embed_tokens.register_forward_pre_hook(fail)

    async def embed_all():
        return await asyncio.gather(*(embedder.aembed([text]) for text in TEXTS[:3]), return_exceptions=True)

    try:
        assert [str(error) for error in asyncio.run(embed_all())] == ["device lost"] * 3
    finally:
        handle.remove()
    assert np.abs(asyncio.run(embedder.aembed(TEXTS[:3])) - expected[:3]).max() < 2e-5


def test_threads_may_share_an_embedder(embedder, expected):
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda text: embedder.embed([text])[0], TEXTS))
    assert np.abs(np.stack(rows) - expected).max() < 2e-5
