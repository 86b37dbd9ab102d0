"""The token budget follows the memory that was measured; a GPU's is replaced here by one that is told what to say."""

from __future__ import annotations

import json

import pytest
import torch

from qwen3_vl_retrieval.engine.scheduling.batching import BudgetFile, TokenBudget
from qwen3_vl_retrieval.engine.states import copy_to_device

GPU = torch.device("cuda")
MEBI = 2**20


class ToldMemory:
    """A device with `free` bytes, on which a batch takes `growth`."""

    def __init__(self, *, free, growth=0):
        self.free, self.growth = free, growth
        self.starts = 0

    def start(self):
        self.starts += 1

    def measure_growth(self):
        return self.growth

    def count_free(self):
        return self.free


def compute(budget, tokens):
    with budget.watch(tokens):
        pass


def test_a_small_gpu_gets_small_batches_before_its_memory_runs_out():
    budget = TokenBudget(GPU, memory=ToldMemory(free=4096 * MEBI, growth=1000 * MEBI))
    assert budget.limit == 32_768
    compute(budget, 4000)
    assert budget.limit == int(0.8 * 4096 * 4000 / 1000)


def test_a_large_gpu_keeps_the_first_guess():
    budget = TokenBudget(GPU, memory=ToldMemory(free=100_000 * MEBI, growth=1000 * MEBI))
    compute(budget, 4000)
    assert budget.limit == 32_768


def test_the_dearest_batch_counts_and_one_of_few_tokens_does_not():
    memory = ToldMemory(free=4096 * MEBI, growth=1000 * MEBI)
    budget = TokenBudget(GPU, memory=memory)
    compute(budget, 4000)
    fitted = budget.limit
    compute(budget, 100)
    assert budget.limit == fitted
    memory.growth = 10 * MEBI
    compute(budget, 4000)
    assert budget.limit == fitted
    memory.growth = 2000 * MEBI
    compute(budget, 4000)
    assert budget.limit == fitted // 2


def test_memory_that_comes_free_is_used_again():
    memory = ToldMemory(free=1024 * MEBI, growth=1000 * MEBI)
    budget = TokenBudget(GPU, memory=memory)
    compute(budget, 4000)
    short = budget.limit
    memory.free *= 4
    compute(budget, 4000)
    assert short * 3.9 < budget.limit < short * 4.1


def test_what_did_not_fit_is_not_tried_again():
    budget = TokenBudget(GPU, memory=ToldMemory(free=100_000 * MEBI, growth=1000 * MEBI))
    budget.lower(1000)
    compute(budget, 1000)
    assert budget.limit == 1000


def test_a_failed_batch_teaches_nothing():
    memory = ToldMemory(free=4096 * MEBI, growth=1000 * MEBI)
    budget = TokenBudget(GPU, memory=memory)
    with pytest.raises(torch.OutOfMemoryError), budget.watch(4000):
        raise torch.OutOfMemoryError
    assert budget.limit == 32_768


def test_a_limit_of_the_caller_is_kept_and_nothing_measured():
    memory = ToldMemory(free=1024 * MEBI, growth=1000 * MEBI)
    budget = TokenBudget(GPU, 20_000, memory=memory)
    compute(budget, 4000)
    assert (budget.limit, memory.starts) == (20_000, 0)


def test_the_next_process_begins_with_what_was_learnt(tmp_path):
    path = tmp_path / "cache" / "token_budgets.json"
    memory = ToldMemory(free=4096 * MEBI, growth=1000 * MEBI)
    learner = TokenBudget(GPU, memory=memory, file=BudgetFile(path), key="8B on a small GPU")
    compute(learner, 4000)
    assert TokenBudget(GPU, memory=memory, file=BudgetFile(path), key="8B on a small GPU").limit == learner.limit
    assert TokenBudget(GPU, memory=memory, file=BudgetFile(path), key="2B on a small GPU").limit == 32_768


def test_models_share_one_file_and_leave_nothing_beside_it(tmp_path):
    path = tmp_path / "token_budgets.json"
    BudgetFile(path).keep("one", 1000.4)
    BudgetFile(path).keep("other", 2000)
    assert json.loads(path.read_text()) == {"one": 1000, "other": 2000}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "[1]", '{"one": "many"}', '{"one": -1}', "\x00"])
def test_a_damaged_file_is_as_none(tmp_path, content):
    path = tmp_path / "token_budgets.json"
    path.write_text(content)
    assert BudgetFile(path).load("one") is None
    BudgetFile(path).keep("one", 5)
    assert BudgetFile(path).load("one") == 5


def test_a_file_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    kept = BudgetFile(tmp_path / "file" / "token_budgets.json")
    kept.keep("one", 5)
    assert kept.load("one") is None


def test_on_the_cpu_nothing_is_measured_or_written(make_embedder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    embedder = make_embedder()
    before = embedder.max_batch_tokens
    embedder.embed(["some words " * 300])
    assert embedder.max_batch_tokens == before
    assert list(tmp_path.iterdir()) == []


def test_a_copy_for_the_device_is_its_own():
    import numpy as np

    values = np.arange(6, dtype=np.int64).reshape(2, 3)
    values.flags.writeable = False
    copied = copy_to_device(values, torch.device("cpu"))
    copied[0, 0] = 9
    assert values[0, 0] == 0
    assert copied.tolist() == [[9, 1, 2], [3, 4, 5]]
