"""Why a hit was found, on drawn images and pages whose places are known."""

from __future__ import annotations

import io
import pickle
import random

import numpy as np
import pypdfium2
import pytest
from explanations import draw_cases, is_right
from PIL import Image

from qwen3_vl_pocket.world.facts import Facts
from qwen3_vl_pocket.world.files import write_clip
from qwen3_vl_pocket.world.pictures import draw_frames
from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy, Qwen3VLEmbedder, Qwen3VLReranker
from qwen3_vl_retrieval.explanations.boxes import Box
from qwen3_vl_retrieval.explanations.image_parts import find_parts, group_parts
from qwen3_vl_retrieval.explanations.judges import CosineJudge, MarginJudge
from qwen3_vl_retrieval.explanations.occlusion import occlude_image
from qwen3_vl_retrieval.explanations.words import find_text_words, find_words
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.media import read_pdf_text_layer, render_pdf_page
from qwen3_vl_retrieval.testing import FakeEmbedder
from written_pdfs import write_pdf


@pytest.fixture(scope="module")
def embedder():
    return Qwen3VLEmbedder.from_pretrained("pocket")


@pytest.fixture(scope="module")
def reranker():
    return Qwen3VLReranker.from_pretrained("pocket")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    (folder / "paper.pdf").write_bytes(write_pdf("Invoice No 57 of Acme", "nothing here"))
    case = next(draw_cases(1, seed=5))
    case.image.save(folder / "objects.png")
    (folder / "note.txt").write_text("The garden report was sent by Borea.", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def index(folder, tmp_path_factory, embedder, reranker):
    with MultimodalIndex.open(tmp_path_factory.mktemp("index"), embedder, reranker) as index:
        index.sync(folder)
        yield index


def find_hit(results, name):
    return next(hit for hit in results if hit.source.endswith(name) and hit.page in (None, 1))


def test_boxes_of_characters_are_those_of_their_ink():
    content = write_pdf("Invoice No 57")
    layer = read_pdf_text_layer(content, 1, MediaPolicy())
    assert layer.text == "Invoice No 57"
    pixels = np.asarray(render_pdf_page(content, 1, MediaPolicy()).convert("L"))
    height, width = pixels.shape
    (word,) = find_words("where is number 57", layer)
    assert word.text == "57"
    box = word.box.scale(width, height)
    inside = np.zeros(pixels.shape, dtype=bool)
    inside[round(box.top) : round(box.bottom), round(box.left) : round(box.right)] = True
    # All ink of the line that is right of "No" is in the box, to a pixel, and the box is no larger.
    line = pixels[: height // 2] < 128
    rows, columns = np.nonzero(line[:, int(box.left) - 3 :])
    columns += int(box.left) - 3
    assert abs(rows.min() - box.top) <= 2
    assert abs(rows.max() + 1 - box.bottom) <= 2
    assert abs(columns.min() - box.left) <= 2
    assert abs(columns.max() + 1 - box.right) <= 2


@pytest.mark.parametrize("crop", [None, (5, 150, 190, 280)], ids=["whole", "cropped"])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_boxes_are_those_of_a_page_as_it_is_turned_and_cropped(degrees, crop):
    with pypdfium2.PdfDocument(write_pdf("Invoice No 57")) as document:
        page = document[0]
        page.set_rotation(degrees)
        if crop is not None:
            page.set_cropbox(*crop)
        changed = io.BytesIO()
        document.save(changed)
    pixels = np.asarray(render_pdf_page(changed.getvalue(), 1, MediaPolicy()))
    # The page has a red square, too, which is no text.
    rows, columns = np.nonzero((pixels < 100).all(axis=2))
    layer = read_pdf_text_layer(changed.getvalue(), 1, MediaPolicy())
    boxes = layer.boxes[layer.boxes[:, 2] > layer.boxes[:, 0]]
    height, width = pixels.shape[:2]
    found = (*boxes[:, :2].min(axis=0) * (width, height), *boxes[:, 2:].max(axis=0) * (width, height))
    ink = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert found == pytest.approx(ink, abs=3)


@pytest.mark.parametrize(
    ("query", "text", "found"),
    [
        ("Where is the INVOICE?", "an invoice", ["invoice"]),
        ("all invoices", "an invoice", ["invoice"]),
        ("invoice number 57", "Invoice number 57 and 58", ["Invoice number 57"]),
        ("code 57", "code 58", ["code"]),
        ("code 407", "code 4O7", ["code 4O7"]),
        ("1,234 items", "1234 pieces", ["1234"]),
        ("the resume", "a résumé", ["résumé"]),
        ("department", "the departrnent", ["departrnent"]),
        ("发票编号", "本公司的发票", ["发票"]),
        ("what is this", "nothing of it", []),
        ("tea", "coffee", []),
        ("What is the term of notice?", "Term of notice: 90 days", ["Term of notice"]),
        ("the term of notice", "term of payment, notice", ["term", "notice"]),
    ],
)
def test_words_are_found_as_a_reader_finds_them(query, text, found):
    assert [word.text for word in find_text_words(query, text)] == found


def test_a_page_with_a_text_layer_is_explained_by_its_words_without_a_model(index):
    hit = find_hit(index.search("Which invoice has no. 57?"), "paper.pdf")
    explanation = hit.explain()
    assert (explanation.method, explanation.measure, explanation.judged) == ("words", "words", 0)
    assert [(region.text, region.weight) for region in explanation.regions] == [("Invoice No 57", 1)]
    assert explanation.show().size == explanation.image.size
    assert "<svg" in explanation.to_html()
    assert "57" in explanation.to_html()


def test_an_image_is_explained_by_what_its_score_depends_on(index):
    case = next(draw_cases(1, seed=5))
    for question in case.questions:
        explanation = find_hit(index.search(question.text), "objects.png").explain()
        assert (explanation.method, explanation.measure) == ("occlusion", "margin")
        assert is_right(explanation.regions[0].box, question.mask)
        assert explanation.regions[0].effect > 0
        without = find_hit(index.search(question.text, rerank=False), "objects.png").explain()
        assert without.measure == "cosine"
        assert is_right(without.regions[0].box, question.mask)


def test_a_text_is_explained_by_its_words_only(index):
    hit = find_hit(index.search("garden report"), "note.txt")
    assert [region.text for region in hit.explain().regions] == ["garden report"]
    assert hit.explain().show() is None
    with pytest.raises(InputError, match="no image to cover"):
        hit.explain(method="occlusion")


def test_a_video_is_explained_by_spans_of_time(tmp_path, embedder, reranker):
    facts = Facts("change", ("red", "circle", "appears", "late", "blue", "square"))
    with (tmp_path / "clip.mp4").open("wb") as file:
        write_clip(draw_frames(facts, random.Random(1)), file)
    with MultimodalIndex.open(tmp_path / "index", embedder, reranker) as index:
        index.add([tmp_path / "clip.mp4"])
        (hit,) = index.search("a red circle appears")
        explanation = hit.explain(method="occlusion")
    assert explanation.regions
    assert all(0 <= region.start < region.end for region in explanation.regions)
    assert explanation.image is not None


def test_a_pickled_hit_leaves_the_models_behind_and_takes_others(index, reranker):
    hit = find_hit(index.search("a red circle"), "objects.png")
    content = pickle.dumps(hit)
    assert len(content) < 10_000
    alone = pickle.loads(content)  # noqa: S301 - its own bytes
    assert alone == hit
    with pytest.raises(InputError, match="models of the search are not here"):
        alone.explain()
    assert alone.explain(reranker=reranker).measure == "margin"


def test_an_unknown_method_is_refused(index):
    with pytest.raises(ValueError, match="allowed are auto, words, occlusion"):
        find_hit(index.search("a red circle"), "objects.png").explain(method="attention")


def test_a_file_that_is_gone_is_named(tmp_path):
    Image.new("RGB", (64, 48), "red").save(tmp_path / "red.png")
    with MultimodalIndex.open(tmp_path / "index", FakeEmbedder()) as index:
        index.add([tmp_path / "red.png"])
        (hit,) = index.search("red")
        (tmp_path / "red.png").unlink()
        with pytest.raises(MediaError):
            hit.explain()


def test_parts_of_a_blank_image_are_none_and_those_of_a_photo_are_tiles():
    assert find_parts(Image.new("RGB", (300, 200), "white")) == []
    noise = np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8)
    photo = Image.fromarray(noise).resize((300, 200), Image.Resampling.NEAREST)
    (whole,) = find_parts(photo)
    assert len(whole.members) >= 4
    assert sum(member.box.area for member in whole.members) == pytest.approx(whole.box.area)


def test_grouping_joins_what_is_nearest():
    parts = find_parts(
        Image.fromarray(np.pad(np.zeros((40, 40, 3), np.uint8), ((20, 140), (20, 140), (0, 0)), constant_values=255))
    )
    assert len(parts) == 1
    near = [type(parts[0])(Box(x, 0.1, x + 0.1, 0.2)) for x in (0.0, 0.11, 0.8)]
    joined = group_parts(near, most=2)
    assert sorted(len(part.members) for part in joined) == [0, 2]


def test_regions_are_right_and_move_with_the_question(embedder, reranker):
    """The table of benchmarks/explanations.py in small: pages ask more of the model than objects and messages do."""
    right: dict[str, list[bool]] = {}
    moves: list[bool] = []
    judged: list[int] = []
    for case in draw_cases(1, seed=2):
        boxes = []
        for question in case.questions:
            cosine = CosineJudge(embedder, question.text, instruction=None)
            margin = MarginJudge(reranker, question.text, instruction=None)
            explanation = occlude_image(case.image, margin, build_item=lambda image: image, second_judge=cosine)
            boxes.append(explanation.regions[0].box if explanation.regions else None)
            right.setdefault(case.kind, []).append(is_right(boxes[-1], question.mask))
            judged.append(explanation.judged)
        moves.append(boxes[0] != boxes[1])
    every = [one for own in right.values() for one in own]
    assert np.mean(right["objects"] + right["messages"] + right["numbers"]) >= 0.95
    assert np.mean(every) >= 0.85
    assert np.mean(moves) >= 0.9
    assert np.mean(judged) <= 30


def test_a_broken_page_costs_its_own_explanation_and_nothing_else(tmp_path):
    Image.new("RGB", (64, 48), "red").save(tmp_path / "red.png")
    (tmp_path / "paper.pdf").write_bytes(write_pdf("Invoice No 57"))
    with MultimodalIndex.open(tmp_path / "index", FakeEmbedder()) as index:
        index.add([tmp_path / "red.png", tmp_path / "paper.pdf"])
        results = index.search("invoice 57")
        (tmp_path / "red.png").write_bytes(b"broken")
        explanations = dict(zip([hit.media_type for hit in results], results.explain(), strict=True))
        assert isinstance(explanations["image"], MediaError)
        assert {region.text for region in explanations["page"].regions} == {"Invoice", "57"}
        page = results.to_html(explain="auto")
    assert page.count("Why this hit") == 2
    assert "cannot be explained: it can no longer be read" in page
    assert str(tmp_path) not in page
    assert "<svg" in page
