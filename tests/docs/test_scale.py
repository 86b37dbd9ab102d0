"""The page on scale says what the script computes, and what it computes follows from the results."""

from __future__ import annotations

import importlib.util

import pytest

from markdown_pages import ROOT


@pytest.fixture(scope="module")
def scale():
    spec = importlib.util.spec_from_file_location("scale", ROOT / "benchmarks/scale.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_what_the_script_computes(scale):
    text = scale.PAGE.read_text(encoding="utf-8")
    assert scale.fill_page(text) == text
    assert all(f"<!-- table: {name} -->" in text for name in scale.TABLES)


def test_a_page_takes_the_operations_of_its_shape(scale):
    # Twice the parameters of the language model for each token is most of it, and half the tokens are less than half.
    large, half = (scale.count_page_teraflop("2b", tokens) for tokens in scale.PAGE_TOKENS)
    assert 2 * 1.4e9 * 1800 / 1e12 < large < 20
    assert half < large / 2


def test_numbers_are_shown_with_two_digits(scale):
    assert [scale.show_number(number) for number in (0.123, 7, 1234, 5_678_901)] == [
        "0.12",
        "7",
        "1,200",
        "5.7 million",
    ]
    assert [scale.show_bytes(count) for count in (512, 2.048e9, 8.192e13)] == ["0.51 kB", "2 GB", "82 TB"]
    assert scale.show_duration([30.0, 50.0]) == "30–50 hours"
    assert scale.show_duration([0.5, 1.0]) == "30–60 minutes"


def test_the_simulated_run_lost_and_doubled_nothing(scale):
    for run in scale.read_result("jobs_simulation")["runs"]:
        assert (run["is_complete"], run["lost"], run["doubled"], run["strange"]) == (True, 0, 0, 0)
