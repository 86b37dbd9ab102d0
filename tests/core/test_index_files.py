"""What a folder holds, what of it is read, and why the rest is not."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.documents.files import list_files


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def list_names(folder, paths):
    return [path.relative_to(folder).as_posix() for path in paths]


def list_skipped(folder, **options):
    return {
        skipped.path.relative_to(folder).as_posix(): skipped.reason for skipped in list_files(folder, **options).skipped
    }


def test_what_is_skipped_is_listed_with_the_reason(tmp_path):
    folder = tmp_path / "folder"
    write(folder, "note.txt", "a.zip", "sub/b.exe", "Makefile", ".hidden", ".git/config")
    write(tmp_path, "outside.txt", "elsewhere/x.txt")
    (folder / "empty.md").touch()
    os.mkfifo(folder / "pipe.txt")
    (folder / "leak.txt").symlink_to(tmp_path / "outside.txt")
    (folder / "leak").symlink_to(tmp_path / "elsewhere")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "nowhere").symlink_to(folder / "missing")
    (folder / "sub" / "up").symlink_to(folder)
    assert list_skipped(folder) == {
        "Makefile": "unknown suffix",
        "a.zip": "unknown suffix",
        "circle": "link in a circle",
        "empty.md": "empty text",
        "leak": "link that leads outside the folder",
        "leak.txt": "link that leads outside the folder",
        "nowhere": "link that leads nowhere",
        "pipe.txt": "named pipe",
        "sub/b.exe": "unknown suffix",
        "sub/up": "link to a folder that is read already",
    }
    listing = list_files(folder)
    assert list_names(folder, listing.files) == ["note.txt"]
    assert listing.hidden == 2
    assert listing.failures == ()


def test_sockets_and_devices_are_skipped_whatever_their_suffix(tmp_path, monkeypatch):
    # The path of a socket is short everywhere.
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.png")
        (tmp_path / "device.txt").symlink_to("/dev/null")
        assert list_skipped(tmp_path) == {"socket.png": "socket", "device.txt": "link that leads outside the folder"}


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ([], ["a.txt", "drafts/a.txt", "drafts/b.md", "sub/2019/c.txt", "sub/drafts/d.txt"]),
        (["*.md"], ["a.txt", "drafts/a.txt", "sub/2019/c.txt", "sub/drafts/d.txt"]),
        (["drafts/"], ["a.txt", "sub/2019/c.txt"]),
        (["/drafts"], ["a.txt", "sub/2019/c.txt", "sub/drafts/d.txt"]),
        (["a.txt", "!/a.txt"], ["a.txt", "drafts/b.md", "sub/2019/c.txt", "sub/drafts/d.txt"]),
        (["sub/**/c.*", "# a comment"], ["a.txt", "drafts/a.txt", "drafts/b.md", "sub/drafts/d.txt"]),
    ],
)
def test_patterns_are_understood_as_in_a_gitignore_file(tmp_path, patterns, left):
    write(tmp_path, "a.txt", "drafts/a.txt", "drafts/b.md", "sub/2019/c.txt", "sub/drafts/d.txt")
    assert list_names(tmp_path, list_files(tmp_path, exclude=patterns).files) == left


def test_an_excluded_folder_is_one_entry_and_is_not_looked_into(tmp_path):
    write(tmp_path, "note.txt", "modules/a/b.txt", "modules/c.zip", "modules/.d")
    listing = list_files(tmp_path, exclude=["modules"])
    assert list_skipped(tmp_path, exclude=["modules"]) == {"modules": "excluded"}
    assert listing.hidden == 0


def test_one_pattern_in_place_of_a_list_is_refused(tmp_path):
    with pytest.raises(InputError, match="give a list"):
        list_files(tmp_path, exclude="*.txt")


@given(names=st.sets(st.sampled_from(["a.txt", "b.zip", "c", "d.png", "e.pdf", ".f", "g.HEIC", "h.md"])))
def test_every_entry_is_read_skipped_or_hidden_once(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("folder")
    write(folder, *names)
    listing = list_files(folder)
    told = list_names(folder, [*listing.files, *(skipped.path for skipped in listing.skipped)])
    assert sorted(told) == sorted(name for name in names if name != ".f")
    assert listing.hidden == len(names & {".f"})
