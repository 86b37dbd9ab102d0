"""Images, pages and videos in object storage: what the policy allows is opened, and nothing else is."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from bucket_servers import serve_bucket
from qwen3_vl_retrieval import MediaError, MediaPolicy, MediaPolicyError
from qwen3_vl_retrieval.engine.requests.media_reader import identify_source
from qwen3_vl_retrieval.index import build_item, draw_document
from qwen3_vl_retrieval.items import DocumentPage, ImagePart, VideoPart
from qwen3_vl_retrieval.media import object_storage, read_image, render_page
from qwen3_vl_retrieval.media.policy import read_bytes
from written_pdfs import write_pdf

CLIP = Path(__file__).parent / "reference/media/clip_40f_8fps.mp4"
PDF = write_pdf("one", "two", "three")


@pytest.fixture(scope="module")
def bucket():
    """Options of the S3 that has the media."""
    with serve_bucket() as address, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "key")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        s3 = fsspec.filesystem("s3", endpoint_url=address)
        image = io.BytesIO()
        Image.new("RGB", (40, 20), "red").save(image, "PNG")
        for name in ("scans/red.png", "scans/a b%20ü.png", "scans-of-others/red.png", "secret.png"):
            s3.pipe_file(f"bucket/{name}", image.getvalue())
        s3.pipe_file("bucket/scans/paper.pdf", PDF)
        s3.pipe_file("bucket/scans/clip.mp4", CLIP.read_bytes())
        s3.pipe_file("bucket/scans/empty.png", b"")
        yield {"endpoint_url": address}


@pytest.fixture
def policy(bucket):
    return MediaPolicy(allow_storage=("s3://bucket/scans",), storage_options=bucket)


@pytest.fixture
def objects(monkeypatch):
    """Objects in memory by their names; what an earlier test has read is forgotten."""
    object_storage._KEPT.clear()
    memory = fsspec.filesystem("memory")
    yield memory
    memory.store.clear()


def test_images_pages_and_videos_are_read(policy):
    assert read_image("s3://bucket/scans/red.png", policy).size == (40, 20)
    # Names are names, however much they look like encoded ones.
    assert read_image("s3://bucket/scans/a b%20ü.png", policy).size == (40, 20)
    page = render_page(DocumentPage("s3://bucket/scans/paper.pdf", 3), policy)
    assert np.array_equal(page, render_page(DocumentPage(PDF, 3), policy))
    told = {"media_type": "video", "source": "s3://bucket/scans/clip.mp4", "start": 1.0, "end": 2.0}
    frames = draw_document("", told, policy=policy, max_frames=2)
    assert all(map(np.array_equal, frames, draw_document("", told | {"source": str(CLIP)}, max_frames=2)))


def test_a_document_says_by_its_source_what_is_judged(policy):
    page = {"media_type": "page", "source": "s3://bucket/scans/paper.pdf", "page": 2}
    assert np.array_equal(build_item("two", page, policy=policy), render_page(DocumentPage(PDF, 2), policy))
    (drawn,) = draw_document("two", page, policy=policy)
    assert drawn.size[0] > 0
    left = build_item("two", page, policy=policy, render_pages=False)["image"]
    # Whoever renders it later does so under the policy of whoever named it.
    assert render_page(left, MediaPolicy(allow_dirs=())).size == render_page(DocumentPage(PDF, 2), policy).size
    image = {"media_type": "image", "source": "s3://bucket/scans/red.png"}
    assert build_item("", image, policy=policy) == {"image": "s3://bucket/scans/red.png"}
    with pytest.raises(MediaError, match="page 4"):
        build_item("", page | {"page": 4}, policy=policy)


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/secret.png",
        "s3://bucket/scans-of-others/red.png",
        "s3://bucket",
        "s3://other/scans/red.png",
        "gs://bucket/scans/red.png",
        "s3://bucket/scans/../secret.png",
        "s3://bucket/scans/./red.png",
        "s3://bucket/scans/%2e%2e/secret.png",
        "s3://bucket/scans/%252e%252e%252fsecret.png",
        "s3://bucket/scans/..%2fsecret.png",
        "s3://bucket/scans/..\\secret.png",
        "s3://bucket/scans/%25252e%25252e/secret.png",
        "s3://bucket/scans/\nred.png",
        "simplecache::s3://bucket/scans/red.png",
        "s3://bucket/scans/red.png::file:///etc/passwd",
    ],
)
def test_nothing_beside_the_prefix_is_opened(policy, url):
    with pytest.raises((MediaPolicyError, MediaError), match=r"not below the allowed prefixes|no such file"):
        read_bytes(url, policy)


def test_nothing_is_opened_unless_it_is_allowed():
    with pytest.raises(MediaPolicyError, match="allow_storage of the MediaPolicy"):
        read_bytes("s3://bucket/scans/red.png", MediaPolicy())
    # What has rules of its own keeps them.
    policy = MediaPolicy(allow_storage=("memory://bucket",), allow_dirs=())
    for url in ("file:///etc/passwd", "/etc/passwd", "http://127.0.0.1/a.png", "local:///etc/passwd"):
        with pytest.raises(MediaPolicyError):
            read_bytes(url, policy)


def test_what_is_missing_empty_or_a_folder_is_said(policy):
    with pytest.raises(MediaError, match="there is no"):
        read_bytes("s3://bucket/scans/nowhere.png", policy)
    with pytest.raises(MediaError, match="is a folder"):
        read_bytes("s3://bucket/scans", policy)
    assert read_bytes("s3://bucket/scans/empty.png", policy) == b""


def test_a_store_that_cannot_be_reached_is_said():
    closed = MediaPolicy(allow_storage=("nowhere://bucket",))
    with pytest.raises(MediaError, match="give a folder, or a URL of a scheme whose package is installed"):
        read_bytes("nowhere://bucket/a.png", closed)


def test_large_and_slow_objects_are_refused(objects, monkeypatch):
    objects.pipe_file("/bucket/large.bin", bytes(1000))
    with pytest.raises(MediaPolicyError, match=r"max_bytes=999"):
        read_bytes("memory://bucket/large.bin", MediaPolicy(allow_storage=("memory://bucket",), max_bytes=999))
    is_over = threading.Event()
    monkeypatch.setattr(type(objects), "cat_file", lambda *_, **__: is_over.wait(60))
    policy = MediaPolicy(allow_storage=("memory://bucket",), timeout_seconds=0.1)
    with pytest.raises(MediaPolicyError, match=r"timeout_seconds=0.1"):
        read_bytes("memory://bucket/large.bin", policy)
    is_over.set()


def test_an_object_is_fetched_again_only_if_it_has_changed(policy, bucket, caplog):
    s3 = fsspec.filesystem("s3", **bucket)
    s3.pipe_file("bucket/scans/note.bin", b"first")
    object_storage._KEPT.clear()
    caplog.set_level("INFO", logger="werkzeug")

    def count_fetched():
        return sum("GET /bucket/scans/note.bin" in record.getMessage() for record in caplog.records)

    assert [read_bytes("s3://bucket/scans/note.bin", policy) for _ in range(3)] == [b"first"] * 3
    assert count_fetched() == 1
    part = ImagePart("s3://bucket/scans/note.bin")
    before = identify_source(part, policy)
    assert before == identify_source(part, policy)
    s3.pipe_file("bucket/scans/note.bin", b"other")
    assert identify_source(part, policy) != before
    assert identify_source(VideoPart(source="s3://bucket/scans/note.bin"), policy) != before
    assert count_fetched() == 1
    assert read_bytes("s3://bucket/scans/note.bin", policy) == b"other"


@pytest.mark.parametrize(
    "settings",
    [
        {"allow_storage": "s3://bucket"},
        {"allow_storage": ("bucket/scans",)},
        {"allow_storage": ("s3://",)},
        {"allow_storage": ("file:///data",)},
        {"allow_storage": ("https://example.org/scans",)},
        {"allow_storage": ("s3://bucket/../other",)},
        {"allow_storage": ("zip://*::s3://bucket",)},
        {"allow_storage": (5,)},
        {"storage_options": {"secret": "abc"}},
        {"storage_options": {"aws_access_key_id": "abc"}},
        {"storage_options": {"client_kwargs": {"region_name": "x"}}},
        {"storage_options": 5},
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        MediaPolicy(**settings)


def test_a_policy_with_options_is_hashable_and_the_same_however_it_was_written():
    policy = MediaPolicy(allow_storage=["S3://bucket/scans/"], storage_options={"use_ssl": False, "anon": True})
    pairs = (("anon", True), ("use_ssl", False))
    assert policy == MediaPolicy(allow_storage=("s3://bucket/scans",), storage_options=pairs)
    assert len({policy, MediaPolicy()}) == 2
