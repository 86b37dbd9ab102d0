"""What an index holds after files were added, moved, changed, lost and found again; with made-up vectors."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from PIL import Image

from made_up_embedder import MadeUpEmbedder
from qwen3_vl_retrieval.documents import units
from qwen3_vl_retrieval.errors import InputError, MediaError, StoreError
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.index.ingest import pipeline
from qwen3_vl_retrieval.media.policy import MediaPolicy


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "files").mkdir()
    for name in ("a", "b", "c", "d"):
        (tmp_path / "files" / f"{name}.txt").write_text(f"The note {name}.")
    return tmp_path / "files"


@pytest.fixture
def embedder():
    return MadeUpEmbedder()


@pytest.fixture
def index(tmp_path, embedder):
    with open_index(tmp_path / "index", embedder) as opened:
        yield opened


def open_index(path, embedder, **options):
    return MultimodalIndex.open(path, embedder, short_dimensions=32, **options)


def list_found(index):
    """Texts with the names of the files that hold them."""
    hits = index.search("anything", k=100, match_words=False)
    return {hit.text: {Path(source).name for source in hit.sources} for hit in hits}


def measure_vectors(index):
    return index.stats().bytes_by_part["vectors"]


def make_older(*paths):
    """Files that were written to in the last two seconds are hashed again, whatever they look like."""
    for path in paths:
        os.utime(path, (1_000_000_000, 1_000_000_000))


# Moved and renamed


@pytest.mark.parametrize("target", ["renamed.txt", "below/a.txt", "a.md"])
def test_a_file_that_was_renamed_or_moved_is_not_embedded_again(index, embedder, folder, target):
    index.sync(folder)
    (folder / "below").mkdir()
    (folder / "a.txt").rename(folder / target)
    embedder.embedded.clear()
    report = index.sync(folder)
    assert embedder.embedded == []
    assert (report.added_files, report.removed_files, report.moved_files, report.removed_units) == (1, 1, 1, 0)
    assert list_found(index)["The note a."] == {Path(target).name}


def test_a_folder_that_was_renamed_is_not_embedded_again(index, embedder, tmp_path):
    (tmp_path / "library" / "old").mkdir(parents=True)
    for number in range(5):
        Image.new("RGB", (20, 10), (number * 40, 0, 0)).save(tmp_path / "library" / "old" / f"{number}.png")
    index.sync(tmp_path / "library")
    (tmp_path / "library" / "old").rename(tmp_path / "library" / "new")
    report = index.sync(tmp_path / "library")
    assert (len(embedder.embedded), report.moved_files, len(index)) == (5, 5, 5)
    assert {Path(hit.source).parent.name for hit in index.search("x", k=9)} == {"new"}


def test_contents_that_change_places_are_not_embedded_again(index, embedder, folder):
    index.sync(folder)
    (folder / "a.txt").rename(folder / "x")
    (folder / "b.txt").rename(folder / "a.txt")
    (folder / "x").rename(folder / "b.txt")
    report = index.sync(folder)
    assert (len(embedder.embedded), report.changed_files, report.embedded_units) == (4, 2, 0)
    assert list_found(index)["The note a."] == {"b.txt"}


def test_chunks_that_move_from_one_text_to_another_are_not_embedded_again(index, embedder, folder):
    parts = [f"# Part {part}\n\n" + f"Sentence {part} of a long report. " * 40 for part in range(4)]
    (folder / "one.md").write_text("\n\n".join(parts))
    (folder / "two.md").write_text(parts[0])
    index.sync(folder)
    embedder.embedded.clear()
    (folder / "one.md").write_text("\n\n".join(parts[:2]))
    (folder / "two.md").write_text("\n\n".join(parts[2:]))
    assert index.sync(folder).embedded_units == 0


def test_a_file_that_is_added_after_its_old_path_was_removed_is_not_embedded_again(index, embedder, folder, tmp_path):
    index.sync(folder)
    (folder / "a.txt").rename(tmp_path / "a.txt")
    assert index.sync(folder).removed_units == 1
    index.add([tmp_path / "a.txt"])
    assert len(embedder.embedded) == 4
    assert list_found(index)["The note a."] == {"a.txt"}


@pytest.mark.parametrize("refused", [True, False])
def test_a_hit_names_a_path_that_exists_with_its_metadata(index, tmp_path, refused):
    folders = [tmp_path / name for name in ("1-old", "2-new", "3-copy")]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / "a.txt").write_text("The same note.")
        index.add([folder], metadata={"shelf": number})
    shutil.rmtree(folders[0])
    if refused:
        # A folder in the place of the file is not the file.
        (folders[0] / "a.txt").mkdir(parents=True)
    (hit,) = index.search("x")
    assert (hit.source, hit.metadata) == (str(folders[1] / "a.txt"), {"shelf": 1})
    assert len(hit.sources) == 3
    shutil.rmtree(folders[1])
    assert index.search("x")[0].metadata == {"shelf": 2}
    index.export_parquet(tmp_path / "units.parquet")
    import pyarrow.parquet

    exported = pyarrow.parquet.read_table(tmp_path / "units.parquet").to_pylist()[0]
    assert (exported["source"], exported["metadata"]) == (str(folders[2] / "a.txt"), '{"shelf": 2}')
    shutil.rmtree(folders[2])
    assert index.search("x")[0].source == str(folders[0] / "a.txt")


# Vanished


def test_a_folder_that_is_not_mounted_does_not_empty_the_index(index, embedder, folder, tmp_path):
    index.sync(folder)
    folder.rename(tmp_path / "away")
    with pytest.raises(InputError, match="there is no folder"):
        index.sync(folder)
    folder.mkdir()
    (folder / "new.txt").write_text("A new note.")
    with pytest.raises(StoreError, match=r"would remove 4 of the 4 files .*'a\.txt', 'b\.txt', 'c\.txt' and 1 more"):
        index.sync(folder)
    assert len(index) == 5
    assert list_found(index)["A new note."] == {"new.txt"}
    shutil.rmtree(folder)
    (tmp_path / "away").rename(folder)
    report = index.sync(folder)
    assert (report.unchanged_files, report.removed_files, len(embedder.embedded)) == (4, 1, 5)


def test_up_to_half_of_a_folder_may_vanish_and_the_rest_if_that_is_allowed(index, folder):
    index.sync(folder)
    (folder / "a.txt").unlink()
    (folder / "b.txt").unlink()
    assert index.sync(folder).removed_files == 2
    shutil.rmtree(folder)
    report = index.sync(folder, allow_removals=True)
    assert (report.removed_files, report.moved_files, len(index)) == (2, 0, 0)


def test_moved_files_and_files_that_were_never_read_are_no_removals(index, folder, tmp_path):
    for number in range(9):
        (folder / f"broken-{number}.png").write_bytes(b"no picture")
    index.sync(folder)
    for number in range(9):
        (folder / f"broken-{number}.png").unlink()
    for name in "abcd":
        (folder / f"{name}.txt").rename(folder / f"{name}{name}.txt")
    report = index.sync(folder)
    assert (report.added_files, report.moved_files, report.removed_files, len(index)) == (4, 4, 13, 4)
    assert index.stats().failures == ()


def test_what_vanished_is_not_found_and_comes_back_without_the_model(index, embedder, folder):
    index.sync(folder)
    text = (folder / "a.txt").read_text()
    (folder / "a.txt").unlink()
    index.sync(folder)
    stats = index.stats()
    assert (stats.units, stats.retired_units, stats.retired_bytes) == (3, 1, 128)
    assert "The note a." not in list_found(index)
    assert "The note a." not in {hit.text for hit in index.search('"note a"', k=9)}
    assert len(index.search("x", where={"source": str(folder / "a.txt")})) == 0
    (folder / "back.txt").write_text(text)
    report = index.sync(folder)
    assert (report.embedded_units, report.reused_units, len(embedder.embedded)) == (0, 1, 4)
    (hit,) = index.search("The note a.", k=1)
    assert hit.similarity_score > 0.999
    assert index.search('"note a"', k=1)[0].keyword_rank == 1
    assert index.stats().retired_units == 0


def test_an_edit_that_is_taken_back_is_not_embedded_again(index, embedder, folder):
    index.sync(folder)
    (folder / "a.txt").write_text("Something else.")
    index.sync(folder)
    (folder / "a.txt").write_text("The note a.")
    index.sync(folder)
    assert len(embedder.embedded) == 5
    assert index.stats().retired_units == 1


@pytest.mark.parametrize("failing", ["stat", "read", "unmounted below"])
def test_a_file_that_cannot_be_read_for_a_moment_keeps_its_vectors(index, embedder, folder, monkeypatch, failing):
    (folder / "below").mkdir()
    (folder / "a.txt").rename(folder / "below" / "a.txt")
    index.sync(folder)

    def refuse(*_, **__):
        raise MediaError("no") from OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        if failing == "stat":
            patched.setattr("qwen3_vl_retrieval.index.ingest.source_reader.read_signature", refuse)
        elif failing == "read":
            patched.setattr("qwen3_vl_retrieval.index.ingest.source_reader.hash_file", refuse)
        else:
            patched.setattr("qwen3_vl_retrieval.documents.files._Walk._read_folder", refuse_below(folder / "below"))
        report = index.sync(folder)
        assert report.failures
    report = index.sync(folder)
    assert report.failures == ()
    assert (len(embedder.embedded), len(index)) == (4, 4)


def refuse_below(refused):
    from qwen3_vl_retrieval.documents.files import _Walk

    read_folder = _Walk._read_folder

    def read(self, folder):
        if folder == refused:
            raise InputError("the folder cannot be read: Input/output error")
        return read_folder(self, folder)

    return read


def test_the_grace_ends_when_it_is_over_and_with_compact(tmp_path, embedder, folder):
    store = tmp_path / "index"
    with open_index(store, embedder, grace_days=0) as index:
        index.sync(folder)
        (folder / "a.txt").unlink()
        index.sync(folder)
        assert (index.stats().retired_units, index.stats().free_bytes) == (0, 128)
    with open_index(store, embedder, grace_days=1) as index:
        (folder / "b.txt").unlink()
        index.sync(folder)
        assert index.stats().retired_units == 1
        with index.store.catalog.write():
            index.store.catalog._query("UPDATE retired SET retired_at = retired_at - 90000")
        index.sync(folder)
        assert index.stats().retired_units == 0
        (folder / "c.txt").unlink()
        index.sync(folder)
        assert index.compact().retired_units == 1
        assert measure_vectors(index) == 128
        (folder / "c.txt").write_text("The note c.")
        assert index.sync(folder).embedded_units == 1
    with pytest.raises(ValueError, match="grace_days=-1"):
        open_index(store, embedder, grace_days=-1)


def test_what_the_user_deletes_is_not_kept(index, embedder, folder):
    index.sync(folder)
    assert index.delete({"source": str(folder / "a.txt")}) == 1
    assert index.stats().retired_units == 0
    index.sync(folder)
    assert len(embedder.embedded) == 5


def test_the_file_of_vectors_does_not_grow_when_files_come_and_go(index, folder):
    index.sync(folder)
    size = measure_vectors(index)
    for turn in range(5):
        index.delete({"media_type": "text"})
        for name in "abcd":
            (folder / f"{name}.txt").write_text(f"The note {name} in turn {turn}.")
        index.sync(folder)
        assert measure_vectors(index) == size
        assert len(list_found(index)) == 4


# Counted


def test_a_file_of_many_groups_counts_as_added_and_as_replaced_once(index, folder, monkeypatch):
    monkeypatch.setattr(pipeline, "_GROUP_UNITS", 2)
    sheets = [Image.new("RGB", (60, 80), (number * 20, 0, 0)) for number in range(12)]
    sheets[0].save(folder / "long.pdf", save_all=True, append_images=sheets[1:])
    report = index.sync(folder)
    assert (report.added_files, report.changed_files) == (5, 0)
    sheets[1].save(folder / "long.pdf", save_all=True, append_images=sheets[1:])
    report = index.sync(folder)
    assert (report.added_files, report.changed_files) == (0, 1)


def test_the_rest_of_an_interrupted_run_counts_as_added(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(pipeline, "_GROUP_UNITS", 2)
    sheets = [Image.new("RGB", (60, 80), (number * 20, 0, 0)) for number in range(12)]
    sheets[0].save(folder / "long.pdf", save_all=True, append_images=sheets[1:])
    embedder = MadeUpEmbedder()
    moments = []

    def interrupt(moment):
        moments.append(moment)
        if moment.units_embedded >= 8:
            raise KeyboardInterrupt

    with open_index(tmp_path / "index", embedder) as index, pytest.raises(KeyboardInterrupt):
        index.sync(folder, on_progress=interrupt)
    with open_index(tmp_path / "index", embedder) as index:
        report = index.sync(folder)
        assert (report.added_files, report.changed_files, report.unchanged_files) == (1, 0, 4)
        assert len(embedder.embedded) == len(set(embedder.embedded)) == len(index) == 16


def test_a_file_that_is_named_twice_is_added_once(index, folder):
    report = index.add([folder / "a.txt", folder, folder / "a.txt"])
    assert (report.added_files, report.unchanged_files) == (4, 0)


def test_an_image_item_that_cannot_be_embedded_is_named(tmp_path):
    Image.new("RGB", (20, 10), "red").save(tmp_path / "red.png")
    embedder = MadeUpEmbedder(refused=[(tmp_path / "red.png").read_bytes()])
    with open_index(tmp_path / "index", embedder) as index:
        report = index.add([{"image": tmp_path / "red.png"}, "a text"])
    assert [failure.path.name for failure in report.failures] == ["red.png"]


# Failures that are remembered


class Reads:
    """Counts how often files are taken apart."""

    def __init__(self, monkeypatch):
        self.names = []
        read = units.media.read_image_header

        def read_header(path, policy, **options):
            self.names.append(path.name)
            return read(path, policy, **options)

        monkeypatch.setattr(units.media, "read_image_header", read_header, raising=False)


def test_a_file_that_cannot_be_read_is_named_every_time_and_read_once(tmp_path, folder, embedder, monkeypatch):
    reads = Reads(monkeypatch)
    (folder / "broken.png").write_bytes(b"no picture")
    make_older(folder / "broken.png")
    for turn in range(3):
        with open_index(tmp_path / "index", embedder) as index:
            report = index.sync(folder)
            assert [failure.path.name for failure in report.failures] == ["broken.png"]
            assert isinstance(report.failures[0].error, MediaError)
            assert "not an image" in report.failures[0].error.reason
            assert report.known_failures == (turn > 0)
            assert reads.names == ["broken.png"]
            assert len(index.stats().failures) == 1


@pytest.mark.parametrize("change", ["content", "times", "replaced", "policy", "option", "version", "retry"])
def test_a_file_is_read_again_when_what_decides_has_changed(tmp_path, folder, embedder, monkeypatch, change):
    from qwen3_vl_retrieval.index.ingest import source_reader

    reads = Reads(monkeypatch)
    broken = folder / "broken.png"
    broken.write_bytes(b"no picture")
    make_older(broken)
    with open_index(tmp_path / "index", embedder) as index:
        index.sync(folder)
        index.sync(folder)
    options = {}
    retried = {}
    match change:
        case "content":
            Image.new("RGB", (20, 10), "red").save(broken)
        case "times":
            broken.touch()
        case "replaced":
            shutil.copy(broken, folder / "x")
            (folder / "x").rename(broken)
            make_older(broken)
        case "policy":
            options = {"media_policy": MediaPolicy(max_pixels=10)}
        case "option":
            options = {"window_seconds": 7.0}
        case "version":
            versions = {**source_reader._list_versions(), "pillow": "99"}
            monkeypatch.setattr(source_reader, "_list_versions", lambda: versions)
        case "retry":
            retried = {"retry_failed": True}
    assert reads.names == ["broken.png"]
    with open_index(tmp_path / "index", embedder, **options) as index:
        report = index.sync(folder, **retried)
        assert reads.names == ["broken.png"] * 2
        assert report.known_failures == 0
        assert [failure.path.name for failure in report.failures] == ([] if change == "content" else ["broken.png"])


def test_a_file_that_is_too_large_is_read_when_the_limit_is_lifted(tmp_path, embedder):
    Image.new("RGB", (200, 100), "red").save(tmp_path / "large.png")
    make_older(tmp_path / "large.png")
    for most, failed in ((100, 1), (100, 1), (20_000, 0)):
        with open_index(tmp_path / "index", embedder, media_policy=MediaPolicy(max_pixels=most)) as index:
            assert len(index.add([tmp_path / "large.png"]).failures) == failed


def test_a_page_that_cannot_be_embedded_is_named_every_time_and_tried_once(tmp_path, folder):
    sheets = [Image.new("RGB", (60, 80), color) for color in ("white", "navy", "lime")]
    sheets[0].save(folder / "sheets.pdf", save_all=True, append_images=sheets[1:])
    make_older(folder / "sheets.pdf")
    embedder = MadeUpEmbedder()
    from qwen3_vl_retrieval.media import render_pdf_page

    embedder.refused = {render_pdf_page(folder / "sheets.pdf", 2, MediaPolicy()).tobytes()}
    with open_index(tmp_path / "index", embedder) as index:
        for turn in range(3):
            report = index.sync(folder)
            (failure,) = report.failures
            assert (failure.path.name, failure.unit.page, failure.unit.media_type) == ("sheets.pdf", 2, "page")
            assert (report.known_failures, report.changed_files) == (turn > 0, 0)
            assert report.unchanged_files == (5 if turn else 0)
        embedder.refused.clear()
        report = index.sync(folder, retry_failed=True)
        assert (report.failures, report.embedded_units, report.unchanged_files) == ((), 1, 5)


@pytest.mark.parametrize("errno", [2, 5, 13, 116])
def test_what_the_disk_failed_with_is_always_tried_again(index, folder, monkeypatch, errno):
    def refuse(path, policy, **_):
        raise MediaError("it cannot be read") from OSError(errno, os.strerror(errno))

    make_older(*folder.iterdir())
    with monkeypatch.context() as patched:
        patched.setattr("qwen3_vl_retrieval.index.ingest.source_reader.hash_file", refuse)
        assert len(index.sync(folder).failures) == 4
    report = index.sync(folder)
    assert (report.failures, report.added_files) == ((), 4)


def test_a_link_that_leads_nowhere_is_tried_again(index, folder, tmp_path):
    (folder / "link.txt").symlink_to(folder / "target" / "note.txt")
    assert [failure.path.name for failure in index.sync(folder).failures] == ["link.txt"]
    (folder / "target").mkdir()
    (folder / "target" / "note.txt").write_text("The note at the end of a link.")
    assert index.sync(folder).failures == ()


# Told


def test_progress_names_the_file_that_takes_long(index, folder, monkeypatch):
    import threading

    read = units.media.read_image_header
    shown = threading.Event()

    def wait(path, policy, **options):
        assert shown.wait(60)
        return read(path, policy, **options)

    monkeypatch.setattr(units.media, "read_image_header", wait, raising=False)
    Image.new("RGB", (20, 10), "red").save(folder / "slow.png")

    def tell(moment):
        if moment.current == folder / "slow.png":
            shown.set()

    index.sync(folder, on_progress=tell)
    assert shown.is_set()


def test_names_beside_a_bar_are_short_and_printable():
    from qwen3_vl_retrieval.index.ingest.progress import show_name

    assert show_name(Path("/a/short.pdf")) == "short.pdf"
    long = show_name(Path("/a") / ("x" * 200 + "-the-end.pdf"))
    assert (len(long), long.endswith("end.pdf")) == (32, True)
    for name in (b"caf\xe9.txt", b"a\x1b[31mred.txt", "日本語.txt".encode()):
        shown = show_name(Path(os.fsdecode(b"/a/" + name)))
        assert shown.encode()
        assert shown.isprintable()


# Everything together

NAMES = st.sampled_from([f"{name}.txt" for name in "abcdef"] + ["deep/g.txt", "deep/h.txt"])
CONTENTS = st.sampled_from([f"The content number {number}." for number in range(7)])


class ChangingFolder(RuleBasedStateMachine):
    """An index beside a model of what it must hold, and of what it may have to embed."""

    @initialize()
    def begin(self):
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "files"
        (self.folder / "deep").mkdir(parents=True)
        self.embedder = MadeUpEmbedder()
        self.index = open_index(self.root / "index", self.embedder)
        self.disk = {}
        self.held = {}
        # Contents with vectors, live or retired; and those of which an interrupted run may have left some.
        self.known = set()
        self.perhaps = set()
        self.is_whole = True

    def teardown(self):
        if "index" in vars(self):
            self.index.close()
            shutil.rmtree(self.root)

    @rule(name=NAMES, content=CONTENTS)
    def write(self, name, content):
        (self.folder / name).write_text(content)
        self.disk[name] = content

    @rule(old=NAMES, new=NAMES)
    def move(self, old, new):
        if old in self.disk and old != new:
            (self.folder / old).replace(self.folder / new)
            self.disk[new] = self.disk.pop(old)

    @rule(name=NAMES)
    def remove(self, name):
        if name in self.disk:
            (self.folder / name).unlink()
            del self.disk[name]

    @rule()
    def sync_all(self):
        self.run(lambda: self.index.sync(self.folder, allow_removals=True))
        self.held = dict(self.disk)
        self.is_whole = True

    @precondition(lambda self: self.is_whole)
    @rule()
    def sync(self):
        gone = [name for name, content in self.held.items() if name not in self.disk]
        lost = [name for name in gone if self.held[name] not in self.disk.values()]
        if 2 * len(lost) > len(self.held):
            with pytest.raises(StoreError, match=f"would remove {len(lost)} of the {len(self.held)} files"):
                self.run(lambda: self.index.sync(self.folder))
            self.settle_embedded()
            self.held.update(self.disk)
        else:
            report = self.run(lambda: self.index.sync(self.folder))
            added = {name for name in self.disk if name not in self.held}
            changed = {name for name in self.disk if name in self.held and self.held[name] != self.disk[name]}
            assert (report.added_files, report.changed_files) == (len(added), len(changed))
            assert (report.removed_files, report.moved_files) == (len(gone), len(gone) - len(lost))
            self.held = dict(self.disk)

    def run(self, sync):
        self.embedder.embedded.clear()
        report = sync()
        assert report.failures == ()
        self.settle_embedded()
        return report

    def settle_embedded(self):
        embedded = [content.decode() for content in self.embedder.embedded]
        missing = set(self.disk.values()) - self.known
        assert len(embedded) == len(set(embedded))
        assert missing - self.perhaps <= set(embedded) <= missing
        self.known |= missing
        self.perhaps -= self.known

    @rule(after=st.integers(1, 3))
    def interrupt(self, after):
        """The process ends in the middle of a run."""

        def tell(moment):
            if moment.files_done >= after:
                raise KeyboardInterrupt

        self.embedder.embedded.clear()
        try:
            self.index.sync(self.folder, allow_removals=True, on_progress=tell)
        except KeyboardInterrupt:
            self.perhaps |= set(self.disk.values()) - self.known
            self.is_whole = False
        else:
            self.settle_embedded()
            self.held = dict(self.disk)
            self.is_whole = True
        self.reopen()

    @precondition(lambda self: self.is_whole)
    @rule(name=NAMES)
    def delete(self, name):
        content = self.held.pop(name, None)
        removed = self.index.delete({"source": str(self.folder / name)})
        is_last = content is not None and content not in self.held.values()
        assert removed == is_last
        if is_last:
            self.known.discard(content)

    @precondition(lambda self: self.is_whole)
    @rule()
    def compact(self):
        report = self.index.compact()
        self.known = set(self.held.values())
        self.perhaps = set()
        assert report.bytes_after <= report.bytes_before
        assert self.index.stats().retired_units == self.index.stats().free_bytes == 0
        assert measure_vectors(self.index) == len(self.known) * 128

    @rule()
    def repair(self):
        assert self.index.store.repair() == len(self.index)

    @rule()
    def reopen(self):
        self.index.close()
        self.index = open_index(self.root / "index", self.embedder)

    @invariant()
    def holds_what_the_model_says(self):
        if "index" not in vars(self):
            return
        catalog = self.index.store.catalog
        slots = [slot for slot, _ in catalog.list_slots()]
        slots += [slot for (slot,) in catalog._query("SELECT slot FROM retired UNION ALL SELECT slot FROM free_slots")]
        assert sorted(slots) == list(range(1, len(slots) + 1))
        if not self.is_whole:
            return
        wanted = {}
        for name, content in self.held.items():
            wanted.setdefault(content, set()).add(Path(name).name)
        assert list_found(self.index) == wanted
        assert len(self.index) == len(wanted)
        for content in list(wanted)[:2]:
            nearest = self.index.search(content, k=1)[0]
            assert (nearest.text, nearest.similarity_score > 0.999) == (content, True)


class SmallGroups(ChangingFolder):
    """With groups of two units, so that runs are interrupted between them."""

    @initialize()
    def begin(self):
        self._group_units = pipeline._GROUP_UNITS
        pipeline._GROUP_UNITS = 2
        super().begin()

    def teardown(self):
        pipeline._GROUP_UNITS = self._group_units
        super().teardown()


TestChangingFolder = SmallGroups.TestCase
TestChangingFolder.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
