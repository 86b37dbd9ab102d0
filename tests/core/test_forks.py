"""A child process that is forked while threads of its parent are at work."""

from __future__ import annotations

import ast
import asyncio
import os
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import qwen3_vl_retrieval
from forked_children import run_in_fork
from qwen3_vl_retrieval import MediaPolicy, StoreError, media, share_embedder, sharing
from qwen3_vl_retrieval.engine.scheduling.priority_lock import PriorityLock
from qwen3_vl_retrieval.forks import ForkSafeLock, renew_in_children
from qwen3_vl_retrieval.index import MultimodalIndex

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")

TEXTS = [f"text number {number} " * (1 + number % 5) for number in range(24)]


@contextmanager
def another_thread(hold):
    """Runs the block while `hold(wait)` has called `wait` in another thread, which goes on afterwards."""
    begun, may_end, errors = threading.Event(), threading.Event(), []

    def wait():
        begun.set()
        may_end.wait(60)

    def run():
        try:
            hold(wait)
        except BaseException as error:  # noqa: BLE001 - raised in the test
            errors.append(error)
            begun.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert begun.wait(60)
    try:
        yield
    finally:
        may_end.set()
        thread.join(60)
    assert not thread.is_alive()
    assert not errors, errors


@contextmanager
def computing(model, compute):
    """Runs the block while another thread is inside a forward pass."""

    def hold(wait):
        parent, stops = os.getpid(), iter([wait])

        def stop_here(*_):
            # Once: a task computes in a thread that is not its own.
            if os.getpid() == parent:
                next(stops, lambda: None)()

        handle = model.language_model.embed_tokens.register_forward_pre_hook(stop_here)
        try:
            compute()
        finally:
            handle.remove()

    with another_thread(hold):
        yield


@pytest.fixture
def two_threads():
    """Computes with two threads, on whatever machine, as long as the test runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def test_a_child_embeds_while_another_thread_computes(make_embedder):
    embedder = make_embedder()
    expected = embedder.embed(TEXTS)
    with computing(embedder.model, lambda: embedder.embed(["held"])):
        found = run_in_fork(lambda: embedder.embed(TEXTS))
    assert np.abs(found - expected).max() < 2e-5
    assert np.abs(embedder.embed(TEXTS) - expected).max() < 2e-5


def test_a_child_embeds_in_tasks_and_threads_too(make_embedder):
    embedder = make_embedder()
    expected = asyncio.run(embedder.aembed(TEXTS))

    async def embed_all():
        return np.concatenate(await asyncio.gather(*(embedder.aembed([text]) for text in TEXTS)))

    with computing(embedder.model, lambda: asyncio.run(embedder.aembed(["held"]))):
        found = run_in_fork(lambda: asyncio.run(embed_all()))
    assert np.abs(found - expected).max() < 2e-5


def test_a_child_judges_while_another_thread_encodes_images(make_reranker):
    reranker = make_reranker()
    pictures = [Image.new("RGB", (64 + 32 * number, 64), (number, 0, 0)) for number in range(3)]
    expected = reranker.score("a", pictures)
    with computing(reranker.model, lambda: reranker.score("held", [pictures[0]])):
        found = run_in_fork(lambda: reranker.score("a", pictures))
    assert np.abs(found - expected).max() < 2e-5


def test_a_child_computes_with_one_thread_and_its_parent_with_as_many_as_before(make_embedder, two_threads):
    # Large enough for PyTorch to use both threads in the parent: the second is what a child would wait for.
    embedder, large = make_embedder(), torch.ones(2_000_000)
    float(large.exp().sum())

    def compute():
        vectors = embedder.embed(["a text " * 400] * 3 + TEXTS)
        return torch.get_num_threads(), float(large.exp().sum()), vectors.shape

    threads, total, shape = run_in_fork(compute)
    assert threads == 1
    assert total == pytest.approx(float(large.exp().sum()), rel=1e-5)
    assert shape == (27, embedder.dimensions)
    assert torch.get_num_threads() == two_threads


def test_a_child_of_a_child_computes_as_well(embedder):
    embedder.embed(["a text"])
    assert run_in_fork(lambda: run_in_fork(lambda: embedder.embed(["a text"]).shape)) == (1, embedder.dimensions)


def test_turns_of_a_parents_threads_are_over_in_its_child():
    turns = PriorityLock()

    def take():
        with turns.take(1):
            return "taken"

    def hold(wait):
        with turns.take(900):
            wait()

    with another_thread(hold):
        assert run_in_fork(take) == "taken"
    assert take() == "taken"


@pytest.mark.parametrize("is_reentrant", [False, True])
def test_the_thread_that_forks_may_hold_the_lock(is_reentrant):
    lock = ForkSafeLock(is_reentrant=is_reentrant)

    def take():
        with lock:
            return "taken"

    with lock:
        assert run_in_fork(take) == "taken"
    assert take() == "taken"

    def hold(wait):
        with lock:
            wait()

    with another_thread(hold):
        assert run_in_fork(take) == "taken"


def test_what_is_registered_is_told_once_and_not_kept_alive():
    class Owner:
        def __init__(self):
            self.told = 0

        def renew(self):
            self.told += 1

    owner, gone = Owner(), Owner()
    renew_in_children(owner)
    renew_in_children(gone)
    del gone
    assert run_in_fork(lambda: owner.told) == 1
    assert owner.told == 0


def test_a_child_loads_a_model_while_another_thread_does(reference):
    folder = reference / "checkpoints" / "embedding"

    def hold(wait):
        with sharing._LOADING:
            wait()

    with another_thread(hold):
        assert run_in_fork(lambda: share_embedder(folder, dtype="float32").embed(["a"]).shape) == (1, 64)


def test_a_child_opens_images_while_another_thread_does(tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (64, 64), "red").save(path)
    slow = Image.open(path)
    load = slow.load

    def hold(wait):
        def load_slowly():
            wait()
            return load()

        slow.load = load_slowly
        media.read_image(slow, MediaPolicy())

    with another_thread(hold):
        assert run_in_fork(lambda: media.read_image(Image.open(path), MediaPolicy()).getpixel((0, 0))) == (255, 0, 0)


@pytest.fixture
def index(tmp_path, embedder):
    with MultimodalIndex.open(tmp_path / "store", embedder) as opened:
        opened.add(TEXTS)
        yield opened


def test_a_child_searches_an_index_that_its_parent_has_open(index):
    expected = [hit.id for hit in index.search(TEXTS[3])]
    assert run_in_fork(lambda: [hit.id for hit in index.search(TEXTS[3])]) == expected
    assert [hit.id for hit in index.search(TEXTS[3])] == expected


def refuse_to_write(index):
    with pytest.raises(StoreError) as raised:
        index.add(["of the child"])
    return str(raised.value)


def test_a_child_searches_while_another_thread_writes(index):
    expected = index.search(TEXTS[3])[0].id

    def hold(wait):
        with index.store.write(), index.store.collection._lock, index.store.sidecar._lock:
            wait()

    with another_thread(hold):
        assert run_in_fork(lambda: index.search(TEXTS[3])[0].id) == expected
        assert "is being written by another process" in run_in_fork(lambda: refuse_to_write(index))
        # That child has gone, and the parent still holds what it held.
        assert "is being written by another process" in run_in_fork(lambda: refuse_to_write(index))
    index.add(["of the parent"])
    assert index.search("of the parent")[0].text == "of the parent"


def test_a_child_is_told_why_it_cannot_write(index, tmp_path):
    assert "'spawn'" in run_in_fork(lambda: refuse_to_write(index))

    def write_its_own():
        with MultimodalIndex.open(tmp_path / "of the child", index._embedder) as own:
            own.add(["written by a child"])
            return own.search("written by a child")[0].text

    assert run_in_fork(write_its_own) == "written by a child"


def test_every_lasting_lock_of_the_core_begins_anew_in_a_child():
    """A lock is a `ForkSafeLock`, or belongs to a class that has `renew`, or to a single call."""
    of_one_call = {"HeldPixels"}
    root = Path(qwen3_vl_retrieval.__file__).parent
    lasting = []
    for path in sorted(root.rglob("*.py")):
        if path.name == "forks.py":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            calls = [
                one.func.attr
                for one in ast.walk(node)
                if isinstance(one, ast.Call)
                and isinstance(one.func, ast.Attribute)
                and isinstance(one.func.value, ast.Name)
                and one.func.value.id == "threading"
            ]
            kinds = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "local"} & set(calls)
            is_renewed = isinstance(node, ast.ClassDef) and any(
                isinstance(one, ast.FunctionDef) and one.name == "renew" for one in node.body
            )
            if kinds and not is_renewed and getattr(node, "name", "") not in of_one_call:
                lasting.append(f"{path.relative_to(root)}:{node.lineno} {sorted(kinds)}")
    assert lasting == []
