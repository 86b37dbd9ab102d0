"""Folders as documents: what is loaded, under which ids, and what becomes of files that cannot be read."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pytest
from PIL import Image

from langchain_qwen3_vl.contents import coerce_item
from langchain_qwen3_vl.document_loaders import Qwen3VLFolderLoader
from qwen3_vl_retrieval import InputError, MediaPolicy
from spoken_videos import hear_tones, write_spoken_video

LIBRARY = Path(__file__).parents[1] / "data" / "library"


def draw(path, color):
    Image.new("RGB", (16, 12), color).save(path)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    (folder / "images").mkdir(parents=True)
    draw(folder / "images" / "red.png", "red")
    draw(folder / "images" / "blue.png", "blue")
    shutil.copyfile(LIBRARY / "papers" / "invoice-2024-118.pdf", folder / "invoice.pdf")
    shutil.copyfile(LIBRARY / "clips" / "parking-camera.mp4", folder / "camera.mp4")
    shutil.copyfile(LIBRARY / "notes" / "kitchen-rules.txt", folder / "rules.txt")
    (folder / "program.bin").write_bytes(b"\0")
    (folder / ".hidden").mkdir()
    draw(folder / ".hidden" / "secret.png", "green")
    return folder


def test_images_pages_windows_and_chunks_become_documents(folder):
    documents = Qwen3VLFolderLoader(folder, metadata={"team": "a"}).load()
    kinds = [(Path(document.metadata["source"]).name, document.metadata["media_type"]) for document in documents]
    windows = [document for document in documents if document.metadata["media_type"] == "video"]
    assert set(kinds) == {
        ("blue.png", "image"),
        ("red.png", "image"),
        ("invoice.pdf", "page"),
        ("camera.mp4", "video"),
        ("rules.txt", "text"),
    }
    assert (windows[0].metadata["start"], windows[0].metadata["end"]) == (0.0, 30.0)
    assert len(windows) == 3
    assert all(document.metadata["team"] == "a" and len(document.metadata["sha256"]) == 64 for document in documents)
    page = next(document for document in documents if document.metadata["media_type"] == "page")
    assert page.metadata["page"] == 1
    assert "118" in page.page_content
    image = next(document for document in documents if document.metadata["source"].endswith("red.png"))
    assert (image.page_content, image.metadata["width"], image.metadata["height"]) == ("", 16, 12)
    assert coerce_item(image) == {"image": str(folder / "images" / "red.png")}
    assert [document.metadata["source"] for document in documents] == sorted(d.metadata["source"] for d in documents)


def test_files_are_read_while_documents_are_consumed(folder, monkeypatch):
    read = []
    original = Qwen3VLFolderLoader._read_file
    monkeypatch.setattr(
        Qwen3VLFolderLoader, "_read_file", lambda self, path: read.append(path.name) or original(self, path)
    )
    documents = Qwen3VLFolderLoader(folder).lazy_load()
    assert next(documents).metadata["source"].endswith("camera.mp4")
    assert read == ["camera.mp4"]


def test_ids_are_of_the_content_and_fit_every_store(folder, tmp_path):
    before = {document.id: document for document in Qwen3VLFolderLoader(folder).load()}
    assert all(str(uuid.UUID(row_id)) == row_id for row_id in before)
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    (moved / "images" / "red.png").rename(moved / "images" / "rot.png")
    draw(moved / "images" / "blue.png", "green")
    after = {document.id: document for document in Qwen3VLFolderLoader(moved).load()}
    assert [d.metadata["source"] for i, d in before.items() if i not in after] == [str(folder / "images" / "blue.png")]
    assert [d.metadata["source"] for i, d in after.items() if i not in before] == [str(moved / "images" / "blue.png")]


def test_content_that_is_there_twice_is_loaded_once(folder):
    count = len(Qwen3VLFolderLoader(folder).load())
    shutil.copyfile(folder / "invoice.pdf", folder / "a-copy.pdf")
    documents = Qwen3VLFolderLoader(folder).load()
    assert len(documents) == count
    assert {Path(d.metadata["source"]).name for d in documents if "page" in d.metadata} == {"a-copy.pdf"}


def test_a_chunk_keeps_its_id_when_others_change(tmp_path):
    text = "\n\n".join(f"# Part {part}\n\n" + f"Words of part {part}. " * 60 for part in range(3))
    (tmp_path / "a.md").write_text(text)
    before = {document.id for document in Qwen3VLFolderLoader(tmp_path).load()}
    (tmp_path / "a.md").write_text(text + "\n\n# Part 3\n\n" + "Words of part 3. " * 60)
    after = {document.id for document in Qwen3VLFolderLoader(tmp_path).load()}
    assert len(before) == 3
    assert before < after


def test_a_broken_file_is_named(folder):
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    with pytest.raises(InputError, match=r"broken\.pdf"):
        Qwen3VLFolderLoader(folder).load()


def test_broken_files_are_skipped_and_told(folder):
    expected = [document.id for document in Qwen3VLFolderLoader(folder).load()]
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    (folder / "broken.png").write_bytes((folder / "images" / "red.png").read_bytes()[:20])
    (folder / "letter.docx").write_bytes(b"PK")
    (folder / "nowhere.png").symlink_to(folder / "missing.png")
    loader = Qwen3VLFolderLoader(folder, on_error="skip")
    for _ in range(2):
        assert [document.id for document in loader.load()] == expected
        assert [failure.path.name for failure in loader.failures] == [
            "broken.pdf",
            "broken.png",
            "letter.docx",
            "nowhere.png",
        ]
    assert "docling" in str(loader.failures[2].error).lower()


def test_links_out_of_the_folder_are_left_out(folder, tmp_path):
    draw(tmp_path / "outside.png", "yellow")
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    (folder / "circle.png").symlink_to(folder / "circle.png")
    loader = Qwen3VLFolderLoader(folder, on_error="skip")
    names = {Path(document.metadata["source"]).name for document in loader.load()}
    assert "link.png" not in names
    assert [failure.path.name for failure in loader.failures] == ["circle.png"]


def test_the_policy_counts(folder):
    with pytest.raises(InputError, match="max_bytes"):
        Qwen3VLFolderLoader(folder, media_policy=MediaPolicy(max_bytes=10)).load()


def test_words_are_read_where_asked(folder):
    documents = Qwen3VLFolderLoader(folder, ocr=lambda image: f"{image.width} wide").load()
    assert {d.page_content for d in documents if d.metadata["media_type"] == "image"} == {"16 wide"}


def test_windows_are_as_asked(folder):
    loader = Qwen3VLFolderLoader(folder, window_seconds=40, overlap_seconds=0)
    windows = [document for document in loader.load() if document.metadata["media_type"] == "video"]
    assert [document.metadata["start"] for document in windows] == [0.0, 40.0]


def test_options_are_checked_at_once(tmp_path):
    with pytest.raises(ValueError, match="on_error='ignore'"):
        Qwen3VLFolderLoader(tmp_path, on_error="ignore")
    with pytest.raises(ValueError, match="overlap_seconds"):
        Qwen3VLFolderLoader(tmp_path, window_seconds=5, overlap_seconds=5)
    with pytest.raises(InputError, match="is not a folder"):
        Qwen3VLFolderLoader(tmp_path / "none").load()


def test_what_is_said_in_videos_is_heard_where_asked(tmp_path):
    write_spoken_video(tmp_path / "talk.mkv", {(0.5, 1.5): "apple", (4.5, 5.5): "cherry"}, seconds=8)
    loader = Qwen3VLFolderLoader(tmp_path, window_seconds=4, overlap_seconds=0, asr=hear_tones)
    assert [(document.metadata["start"], document.page_content) for document in loader.load()] == [
        (0.0, "apple"),
        (4.0, "cherry"),
    ]
