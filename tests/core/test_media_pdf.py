"""Pages: counted, rendered, read."""

import io
import threading

import numpy as np
import pypdfium2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.items import DocumentPage
from qwen3_vl_retrieval.media.images import describe_image, measure_image, read_image
from qwen3_vl_retrieval.media.pdf import count_pdf_pages, find_pdf_page, read_pdf_text, render_pdf_page
from qwen3_vl_retrieval.media.policy import MediaPolicy
from written_pdfs import write_pdf

POLICY = MediaPolicy()
UNISOLATED = MediaPolicy(isolate_reading=False)


def test_pages_are_counted_in_files_and_bytes(tmp_path):
    content = write_pdf("one", "two", "three")
    (tmp_path / "a.pdf").write_bytes(content)
    assert [count_pdf_pages(source, POLICY) for source in (content, tmp_path / "a.pdf", str(tmp_path / "a.pdf"))] == [
        3
    ] * 3


def test_a_page_is_drawn_on_white_with_about_the_pixels_asked_for_and_never_more():
    image = render_pdf_page(write_pdf("one"), 1, POLICY)
    assert image.mode == "RGB"
    assert 0.99 * 1_843_200 < image.width * image.height <= 1_843_200
    assert image.width / image.height == pytest.approx(2 / 3, rel=0.01)
    pixels = np.asarray(image)
    assert tuple(pixels[0, 0]) == (255, 255, 255)
    assert tuple(pixels[-20, 20]) == (255, 0, 0)


@pytest.mark.parametrize("size", [(200, 300), (612, 792), (14400, 14400), (3, 4), (1000, 5.1), (0.5, 0.5)])
@pytest.mark.parametrize("max_pixels", [1, 10, 1000, 99_999])
def test_the_pixel_limit_is_kept_for_pages_of_any_size(size, max_pixels):
    image = render_pdf_page(write_pdf("x", size=size), 1, POLICY, max_pixels=max_pixels)
    assert 1 <= image.width * image.height <= max(max_pixels, 1)


# Beamer 4:3, A5, 155 x 235 mm, a scanner's A4, and three that nobody reported: US Legal, B5, and a receipt.
PAPERS = [
    *((362.835, 272.126), (419.528, 595.276), (439.37, 666.142), (595.2, 841.68)),
    *((612.283, 1008.3), (498.898, 708.661), (226.772, 1700.79)),
]


@pytest.mark.parametrize("size", PAPERS)
def test_pages_of_common_papers_are_drawn_at_every_size(size):
    content = write_pdf("x", size=size)
    for max_pixels in (1_843_200, 1_310_720, 160_000, 57_600, 40_000, 4096):
        image = render_pdf_page(content, 1, POLICY, max_pixels=max_pixels)
        assert 0.9 * max_pixels <= image.width * image.height <= max_pixels


@settings(max_examples=300, deadline=None)
@given(
    size=st.tuples(*[st.floats(1, 3000)] * 2).filter(lambda size: max(size) <= 199 * min(size)),
    max_pixels=st.integers(1, 300_000),
)
def test_a_page_fills_its_budget_at_any_size_and_always_comes_to_an_end(size, max_pixels):
    """The largest with its proportions: short of nine tenths only where a side is so short that one pixel counts."""
    image = render_pdf_page(write_pdf("x", size=size), 1, UNISOLATED, max_pixels=max_pixels)
    assert 1 <= image.width * image.height <= max_pixels
    if min(image.size) >= 20:
        assert image.width * image.height >= 0.9 * max_pixels
    # One pixel more on a side would be too many, or another shape.
    width, height = (side + 1 for side in image.size)
    assert width * height > max_pixels


def test_the_pixel_limit_of_the_policy_wins():
    image = render_pdf_page(write_pdf("x"), 1, MediaPolicy(max_pixels=5000), max_pixels=1_000_000)
    assert 4500 < image.width * image.height <= 5000


@pytest.mark.parametrize("size", [(10_000, 40), (40, 10_000)])
def test_a_page_far_too_long_is_refused(size):
    with pytest.raises(MediaError, match="200 times"):
        render_pdf_page(write_pdf("x", size=size), 1, POLICY)


def test_fewer_than_one_pixel_cannot_be_asked_for():
    with pytest.raises(ValueError, match="max_pixels=0"):
        render_pdf_page(write_pdf("x"), 1, POLICY, max_pixels=0)


def test_the_text_layer_is_read_page_by_page():
    content = write_pdf("one", "zwei", "")
    assert [read_pdf_text(content, page, POLICY) for page in (1, 2, 3)] == ["one", "zwei", ""]


@pytest.mark.parametrize("page", [0, -1, 3])
def test_a_page_that_does_not_exist_is_an_error(page):
    for read in (render_pdf_page, read_pdf_text):
        with pytest.raises(MediaError, match="pages 1 to 2"):
            read(write_pdf("one", "two"), page, POLICY)


def test_ten_thousand_pages_are_refused():
    document = pypdfium2.PdfDocument.new()
    for _ in range(10_000):
        document.new_page(10, 10).close()
    buffer = io.BytesIO()
    document.save(buffer)
    document.close()
    for read in (
        lambda: count_pdf_pages(buffer.getvalue(), POLICY),
        lambda: render_pdf_page(buffer.getvalue(), 1, POLICY),
    ):
        with pytest.raises(MediaPolicyError, match="10,000 pages, above max_pages=2,000"):
            read()
    assert count_pdf_pages(buffer.getvalue(), MediaPolicy(max_pages=10_000)) == 10_000


ENCRYPTION = b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (b"41" * 32, b"42" * 32)
ENCRYPTED = write_pdf("x", extra=ENCRYPTION, trailer=b"/Encrypt 6 0 R /ID [<00> <00>]")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"not a PDF at all", "damaged"),
        (write_pdf("one")[:200], "damaged"),
        (write_pdf(), "damaged, has no pages"),
        (ENCRYPTED, "encrypted"),
    ],
)
def test_what_cannot_be_opened_says_why(content, reason, tmp_path):
    (tmp_path / "a.pdf").write_bytes(content)
    for source in (content, tmp_path / "a.pdf"):
        with pytest.raises(MediaError, match=reason):
            count_pdf_pages(source, POLICY)


@pytest.mark.parametrize("policy", [POLICY, UNISOLATED])
@pytest.mark.parametrize("content", [b"not a PDF at all", write_pdf("one")[:200], write_pdf(), b"%PDF-1.7"])
def test_a_damaged_file_after_an_encrypted_one_is_damaged(content, policy):
    for _ in range(2):
        with pytest.raises(MediaError, match="encrypted"):
            count_pdf_pages(ENCRYPTED, policy)
        for read in (count_pdf_pages, lambda source, policy: read_pdf_text(source, 1, policy)):
            with pytest.raises(MediaError, match="damaged"):
                read(content, policy)


@pytest.mark.parametrize("policy", [POLICY, UNISOLATED])
def test_an_xfa_form_is_drawn_without_advice_on_building_pdfium(policy, capfd, caplog):
    form = write_pdf("x", extra=b"<< >>").replace(
        b"/Type /Catalog", b"/Type /Catalog /AcroForm << /Fields [] /XFA (<xdp/>) >>"
    )
    assert render_pdf_page(form, 1, policy, max_pixels=5000).size == (58, 86)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_the_policy_holds_for_pdf_files(tmp_path):
    (tmp_path / "a.pdf").write_bytes(write_pdf("x"))
    with pytest.raises(MediaPolicyError, match="allowed folders"):
        count_pdf_pages(tmp_path / "a.pdf", MediaPolicy(allow_dirs=()))


def test_threads_take_turns():
    content = write_pdf(*(f"page {number}" for number in range(8)))
    texts = {}

    def read(page):
        for _ in range(5):
            render_pdf_page(content, page, POLICY, max_pixels=10_000)
            texts[page] = read_pdf_text(content, page, POLICY)

    threads = [threading.Thread(target=read, args=(page,)) for page in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {page: f"page {page - 1}" for page in range(1, 9)}


def test_an_error_inside_releases_the_lock():
    with pytest.raises(MediaError):
        read_pdf_text(write_pdf("x"), 9, POLICY)
    assert read_pdf_text(write_pdf("x"), 1, POLICY) == "x"


def test_errors_about_a_page_name_the_file(tmp_path):
    (tmp_path / "a.pdf").write_bytes(write_pdf("one"))
    (tmp_path / "long.pdf").write_bytes(write_pdf("one", size=(10_000, 40)))
    for read in (render_pdf_page, read_pdf_text):
        with pytest.raises(MediaError, match=r"no page 2 of the PDF '.*a\.pdf'; it has pages 1 to 1"):
            read(tmp_path / "a.pdf", 2, POLICY)
    with pytest.raises(MediaError, match=r"page 1 of the PDF '.*long\.pdf' is 10000x40 points"):
        render_pdf_page(tmp_path / "long.pdf", 1, POLICY)
    with pytest.raises(MediaError, match="the PDF 'data:application/pdf,x' is damaged"):
        count_pdf_pages("data:application/pdf,x", POLICY)


# Pages that are rendered when their pixels are needed


def test_a_page_stands_for_its_image(tmp_path):
    (tmp_path / "a.pdf").write_bytes(write_pdf("one", "two"))
    for source in (tmp_path / "a.pdf", str(tmp_path / "a.pdf"), write_pdf("one", "two")):
        rendered = render_pdf_page(source, 2, POLICY)
        for page in (DocumentPage(source, 2), find_pdf_page(source, 2, POLICY)):
            assert measure_image(page, POLICY) == rendered.size
            assert read_image(page, POLICY).tobytes() == rendered.tobytes()
    small = render_pdf_page(tmp_path / "a.pdf", 1, POLICY, max_pixels=5000)
    assert read_image(DocumentPage(tmp_path / "a.pdf", 1, max_pixels=5000), POLICY).tobytes() == small.tobytes()
    with pytest.raises(ValueError, match="at least 1"):
        DocumentPage("a.pdf", 1, max_pixels=0)


def test_finding_a_page_says_what_rendering_it_would_say_and_renders_nothing(tmp_path, monkeypatch):
    contents = {"whole": write_pdf("x"), "long": write_pdf("x", size=(10_000, 40)), "empty": b"", "broken": b"no PDF"}
    for name, content in contents.items():
        (tmp_path / f"{name}.pdf").write_bytes(content)
    strict = MediaPolicy(allow_dirs=(tmp_path / "elsewhere",))
    for name, page, policy in (
        ("whole", 2, POLICY),
        ("long", 1, POLICY),
        ("empty", 1, POLICY),
        ("broken", 1, POLICY),
        ("gone", 1, POLICY),
        ("whole", 1, strict),
        ("whole", 1, MediaPolicy(max_bytes=100)),
    ):
        errors = []
        for read in (render_pdf_page, find_pdf_page):
            with pytest.raises(MediaError) as caught:
                read(tmp_path / f"{name}.pdf", page, policy)
            errors.append((type(caught.value), str(caught.value)))
        assert errors[0] == errors[1]
    monkeypatch.delattr(pypdfium2.PdfPage, "render")
    assert find_pdf_page(tmp_path / "whole.pdf", 1, POLICY).page == 1


def test_a_page_that_was_found_is_opened_under_the_policy_it_was_found_under(tmp_path):
    (tmp_path / "a.pdf").write_bytes(write_pdf("one"))
    closed = MediaPolicy(allow_dirs=())
    page = find_pdf_page(tmp_path / "a.pdf", 1, MediaPolicy(max_pixels=5000))
    assert read_image(page, closed).tobytes() == render_pdf_page(write_pdf("one"), 1, POLICY, max_pixels=5000).tobytes()
    with pytest.raises(MediaPolicyError, match="allowed folders"):
        read_image(DocumentPage(tmp_path / "a.pdf", 1), closed)


def test_a_page_is_named_by_its_number_and_file():
    assert describe_image(DocumentPage("a.pdf", 3)) == "page 3 of the PDF 'a.pdf'"
    assert describe_image(DocumentPage(b"", 3)) == "page 3 of the PDF given as bytes"
    page = DocumentPage(write_pdf("x"), 1)
    with pytest.raises(MediaPolicyError, match=r"page 1 of the PDF given as bytes is .* above max_pixels=100;"):
        read_image(find_pdf_page(page.source, 1, POLICY), MediaPolicy(max_pixels=100))
