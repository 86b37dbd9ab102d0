"""`/v1/search` finds what the index finds, and shows files by id and by names that tell no path."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import sys
from pathlib import Path

import httpx
import pytest
from PIL import Image

from hit_samples import BLUE, RED, find_color
from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.server import create_app
from qwen3_vl_retrieval.testing import FakeEmbedder
from served_apps import serve_app
from small_office import HOSTILE_NAME, open_office, write_office

KEY = "a-key-of-this-server"


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    return write_office(tmp_path_factory.mktemp("searched"))


@pytest.fixture(scope="module")
def index(office):
    embedder = Qwen3VLEmbedder.from_pretrained("pocket", device="cpu", dtype="float32")
    reranker = Qwen3VLReranker.from_pretrained("pocket", device="cpu", dtype="float32")
    with open_office(office, office.folder.parent / "store", embedder, reranker) as index:
        yield index


@pytest.fixture(scope="module")
def client(index):
    with serve_app(create_app(embedder=None, reranker=None, index=index)) as url:  # noqa: SIM117 - the client ends first
        with httpx.Client(base_url=url, timeout=60) as client:
            yield client


@pytest.fixture(scope="module")
def fake_client(tmp_path_factory):
    """Of a server whose index has no reranker, and files that can be taken away."""
    folder = tmp_path_factory.mktemp("taken")
    for number, color in enumerate((RED, BLUE)):
        (folder / f"shelf-{number}").mkdir()
        Image.new("RGB", (64, 48), color).save(folder / f"shelf-{number}" / "picture.png")
    with MultimodalIndex.open(folder / "store", FakeEmbedder()) as index:
        index.add([folder / "shelf-0", folder / "shelf-1", "a text that was given in memory"])
        app = create_app(embedder=None, reranker=None, index=index, api_keys=[KEY])
        headers = {"Authorization": f"Bearer {KEY}"}
        with serve_app(app) as url, httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            yield client, folder


def search(client, **fields):
    response = client.post("/v1/search", json=fields)
    assert response.status_code == 200, response.text
    return response.json()


def refuse(client, **fields):
    response = client.post("/v1/search", json=fields)
    assert response.status_code == 400, response.text
    return response.json()["error"]["message"]


def open_image(response):
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/jpeg"
    return Image.open(io.BytesIO(response.content)).convert("RGB")


def test_a_question_finds_what_the_index_finds_with_the_same_scores(client, index, office):
    found = search(client, query=office.question, k=4)
    expected = index.search(office.question, k=4)
    assert [hit["id"] for hit in found["results"]] == [hit.id for hit in expected]
    for hit, own in zip(found["results"], expected, strict=True):
        assert hit["similarity_score"] == pytest.approx(own.similarity_score, abs=1e-5)
        assert hit["relevance_score"] == pytest.approx(own.relevance_score, abs=1e-5)
    best = found["results"][0]
    assert (best["source"], best["page"], best["place"]) == (office.answer, office.page, f"page {office.page}")
    assert (best["media_type"], best["start"], best["end"]) == ("page", None, None)
    assert found["is_reranked"]
    assert found["failures"] == []
    assert set(found["timings"]) == {"embedding", "finding", "reranking"}
    assert found["seconds"] >= sum(found["timings"].values())


def test_no_answer_shows_a_path_of_the_server(client, office):
    everything = [
        search(client, query="anything", k=50, rerank=False),
        client.get("/v1/search/sources").json(),
        client.get("/v1/search/index").json(),
        client.get("/openapi.json").json(),
    ]
    assert len(everything[0]["results"]) == 13
    assert str(office.folder.parent) not in json.dumps(everything)
    assert f"notes/{HOSTILE_NAME}" in [hit["source"] for hit in everything[0]["results"]]


def test_an_image_is_the_question_alone_and_with_words(client, office):
    content = (office.folder / "photos" / "photo-01.png").read_bytes()
    encoded = base64.b64encode(content).decode()
    for image in (encoded, f"data:image/png;base64,{encoded}"):
        found = search(client, image=image, k=1, rerank=False)["results"][0]
        assert found["source"] == "photos/photo-01.png"
        assert (found["width"], found["height"]) == Image.open(io.BytesIO(content)).size
    with_words = search(client, image=encoded, query="like this", k=1, rerank=False)["results"][0]
    assert with_words["similarity_score"] < found["similarity_score"]


@pytest.mark.parametrize(
    ("fields", "sources"),
    [
        ({"media_types": ["video"]}, {"clips/turning.mp4"}),
        ({"sources": ["photos/"]}, {"photos/photo-01.png", "photos/photo-02.png"}),
        (
            {"sources": ["photos", "notes/kettle.txt"]},
            {"photos/photo-01.png", "photos/photo-02.png", "notes/kettle.txt"},
        ),
        ({"filter": {"source": "notes/kettle.txt"}}, {"notes/kettle.txt"}),
        (
            {"filter": {"$or": [{"source": {"$in": ["notes/kettle.txt"]}}, {"start": 4}]}},
            {"notes/kettle.txt", "clips/turning.mp4"},
        ),
        ({"filter": {"page": {"$gte": 3}}, "media_types": ["page"]}, {"pages/invoices-01.pdf"}),
        (
            {"filter": {"$and": [{"media_type": "text"}, {"source": {"$ne": "notes/kettle.txt"}}]}},
            {f"notes/{HOSTILE_NAME}"},
        ),
    ],
)
def test_filters_name_files_as_hits_do(client, fields, sources):
    found = search(client, query="anything", k=50, rerank=False, **fields)["results"]
    assert {hit["source"] for hit in found} == sources


def test_instruction_threshold_and_rerank_are_those_of_the_index(client, office):
    plain = search(client, query=office.question, k=3)
    assert [hit["relevance_score"] for hit in plain["results"]] != [
        hit["relevance_score"]
        for hit in search(client, query=office.question, k=3, instruction="Find notes.")["results"]
    ]
    threshold = plain["results"][0]["relevance_score"] - 1e-6
    assert len(search(client, query=office.question, threshold=threshold)["results"]) == 1
    by_vectors = search(client, query=office.question, k=3, rerank=False)
    assert not by_vectors["is_reranked"]
    assert {hit["relevance_score"] for hit in by_vectors["results"]} == {None}
    assert set(by_vectors["timings"]) == {"embedding", "finding"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "the question is empty"),
        ({"query": "x", "kk": 3}, "'kk'"),
        ({"query": "x", "k": 0}, "k=0"),
        ({"query": "x", "k": 20, "fetch_k": 10}, "fetch_k=10"),
        ({"query": "x", "media_types": ["film"]}, "media_types"),
        ({"query": "x", "filter": {"page": {"$near": 3}}}, "$near"),
        ({"query": "x", "filter": {"source": {"$gt": "a"}}}, "got str 'a'"),
        ({"query": "x", "sources": ["nowhere/"]}, "'nowhere/'"),
        ({"query": "x", "sources": ["/etc"]}, "paths and URLs are not taken"),
        ({"query": "x", "sources": ["../office/notes"]}, "paths and URLs are not taken"),
        ({"query": "x", "sources": ["file:///etc/passwd"]}, "paths and URLs are not taken"),
        ({"query": "x", "filter": {"source": "/etc/passwd"}}, "paths and URLs are not taken"),
        ({"image": "/etc/passwd"}, "opens no paths"),
        ({"image": "https://example.org/a.png"}, "fetches no URLs"),
        ({"image": "file:///etc/passwd"}, "opens no files"),
        ({"image": base64.b64encode(b"no image").decode()}, "image"),
    ],
)
def test_what_cannot_be_searched_for_is_named(client, office, fields, named):
    message = refuse(client, **fields)
    assert named in message
    assert str(office.folder.parent) not in message


def test_a_path_of_the_server_is_no_name_of_its_own_file(client, office):
    path = str(office.folder / "notes" / "kettle.txt")
    assert "no name of a file in this index" in refuse(client, query="x", sources=[path])
    assert "no name of a file in this index" in refuse(client, query="x", filter={"source": path})


def test_thumbnails_and_pages_are_shown_by_id_and_cached(client, office):
    hit = search(client, query=office.question, k=1)["results"][0]
    small, large = client.get(hit["thumbnail_url"]), client.get(hit["media_url"])
    assert max(open_image(small).size) == 480
    assert max(open_image(large).size) > 1000
    for response in (small, large):
        assert response.headers["cache-control"] == "private, max-age=604800, immutable"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
    again = client.get(hit["thumbnail_url"], headers={"If-None-Match": small.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert large.headers["etag"] != small.headers["etag"]


def test_a_window_of_a_video_shows_the_frame_of_the_moment_that_is_asked_for(client):
    found = search(client, query="x", k=5, rerank=False, media_types=["video"])["results"]
    windows = {(hit["start"], hit["end"]): hit for hit in found}
    assert set(windows) == {(0.0, 4.0), (4.0, 8.0)}
    for window, color in (((0.0, 4.0), BLUE), ((4.0, 8.0), RED)):
        for moment in (0.1, 0.9):
            image = open_image(client.get(windows[window]["media_url"], params={"moment": moment}))
            assert find_color(image) == color
    assert client.get(found[0]["media_url"], params={"moment": 2}).status_code == 422


@pytest.mark.parametrize("kind", ["thumbnails", "media"])
@pytest.mark.parametrize(
    "named",
    ["0" * 40, "kettle.txt", "%2Fetc%2Fpasswd", "..%2Fnotes%2Fkettle.txt", "https:%2F%2Fexample.org", "%F0%9F%92%A5"],
)
def test_what_is_no_id_opens_nothing(client, kind, named):
    response = client.get(f"/v1/search/{kind}/{named}")
    assert response.status_code == 404
    assert response.json()["error"]["message"]


def test_the_index_says_what_it_holds_and_lists_its_files_in_parts(client):
    assert client.get("/v1/search/index").json() == {
        "files": 8,
        "units": 13,
        "media_types": {"image": 2, "page": 7, "text": 2, "video": 2},
        "has_reranker": True,
    }
    listed, offset = [], 0
    while offset is not None:
        part = client.get("/v1/search/sources", params={"offset": offset, "limit": 4}).json()
        assert part["total"] == 8
        listed += part["sources"]
        offset = part["next_offset"]
    assert len(listed) == 8
    assert listed[0] == {"source": "clips/turning.mp4", "units": 2, "media_types": ["video"]}
    assert sum(one["units"] for one in listed) == 13


def test_without_a_reranker_the_vectors_order_and_asking_for_one_is_an_error(fake_client):
    client, _ = fake_client
    found = search(client, query="x")
    assert not found["is_reranked"]
    assert "needs a reranker" in refuse(client, query="x", rerank=True)
    names = {hit["source"] for hit in found["results"]}
    assert {"shelf-0/picture.png", "shelf-1/picture.png"} < names


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names of any bytes")
def test_a_name_that_is_no_unicode_is_found_and_filtered_by(tmp_path):
    (tmp_path / "files").mkdir()
    for name in (b"caf\xe9.txt", b"tea.txt"):
        Path(os.fsdecode(os.fsencode(tmp_path / "files") + b"/" + name)).write_text(f"a note in {name!r}")
    with MultimodalIndex.open(tmp_path / "store", FakeEmbedder()) as index:
        index.sync(tmp_path / "files")
        app = create_app(embedder=None, reranker=None, index=index)
        with serve_app(app) as url, httpx.Client(base_url=url, timeout=60) as client:
            sources = [one["source"] for one in client.get("/v1/search/sources").json()["sources"]]
            assert sorted(sources) == ["file:caf%E9.txt", "tea.txt"]
            for name in sources:
                for fields in ({"sources": [name]}, {"filter": {"source": name}}):
                    assert [hit["source"] for hit in search(client, query="x", **fields)["results"]] == [name]


def test_all_of_it_needs_the_key_of_the_server(fake_client):
    client, _ = fake_client
    hit = search(client, query="x", media_types=["image"])["results"][0]
    for path in (hit["thumbnail_url"], hit["media_url"], "/v1/search/index", "/v1/search/sources"):
        assert httpx.get(f"{client.base_url}{path}").status_code == 401
    assert httpx.post(f"{client.base_url}/v1/search", json={"query": "x"}).status_code == 401


def test_a_file_that_is_gone_is_said_so_without_its_path(fake_client):
    client, folder = fake_client
    hits = search(client, query="x", media_types=["image"])["results"]
    gone = next(hit for hit in hits if hit["source"].startswith("shelf-1"))
    shutil.rmtree(folder / "shelf-1")
    for path in (gone["thumbnail_url"], gone["media_url"]):
        response = client.get(path)
        assert response.status_code == 410
        assert "can no longer be read" in response.text
        assert str(folder) not in response.text


def test_what_the_reranker_can_no_longer_open_is_a_failure_without_its_path(client, office, index):
    moved = office.folder / "photos" / "photo-02.png"
    content = moved.read_bytes()
    moved.unlink()
    try:
        found = search(client, query="anything", k=50)
    finally:
        moved.write_bytes(content)
    assert [(one["source"], one["media_type"]) for one in found["failures"]] == [("photos/photo-02.png", None)]
    assert "can no longer be read" in found["failures"][0]["reason"]
    assert str(office.folder.parent) not in json.dumps(found)
    assert len(found["results"]) == 12


def test_hits_say_why_they_were_found_where_that_is_asked(client):
    asked = {"query": "an invoice", "k": 2, "media_types": ["image", "page"]}
    plain = client.post("/v1/search", json=asked).json()
    assert all(hit["explanation"] is None for hit in plain["results"])
    found = client.post("/v1/search", json=asked | {"explain": True}).json()
    assert [hit["id"] for hit in found["results"]] == [hit["id"] for hit in plain["results"]]
    for hit in found["results"]:
        explanation = hit["explanation"]
        assert explanation["error"] is None
        assert explanation["method"] in ("words", "occlusion")
        for region in explanation["regions"]:
            assert 0 < region["weight"] <= 1
            left, top, right, bottom = region["box"]
            assert 0 <= left < right <= 1
            assert 0 <= top < bottom <= 1
