"""The index over real files, with a real embedder and reranker."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from index_runs import run_sync
from qwen3_vl_retrieval import (
    Embedder,
    FingerprintMismatchError,
    InputError,
    MediaError,
    MultimodalInput,
    PixelBudget,
    StoreError,
)
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.index.ingest.progress import write_failures

LIBRARY = Path(__file__).parents[1] / "data" / "library"

SMALL = PixelBudget(min_pixels=4096, max_pixels=4096, frame_min_pixels=4096, frame_max_pixels=4096)


class CountingEmbedder(Embedder):
    """An embedder that counts what goes through the model."""

    def __init__(self, embedder):
        self._embedder = embedder
        self.embedded = 0

    @property
    def fingerprint(self):
        return self._embedder.fingerprint

    def prepare(self, inputs, **options):
        return self._embedder.prepare(inputs, **options)

    def embed_prepared(self, prepared, **options):
        self.embedded += len(prepared)
        return self._embedder.embed_prepared(prepared, **options)

    @property
    def dimensions(self):
        return self._embedder.dimensions

    @property
    def media_policy(self):
        return self._embedder.media_policy

    def compute_fingerprint(self, **options):
        return self._embedder.compute_fingerprint(**options)

    def embed(self, inputs, *, input_type="document", **options):
        assert input_type == "query", "documents are prepared first"
        return self._embedder.embed(inputs, input_type=input_type, **options)

    async def aembed(self, inputs, **options):
        raise AssertionError("the index waits")


class PlainEmbedder:
    """Only what the protocol asks for."""

    def __init__(self, embedder):
        self._embedder = embedder

    @property
    def fingerprint(self):
        return self._embedder.fingerprint

    def embed_queries(self, inputs):
        return self._embedder.embed_queries(inputs)

    def embed_documents(self, inputs):
        return self._embedder.embed_documents(inputs)


@pytest.fixture(scope="module")
def small_embedder(make_embedder):
    return make_embedder(pixel_budget=SMALL)


@pytest.fixture(scope="module")
def small_reranker(make_reranker):
    return make_reranker(pixel_budget=SMALL)


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(LIBRARY, tmp_path / "library")
    return tmp_path / "library"


@pytest.fixture(scope="module")
def shared_index(tmp_path_factory, small_embedder, small_reranker):
    """An index of the library that no test changes."""
    with MultimodalIndex.open(tmp_path_factory.mktemp("shared") / "index", small_embedder, small_reranker) as index:
        index.sync(LIBRARY)
        yield index


def draw_picture(path, color, size=(64, 48)):
    Image.new("RGB", size, color).save(path)


def read_vectors(index):
    """Ids with their vectors."""
    rows = index.store.catalog.list_rows()
    units = index.store.catalog.load_units(rows)
    vectors = index.store.sidecar.read(rows)
    return {units[row].record.id: vector for row, vector in zip(rows, vectors, strict=True)}


def test_a_folder_becomes_pages_windows_chunks_and_images(shared_index):
    stats = shared_index.stats()
    assert len(shared_index) == stats.units == 29
    assert stats.files == 24
    assert set(stats.units_by_media_type) == {"image", "page", "text", "video"}
    assert stats.failures == ()
    assert stats.bytes_by_part["vectors"] == 29 * 2 * stats.fingerprint.dimensions


def test_a_search_gives_hits_with_both_scores_that_open(shared_index):
    results = shared_index.search("a red mug", k=29)
    assert len(results) == 29
    assert results.is_reranked
    relevances = [hit.relevance_score for hit in results]
    assert relevances == sorted(relevances, reverse=True)
    assert [hit.rank for hit in results] == list(range(1, 30))
    for hit in results:
        assert -1 <= hit.similarity_score <= 1
        assert Path(hit.source).is_relative_to(LIBRARY)
        assert hit.image().mode == "RGB"
        assert max(hit.thumbnail().size) <= 360
        hit.item()
    assert {hit.media_type for hit in results} == {"image", "page", "text", "video"}
    assert "<img" in results.to_html()


def test_the_order_of_the_first_stage_is_that_of_the_embedder(small_embedder, shared_index):
    index = MultimodalIndex(shared_index.store, small_embedder)
    hits = index.search("parking", k=29, match_words=False)
    vectors = read_vectors(index)
    query = small_embedder.embed_queries(["parking"])[0]
    exact = sorted(vectors, key=lambda unit_id: -float(vectors[unit_id] @ query))
    np.testing.assert_allclose(
        [hit.similarity_score for hit in hits], [vectors[one] @ query for one in exact], atol=1e-5
    )
    assert not hits.is_reranked
    assert all(hit.relevance_score is None for hit in hits)


def test_the_reranker_gives_the_scores_that_it_gives_alone(small_reranker, shared_index):
    results = shared_index.search("a chair", k=29)
    alone = small_reranker.score("a chair", [hit.item() for hit in results])
    np.testing.assert_allclose([hit.relevance_score for hit in results], alone, atol=1e-4)


def test_pages_are_rendered_for_the_first_query_alone(small_embedder, make_reranker, shared_index, monkeypatch):
    reranker = make_reranker(pixel_budget=SMALL)
    index = MultimodalIndex(shared_index.store, small_embedder, reranker)
    index.search("a chair", k=29)
    with monkeypatch.context() as patched:
        patched.delattr("qwen3_vl_retrieval.media.pdf.render_pdf_page")
        assert not index.search("an invoice", k=29).failures
    pages = [hit for hit in index.search("an invoice", k=29) if hit.media_type == "page"]
    alone = make_reranker(pixel_budget=SMALL).score("an invoice", [hit.item() for hit in pages])
    np.testing.assert_allclose([hit.relevance_score for hit in pages], alone, atol=1e-6)


def test_a_reranker_of_others_is_given_rendered_pages(small_embedder, small_reranker, shared_index):
    judged = []

    class WatchingReranker:
        def score(self, query, documents):
            judged.extend(documents)
            return small_reranker.score(query, documents)

    results = MultimodalIndex(shared_index.store, small_embedder, WatchingReranker()).search("an invoice", k=29)
    pages = [hit for hit in results if hit.media_type == "page"]
    assert len([item for item in judged if isinstance(item, Image.Image)]) == len(pages) > 0


def test_a_pdf_that_went_bad_takes_no_part_and_is_named(tmp_path, small_embedder, small_reranker):
    for name in ("kept", "gone", "broken", "shorter"):
        sheets = [Image.new("RGB", (90, 120), color) for color in ("white", "navy")]
        sheets[0].save(tmp_path / f"{name}.pdf", save_all=True, append_images=sheets[1:], title=name)
    with MultimodalIndex.open(tmp_path / "index", small_embedder, small_reranker) as index:
        index.add([tmp_path / f"{name}.pdf" for name in ("kept", "gone", "broken", "shorter")])
        (tmp_path / "gone.pdf").unlink()
        (tmp_path / "broken.pdf").write_bytes(b"no PDF")
        Image.new("RGB", (90, 120)).save(tmp_path / "shorter.pdf")
        results = index.search("a sheet", k=8)
    said = {(failure.path.name, failure.unit.page): failure.error.reason for failure in results.failures}
    assert "no such file" in said["gone.pdf", 1]
    assert "broken.pdf' is damaged" in said["broken.pdf", 2]
    assert "there is no page 2 of the PDF" in said["shorter.pdf", 2]
    assert {Path(hit.source).name for hit in results} == {"kept.pdf", "shorter.pdf"}


def test_words_bring_up_the_page_that_holds_them(small_embedder, shared_index):
    index = MultimodalIndex(shared_index.store, small_embedder)
    by_words = index.search('"2024-118"', k=29)
    assert by_words[0].keyword_rank == 1
    assert "2024-118" in by_words[0].text
    assert index.search('"2024-118"', k=29, match_words=False)[0].keyword_rank is None


def test_an_image_finds_itself_and_so_does_a_mixture(small_embedder, shared_index):
    index = MultimodalIndex(shared_index.store, small_embedder)
    mug = LIBRARY / "products" / "red-mug.png"
    for query in (mug, Image.open(mug), {"image": str(mug)}):
        # As a query with the instruction of queries it is near itself, not equal; nothing is nearer.
        names = [Path(hit.source).name for hit in index.search(query, k=29)]
        assert "red-mug.png" in names
    mixed = index.search({"image": mug, "text": "in blue"}, k=3, media_types=["image"])
    assert all(hit.media_type == "image" for hit in mixed)
    clip = LIBRARY / "clips" / "conveyor-belt.mp4"
    assert len(index.search({"video": clip}, k=5)) == 5


def test_what_a_reranker_sees_can_be_computed_while_indexing(tmp_path, folder, small_embedder, make_reranker):
    reranker = make_reranker(pixel_budget=SMALL)
    with MultimodalIndex.open(tmp_path / "index", small_embedder, reranker) as index:
        report = index.sync(folder, cache_media=True)
        seen = reranker.stats
        assert seen.vision_encodes > 0
        hits = index.search("a report about printers", k=len(index))
        assert len(hits) == report.embedded_units
        assert (reranker.stats - seen).vision_encodes == 0
        assert (reranker.stats - seen).vision_cache_hits > 0
    with MultimodalIndex.open(tmp_path / "index", small_embedder) as index:
        for add in (index.sync, index.add):
            with pytest.raises(ValueError, match="cache_media=True needs a reranker"):
                add(folder, cache_media=True)


def test_filters_and_thresholds_hold(shared_index):
    pages = shared_index.search("invoice", where={"media_type": "page"}, k=29)
    assert {hit.media_type for hit in pages} == {"page"}
    first = shared_index.search("invoice", where={"page": 1}, media_types=["page"], k=29)
    assert {hit.page for hit in first} == {1}
    assert len(shared_index.search("invoice", where={"source": "nowhere"})) == 0
    every = shared_index.search("invoice", k=29)
    bar = every[9].relevance_score
    assert len(shared_index.search("invoice", k=29, threshold=bar)) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k=0 must be at least 1"),
        ({"k": 5, "fetch_k": 3}, "fetch_k=3 at least k"),
        ({"oversample": 0}, "oversample=0"),
        ({"media_types": "page"}, "media_types='page' must be a list"),
        ({"media_types": ["pages"]}, "must be a list of one or more of text, image"),
        ({"where": {}}, "where"),
    ],
)
def test_a_search_with_impossible_options_is_refused(shared_index, options, message):
    with pytest.raises(ValueError, match=message):
        shared_index.search("a", **options)


def test_an_empty_query_is_refused(shared_index):
    with pytest.raises(InputError):
        shared_index.search({})


def test_a_second_sync_embeds_nothing(tmp_path, folder, small_embedder):
    counting = CountingEmbedder(small_embedder)
    with MultimodalIndex.open(tmp_path / "index", counting) as index:
        first = index.sync(folder)
        assert (first.added_files, first.embedded_units, counting.embedded) == (24, 29, 29)
        second = index.sync(folder)
        assert (second.unchanged_files, second.embedded_units, counting.embedded) == (24, 0, 29)
    with MultimodalIndex.open(tmp_path / "index", counting) as index:
        for path in folder.rglob("*"):
            path.touch()
        third = index.sync(folder)
        assert (third.unchanged_files, counting.embedded) == (24, 29)


def test_exactly_what_was_changed_deleted_and_added_changes(tmp_path, folder, small_embedder):
    counting = CountingEmbedder(small_embedder)
    with MultimodalIndex.open(tmp_path / "index", counting) as index:
        index.sync(folder)
        before = read_vectors(index)
        draw_picture(folder / "products" / "red-mug.png", "navy")
        (folder / "notes" / "kitchen-rules.txt").write_text("Wash your cup.")
        (folder / "places" / "floor-plan.png").unlink()
        draw_picture(folder / "products" / "new.png", "lime")
        counting.embedded = 0
        report = index.sync(folder)
        assert (report.added_files, report.changed_files, report.removed_files, report.unchanged_files) == (1, 2, 1, 21)
        assert counting.embedded == report.embedded_units == 3
        after = read_vectors(index)
        assert len(set(before) - set(after)) == 3
        assert len(set(after) - set(before)) == 3
        assert all(np.array_equal(before[one], after[one]) for one in set(before) & set(after))
        assert index.search("x", where={"source": str(folder / "places" / "floor-plan.png")}).hits == ()


def test_an_image_replaced_behind_the_same_name_size_and_time_is_noticed(tmp_path, small_embedder):
    import os

    folder = tmp_path / "pictures"
    folder.mkdir()
    draw_picture(folder / "a.bmp", "red")
    look = (folder / "a.bmp").stat()
    with MultimodalIndex.open(tmp_path / "index", small_embedder) as index:
        index.sync(folder)
        draw_picture(folder / "a.bmp", "blue")
        os.utime(folder / "a.bmp", ns=(look.st_atime_ns, look.st_mtime_ns))
        assert (folder / "a.bmp").stat().st_size == look.st_size
        assert index.sync(folder).changed_files == 1
        assert index.search("x")[0].image().getpixel((3, 3)) == (0, 0, 255)


def test_duplicates_share_one_vector(tmp_path, small_embedder):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in "abc":
        draw_picture(folder / f"{name}.png", "red")
    counting = CountingEmbedder(small_embedder)
    with MultimodalIndex.open(tmp_path / "index", counting) as index:
        report = index.sync(folder)
        assert (report.added_files, counting.embedded, report.reused_units, len(index)) == (3, 1, 2, 1)
        (hit,) = index.search("x")
        assert [Path(source).name for source in hit.sources] == ["a.png", "b.png", "c.png"]
        (folder / "a.png").unlink()
        assert index.sync(folder).removed_units == 0
        assert Path(index.search("x")[0].source).name == "b.png"
        assert index.delete({"source": str(folder / "b.png")}) == 0
        assert index.delete({"source": str(folder / "c.png")}) == 1
        assert len(index) == 0


def test_chunks_that_stay_are_not_embedded_again(tmp_path, small_embedder):
    folder = tmp_path / "notes"
    folder.mkdir()
    paragraphs = [f"# Part {part}\n\n" + f"Sentence {part} of a long report. " * 40 for part in range(6)]
    (folder / "report.md").write_text("\n\n".join(paragraphs))
    counting = CountingEmbedder(small_embedder)
    with MultimodalIndex.open(tmp_path / "index", counting) as index:
        index.sync(folder)
        chunks = counting.embedded
        assert chunks >= 6
        paragraphs[3] = "# Part 3\n\n" + "Quite another sentence. " * 40
        (folder / "report.md").write_text("\n\n".join(paragraphs))
        report = index.sync(folder)
        assert 1 <= report.embedded_units <= 2
        assert report.reused_units >= chunks - 2


def test_one_broken_file_is_named_and_the_others_are_indexed(tmp_path, folder, small_embedder):
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "letter.docx").write_bytes(b"PK")
    truncated = folder / "products" / "red-mug.png"
    truncated.write_bytes(truncated.read_bytes()[:-200])
    with MultimodalIndex.open(tmp_path / "index", small_embedder) as index:
        report = index.sync(folder)
        assert len(index) == 28
        reasons = {failure.path.name: failure.error for failure in report.failures}
        assert set(reasons) == {"broken.png", "letter.docx", "red-mug.png"}
        assert isinstance(reasons["broken.png"], MediaError)
        assert "Docling" in reasons["letter.docx"].reason
        assert {Path(one["source"]).name for one in index.stats().failures} == set(reasons)
        write_failures(report.failures, tmp_path / "failures.jsonl")
        lines = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
        assert {line["error"] for line in lines} >= {"MediaError"}
        shutil.copy(LIBRARY / "products" / "red-mug.png", truncated)
        (folder / "broken.png").unlink()
        (folder / "letter.docx").unlink()
        assert index.sync(folder).failures == ()
        assert (len(index), index.stats().failures) == (29, ())


def test_items_in_memory_are_kept_and_open_again(tmp_path, small_embedder, small_reranker):
    picture = Image.new("RGB", (50, 40), "orange")
    mug = LIBRARY / "products" / "red-mug.png"
    items = [
        "a text in memory",
        picture,
        {"text": "a mug with words", "image": mug},
        MultimodalInput(parts=["before", picture, "after"]),
        mug,
    ]
    with MultimodalIndex.open(tmp_path / "index", small_embedder, small_reranker) as index:
        report = index.add(items, metadata={"shelf": 3})
        assert report.embedded_units == 5
        assert report.failures == ()
    with MultimodalIndex.open(tmp_path / "index", small_embedder, small_reranker) as index:
        results = index.search("a mug", k=5)
        assert sorted(hit.media_type for hit in results) == ["image", "image", "mixed", "mixed", "text"]
        for hit in results:
            assert hit.metadata == {"shelf": 3}
            assert hit.image().mode == "RGB"
        again = {
            hit.id: vector
            for hit, vector in zip(results, small_embedder.embed([hit.item() for hit in results]), strict=True)
        }
        stored = read_vectors(index)
        for unit_id, vector in again.items():
            assert float(stored[unit_id] @ vector) > 0.9999
        assert index.add(items).embedded_units == 0
        assert index.delete({"shelf": {"$gte": 3}}) == 5


def test_a_bad_item_is_named_by_its_position(tmp_path, small_embedder):
    with MultimodalIndex.open(tmp_path / "index", small_embedder) as index:
        report = index.add(["good", {}, {"video": [Image.new("RGB", (40, 40))] * 4}, "better"])
        assert len(index) == 2
        assert [str(failure.path) for failure in report.failures] == ["item 1", "item 2"]
        assert "write it to a file" in report.failures[1].error.reason
        with pytest.raises(InputError, match="wrap a single item in a list"):
            index.add("a text")


def test_metadata_are_changed_without_embedding(tmp_path, folder, small_embedder):
    counting = CountingEmbedder(small_embedder)
    with MultimodalIndex.open(tmp_path / "index", counting) as index:
        index.sync(folder)
        counting.embedded = 0
        index.add([folder / "papers"], metadata={"customer": "acme", "year": 2024})
        assert counting.embedded == 0
        papers = index.search("x", where={"customer": "acme"}, k=29)
        assert {Path(hit.source).parent.name for hit in papers} == {"papers"}
        assert papers[0].metadata == {"customer": "acme", "year": 2024}


@pytest.mark.parametrize("metadata", [{"page": 3}, {"a": [1]}, {"a": float("nan")}, {"a": "x\0y"}])
def test_metadata_that_cannot_be_filtered_are_refused(tmp_path, small_embedder, metadata):
    with MultimodalIndex.open(tmp_path / "index", small_embedder) as index, pytest.raises(ValueError, match="metadat"):
        index.add(["text"], metadata=metadata)


def test_another_embedder_is_refused(tmp_path, small_embedder, make_embedder):
    MultimodalIndex.open(tmp_path / "index", small_embedder).close()
    with pytest.raises(FingerprintMismatchError, match="pixel_budget"):
        MultimodalIndex.open(tmp_path / "index", make_embedder())
    with pytest.raises(StoreError, match="was created with short_dimensions"):
        MultimodalIndex.open(tmp_path / "index", small_embedder, short_dimensions=32)


def test_an_index_whose_creation_was_interrupted_is_begun_again(tmp_path, small_embedder):
    with MultimodalIndex.open(tmp_path / "index", small_embedder) as index, index.store.catalog.write():
        # The head is what is written last.
        index.store.catalog._query("DELETE FROM settings")
    with MultimodalIndex.open(tmp_path / "index", small_embedder) as index:
        assert index.add(["a text"]).embedded_units == 1
        assert len(index.search("a text")) == 1


def test_an_embedder_of_the_protocol_alone_is_enough(tmp_path, folder, small_embedder):
    (folder / "broken.png").write_bytes(b"no picture")
    with MultimodalIndex.open(tmp_path / "index", PlainEmbedder(small_embedder)) as index:
        report = index.sync(folder)
        assert len(index) == 29
        assert [failure.path.name for failure in report.failures] == ["broken.png"]


def test_a_file_that_vanishes_after_indexing_is_a_failure_of_the_search(
    tmp_path, folder, small_embedder, small_reranker
):
    with MultimodalIndex.open(tmp_path / "index", small_embedder, small_reranker) as index:
        index.sync(folder)
        (folder / "products" / "red-mug.png").unlink()
        results = index.search("mug", k=29)
        assert len(results) == 28
        assert [failure.path.name for failure in results.failures] == ["red-mug.png"]


def test_progress_is_told_and_ends_with_everything_done(tmp_path, folder, small_embedder):
    moments = []
    with MultimodalIndex.open(tmp_path / "index", small_embedder) as index:
        index.sync(folder, on_progress=moments.append)
    assert moments[-1].files_done == moments[-1].files_total == 24
    assert moments[-1].units_embedded == 29
    assert moments[-1].seconds_left == 0
    assert moments[-1].units_per_second > 0


def test_threads_search_while_one_writes(tmp_path, folder, small_embedder):
    with MultimodalIndex.open(tmp_path / "index", small_embedder) as index:
        index.add([folder / "notes"])
        wrong = []

        def search():
            for _ in range(10):
                try:
                    hits = index.search("printer", k=3)
                    if len(hits) != 3:
                        wrong.append(len(hits))
                except Exception as error:  # noqa: BLE001 - handed to the test
                    wrong.append(error)

        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        index.sync(folder)
        for thread in threads:
            thread.join()
        assert wrong == []


def test_a_killed_run_is_resumed_and_ends_as_an_uninterrupted_one(tmp_path, reference):
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number:03}.txt").write_text(f"Note {number}: the code of door {number * 7919 % 1000} changes.")
    checkpoint = reference / "checkpoints/embedding"
    assert 0 < run_sync(checkpoint, tmp_path / "killed", folder, kill_after=1) < 100
    assert 100 <= run_sync(checkpoint, tmp_path / "killed", folder, kill_after=100) < 200
    assert run_sync(checkpoint, tmp_path / "killed", folder) == 200
    assert run_sync(checkpoint, tmp_path / "whole", folder) == 200
    from qwen3_vl_retrieval.index.store.store import Store

    with Store.open(tmp_path / "killed") as killed, Store.open(tmp_path / "whole") as whole:
        vectors = []
        for store in (killed, whole):
            assert store.refresh()
            rows = store.catalog.list_rows()
            units = store.catalog.load_units(rows)
            stored = store.sidecar.read(rows)
            vectors.append({units[row].record.id: vector for row, vector in zip(rows, stored, strict=True)})
            assert store.collection.count() == 200
        assert set(vectors[0]) == set(vectors[1])
        for one, vector in vectors[0].items():
            # Other neighbours in the batch round otherwise; float16 keeps three decimals.
            np.testing.assert_allclose(vector, vectors[1][one], atol=2e-3)
