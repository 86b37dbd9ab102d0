"""The published test classes: our own classes pass them, and each naive one fails the test that is meant for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings

from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.rerank import Qwen3VLRerank
from langchain_qwen3_vl.testing import MultimodalEmbeddingsTests, RerankerTests
from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.testing import FakeEmbedder, FakeReranker
from rounding import find_automatic_dtype


@pytest.fixture(autouse=True)
def _hold_models(embeddings, rerank):
    """A model that nobody holds is released, and each test would load it anew."""
    return embeddings.embedder, rerank.reranker


class TestQwen3VLEmbeddings(MultimodalEmbeddingsTests):
    @property
    def embeddings_class(self):
        return Qwen3VLEmbeddings

    @property
    def embedding_model_params(self):
        return {"model": "pocket"}

    @property
    def dtype(self):
        return find_automatic_dtype()


class TestQwen3VLRerank(RerankerTests):
    @property
    def reranker_class(self):
        return Qwen3VLRerank

    @property
    def reranker_params(self):
        return {"model": "pocket"}

    @property
    def dtype(self):
        return find_automatic_dtype()


class Naive(Embeddings):
    """Passes on to our own; each class below does one thing wrong."""

    def __init__(self) -> None:
        self.own = Qwen3VLEmbeddings(model=FakeEmbedder(), query_instruction="Find what it shows.")

    def embed_documents(self, texts: Any) -> Any:
        return self.own.embed_documents(texts)

    def embed_query(self, text: Any) -> Any:
        return self.own.embed_query(text)


class LeaksNumpy(Naive):
    def embed_documents(self, texts):
        return [list(vector) for vector in self.own.embed_documents_array(texts)]


class ReturnsArray(Naive):
    def embed_documents(self, texts):
        return self.own.embed_documents_array(texts)


class OpensTexts(Naive):
    def embed_documents(self, texts):
        return self.own.embed_documents([Path(text) if _is_file(text) else text for text in texts])


class OpensQueries(Naive):
    def embed_query(self, text):
        return self.own.embed_query(Path(text) if _is_file(text) else text)


class SortsByModality(Naive):
    def embed_documents(self, texts):
        return self.own.embed_documents(sorted(texts, key=lambda text: isinstance(text, str)))


class LosesOne(Naive):
    def embed_documents(self, texts):
        return self.own.embed_documents(texts)[:4]


class ReadsTextAlone(Naive):
    def embed_documents(self, texts):
        return self.own.embed_documents([text if isinstance(text, str) else text.get("text", "") for text in texts])


class ShortensImages(Naive):
    def embed_documents(self, texts):
        vectors = self.own.embed_documents(texts)
        return [vector if isinstance(text, str) else vector[:32] for text, vector in zip(texts, vectors, strict=True)]


class FailsOnNothing(Naive):
    def embed_documents(self, texts):
        return self.own.embed_documents(texts) if texts else [[]]


class ReadsFirstBlock(Naive):
    def embed_query(self, text):
        return self.own.embed_query(text[:1] if isinstance(text, list) else text)


class DiffersInAsync(Naive):
    async def aembed_query(self, text):
        return self.own.embed_documents([text])[0]


class Substitutes(Naive):
    def embed_documents(self, texts):
        try:
            return self.own.embed_documents(texts)
        except InputError:
            return [[0.0] * 64 for _ in texts]


def _is_file(text: Any) -> bool:
    return isinstance(text, str) and Path(text).is_file()


NAIVE_EMBEDDINGS = [
    (LeaksNumpy, "test_vectors_are_lists_of_python_floats"),
    (ReturnsArray, "test_vectors_are_lists_of_python_floats"),
    (ShortensImages, "test_text_image_and_mixture_have_vectors_of_one_length"),
    (ReadsTextAlone, "test_text_image_and_mixture_are_told_apart"),
    (OpensTexts, "test_a_text_is_never_opened_as_a_file"),
    (OpensQueries, "test_a_text_is_never_opened_as_a_file"),
    (SortsByModality, "test_there_is_one_vector_an_item_in_their_order"),
    (LosesOne, "test_there_is_one_vector_an_item_in_their_order"),
    (FailsOnNothing, "test_no_items_have_no_vectors"),
    (ReadsFirstBlock, "test_a_query_of_blocks_equals_a_dict"),
    (DiffersInAsync, "test_async_equals_sync"),
    (Substitutes, "test_an_unreadable_image_is_an_error"),
]


@pytest.mark.parametrize(("naive", "test"), NAIVE_EMBEDDINGS, ids=lambda value: getattr(value, "__name__", value))
def test_naive_embeddings_fail(naive, test):
    class OfNaive(MultimodalEmbeddingsTests):
        embeddings_class = naive

    with pytest.raises(AssertionError):
        getattr(OfNaive(), test)()


class NaiveRerank(BaseDocumentCompressor):
    """Passes on to our own; each class below does one thing wrong."""

    top_n: int | None = None

    @property
    def own(self) -> Qwen3VLRerank:
        return Qwen3VLRerank(model=FakeReranker(), top_n=self.top_n)

    def compress_documents(self, documents: Any, query: Any, callbacks: Any = None) -> Any:
        return self.own.compress_documents(documents, query)


class Mutates(NaiveRerank):
    def compress_documents(self, documents, query, callbacks=None):
        places = self.own.rerank(documents, query)
        for place in places:
            documents[place["index"]].metadata["relevance_score"] = place["relevance_score"]
        return [documents[place["index"]] for place in places]


class SharesMetadata(NaiveRerank):
    def compress_documents(self, documents, query, callbacks=None):
        return [
            documents[place["index"]].model_copy(
                update={"metadata": {**documents[place["index"]].metadata, "relevance_score": place["relevance_score"]}}
            )
            for place in self.own.rerank(documents, query)
        ]


class LosesIds(NaiveRerank):
    def compress_documents(self, documents, query, callbacks=None):
        found = super().compress_documents(documents, query)
        return [Document(page_content=one.page_content, metadata=one.metadata) for one in found]


class LosesMetadata(NaiveRerank):
    def compress_documents(self, documents, query, callbacks=None):
        found = super().compress_documents(documents, query)
        return [
            one.model_copy(update={"metadata": {"relevance_score": one.metadata["relevance_score"]}}) for one in found
        ]


class KeepsStaleScores(NaiveRerank):
    def compress_documents(self, documents, query, callbacks=None):
        stale = {one.id: one.metadata for one in documents}
        found = super().compress_documents(documents, query)
        return [one.model_copy(update={"metadata": {**one.metadata, **stale[one.id]}}) for one in found]


class LeaksNumpyScores(NaiveRerank):
    def compress_documents(self, documents, query, callbacks=None):
        found = super().compress_documents(documents, query)
        for one in found:
            one.metadata["relevance_score"] = np.float32(one.metadata["relevance_score"])
        return found


class KeepsTheOrder(NaiveRerank):
    def compress_documents(self, documents, query, callbacks=None):
        order = {one.id: place for place, one in enumerate(documents)}
        return sorted(super().compress_documents(documents, query), key=lambda one: order[one.id])


class ScalesByTheBest(NaiveRerank):
    def compress_documents(self, documents, query, callbacks=None):
        found = super().compress_documents(documents, query)
        for one in found[::-1]:
            one.metadata["relevance_score"] /= found[0].metadata["relevance_score"]
        return found


class ReturnsAll(NaiveRerank):
    def compress_documents(self, documents, query, callbacks=None):
        return Qwen3VLRerank(model=FakeReranker(), top_n=None).compress_documents(documents, query)


class FailsOnNoDocuments(NaiveRerank):
    def compress_documents(self, documents, query, callbacks=None):
        return super().compress_documents(documents, query) if documents else [Document("nothing")]


class SkipsAsync(NaiveRerank):
    async def acompress_documents(self, documents, query, callbacks=None):
        return self.own.compress_documents(documents[::-1], query)[::-1]


class JudgesTextAlone(NaiveRerank):
    def compress_documents(self, documents, query, callbacks=None):
        scores = {place["index"]: place for place in self.own.rerank([one.page_content for one in documents], query)}
        return [
            documents[index].model_copy(update={"metadata": {"relevance_score": place["relevance_score"]}})
            for index, place in scores.items()
        ]


NAIVE_RERANKERS = [
    (Mutates, "test_copies_are_returned_and_the_documents_are_left_alone"),
    (SharesMetadata, "test_copies_are_returned_and_the_documents_are_left_alone"),
    (LosesIds, "test_ids_texts_and_metadata_are_kept"),
    (LosesMetadata, "test_ids_texts_and_metadata_are_kept"),
    (KeepsStaleScores, "test_scores_are_python_floats_between_0_and_1"),
    (LeaksNumpyScores, "test_scores_are_python_floats_between_0_and_1"),
    (KeepsTheOrder, "test_the_best_come_first"),
    (ScalesByTheBest, "test_a_score_does_not_depend_on_the_other_documents"),
    (ReturnsAll, "test_as_many_as_asked_for_are_returned"),
    (FailsOnNoDocuments, "test_no_documents_give_none"),
    (SkipsAsync, "test_async_equals_sync"),
    (JudgesTextAlone, "test_an_image_is_judged_by_what_it_shows"),
]


@pytest.mark.parametrize(("naive", "test"), NAIVE_RERANKERS, ids=lambda value: getattr(value, "__name__", value))
def test_a_naive_reranker_fails(naive, test):
    class OfNaive(RerankerTests):
        reranker_class = naive

    with pytest.raises(AssertionError):
        getattr(OfNaive(), test)()


def test_a_reranker_of_texts_is_tested_without_images():
    class OfTexts(RerankerTests):
        reranker_class = JudgesTextAlone
        sees_images = False

    OfTexts().test_an_image_is_judged_by_what_it_shows()
    OfTexts().test_as_many_as_asked_for_are_returned()


def test_a_class_that_is_not_named_is_asked_for():
    with pytest.raises(NotImplementedError, match="override embeddings_class"):
        MultimodalEmbeddingsTests().test_no_items_have_no_vectors()
    with pytest.raises(NotImplementedError, match="override reranker_class"):
        RerankerTests().test_no_documents_give_none()
