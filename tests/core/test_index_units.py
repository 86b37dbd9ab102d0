"""What files become, and which are taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy, MediaPolicyError
from qwen3_vl_retrieval.documents.files import find_kind, list_files
from qwen3_vl_retrieval.documents.units import load_item, read_units
from qwen3_vl_retrieval.media import read_image

LIBRARY = Path(__file__).parents[1] / "data" / "library"
POLICY = MediaPolicy()


def read_files(folder, policy=POLICY):
    """What is in a folder: the listing, the units of the files, and by path why a file or folder has none."""
    listing = list_files(folder)
    units, failures = [], dict(listing.failures)
    for path in listing.files:
        try:
            units += read_units(path, policy)
        except InputError as error:
            failures[path] = error
    return listing, units, failures


def test_files_are_listed_in_order_at_any_depth_without_hidden_ones(tmp_path):
    for name in ("b.txt", "a/z.txt", "a/.hidden/x.txt", ".git/config", "a/.secret.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path).files] == ["a/z.txt", "b.txt"]


def test_links_out_of_the_folder_and_loops_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("x")
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "note.txt").write_text("x")
    (folder / "leak").symlink_to(outside)
    (folder / "leak.txt").symlink_to(outside / "secret.txt")
    (folder / "sub" / "loop").symlink_to(folder)
    (folder / "also.txt").symlink_to(folder / "sub" / "note.txt")
    assert [path.name for path in list_files(folder).files] == ["also.txt", "note.txt"]


def test_a_file_in_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="not a folder"):
        list_files(tmp_path / "a.txt")


def test_links_that_lead_nowhere_or_in_a_circle_are_named_and_the_rest_is_read(tmp_path):
    (tmp_path / "note.txt").write_text("x")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "missing.png")
    (tmp_path / "a.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    listing, units, failures = read_files(tmp_path, MediaPolicy(allow_dirs=(tmp_path,)))
    assert sorted(path.name for path in failures) == ["a.png", "b.png", "dangling.png"]
    assert all(path.name in str(error) for path, error in failures.items())
    assert [(skipped.path.name, skipped.reason) for skipped in listing.skipped] == [("circle", "link in a circle")]
    assert [unit.text for unit in units] == ["x"]


def refuse(monkeypatch, owner, name, refused):
    """Makes one function answer as it does for a user who lacks the permission: tests may run as root."""
    real = getattr(owner, name)

    def answer(path, *args, **kwargs):
        if Path(path) == refused:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(owner, name, answer)


def test_a_folder_inside_that_may_not_be_read_is_named_and_the_rest_is_read(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "secret.txt").write_text("x")
    (tmp_path / "note.txt").write_text("x")
    refuse(monkeypatch, os, "scandir", tmp_path / "closed")
    _, units, failures = read_files(tmp_path)
    assert list(failures) == [tmp_path / "closed"]
    assert "closed' cannot be read: Permission denied" in str(failures[tmp_path / "closed"])
    assert [unit.source.name for unit in units] == ["note.txt"]


def test_the_folder_itself_must_be_readable(tmp_path, monkeypatch):
    refuse(monkeypatch, os, "scandir", tmp_path)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        list_files(tmp_path)
    refuse(monkeypatch, Path, "stat", tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        list_files(tmp_path)


def test_an_entry_that_may_not_be_looked_at_is_named_and_the_rest_is_read(tmp_path, monkeypatch):
    (tmp_path / "listed").mkdir()
    for name in ("listed/a.txt", "note.txt"):
        (tmp_path / name).write_text("x")
    refuse(monkeypatch, Path, "stat", tmp_path / "listed" / "a.txt")
    _, units, failures = read_files(tmp_path)
    assert list(failures) == [tmp_path / "listed" / "a.txt"]
    assert "a.txt' cannot be looked at: Permission denied" in str(failures[tmp_path / "listed" / "a.txt"])
    assert [unit.source.name for unit in units] == ["note.txt"]


def test_the_suffix_decides_whatever_its_case():
    assert find_kind(Path("A.JPG")) == "image"
    assert find_kind(Path("a.Docx")) == "office"
    assert find_kind(Path("a.exe")) is None
    assert read_units(Path("a.exe"), POLICY) == []


def test_a_pdf_is_a_unit_per_page_with_its_text_layer():
    units = read_units(LIBRARY / "papers" / "invoice-2024-118.pdf", POLICY)
    assert [(unit.media_type, unit.page) for unit in units] == [("page", 1), ("page", 2), ("page", 3)]
    assert "Payment due: 11 April 2024" in (units[0].text or "")
    assert "1,821.60 EUR" in (units[1].text or "")
    page = load_item(units[0], POLICY)
    assert isinstance(page, Image.Image)
    assert page.height > page.width
    assert read_image(load_item(units[0], POLICY, render_pages=False)["image"], POLICY).tobytes() == page.tobytes()


def test_a_scanned_pdf_has_no_text():
    (unit,) = read_units(LIBRARY / "papers" / "lease-scan.pdf", POLICY)
    assert unit.text is None


def test_a_short_video_is_one_unit_without_a_window():
    (unit,) = read_units(LIBRARY / "clips" / "conveyor-belt.mp4", POLICY)
    assert (unit.start, unit.end) == (None, None)
    assert load_item(unit, POLICY) == {"video": unit.source}


def test_a_long_video_is_cut_into_overlapping_windows_that_cover_it():
    units = read_units(LIBRARY / "clips" / "parking-camera.mp4", POLICY)
    assert [(unit.start, unit.end) for unit in units] == [(0.0, 30.0), (25.0, 55.0), (50.0, 64.0)]
    assert load_item(units[1], POLICY) == {"video": units[1].source, "start": 25.0, "end": 55.0}


def test_no_window_lies_wholly_in_the_one_before():
    path = LIBRARY / "clips" / "parking-camera.mp4"
    units = read_units(path, POLICY, window_seconds=34.5, overlap_seconds=5.0)
    assert [(unit.start, unit.end) for unit in units] == [(0.0, 34.5), (29.5, 64.0)]


def test_windows_that_do_not_advance_are_refused():
    with pytest.raises(ValueError, match="overlap_seconds"):
        read_units(LIBRARY / "clips" / "parking-camera.mp4", POLICY, window_seconds=5.0, overlap_seconds=5.0)


def test_a_long_text_is_cut_into_chunks_and_nothing_is_lost(tmp_path):
    sentences = [f"Sentence number {number} is about the office." for number in range(200)]
    path = tmp_path / "long.txt"
    path.write_text("\n\n".join(sentences), encoding="utf-8")
    units = read_units(path, POLICY)
    assert len(units) > 4
    assert max(len(unit.text or "") for unit in units) <= 1500
    joined = " ".join(unit.text or "" for unit in units)
    assert all(sentence in joined for sentence in sentences)
    assert load_item(units[0], POLICY) == units[0].text


def test_text_in_utf_16_with_its_mark_and_utf_8_with_one_is_read(tmp_path):
    for name, encoding in (("a.txt", "utf-16"), ("b.txt", "utf-8-sig")):
        (tmp_path / name).write_text("黄色雨伞", encoding=encoding)
        assert [unit.text for unit in read_units(tmp_path / name, POLICY)] == ["黄色雨伞"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("latin.txt", "déjà vu".encode("latin-1"), "not UTF-8.*confidence"),
        ("binary.txt", b"ab\0cd", "binary"),
        ("empty.md", b" \n", "empty"),
        ("empty.pdf", b"", "is empty"),
        ("text.mp4", b"this is a text", "cannot be decoded"),
        ("text.png", b"this is a text", "not an image"),
    ],
)
def test_what_is_not_what_its_suffix_claims_has_its_own_message(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=message):
        read_units(tmp_path / name, POLICY)


@pytest.mark.parametrize("name", ["report.docx", "table.XLSX", "page.html"])
def test_office_files_are_refused_with_the_name_of_a_converter(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match="Docling"):
        read_units(tmp_path / name, POLICY)


@pytest.mark.parametrize(
    "name", ["notes/price-list.csv", "places/floor-plan.png", "papers/lease-scan.pdf", "clips/conveyor-belt.mp4"]
)
def test_the_policy_holds_for_every_kind(tmp_path, name):
    with pytest.raises(MediaPolicyError, match="outside the allowed folders"):
        read_units(LIBRARY / name, MediaPolicy(allow_dirs=(tmp_path,)))
