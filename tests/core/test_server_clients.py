"""Clients of other servers, unchanged, get the numbers of the same models in this process."""

from __future__ import annotations

import asyncio
import base64
import gc
import io

import cohere
import numpy as np
import openai
import pytest
from PIL import Image, ImageDraw

from qwen3_vl_retrieval import MultimodalInput, Qwen3VLEmbedder, Qwen3VLReranker
from qwen3_vl_retrieval.server import create_app
from served_apps import serve_app

TEXTS = ["a red circle", "a blue square", "invoice number 118"]
KEY = "a-key-of-this-server"
TOLERANCE = 1e-6

# Not all of these clients close their connections; the ones that are left end with their test.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def collected_clients():
    yield
    gc.collect()


@pytest.fixture(scope="module")
def embedder():
    return Qwen3VLEmbedder.from_pretrained("pocket", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def reranker():
    return Qwen3VLReranker.from_pretrained("pocket", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def url(embedder, reranker):
    with serve_app(create_app(embedder=embedder, reranker=reranker, api_keys=[KEY])) as url:
        yield url


@pytest.fixture(scope="module")
def open_url(embedder, reranker):
    """For clients that bring no key."""
    with serve_app(create_app(embedder=embedder, reranker=reranker)) as url:
        yield url


@pytest.fixture(scope="module")
def circle():
    image = Image.new("RGB", (96, 96), "white")
    ImageDraw.Draw(image).ellipse((20, 20, 76, 76), fill="red")
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def circle_uri(circle):
    return "data:image/png;base64," + base64.b64encode(circle).decode()


def assert_equal(found, expected):
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE


def test_openai_embeds_texts(url, embedder):
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY) as client:
        answer = client.embeddings.create(model="any", input=TEXTS)
        assert_equal([row.embedding for row in answer.data], embedder.embed(TEXTS))
        assert answer.usage.prompt_tokens == sum(map(len, embedder.prepare(TEXTS)))
        short = client.embeddings.create(model="any", input=TEXTS[0], dimensions=64, encoding_format="float")
        assert_equal([row.embedding for row in short.data], embedder.embed(TEXTS[:1], dimensions=64))
        assert [model.id for model in client.models.list()] == ["pocket"]
        assert client.models.retrieve("pocket").owned_by == "qwen3-vl-retrieval"


def test_openai_embeds_conversations_with_images(url, embedder, circle, circle_uri):
    content = [{"type": "image_url", "image_url": {"url": circle_uri}}, {"type": "text", "text": "what is it?"}]
    messages = [{"role": "system", "content": "Find the shape."}, {"role": "user", "content": content}]
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY) as client:
        answer = client.embeddings.create(
            model="any", input=openai.omit, extra_body={"messages": messages, "input_type": "query"}
        )
    item = MultimodalInput(parts=[{"image": circle}, "what is it?"], instruction="Find the shape.")
    assert_equal([row.embedding for row in answer.data], embedder.embed_queries([item]))


def test_openai_reads_what_is_wrong(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="item 1: got 5") as caught:
            client.embeddings.create(model="any", input=["fine", 5])
        assert caught.value.type == "invalid_request_error"
        with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
            client.embeddings.create(model="any", input=[[1, 2, 3]])
        with pytest.raises(openai.NotFoundError, match="GET /v1/models"):
            client.models.retrieve("gpt")
        with pytest.raises(openai.AuthenticationError, match="no valid API key"):
            client.with_options(api_key="another").models.list()


def test_cohere_version_2_embeds_texts_images_and_mixtures(url, embedder, circle, circle_uri):
    client = cohere.ClientV2(KEY, base_url=url)
    options = {"model": "any", "embedding_types": ["float"]}
    answer = client.embed(texts=TEXTS, input_type="search_document", **options)
    assert_equal(answer.embeddings.float_, embedder.embed(TEXTS))
    answer = client.embed(texts=TEXTS, input_type="search_query", output_dimension=64, **options)
    assert_equal(answer.embeddings.float_, embedder.embed_queries(TEXTS, dimensions=64))
    answer = client.embed(images=[circle_uri], input_type="image", **options)
    assert_equal(answer.embeddings.float_, embedder.embed([{"image": circle}]))
    content = [{"type": "text", "text": "red"}, {"type": "image_url", "image_url": {"url": circle_uri}}]
    answer = client.embed(inputs=[{"content": content}], input_type="search_document", **options)
    assert_equal(answer.embeddings.float_, embedder.embed([MultimodalInput(parts=["red", {"image": circle}])]))
    codes = client.embed(texts=TEXTS, input_type="search_document", model="any", embedding_types=["int8", "ubinary"])
    assert codes.embeddings.int8 == embedder.embed(TEXTS, precision="int8").tolist()
    assert codes.embeddings.ubinary == embedder.embed(TEXTS, precision="ubinary").tolist()


def test_cohere_version_1_embeds_in_several_requests(url, embedder):
    # It sends 96 texts a request, and joins the answers.
    texts = [f"text {number}" for number in range(100)]
    client = cohere.Client(KEY, base_url=url)
    plain = client.embed(texts=texts, model="any", input_type="search_document")
    assert_equal(plain.embeddings, embedder.embed(texts))
    assert plain.texts == texts
    typed = client.embed(texts=TEXTS, model="any", input_type="search_query", embedding_types=["float", "int8"])
    assert_equal(typed.embeddings.float_, embedder.embed_queries(TEXTS))


def test_cohere_ranks(url, reranker, circle, circle_uri):
    documents = [*TEXTS, {"image": circle_uri}]
    scores = reranker.score("a circle", [*TEXTS, {"image": circle}])
    answer = cohere.ClientV2(KEY, base_url=url).rerank(model="any", query="a circle", documents=documents, top_n=3)
    assert [place.index for place in answer.results] == np.argsort(-scores, kind="stable")[:3].tolist()
    assert_equal([place.relevance_score for place in answer.results], np.sort(scores)[::-1][:3])
    old = cohere.Client(KEY, base_url=url).rerank(model="any", query="a circle", documents=TEXTS)
    assert_equal([place.relevance_score for place in old.results], np.sort(scores[:3])[::-1])


def test_cohere_reads_what_is_wrong(url):
    client = cohere.ClientV2(KEY, base_url=url)
    with pytest.raises(cohere.BadRequestError, match="item 0: the image 'no image'"):
        client.embed(images=["no image"], model="any", input_type="image", embedding_types=["float"])
    with pytest.raises(cohere.UnauthorizedError, match="no valid API key"):
        cohere.ClientV2("another", base_url=url).rerank(model="any", query="x", documents=["x"])


def test_langchain_openai_embeds(url, embedder):
    from langchain_openai import OpenAIEmbeddings

    embeddings = OpenAIEmbeddings(
        base_url=f"{url}/v1", api_key=KEY, model="any", check_embedding_ctx_length=False, dimensions=64
    )
    assert_equal(embeddings.embed_documents(TEXTS), embedder.embed(TEXTS, dimensions=64))
    as_query = embeddings.model_copy(update={"model_kwargs": {"extra_body": {"input_type": "query"}}})
    assert_equal(as_query.embed_query(TEXTS[0]), embedder.embed_queries(TEXTS[:1], dimensions=64)[0])


def test_langchain_cohere_embeds_and_ranks(url, embedder, reranker):
    from langchain_cohere import CohereEmbeddings, CohereRerank
    from langchain_core.documents import Document  # noqa: TID251 - the client under test takes them

    embeddings = CohereEmbeddings(base_url=url, cohere_api_key=KEY, model="any")
    assert_equal(embeddings.embed_documents(TEXTS), embedder.embed(TEXTS))
    assert_equal(embeddings.embed_query(TEXTS[0]), embedder.embed_queries(TEXTS[:1])[0])
    assert_equal(asyncio.run(embeddings.aembed_documents(TEXTS)), embedder.embed(TEXTS))
    ranker = CohereRerank(base_url=url, cohere_api_key=KEY, model="any", top_n=2)
    ranked = ranker.compress_documents([Document(text) for text in TEXTS], "a circle")
    scores = reranker.score("a circle", TEXTS)
    order = np.argsort(-scores, kind="stable")[:2]
    assert [document.page_content for document in ranked] == [TEXTS[place] for place in order]
    assert_equal([document.metadata["relevance_score"] for document in ranked], scores[order])


def test_llama_index_openai_like_embeds(url, embedder):
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding  # noqa: TID251 - the client under test

    embedding = OpenAILikeEmbedding(model_name="any", api_base=f"{url}/v1", api_key=KEY)
    assert_equal(embedding.get_text_embedding_batch(TEXTS), embedder.embed(TEXTS))
    assert_equal(embedding.get_query_embedding(TEXTS[0]), embedder.embed(TEXTS[:1])[0])


def test_llama_index_tei_embeds(open_url, embedder):
    from llama_index.embeddings.text_embeddings_inference import (  # noqa: TID251 - the client under test
        TextEmbeddingsInference,
    )

    embedding = TextEmbeddingsInference(model_name="any", base_url=open_url, text_instruction="", query_instruction="")
    assert_equal(embedding.get_text_embedding_batch(TEXTS), embedder.embed(TEXTS))


@pytest.mark.parametrize("client", ["cohere", "jina"])
def test_llama_index_ranks_with_the_postprocessors_of_cohere_and_jina(url, reranker, client):
    from llama_index.core.schema import NodeWithScore, TextNode  # noqa: TID251 - the clients under test take them
    from llama_index.postprocessor.cohere_rerank import CohereRerank  # noqa: TID251 - a client under test
    from llama_index.postprocessor.jinaai_rerank import JinaRerank  # noqa: TID251 - a client under test

    processor = (
        CohereRerank(top_n=2, api_key=KEY, base_url=url)
        if client == "cohere"
        else JinaRerank(top_n=2, api_key=KEY, base_url=f"{url}/v1")
    )
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in TEXTS]
    ranked = processor.postprocess_nodes(nodes, query_str="a circle")
    scores = reranker.score("a circle", TEXTS)
    order = np.argsort(-scores, kind="stable")[:2]
    assert [node.text for node in ranked] == [TEXTS[place] for place in order]
    assert_equal([node.score for node in ranked], scores[order])
