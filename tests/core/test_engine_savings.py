"""Work that is not done twice, counted: these are the gates that timings cannot be."""

from __future__ import annotations

import asyncio
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from qwen3_vl_retrieval import MediaError, MediaPolicy, MediaPolicyError
from qwen3_vl_retrieval.engine.requests import media_reader
from qwen3_vl_retrieval.media import DocumentPage, pdf, render_pdf_page
from qwen3_vl_retrieval.media.images import read_resized_image

TEXTS = [f"text {'and more ' * (number % 37)}number {number}" for number in range(60)]


@pytest.fixture
def pages(tmp_path):
    """Five images of two sizes, older than any doubt about their time of change."""
    paths = []
    for number in range(5):
        path = tmp_path / f"page-{number}.png"
        noise = np.random.default_rng(number).integers(0, 255, (96 if number % 2 else 64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        os.utime(path, (1_700_000_000, 1_700_000_000))
        paths.append(path)
    return paths


@pytest.fixture
def paper(tmp_path):
    """A PDF of three pages, as old."""
    path = tmp_path / "paper.pdf"
    write_paper(path, ["white", "navy", "red"])
    return path


@pytest.fixture
def rendered(monkeypatch):
    """One entry for each page that is rendered."""
    calls = []
    monkeypatch.setattr(
        pdf, "render_pdf_page", lambda *given, **options: calls.append(1) or render_pdf_page(*given, **options)
    )
    return calls


def write_paper(path, colors, *, seconds=1_700_000_000):
    sheets = [Image.new("RGB", (90, 120), color) for color in colors]
    sheets[0].save(path, save_all=True, append_images=sheets[1:])
    os.utime(path, (seconds, seconds))


PAGE_PIXELS = 40_000
"""Few: what is counted is how often pages are rendered, not how well."""


def list_pages(source, *, max_pixels=PAGE_PIXELS):
    return [{"image": DocumentPage(source, number, max_pixels=max_pixels)} for number in (1, 2, 3)]


def count(model, work):
    before = model.stats
    result = work()
    return result, model.stats - before


def test_nothing_is_computed_on_padding(make_embedder):
    _, done = count(model := make_embedder(), lambda: model.embed(TEXTS))
    assert done.tokens_computed <= 1.05 * done.tokens_real
    assert done.tokens_computed == done.tokens_real - done.prefix_tokens_reused + done.prefix_tokens_computed


def test_the_prefix_of_an_instruction_is_computed_once_for_all_calls(make_embedder):
    embedder = make_embedder(max_batch_tokens=200)
    _, first = count(embedder, lambda: embedder.embed(TEXTS))
    _, second = count(embedder, lambda: embedder.embed(TEXTS))
    assert first.batches > 3
    assert 0 < first.prefix_tokens_computed < 40
    assert second.prefix_tokens_computed == 0
    assert second.prefix_tokens_reused == len(TEXTS) * first.prefix_tokens_computed


def test_equal_items_are_computed_once(make_embedder):
    embedder = make_embedder()
    vectors, done = count(embedder, lambda: embedder.embed(["a", "b", "a", "a"]))
    assert (done.requests, done.duplicates) == (4, 2)
    assert np.array_equal(vectors[0], vectors[2])
    assert np.abs(vectors - np.stack([embedder.embed([text])[0] for text in "abaa"])).max() < 2e-6


def test_the_whole_query_is_computed_once_for_its_documents(make_reranker, media):
    reranker = make_reranker()
    query = {"image": media / "small_20x17.png", "text": "What is on this picture, and who drew it?"}
    documents = ["a", "b c", {"image": media / "rgb_320x240.png"}, "d"]
    expected = [reranker.score(query, [document])[0] for document in documents]
    scores, done = count(reranker, lambda: reranker.score(query, documents))
    assert np.abs(scores - expected).max() < 1e-5
    # The two images; the query's is in every pair.
    assert done.vision_encodes + done.vision_cache_hits == 2
    assert done.prefix_tokens_reused > 4 * 30


def test_a_second_query_over_the_same_pages_encodes_no_image(make_reranker, pages):
    reranker = make_reranker()
    _, first = count(reranker, lambda: reranker.score("one", pages))
    scores, second = count(reranker, lambda: reranker.score("another", pages))
    assert (first.vision_encodes, first.vision_cache_hits) == (5, 0)
    assert (second.vision_encodes, second.vision_cache_hits) == (0, 5)
    fresh = make_reranker(vision_cache_bytes=0)
    expected, third = count(fresh, lambda: fresh.score("another", pages))
    assert third.vision_encodes == 5
    assert np.abs(scores - expected).max() < 1e-5


def test_the_cache_can_be_filled_before_the_first_query(make_reranker, pages, tmp_path):
    reranker = make_reranker()
    (tmp_path / "broken.png").write_bytes(b"nothing")
    failures = reranker.cache_media([*pages, tmp_path / "broken.png", "text"])
    assert {position: type(error) for position, error in failures.items()} == {5: MediaError}
    _, done = count(reranker, lambda: reranker.score("one", pages))
    assert done.vision_encodes == 0


def test_a_known_page_is_not_decoded_again_but_a_changed_one_is(make_reranker, pages, monkeypatch):
    reranker = make_reranker()
    reranker.score("one", pages)
    decoded = []
    monkeypatch.setattr(
        media_reader,
        "read_resized_image",
        lambda source, policy, **options: decoded.append(source) or read_resized_image(source, policy, **options),
    )
    before = reranker.score("two", pages)
    assert decoded == []
    shutil.copyfile(pages[0], pages[1])
    os.utime(pages[1], (1_700_000_100, 1_700_000_100))
    after = reranker.score("two", pages)
    assert decoded == [pages[1]]
    assert after[1] == pytest.approx(after[0], abs=1e-6)
    assert before[1] != pytest.approx(before[0], abs=1e-6)


def test_pages_of_a_pdf_have_the_scores_of_their_images_and_are_rendered_for_the_first_query_alone(
    make_reranker, paper, rendered
):
    pictures = [render_pdf_page(paper, number, MediaPolicy(), max_pixels=PAGE_PIXELS) for number in (1, 2, 3)]
    for source in (paper, str(paper), paper.read_bytes()):
        reranker, fresh = make_reranker(), make_reranker()
        rendered.clear()
        for query in ("one", "another"):
            assert np.array_equal(reranker.score(query, list_pages(source)), fresh.score(query, pictures))
            assert len(rendered) == 3


def test_a_page_at_another_size_or_of_a_changed_pdf_is_rendered_anew(make_reranker, paper, rendered):
    reranker = make_reranker()
    before = reranker.score("one", list_pages(paper))
    reranker.score("one", list_pages(paper, max_pixels=20_000))
    assert len(rendered) == 6
    write_paper(paper, ["red", "navy", "white"], seconds=1_700_000_100)
    after = reranker.score("one", list_pages(paper))
    assert len(rendered) == 9
    assert after == pytest.approx(before[::-1], abs=1e-6)


def test_a_page_of_a_pdf_that_was_just_written_is_rendered_anew(make_reranker, paper, rendered):
    reranker = make_reranker()
    os.utime(paper)
    for _ in range(2):
        reranker.score("one", list_pages(paper))
    assert len(rendered) == 6


def test_a_known_page_is_still_refused_where_the_policy_refuses_it(make_reranker, paper, tmp_path):
    pages = list_pages(tmp_path / "open/paper.pdf")
    (tmp_path / "open").mkdir()
    shutil.copy2(paper, tmp_path / "open/paper.pdf")
    reranker = make_reranker(media_policy=MediaPolicy(allow_dirs=(tmp_path / "open",)))
    reranker.score("one", pages)
    with pytest.raises(MediaPolicyError, match=r"document 0: the file .* is outside the allowed folders"):
        reranker.score("one", list_pages(paper))
    (tmp_path / "open/paper.pdf").unlink()
    with pytest.raises(MediaError, match="document 0: no such file"):
        reranker.score("one", pages)
    (tmp_path / "open/paper.pdf").symlink_to(paper)
    with pytest.raises(MediaPolicyError):
        reranker.score("one", pages)
    # A page that is known under one policy is not known under another.
    with pytest.raises(MediaPolicyError, match="3 pages, above max_pages=2"):
        make_reranker(media_policy=MediaPolicy(max_pages=2)).score("one", list_pages(paper))


def test_a_page_that_cannot_be_read_has_its_error_in_its_place(make_reranker, paper, tmp_path):
    (tmp_path / "broken.pdf").write_bytes(b"no PDF")
    bad = [{"image": DocumentPage(paper, 4)}, {"image": DocumentPage(tmp_path / "broken.pdf", 1)}]
    outcomes = make_reranker().score("one", [*bad, *list_pages(paper)], on_error="return")
    assert [type(outcome) for outcome in outcomes] == [MediaError, MediaError, float, float, float]
    assert "document 0: there is no page 4 of the PDF" in str(outcomes[0])
    assert "broken.pdf' is damaged" in str(outcomes[1])


def test_what_is_known_is_still_refused_where_the_policy_refuses_it(make_reranker, pages, tmp_path):
    (tmp_path / "open").mkdir()
    reranker = make_reranker(media_policy=MediaPolicy(allow_dirs=(tmp_path / "open",)))
    shutil.copy2(pages[0], tmp_path / "open/page.png")
    reranker.score("one", [tmp_path / "open/page.png"])
    with pytest.raises(MediaPolicyError):
        reranker.score("one", pages[:1])
    (tmp_path / "open/page.png").unlink()
    (tmp_path / "open/page.png").symlink_to(pages[0])
    with pytest.raises(MediaPolicyError):
        reranker.score("one", [tmp_path / "open/page.png"])


def test_a_small_cache_keeps_what_was_used_last(make_reranker, pages):
    size = sum(layer.nbytes for layer in _encode(make_reranker(), pages[0]))
    reranker = make_reranker(vision_cache_bytes=2 * size)
    reranker.score("one", [pages[0], pages[2]])
    reranker.score("one", [pages[4], pages[2]])
    _, done = count(reranker, lambda: reranker.score("two", [pages[2], pages[4]]))
    assert done.vision_encodes == 0
    _, done = count(reranker, lambda: reranker.score("two", [pages[0]]))
    assert done.vision_encodes == 1
    assert reranker._engine.executor._features.byte_count <= 2 * size


def _encode(reranker, page):
    reranker.score("one", [page])
    (features,) = reranker._engine.executor._features._near._entries.values()
    return features.embeddings, *features.deepstack


def test_concurrent_callers_share_few_passes(make_embedder):
    embedder = make_embedder()
    expected = embedder.embed(TEXTS)

    async def embed_all():
        return await asyncio.gather(*(embedder.aembed([text]) for text in TEXTS))

    rows, done = count(embedder, lambda: np.concatenate(asyncio.run(embed_all())))
    assert np.abs(rows - expected).max() < 2e-5
    assert done.requests == len(TEXTS)
    assert done.batches <= 8


def test_seconds_are_counted_where_they_are_spent(make_embedder, media):
    _, done = count(model := make_embedder(), lambda: model.embed([media / "rgb_320x240.png"]))
    assert done.seconds_reading > 0
    assert done.seconds_vision > 0
    assert done.seconds_language > 0
    assert done.splits == 0


def test_filling_the_cache_is_split_when_the_memory_does_not_suffice(make_reranker, pages, monkeypatch):
    reranker = make_reranker()
    vision = reranker._engine.executor._vision
    encode = vision.encode

    def encode_two_at_most(media, pixels):
        media = list(media)
        if len(media) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(media, pixels)

    monkeypatch.setattr(vision, "encode", encode_two_at_most)
    assert reranker.cache_media(pages) == {}
    monkeypatch.undo()
    _, done = count(reranker, lambda: reranker.score("a query", pages))
    assert done.vision_encodes == 0


def draw_frames(colours):
    """Frames of noise, equal where the letters are."""
    return [
        Image.fromarray(np.random.default_rng(ord(one)).integers(0, 255, (64, 96, 3), dtype=np.uint8))
        for one in colours
    ]


@pytest.mark.parametrize(
    ("clips", "repeated"),
    [(["AAAAAABBBB"], 3), (["AABBAABBAA"], 3), (["ABABAB", "BAABBA"], 4), (["ABCDEF", "BACDFE"], 1), (["ABCD"], 0)],
)
def test_what_stands_still_in_a_video_is_encoded_once(make_embedder, monkeypatch, clips, repeated):
    items = [{"video": draw_frames(clip), "fps": 1.0} for clip in clips]
    items.append({"image": draw_frames("A")[0]})
    vectors, done = count(model := make_embedder(), lambda: model.embed(items))
    assert (done.vision_encodes, done.frame_pairs_repeated) == (len(items), repeated)
    numbers = iter(range(1000))
    monkeypatch.setattr(
        "qwen3_vl_retrieval.engine.vision.encoder.digest_pixels", lambda *_, **__: b"%d" % next(numbers)
    )
    expected, done = count(model := make_embedder(), lambda: model.embed(items))
    assert done.frame_pairs_repeated == 0
    assert np.abs(vectors - expected).max() < 2e-6
