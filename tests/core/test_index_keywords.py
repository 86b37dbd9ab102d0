"""Exact words and numbers in any script, and rankings joined."""

from __future__ import annotations

import sqlite3
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_vl_retrieval.index.store.filters import compile_filter
from qwen3_vl_retrieval.index.store.keywords import (
    KEYWORD_SCHEMA,
    add_words,
    find_rows,
    fuse_ranks,
    insert_hints,
    remove_words,
    segment_text,
)


def build_index(*texts):
    """An index of the texts, rows from 1."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(KEYWORD_SCHEMA)
    for row, text in enumerate(texts, start=1):
        add_words(connection, row, text)
    return connection


def list_words(connection):
    return [term for (term,) in connection.execute("SELECT term FROM keyword_counts ORDER BY term")]


def find(connection, query, *, limit=10):
    return list(find_rows(connection, query, limit=limit).rows)


# What is put into the index


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Invoice INV-2024/117", ["117", "2024", "inv", "invoice"]),
        ("STRASSE Straße", ["strasse"]),
        ("été e\u0301te\u0301 ÉTÉ", ["ete"]),
        ("Ｔｏｔａｌ ４８１２ ﬁn", ["4812", "fin", "total"]),
        ("٤٨١٢ ४८१२ ๔๘๑๒", ["4812"]),
        ("Rech\u00adnung می\u200cخواهم", ["rechnung", "میخواهم"]),
        ("كِتَاب كتاب كتــاب", ["كتاب"]),
        ("שָׁלוֹם שלום", ["שלום"]),
        ("हिन्दी हन्द", ["हन्द", "हिन्दी"]),
        ("发票4812号", ["4812", "发", "号", "票"]),
        ("ｶﾞス。", ["ガ", "ス"]),
        ("กิน ", ["ก", "น", "ิ"]),
        ("ລາວ ខ្មែរ။ မြန်", sorted(set("ລາວខ្មែរမြန်"))),
        ("a\0b \ud800 c", ["a", "b", "c"]),
        ("ab\0c", ["ab", "c"]),
        ("", []),
        ("…—!", []),
    ],
)
def test_texts_become_words(text, words):
    assert list_words(build_index(text)) == words


def test_a_segmented_text_is_the_same_for_equal_texts():
    assert segment_text("か\u3099") == segment_text("が") == " が "
    assert segment_text("Ünï") == segment_text("U\u0308NI\u0308")
    assert segment_text("PAGE 7") == "page 7"


def test_a_text_of_marks_alone_takes_linear_time():
    for text in ("a" + "\u0327\u0300" * 500_000, "か" + ("\uff9e" + "\u0327" * 31) * 30_000, "—\u0300" * 500_000):
        start = time.perf_counter()
        segment_text(text)
        # A second of work at most; sorting the marks of the first takes Python an hour.
        assert time.perf_counter() - start < 30


def test_some_marks_are_kept_with_their_letter():
    marks = "\u0327" * 32
    assert segment_text("q" + marks + "\u0327" * 9 + "e") == "q" + marks + "e"


def test_the_texts_themselves_are_not_kept():
    index = build_index("a secret word")
    assert index.execute("SELECT words FROM keywords").fetchall() == [(None,)]


@settings(deadline=None)  # other processes share the cores
@given(st.text(), st.text())
def test_removing_undoes_adding(text, other):
    index = build_index(other)
    before = list_words(index)
    add_words(index, 7, text)
    remove_words(index, 7, text)
    assert list_words(index) == before
    assert index.execute("SELECT rowid FROM keywords").fetchall() == [(1,)]
    index.close()


def test_removed_words_are_not_found():
    index = build_index("turbine 4812", "turbine 4813")
    remove_words(index, 1, "turbine 4812")
    assert find(index, "4812") == []
    assert find(index, "turbine") == [2]


# What is found


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Invoice INV-2024/117 of May", "INV-2024/117"),
        ("Total: $1,234.50", "1,234.50"),
        ("Total: $1,234.50", "what costs (1,234.50)?"),
        ("Die Straße", "STRASSE"),
        ("Résumé of Ana", "resume"),
        ("Привет, Мир", "мир"),
        ("تقرير سنوي ٤٨١٢", "4812"),
        ("गणित की किताब", "किताब"),
        ("보고서 4812", "보고서"),
        ("发票编号 4812", "发票 4812"),
        ("发票号码:4812", "发票4812"),
        ("価格は四十二円です", "四十二"),
        ("ใบแจ้งหนี้เลขที่ 4812", "ใบแจ้งหนี้"),
        ("ລາຄາ ສີ່ສິບ", "ສີ່ສິບ"),
        ("តម្លៃ៤២", "តម្លៃ"),
        ("ဈေးနှုန်း", "ဈေးနှုန်း"),
        ("𠀀𠀁", "𠀀𠀁"),
    ],
)
def test_words_of_any_script_are_found(text, query):
    index = build_index("nothing of it", "其他的页面", "หน้าอื่น", text)
    assert find(index, query) == [4]


def test_a_word_with_inner_punctuation_is_one_phrase():
    index = build_index("117 pages of 2024, INV", "INV-2024/117", "INV 2024 118")
    assert find(index, "INV-2024/117") == [2]
    assert sorted(find(index, "117 2024 inv")) == [1, 2]


def test_every_discriminating_term_must_be_held():
    index = build_index("acme invoice 4812", "acme invoice 4813", "globex invoice 4812")
    assert find(index, "the invoice 4812 of acme, please") == [1]


def test_a_phrase_in_quotes_is_kept_whole():
    index = build_index("turbine blue", "a blue turbine", "blue and turbine")
    assert find(index, "blue turbine") == [1, 2, 3]
    for query in ('"blue turbine"', "“blue turbine”", "„Blue  Turbine“", "＂blue turbine＂"):
        assert find(index, query) == [2]
    assert find(index, '"发票"') == []
    assert find(build_index("发 x 票", "发票"), '"发票"') == [2]


def test_inches_open_no_phrase():
    index = build_index('a 24" frame for a 27" one', 'a 24" one')
    assert find(index, '24" one 27" frame') == [1]


def test_common_words_order_nothing():
    index = build_index(*(f"the page {number}" for number in range(1, 101)), "turbine", "the turbine")
    assert find(index, "the page") == []
    # "the" is required neither of row 101 nor of row 102.
    assert sorted(find(index, "the turbine")) == [101, 102]
    assert find(index, '"the page"', limit=3) != []


def test_a_word_of_a_twentieth_or_of_20_units_discriminates():
    texts = ["rare"] * 20 + ["common"] * 21 + ["other"] * 40
    assert len(find(build_index(*texts), "rare", limit=99)) == 20
    assert find(build_index(*texts), "common") == []
    assert len(find(build_index(*texts, *["other"] * 400), "common", limit=99)) == 21


def test_a_phrase_in_quotes_discriminates_however_common_it_is():
    index = build_index(*["the page"] * 50, "the 4812", "the page 4812")
    assert find(index, '4812 "the page"') == [52]
    assert len(find(index, '"the page"', limit=99)) == 51


def test_without_a_unit_that_holds_all_the_rarest_term_decides():
    index = build_index(*["other"] * 20, *["acme"] * 3, *["note"] * 4, "old turbine blade", "turbine acme blade")
    # By the turbine alone, the lower row comes first.
    assert find(index, "turbine") == [28, 29]
    assert find(index, "note acme turbine") == [29, 28]


def test_of_equally_rare_terms_a_number_decides():
    index = build_index("what is it", "invoice 4812", "turbine")
    assert find(index, "what is invoice 4812, turbine") == [2]
    assert find(index, "what turbine") == [3]


def test_a_phrase_that_occurs_nowhere_is_not_required():
    index = build_index("acme turbine")
    assert find(index, 'turbine "blue acme" "!!"') == [1]


def test_nothing_is_found_without_a_discriminating_term():
    index = build_index("invoice")
    assert find(index, "where was that") == []
    assert find(index, "") == []
    assert find(index, '?! \0 — "') == []
    assert find(build_index(), "invoice") == []


def test_the_best_come_first_and_ties_by_row():
    index = build_index("turbine and many other words around it", "turbine turbine", "blade", "turbine", "turbine")
    assert find(index, "turbine") == [2, 4, 5, 1]
    assert find(index, "turbine", limit=2) == [2, 4]
    with pytest.raises(ValueError, match="limit=0 must be at least 1"):
        find(index, "turbine", limit=0)


CHINESE = (
    "规格是十分严格的",  # shares 格是 with the question
    "其中的那些人",  # shares 的那
    "价格:四十二元",
    "价格:四十三元",
    "第一页",
    "股票号码",  # shares 票号 with 发票号
    "发票",
)


def test_words_are_found_inside_a_sentence_without_spaces():
    index = build_index(*CHINESE)
    # The next price shares two of three grams, the others have one.
    assert find(index, "价格是四十二的那一页") == [3, 4]
    assert find(index, "「价格是四十二的那一页」") == [3, 4]
    assert find(index, "四十二元是价格") == [3]


def test_a_word_without_spaces_that_occurs_is_required_whole():
    assert find(build_index("四十二元", "四十年和十二月"), "四十二") == [1]
    assert find(build_index("四十年和十二月"), "四十二") == [1]


def test_of_a_short_run_one_gram_is_enough_but_more_are_better():
    assert sorted(find(build_index("发票", "票号", "其他"), "发票号")) == [1, 2]
    assert find(build_index("发票在票号", "票号", "其他"), "发票号") == [1]


def test_one_gram_of_a_sentence_is_chance():
    index = build_index(*CHINESE, "dog 4812")
    assert find(index, "这张图里的那只狗在做什么") == []
    # And so is not required beside a word.
    assert find(index, "这张图里的那只狗在做什么 4812") == [8]


def test_common_grams_of_a_sentence_do_not_count():
    index = build_index(*["这一页的价格"] * 30, "四十二的说明", "十二的")
    assert find(index, "这一页写着四十二的说法") == [31]


def test_words_are_found_inside_a_sentence_of_thai():
    index = build_index("ใบแจ้งหนี้เดือนมกราคม", "รายงานการประชุม", "ราคาของสินค้า")
    assert find(index, "ขอดูใบแจ้งหนี้ล่าสุด") == [1]
    assert find(index, "อยากอ่านรายงานการประชุมค่ะ") == [2]
    # Two letters are no word.
    assert find(index, "กานา") == []


def test_a_condition_limits_what_is_found():
    index = build_index("turbine 4812", "turbine 4812", "turbine", "价格四十二", "价格四十二")
    index.executescript(
        "CREATE TABLE units (row INTEGER PRIMARY KEY, page INTEGER);"
        "CREATE TABLE places (source TEXT, unit INTEGER, metadata TEXT);"
        "INSERT INTO units VALUES (1, 1), (2, 2), (3, 2), (4, 1), (5, 2);"
        "INSERT INTO places VALUES ('a', 1, '{}'), ('b', 2, '{}'), ('c', 2, '{}'), ('d', 3, '{\"x\": 1}'),"
        "('e', 4, '{}'), ('f', 5, '{}');"
    )
    second = compile_filter({"page": 2})
    assert list(find_rows(index, "turbine 4812", limit=9, condition=second).rows) == [2]
    assert list(find_rows(index, "turbine 4812", limit=9, condition=compile_filter({"x": 1})).rows) == [3]
    assert list(find_rows(index, "请问价格是四十二吗", limit=9, condition=second).rows) == [5]
    assert list(find_rows(index, "turbine", limit=9, condition=compile_filter({"page": 3})).rows) == []
    # Of the terms that no unit holds together, the rarest that the condition leaves.
    assert list(find_rows(index, "四十二 4812", limit=9, condition=compile_filter({"source": "b"})).rows) == [2]


@pytest.mark.parametrize(
    "query",
    [
        '"',
        '"" ""',
        "a AND",
        "NOT",
        "NEAR(a b)",
        "words : a",
        "a*",
        "^a",
        "(",
        "a + b",
        "-a",
        "{a b}",
        "'; --",
        '\0"',
        "\ud800",
    ],
)
def test_no_query_is_a_syntax_error(query):
    assert find(build_index("unrelated"), query) == []


@settings(deadline=None)  # other processes share the cores
@given(st.text() | st.text('ab "*()^:+-0一二กข\0é'))
def test_any_query_is_answered(query):
    index = build_index("a b 0", "一二 กข", "é ab", query)
    assert set(find(index, query)) <= {1, 2, 3, 4}
    index.close()


@settings(deadline=None)  # other processes share the cores
@given(st.lists(st.text("aé0ß٤一二กิअि", min_size=1, max_size=4), min_size=1, max_size=6))
def test_every_text_is_found_by_its_own_words(words):
    text = " ".join(words)
    index = build_index(text)
    assert find(index, text) == [1]
    assert find(index, f'"{text}"') == [1]
    assert all(find(index, word) == [1] for word in words)
    index.close()


def test_a_passage_is_answered_by_its_beginning():
    index = build_index("turbine", "blade")
    assert find(index, "turbine " + "x" * 1015 + " blade") == [1]
    assert find(index, " ".join(f"t{number}" for number in range(5000))) == []


# Rankings joined


def test_ranks_are_fused_by_their_reciprocals():
    assert fuse_ranks([[7, 8], [8, 9]]) == [
        (8, pytest.approx(1 / 62 + 1 / 61)),
        (7, pytest.approx(1 / 61)),
        (9, pytest.approx(1 / 62)),
    ]
    assert fuse_ranks([[5]], constant=0) == [(5, 1.0)]
    assert fuse_ranks([]) == []
    assert fuse_ranks([[], [3]]) == [(3, pytest.approx(1 / 61))]
    with pytest.raises(ValueError, match="constant=-1 must not be negative"):
        fuse_ranks([[1]], constant=-1)


def test_a_small_constant_favours_the_first_rank():
    rankings = [[1, 2, 3], [4, 3, 2]]
    assert [row for row, _ in fuse_ranks(rankings)] == [2, 3, 1, 4]
    assert [row for row, _ in fuse_ranks(rankings, constant=0)] == [1, 4, 2, 3]


def test_ties_keep_the_order_of_first_appearance():
    assert [row for row, _ in fuse_ranks([[9, 1], [1, 9]])] == [9, 1]
    # Added in turn, the scores of these two would differ in the last bit.
    rankings = [[1, 2, 3], [2, 3, 1], [3, 1, 2]]
    assert len({score for _, score in fuse_ranks(rankings)}) == 1


def test_a_row_counts_once_in_a_ranking():
    assert fuse_ranks([[4, 4, 5]]) == [(4, pytest.approx(1 / 61)), (5, pytest.approx(1 / 62))]


def test_hints_take_every_fifth_place_and_leave_the_order_of_the_rest():
    assert insert_hints([1, 2, 3, 4, 5, 6, 7, 8, 9], [90, 3, 91, 92]) == [1, 2, 3, 4, 90, 5, 6, 7, 8, 91, 9, 92]
    # What the ranking has further down comes forward, and stands once.
    assert insert_hints([1, 2, 3, 4, 5, 6], [6]) == [1, 2, 3, 4, 6, 5]
    assert insert_hints([1, 2], []) == [1, 2]
    assert insert_hints([], [7]) == [7]


@given(st.lists(st.integers(0, 30), unique=True), st.lists(st.integers(0, 30), unique=True))
def test_with_hints_every_row_stands_once_and_four_of_five_keep_their_order(ranking, hints):
    ordered = insert_hints(ranking, hints)
    assert sorted(ordered) == sorted({*ranking, *hints})
    others = [row for row in ordered if row not in hints]
    assert others == [row for row in ranking if row not in hints]
    assert ordered[:4] == ranking[:4] or len(ranking) < 4


@pytest.mark.parametrize(
    ("query", "is_exact"),
    [
        ("turbine blade", True),
        ("turbine 4812", True),
        # A number, or what was in quotes, is looked up.
        ("which turbine is 4812", True),
        ('show me the "turbine blade" please', True),
        # Words that no unit holds may be what the question is about.
        ("photo of a turbine", False),
        # No unit holds both.
        ("turbine invoice", False),
        ("nothing of this", False),
    ],
)
def test_a_match_is_exact_if_it_is_all_that_was_asked_or_a_number_of_it(query, is_exact):
    index = build_index("turbine blade", "turbine 4812", "invoice of May")
    assert find_rows(index, query, limit=9).is_exact == is_exact
