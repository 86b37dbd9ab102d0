"""The page of searches with images, and the ranks and recalls it tells."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from hit_samples import make_hit, make_results
from qwen3_vl_retrieval import MediaError
from qwen3_vl_retrieval.cli.answers import AnsweredQuestion, compute_recall, describe_rank
from qwen3_vl_retrieval.cli.comparisons import print_comparison, print_recall
from qwen3_vl_retrieval.cli.gallery import Figure, Gallery, build_gallery
from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.index.results.hits import FailedFile

LIBRARY = Path(__file__).parents[1] / "data" / "library"
PICTURE = Unit(source=LIBRARY / "products/red-mug.png", media_type="image")
PAGE = Unit(source=LIBRARY / "papers/invoice-2024-118.pdf", media_type="page", page=2)
SCENE = Unit(source=LIBRARY / "clips/parking-camera.mp4", media_type="video", start=50.0, end=64.0)
HOSTILE = Unit(source=LIBRARY / "<img src=x>.txt", media_type="text", text="<script>alert(1)</script> & \x1b[31m")
GONE = Unit(source=LIBRARY / "gone.png", media_type="image")


def make_order(ranked, *, relevance_score=None):
    hits = [
        make_hit(
            rank=rank,
            id=f"{unit.source}-{unit.page}-{unit.start}",
            source=str(unit.source),
            media_type=unit.media_type,
            page=unit.page,
            start=unit.start,
            end=unit.end,
            text=unit.text,
            similarity_score=0.5,
            relevance_score=relevance_score,
        )
        for rank, unit in ranked
    ]
    return make_results(*hits, is_reranked=relevance_score is not None)


def make_question(first, final, *, answer=PAGE, query="q"):
    return AnsweredQuestion(
        title="a title",
        language="en",
        query=query,
        query_image=PICTURE.source,
        by_vectors=make_order(first),
        reranked=make_order(final, relevance_score=0.25),
        answer=answer,
    )


def build(*questions, shown=5, failures=()):
    figures = (Figure(label="recall@1", before="0%", value="100%"),)
    gallery = Gallery(
        title="t",
        introduction="i",
        notice="<b>notice</b>",
        figures=figures,
        details=(("model", "a/b"),),
        folder=LIBRARY,
        questions=questions,
        failures=failures,
        shown=shown,
    )
    return build_gallery(gallery)


ORDERS = (
    [(1, PICTURE), (2, HOSTILE), (3, PAGE), (4, SCENE)],
    [(1, PAGE), (2, PICTURE), (3, SCENE), (4, HOSTILE)],
)


def test_texts_and_names_are_escaped_and_nothing_is_fetched():
    page = build(make_question(*ORDERS, query='<i onclick="x">'))
    for shown in (
        "&lt;script&gt;alert(1)&lt;/script&gt; &amp; \N{REPLACEMENT CHARACTER}[31m",
        "&lt;img src=x&gt;.txt",
        "&lt;i onclick=&#34;x&#34;&gt;",
        "&lt;b&gt;notice&lt;/b&gt;",
    ):
        assert shown in page
    assert "<script" not in page
    assert "\x1b" not in page
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)=\"(?!data:image/jpeg;base64,|#question-)", page)


def test_the_answer_is_marked_in_both_orders_and_its_way_is_told():
    page = build(make_question(*ORDERS))
    assert page.count('<li class="tile answer">') == 2
    assert page.count("✓") == 2
    assert '<span class="rank">3rd</span> by vectors and <span class="rank best">1st</span> after' in page
    assert page.count("was 3rd") == 1
    assert "The answer, papers/invoice-2024-118.pdf, page 2, is " in page
    assert "00:50-01:04" in page
    # Both scores, in both orders.
    assert page.count("<dt>cosine</dt><dd>0.500</dd>") == page.count("<dt>probability</dt><dd>0.250</dd>") == 8


def test_an_answer_that_could_not_be_read_is_said_to_be():
    assert "The answer could not be read." in build(make_question(*ORDERS, answer=None))


def test_only_as_many_as_asked_are_shown_and_ranks_count_all():
    page = build(make_question(*ORDERS), shown=2)
    assert page.count('<li class="tile') == 4
    assert page.count('<li class="tile answer">') == 1
    assert '<span class="rank">3rd</span>' in page


def test_failures_are_listed_and_what_is_gone_is_a_question_mark():
    failure = FailedFile(path=LIBRARY / "a<b.png", unit=None, error=MediaError("is <cut> short"))
    page = build(make_question([(1, GONE)], [(1, GONE)]), failures=[failure])
    assert "<b>a&lt;b.png</b> is &lt;cut&gt; short" in page
    assert page.count('<div class="image unreadable">?</div>') == 2
    assert '<span class="rank missing">not found</span>' in page


@pytest.mark.parametrize("unit", [PICTURE, PAGE, SCENE])
def test_a_preview_is_a_small_jpeg(unit):
    page = build(make_question([(1, unit)], [(1, unit)]))
    encoded = re.search(r'<div class="image"><img src="data:image/jpeg;base64,([^"]+)"', page)[1]
    with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as picture:
        assert max(picture.size) <= 360
        assert picture.format == "JPEG"


def test_ranks_and_recalls():
    question = make_question(*ORDERS)
    assert (question.first_rank, question.final_rank) == (3, 1)
    assert make_question(*ORDERS, answer=None).first_rank is None
    assert [describe_rank(rank) for rank in (1, 2, 3, 4, 11, 12, 13, 21, 22, None)] == [
        *("1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "not found")
    ]
    assert compute_recall([1, 5, 6, None], 5) == 0.5
    with pytest.raises(ValueError, match="no ranks"):
        compute_recall([], 1)


def test_the_tables_show_both_orders_side_by_side():
    console = Console(file=io.StringIO(), width=100)
    print_comparison(3, make_question(*ORDERS, query="what?\x1b[2J"), console, shown=3)
    print_recall([make_question(*ORDERS)], console, depths=(1, 5))
    shown = console.file.getvalue()
    assert "3. a title" in shown
    assert "what?\N{REPLACEMENT CHARACTER}[2J  + red-mug.png" in shown
    assert re.search(r"1 +red-mug\.png +0\.500 +invoice-2024-118\.pdf, page 2 ✓ +0\.250", shown)
    assert re.search(r"3 +invoice-2024-118\.pdf, page 2 ✓ ", shown)
    assert "parking-camera.mp4, 00:50-01:04" in shown
    assert "the answer: 3rd by vectors, 1st after reranking" in shown
    assert re.search(r"recall@1 .* 0% \(0\) .* 100% \(1\)", shown)
