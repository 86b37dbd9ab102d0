"""A PDF is opened once by each process that reads it, and what stays open harms no other file."""

import os
from collections import Counter
from pathlib import Path

import pytest

from counted_pdfs import sitecustomize
from made_up_embedder import MadeUpEmbedder
from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.media import (
    MediaPolicy,
    count_pdf_pages,
    find_page,
    kept_document,
    read_image_header,
    read_pdf_text,
    reader_processes,
    render_page,
    render_pdf_page,
)
from qwen3_vl_retrieval.media.kept_document import KeptDocument
from viewed_images import draw_corners, encode
from written_pdfs import write_pdf

POLICY = MediaPolicy()
PAGES = 40


@pytest.fixture
def opened_pdfs(tmp_path, monkeypatch):
    """Counts the PDFs that each reader opens, by its number."""
    log = tmp_path / "opened.log"
    monkeypatch.setenv(sitecustomize.VARIABLE, str(log))
    folders = [str(Path(sitecustomize.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))
    pool = reader_processes._Pool()
    monkeypatch.setattr(reader_processes, "_POOL", pool)
    yield lambda: Counter(log.read_text().split())
    pool.close()


class OpenFile:
    is_closed = False

    def close(self):
        self.is_closed = True


def make_pdf(path, *texts):
    path.write_bytes(write_pdf(*texts))
    return path


def test_indexing_opens_a_pdf_once_in_each_reader(tmp_path, opened_pdfs):
    folder = tmp_path / "library"
    folder.mkdir()
    make_pdf(folder / "a.pdf", *(f"page {number}" for number in range(PAGES)))
    with MultimodalIndex.open(tmp_path / "index", MadeUpEmbedder()) as index:
        report = index.sync(folder)
        assert report.embedded_units == PAGES
    opened = opened_pdfs()
    assert max(opened.values()) == 1, opened


def test_two_pdfs_at_once_are_opened_a_few_times_each(tmp_path, opened_pdfs):
    folder = tmp_path / "library"
    folder.mkdir()
    for name in ("a.pdf", "b.pdf"):
        make_pdf(folder / name, *(f"{name} {number}" for number in range(PAGES)))
    with MultimodalIndex.open(tmp_path / "index", MadeUpEmbedder()) as index:
        assert index.sync(folder).embedded_units == 2 * PAGES
    # Where one file ends and the next begins, readers go to and fro.
    assert max(opened_pdfs().values()) <= 12


def test_everything_about_a_pdf_is_read_from_one_open_document(tmp_path, opened_pdfs):
    path = make_pdf(tmp_path / "a.pdf", "one", "two", "three")
    assert count_pdf_pages(path, POLICY) == 3
    assert [read_pdf_text(path, page, POLICY) for page in (1, 2, 3)] == ["one", "two", "three"]
    for page in (1, 2, 3):
        render_page(find_page(path, page, POLICY), POLICY)
    with pytest.raises(MediaError, match="no page 4"):
        read_pdf_text(path, 4, POLICY)
    assert render_pdf_page(path, 1, POLICY).size
    assert list(opened_pdfs().values()) == [1]


def test_a_file_that_was_written_to_is_opened_again(tmp_path, opened_pdfs):
    path = make_pdf(tmp_path / "a.pdf", "one")
    assert read_pdf_text(path, 1, POLICY) == "one"
    make_pdf(path, "other", "two")
    assert count_pdf_pages(path, POLICY) == 2
    assert read_pdf_text(path, 1, POLICY) == "other"
    os.replace(make_pdf(tmp_path / "b.pdf", "third"), path)  # noqa: PTH105 - as a program would
    assert read_pdf_text(path, 1, POLICY) == "third"
    path.unlink()
    with pytest.raises(MediaError, match="no such file"):
        count_pdf_pages(path, POLICY)
    assert sum(opened_pdfs().values()) == 3


def test_a_policy_holds_for_a_document_that_another_one_left_open(tmp_path, opened_pdfs):
    path = make_pdf(tmp_path / "a.pdf", "one", "two")
    assert count_pdf_pages(path, POLICY) == 2
    with pytest.raises(MediaPolicyError, match="max_pages=1"):
        count_pdf_pages(path, MediaPolicy(max_pages=1))
    with pytest.raises(MediaPolicyError, match="allowed folders"):
        count_pdf_pages(path, MediaPolicy(allow_dirs=()))
    assert list(opened_pdfs().values()) == [1]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files of other processes are listed on Linux")
def test_a_document_is_closed_before_another_file_is_read(tmp_path, opened_pdfs):
    path = make_pdf(tmp_path / "a.pdf", "one")
    assert count_pdf_pages(path, POLICY) == 1
    [reader] = opened_pdfs()
    assert "a.pdf" in list_open_names(reader)
    assert read_image_header(encode(draw_corners(), "PNG"), POLICY).width
    assert "a.pdf" not in list_open_names(reader)
    for other in (make_pdf(tmp_path / "b.pdf", "one"), path.read_bytes()):
        count_pdf_pages(path, POLICY)
        count_pdf_pages(other, POLICY)
        assert "a.pdf" not in list_open_names(reader)


def list_open_names(process_id):
    folder = Path(f"/proc/{process_id}/fd")
    return {Path(os.readlink(link)).name for link in folder.iterdir()}  # noqa: PTH115 - may be no file


def test_nothing_is_kept_where_nothing_allows_it():
    kept, document = KeptDocument(), OpenFile()
    kept.put("pdf", "a", document)
    assert document.is_closed
    assert kept.take("a") is None


def test_nothing_is_kept_where_memory_is_short():
    kept, document = KeptDocument(), OpenFile()
    kept.allow(lambda: False)
    kept.put("pdf", "a", document)
    assert document.is_closed


def test_a_document_belongs_to_whoever_took_it():
    kept, document = KeptDocument(), OpenFile()
    kept.allow(lambda: True)
    kept.put("pdf", "a", document)
    assert kept.take("a") is document
    assert kept.take("a") is None
    kept.close_unless_owned("images")
    assert not document.is_closed
    kept.put("pdf", "a", document)
    kept.close_unless_owned("pdf")
    assert not document.is_closed
    assert kept.take("b") is None
    assert document.is_closed


def test_a_document_that_nobody_uses_is_closed(monkeypatch):
    kept, document = KeptDocument(), OpenFile()
    kept.allow(lambda: True)
    kept.put("pdf", "a", document)
    kept.close_idle()
    assert not document.is_closed
    monkeypatch.setattr(kept_document, "_IDLE_SECONDS", -1)
    kept.close_idle()
    assert document.is_closed
