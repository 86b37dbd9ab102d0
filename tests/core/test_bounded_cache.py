"""Entries within a bound: the longest unused give way, and sizes add up whatever happens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qwen3_vl_retrieval.bounded_cache import BoundedCache


def test_the_longest_unused_gives_way():
    cache = BoundedCache[str, str](2)
    cache.keep("a", "first")
    cache.keep("b", "second")
    assert cache.find("a") == "first"
    assert cache.keep("c", "third") == [("b", "second")]
    assert "b" not in cache
    assert cache.find("a") == "first"


def test_what_exceeds_the_bound_alone_displaces_nothing():
    cache = BoundedCache[str, bytes](10, measure=len)
    cache.keep("small", bytes(4))
    assert not cache.admits(bytes(11))
    assert cache.keep("large", bytes(11)) == [("large", bytes(11))]
    assert "small" in cache
    assert "large" not in cache


def test_a_key_that_is_kept_again_has_its_new_value_and_counts_once():
    cache = BoundedCache[str, bytes](10, measure=len)
    cache.keep("a", bytes(6))
    cache.keep("a", bytes(3))
    assert cache.size == 3
    assert cache.take("a") == bytes(3)
    assert cache.size == 0
    assert cache.take("a") is None


@given(st.lists(st.tuples(st.sampled_from(["keep", "find", "take"]), st.integers(0, 5), st.integers(0, 12))))
def test_the_size_is_that_of_the_entries_and_never_beyond_the_bound(steps):
    cache, kept = BoundedCache[int, bytes](20, measure=len), {}
    for step, key, size in steps:
        if step == "keep":
            kept[key] = size
            for gone, value in cache.keep(key, bytes(size)):
                assert kept.pop(gone) == len(value)
        elif step == "take":
            value = cache.take(key)
            assert (None if value is None else len(value)) == kept.pop(key, None)
        else:
            value = cache.find(key)
            assert (None if value is None else len(value)) == kept.get(key)
        assert cache.size == sum(kept.values()) <= 20
