"""Whose forward pass is next."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from qwen3_vl_retrieval.engine.scheduling.priority_lock import PriorityLock


def wait_until(condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("nothing happened within five seconds")


def test_short_work_goes_before_long_work_and_equals_in_their_order():
    turns, order = PriorityLock(), []

    def work(amount, name):
        with turns.take(amount):
            order.append(name)

    threads = []
    with turns.take(1):
        for waiting, (amount, name) in enumerate(
            [(900, "index"), (5, "query"), (900, "later"), (5, "query too")], start=1
        ):
            threads.append(threading.Thread(target=work, args=(amount, name)))
            threads[-1].start()
            wait_until(lambda waiting=waiting: len(turns._waiting) == waiting)
    for thread in threads:
        thread.join(5)
    assert order == ["query", "query too", "index", "later"]


def test_a_turn_ends_with_an_error_too():
    turns = PriorityLock()
    with pytest.raises(RuntimeError), turns.take(1):
        raise RuntimeError
    with turns.take(1):
        pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows cannot interrupt a thread from within")
def test_who_is_interrupted_while_waiting_stands_in_nobodys_way():
    def interrupt(_number, _frame):
        raise KeyboardInterrupt

    turns = PriorityLock()
    begun, may_end, done = threading.Event(), threading.Event(), threading.Event()

    def hold():
        with turns.take(1):
            begun.set()
            may_end.wait(5)

    def wait_behind():
        with turns.take(900):
            done.set()

    threads = [threading.Thread(target=work, daemon=True) for work in (hold, wait_behind)]
    threads[0].start()
    begun.wait(5)
    threads[1].start()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt), turns.take(5):
            pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    may_end.set()
    assert done.wait(5)


def test_a_query_does_not_wait_for_a_long_job(make_embedder):
    embedder = make_embedder(max_batch_tokens=64)
    texts = [f"text number {number}" for number in range(400)]
    embedder.embed(["warm"])
    done = threading.Event()
    thread = threading.Thread(target=lambda: (embedder.embed(texts), done.set()))
    before = embedder.stats.batches
    thread.start()
    wait_until(lambda: embedder.stats.batches > before + 2)
    embedder.embed(["query"])
    assert not done.is_set()
    thread.join(60)
    assert done.is_set()
