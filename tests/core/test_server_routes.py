"""The routes of the server give the numbers of the same models in this process."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw

from qwen3_vl_retrieval import MultimodalInput, Qwen3VLEmbedder, Qwen3VLReranker
from qwen3_vl_retrieval.server import create_app
from qwen3_vl_retrieval.testing import FakeEmbedder, FakeReranker
from served_apps import serve_app

TOLERANCE = 1e-6
MARGIN_TOLERANCE = 1e-5
"""Log-odds are numbers of several units, and round otherwise where concurrent pairs share a forward pass."""


def draw(shape, color):
    image = Image.new("RGB", (96, 96), "white")
    getattr(ImageDraw.Draw(image), shape)((20, 20, 76, 76), fill=color)
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def as_uri(content):
    return "data:image/png;base64," + base64.b64encode(content).decode()


CIRCLE, SQUARE = draw("ellipse", "red"), draw("rectangle", "blue")


@pytest.fixture(scope="module")
def embedder():
    return Qwen3VLEmbedder.from_pretrained("pocket", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def reranker():
    return Qwen3VLReranker.from_pretrained("pocket", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def url(embedder, reranker):
    app = create_app(
        embedder=embedder,
        reranker=reranker,
        tokenize=embedder.tokenize,
        statistics={"embedder": lambda: embedder.stats, "reranker": lambda: reranker.stats},
    )
    with serve_app(app) as url:
        yield url


@pytest.fixture(scope="module")
def client(url):
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def bare_client():
    """Of a server without models."""
    with serve_app(create_app(embedder=None, reranker=None)) as url, httpx.Client(base_url=url) as client:
        yield client


def ask(client, path, **fields):
    response = client.post(path, json=fields)
    assert response.status_code == 200, response.text
    return response.json()


def refuse(client, path, status, **fields):
    response = client.post(path, json=fields)
    assert response.status_code == status, response.text
    return response.json()


def read_vectors(answer):
    return np.array([row["embedding"] for row in answer["data"]])


def assert_equal(found, expected, tolerance=TOLERANCE):
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance


def test_texts_have_the_vectors_of_documents(client, embedder):
    answer = ask(client, "/v1/embeddings", input=["a red circle", "", "ein Haus"], model="any")
    assert_equal(read_vectors(answer), embedder.embed(["a red circle", "", "ein Haus"]))
    assert [row["index"] for row in answer["data"]] == [0, 1, 2]
    assert answer["model"] == embedder.fingerprint.model
    assert_equal(read_vectors(ask(client, "/v1/embeddings", input="one")), embedder.embed(["one"]))
    assert ask(client, "/v1/embeddings", input=[])["data"] == []


def test_a_text_that_looks_like_a_path_or_an_image_is_a_text(client, embedder):
    texts = ["/etc/passwd", "https://example.org/a.png", as_uri(CIRCLE)]
    assert_equal(read_vectors(ask(client, "/v1/embeddings", input=texts)), embedder.embed(texts))


def test_queries_instructions_and_dimensions_are_those_of_the_call(client, embedder):
    answer = ask(client, "/v1/embeddings", input=["red"], input_type="query", instruction="Find shapes.", dimensions=64)
    expected = embedder.embed(["red"], input_type="query", instruction="Find shapes.", dimensions=64)
    assert_equal(read_vectors(answer), expected)
    assert_equal(
        read_vectors(ask(client, "/v1/embeddings", input=["red"], input_type="query")), embedder.embed_queries(["red"])
    )


def test_base64_is_float32_in_little_endian(client, embedder):
    answer = ask(client, "/v1/embeddings", input=["a", "b"], encoding_format="base64")
    decoded = [np.frombuffer(base64.b64decode(row["embedding"]), dtype="<f4") for row in answer["data"]]
    assert_equal(decoded, embedder.embed(["a", "b"]))


def test_a_conversation_keeps_the_order_of_its_parts(client, embedder):
    user = {
        "role": "user",
        "content": [
            {"type": "text", "text": "what is it?"},
            {"type": "image_url", "image_url": {"url": as_uri(CIRCLE), "detail": "auto"}},
        ],
    }
    system = {"role": "system", "content": "Find the shape."}
    expected = embedder.embed(
        [MultimodalInput(parts=["what is it?", {"image": CIRCLE}], instruction="Find the shape.")]
    )
    assert_equal(read_vectors(ask(client, "/v1/embeddings", messages=[system, user])), expected)
    batch = [[{"role": "user", "content": "plain"}], [system, user]]
    assert_equal(
        read_vectors(ask(client, "/v1/embeddings", messages=batch)),
        np.stack([embedder.embed(["plain"])[0], expected[0]]),
    )


def test_a_video_comes_as_a_data_uri(client, embedder):
    content = (Path(__file__).parents[1] / "data/library/clips/conveyor-belt.mp4").read_bytes()
    uri = "data:video/mp4;base64," + base64.b64encode(content).decode()
    messages = [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": uri}}]}]
    assert_equal(read_vectors(ask(client, "/v1/embeddings", messages=messages)), embedder.embed([{"video": content}]))


def test_tokens_are_counted_with_those_of_images(client, embedder):
    answer = ask(client, "/v1/embeddings", input=["one", "two words"])
    counts = [len(request) for request in embedder.prepare(["one", "two words"])]
    assert answer["usage"] == {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
    content = [{"type": "image_url", "image_url": {"url": as_uri(CIRCLE)}}]
    answer = ask(client, "/v1/embeddings", messages=[{"role": "user", "content": content}])
    assert answer["usage"]["prompt_tokens"] == len(embedder.prepare([{"image": CIRCLE}])[0])


def test_an_embedder_that_cannot_count_tokens_is_given_no_number():
    with serve_app(create_app(embedder=FakeEmbedder(), reranker=None)) as url:
        answer = httpx.post(f"{url}/v1/embeddings", json={"input": "x"}).json()
        assert "usage" not in answer
        assert httpx.post(f"{url}/tokenize", json={"prompt": "x"}).status_code == 404


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[1, 2], [3]]])
def test_the_tokens_of_another_tokenizer_are_refused(client, tokens):
    error = refuse(client, "/v1/embeddings", 400, input=tokens)["error"]
    assert "check_embedding_ctx_length=False" in error["message"]
    assert error["type"] == "invalid_request_error"


def test_the_models_are_listed_and_shown(client):
    (listed,) = client.get("/v1/models").json()["data"]
    assert listed["id"] == "pocket"
    assert client.get("/v1/models/pocket").json() == listed
    assert client.get("/v1/models/a/b").status_code == 404


@pytest.mark.parametrize(
    ("fields", "item"),
    [
        ({"texts": ["a red circle"]}, "a red circle"),
        ({"images": [as_uri(SQUARE)]}, {"image": SQUARE}),
        (
            {"inputs": [{"content": [{"type": "image_url", "image_url": {"url": as_uri(SQUARE)}}]}]},
            {"image": SQUARE},
        ),
        (
            {
                "inputs": [
                    {
                        "content": [
                            {"type": "text", "text": "blue"},
                            {"type": "image_url", "image_url": {"url": as_uri(SQUARE)}},
                        ]
                    }
                ]
            },
            MultimodalInput(parts=["blue", {"image": SQUARE}]),
        ),
    ],
)
def test_cohere_embeds_texts_images_and_mixtures(client, embedder, fields, item):
    answer = ask(client, "/v2/embed", model="any", input_type="search_document", **fields)
    assert_equal(answer["embeddings"]["float"], embedder.embed([item]))
    assert answer["meta"]["billed_units"]["input_tokens"] == len(embedder.prepare([item])[0])


def test_cohere_has_all_number_formats(client, embedder):
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    answer = ask(
        client, "/v2/embed", texts=["a", "b"], input_type="search_query", embedding_types=types, output_dimension=64
    )
    assert list(answer["embeddings"]) == types
    for name in types[1:-1]:
        assert answer["embeddings"][name] == embedder.embed_queries(["a", "b"], dimensions=64, precision=name).tolist()
    decoded = [np.frombuffer(base64.b64decode(text), dtype="<f4") for text in answer["embeddings"]["base64"]]
    assert_equal(decoded, answer["embeddings"]["float"])


def test_version_1_of_cohere_answers_plain_vectors_unless_formats_are_asked_for(client, embedder):
    plain = ask(client, "/v1/embed", texts=["a"], model="any")
    assert plain["response_type"] == "embeddings_floats"
    assert plain["texts"] == ["a"]
    assert plain["meta"]["api_version"] == {"version": "1"}
    assert_equal(plain["embeddings"], embedder.embed(["a"]))
    typed = ask(client, "/v1/embed", texts=["a"], embedding_types=["int8"])
    assert typed["response_type"] == "embeddings_by_type"
    assert typed["embeddings"] == {"int8": embedder.embed(["a"], precision="int8").tolist()}


@pytest.mark.parametrize("path", ["/v2/rerank", "/v1/rerank", "/rerank"])
def test_documents_are_ranked_by_their_probabilities(client, reranker, path):
    documents = [
        "a blue square",
        {"image": as_uri(CIRCLE)},
        {"text": "red", "image": as_uri(SQUARE)},
        {"text": "circle"},
    ]
    items = ["a blue square", {"image": CIRCLE}, {"text": "red", "image": SQUARE}, "circle"]
    scores = reranker.score("a red circle", items)
    answer = ask(client, path, query="a red circle", documents=documents, top_n=3, model="any", return_documents=True)
    found = [place["index"] for place in answer["results"]]
    assert found == np.argsort(-scores, kind="stable")[:3].tolist()
    assert_equal([place["relevance_score"] for place in answer["results"]], scores[found])
    texts = ["a blue square", None, "red", "circle"]
    assert [place.get("document", {}).get("text") for place in answer["results"]] == [texts[index] for index in found]
    # Base64 is never sent back.
    assert len(json.dumps(answer)) < 1_500


def test_a_query_may_be_an_image_and_an_instruction_counts(client, reranker):
    answer = ask(
        client, "/v2/rerank", query={"image": as_uri(CIRCLE)}, documents=["red", "blue"], instruction="Name the color."
    )
    scores = reranker.score({"image": CIRCLE}, ["red", "blue"], instruction="Name the color.")
    by_index = sorted(answer["results"], key=lambda place: place["index"])
    assert_equal([place["relevance_score"] for place in by_index], scores)


def test_the_clients_of_tei_embed_and_rank(client, embedder, reranker):
    assert_equal(ask(client, "/embed", inputs=["a", "b"], truncate=True), embedder.embed(["a", "b"]))
    assert_equal(ask(client, "/embed", inputs="a", prompt_name="query"), embedder.embed_queries(["a"]))
    ranked = ask(client, "/rerank", query="red", texts=["blue", "red"], return_text=True)
    raw = ask(client, "/rerank", query="red", texts=["blue", "red"], raw_scores=True)
    assert [place["text"] for place in ranked] == [["blue", "red"][place["index"]] for place in ranked]
    scores, margins = (reranker.score("red", ["blue", "red"], output=output) for output in ("probability", "margin"))
    assert_equal([place["score"] for place in ranked], [scores[place["index"]] for place in ranked])
    assert_equal([place["score"] for place in raw], [margins[place["index"]] for place in raw], MARGIN_TOLERANCE)


@pytest.mark.parametrize(
    "names", [("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2")]
)
def test_scores_stand_in_the_order_of_the_documents(client, reranker, names):
    query, documents = names
    answer = ask(client, "/score", **{query: "red", documents: ["blue", "red"]})
    assert_equal([row["score"] for row in answer["data"]], reranker.score("red", ["blue", "red"]))


def test_queries_and_documents_may_be_pairs(client, reranker):
    content = [{"type": "image_url", "image_url": {"url": as_uri(CIRCLE)}}]
    answer = ask(
        client, "/v1/score", queries=["red", "blue"], documents=["blue", {"content": content}], use_activation=False
    )
    expected = [
        reranker.score("red", ["blue"], output="margin")[0],
        reranker.score("blue", [{"image": CIRCLE}], output="margin")[0],
    ]
    assert_equal([row["score"] for row in answer["data"]], expected, MARGIN_TOLERANCE)
    message = refuse(client, "/score", 400, queries=["a", "b"], documents=["a", "b", "c"])["error"]["message"]
    assert message.startswith("got 2 queries and 3 documents")


def test_tokenize_shows_the_prompt_that_is_embedded(client, embedder):
    answer = ask(client, "/tokenize", prompt="red", input_type="query")
    (request,) = embedder.prepare(["red"], input_type="query")
    assert answer == {"count": len(request), "max_model_len": 8192, "tokens": request.tokens.token_ids.tolist()}
    content = [{"type": "image_url", "image_url": {"url": as_uri(CIRCLE)}}]
    answer = ask(client, "/tokenize", messages=[{"role": "user", "content": content}])
    assert answer["tokens"] == embedder.tokenize([{"image": CIRCLE}])[0]


@pytest.mark.parametrize(
    ("path", "fields", "model"),
    [
        ("/v1/embeddings", {"input": "x"}, "embedder"),
        ("/v2/embed", {"texts": ["x"]}, "embedder"),
        ("/embed", {"inputs": "x"}, "embedder"),
        ("/tokenize", {"prompt": "x"}, "embedder"),
        ("/v2/rerank", {"query": "x", "documents": ["x"]}, "reranker"),
        ("/rerank", {"query": "x", "texts": ["x"]}, "reranker"),
        ("/score", {"text_1": "x", "text_2": "x"}, "reranker"),
    ],
)
def test_a_route_whose_model_is_missing_says_so(bare_client, path, fields, model):
    assert f"this server has no {model}" in json.dumps(refuse(bare_client, path, 404, **fields))


def test_errors_have_the_shape_that_the_clients_of_a_route_read(client):
    broken = {"image": base64.b64encode(b"no image").decode()}
    conversation = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
    ]
    openai = refuse(client, "/v1/embeddings", 400, messages=[[{"role": "user", "content": "fine"}], conversation])
    assert openai["error"]["message"].startswith("item 1: ")
    assert set(openai["error"]) == {"message", "type", "param", "code"}
    cohere = refuse(client, "/v2/embed", 400, images=[as_uri(CIRCLE), as_uri(b"no")])
    assert set(cohere) == {"message"}
    assert cohere["message"].startswith("item 1: ")
    rerank = refuse(client, "/v1/rerank", 400, query="x", documents=["a", "b", broken])
    assert rerank["detail"] == rerank["message"]
    assert rerank["message"].startswith("document 2: ")
    assert refuse(client, "/v1/rerank", 400, query=broken, documents=["a"])["message"].startswith("query: ")
    tei = refuse(client, "/embed", 400, inputs=["a", 5])
    assert tei["error"].startswith("item 1: ")
    assert refuse(client, "/score", 400, queries=["a", broken], documents=["a", "b"])["error"]["message"].startswith(
        "query 1: "
    )


@pytest.mark.parametrize(
    ("path", "fields", "words"),
    [
        ("/v1/embeddings", {"input": "x", "dimension": 64}, "'dimension' is unknown here; allowed are dimensions"),
        ("/v1/embeddings", {"input": "x", "dimensions": 7}, "must be between 32 and 192"),
        ("/v1/embeddings", {"input": "x", "dimensions": "64"}, "'dimensions' is str '64'"),
        ("/v1/embeddings", {"input": "x", "input_type": "passage"}, "'input_type' is str 'passage'"),
        ("/v1/embeddings", {"input": "x", "messages": []}, "send either input"),
        ("/v1/embeddings", {}, "send either input"),
        ("/v1/embeddings", {"messages": [{"role": "assistant", "content": "x"}]}, "the role 'assistant'"),
        ("/v1/embeddings", {"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "part 0 is"),
        ("/v2/embed", {"texts": ["x"], "images": ["x"]}, "send one of texts, images and inputs"),
        ("/v2/embed", {"texts": ["x"], "truncate": "START"}, "leave truncate out"),
        ("/v2/embed", {"texts": ["x"], "embedding_types": ["ubinary"], "output_dimension": 33}, "not a multiple of 8"),
        ("/v2/rerank", {"query": "x"}, "'documents' is missing"),
        ("/v2/rerank", {"query": "x", "documents": ["x"], "top_n": 0}, "top_n=0 must be at least 1"),
        ("/v2/rerank", {"query": "x", "documents": [{"title": "x"}]}, "document 0: got an object with the keys"),
        ("/embed", {"inputs": "x", "normalize": False}, "unit length"),
        ("/score", {"text_1": "x"}, "send one of documents, items, text_2, data_2"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(client, path, fields, words):
    assert words in refuse(client, path, 400, **fields).__repr__()


def test_callers_share_forward_passes(url, embedder):
    async def ask_at_once():
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            return await asyncio.gather(
                *(client.post("/v1/embeddings", json={"input": f"text {number}"}) for number in range(32))
            )

    before = embedder.stats
    answers = asyncio.run(ask_at_once())
    assert (embedder.stats - before).batches < 32
    assert_equal(
        np.concatenate([read_vectors(answer.json()) for answer in answers]),
        embedder.embed([f"text {number}" for number in range(32)]),
    )


def test_the_version_names_the_vector_space(client, embedder):
    answer = client.get("/version").json()
    assert answer["embedder"] == embedder.fingerprint.to_dict()
    assert answer["reranker"] == "pocket"
    assert answer["version"]


def test_metrics_count_requests_items_and_forward_passes(embedder):
    app = create_app(embedder=embedder, reranker=FakeReranker(), statistics={"embedder": lambda: embedder.stats})
    with serve_app(app) as url, httpx.Client(base_url=url) as client:
        ask(client, "/v1/embeddings", input=["a", "b"])
        ask(client, "/rerank", query="a", documents=["b"])
        refuse(client, "/v1/embeddings", 400)
        client.get("/invented/by/a/client")
        lines = client.get("/metrics").text.splitlines()
    for line in (
        'qwen3vl_requests_total{route="/v1/embeddings",status="200"} 1.0',
        'qwen3vl_requests_total{route="/v1/embeddings",status="400"} 1.0',
        'qwen3vl_requests_total{route="other",status="404"} 1.0',
        'qwen3vl_request_seconds_count{route="/v1/embeddings"} 2.0',
        'qwen3vl_items_total{kind="embedded"} 2.0',
        'qwen3vl_items_total{kind="judged"} 1.0',
        "qwen3vl_waiting_requests 0.0",
        f'qwen3vl_forward_passes_total{{model="embedder"}} {float(embedder.stats.batches)}',
    ):
        assert line in lines


@pytest.fixture(scope="module")
def keyed_client():
    app = create_app(embedder=FakeEmbedder(), reranker=None, api_keys=["first-key", "second-key"])
    with serve_app(app) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer first-key"}, 200),
        ({"Authorization": "bearer second-key"}, 200),
        ({"X-API-Key": "second-key"}, 200),
        ({"Authorization": "Bearer first-key2"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Basic first-key"}, 401),
        ({"X-API-Key": b"\xff\xfe"}, 401),
    ],
)
def test_a_request_must_bring_one_of_the_keys(keyed_client, headers, status):
    response = keyed_client.post("/v1/embeddings", json={"input": "x"}, headers=headers)
    assert response.status_code == status
    assert status == 200 or response.json()["error"]["type"] == "authentication_error"


def test_without_a_key_nothing_but_health_and_readiness_is_told(keyed_client):
    statuses = {
        path: keyed_client.get(path).status_code for path in ("/health", "/ready", "/version", "/metrics", "/x")
    }
    assert statuses == {"/health": 200, "/ready": 200, "/version": 401, "/metrics": 401, "/x": 401}


def test_a_blank_key_protects_nothing_and_is_refused():
    with pytest.raises(ValueError, match="API key 1"):
        create_app(embedder=None, reranker=None, api_keys=["key", " "])


class FailingEmbedder(FakeEmbedder):
    async def aembed(self, *_, **__):
        raise RuntimeError("/srv/models/secret is broken")


def test_what_nobody_expected_is_told_to_the_log_alone(caplog):
    with serve_app(create_app(embedder=FailingEmbedder(), reranker=None)) as url:
        response = httpx.post(f"{url}/v1/embeddings", json={"input": "x"})
        assert httpx.get(f"{url}/health").status_code == 200
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "its log says what" in response.json()["error"]["message"]
    assert "/srv/models/secret is broken" in caplog.text
