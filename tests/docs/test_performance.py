"""The page on performance says what the results say."""

from __future__ import annotations

import importlib.util

from markdown_pages import ROOT


def load_report():
    spec = importlib.util.spec_from_file_location("report_speed", ROOT / "benchmarks/report_speed.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_what_the_results_make_it():
    report = load_report()
    rows = list(report.read_rows())
    assert rows, "no result of a speed benchmark"
    text = report.PAGE.read_text(encoding="utf-8")
    assert report.fill_page(text, report.write_table(rows)) == text


def test_every_ratio_follows_from_its_seconds():
    for _, _, row in load_report().read_rows():
        seconds = row["seconds"]
        others = [value for name, value in seconds.items() if not name.startswith("ours")]
        assert abs(row["ratio"] - min(others) / seconds["ours"]) < 0.02, row["question"]
