"""What rerankers must do in LangChain, as tests."""

# ruff: noqa: S101 - the asserts are what this module is for

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor

from langchain_qwen3_vl.testing.pictures import draw_disc, draw_stripes, encode_png
from langchain_qwen3_vl.testing.tolerances import TOLERANCES, Precision

__all__ = ["RerankerTests"]


class RerankerTests:
    """Tests of a `BaseDocumentCompressor` that orders documents by a score.

    Override `reranker_class`, and the other properties where the class differs from the defaults.
    """

    @property
    def reranker_class(self) -> type[BaseDocumentCompressor]:
        """The class under test."""
        raise NotImplementedError("override reranker_class with the class under test")

    @property
    def reranker_params(self) -> dict[str, Any]:
        """What it is constructed with, besides the number of documents; each test constructs it anew."""
        return {}

    @property
    def top_n_name(self) -> str:
        """Name of the argument for the number of documents to return; `None` as its value returns all."""
        return "top_n"

    @property
    def query(self) -> Any:
        """What is asked."""
        return "a red disc"

    @property
    def sees_pictures(self) -> bool:
        """Whether documents are judged by the picture that `make_picture_document` names."""
        return True

    @property
    def dtype(self) -> Precision:
        """The precision in which the class under test computes. Where hardware decides that, ask the class."""
        return "float32"

    @property
    def tolerance(self) -> float:
        """Returns how far scores of equal pairs may lie apart, by default what rounding in `dtype` leaves room for."""
        return TOLERANCES[self.dtype]

    def make_picture_document(self, path: Path) -> Document:
        """Returns the document of a picture, in the form of the class."""
        return Document(page_content="", metadata={"media_type": "image", "image": str(path)})

    def test_copies_are_returned_and_the_documents_are_left_alone(self) -> None:
        """They belong to a store or to another retriever, and are asked about again."""
        with self._make_documents() as documents:
            before = [document.model_copy(deep=True) for document in documents]
            found = self._compress(documents)
            for document in found:
                document.metadata["changed"] = True
                document.metadata.get("tags", []).append("changed")
            assert list(documents) == before, "the documents that were given have changed"
            given = {id(document) for document in documents}
            assert not any(id(document) in given for document in found), "the documents themselves were returned"

    def test_ids_texts_and_metadata_are_kept(self) -> None:
        """What comes back is looked up, cited and shown."""
        with self._make_documents() as documents:
            by_id = {document.id: document for document in documents}
            for document in self._compress(documents):
                assert document.id in by_id, f"a document came back with the id {document.id!r}"
                original = by_id[document.id]
                assert document.page_content == original.page_content, "a text came back changed"
                kept = {name: value for name, value in document.metadata.items() if name in original.metadata}
                expected = {name: value for name, value in original.metadata.items() if name != "relevance_score"}
                kept.pop("relevance_score", None)
                assert kept == expected, "metadata were lost or changed"

    def test_scores_are_python_floats_between_0_and_1(self) -> None:
        """In `relevance_score`, where thresholds are set on it and JSON is made of it; a stale one is replaced."""
        with self._make_documents() as documents:
            for document in self._compress(documents):
                score = document.metadata.get("relevance_score")
                assert type(score) is float, f"relevance_score is {type(score).__name__}, not a Python float"
                assert 0 <= score <= 1, f"relevance_score is {score}, not between 0 and 1"

    def test_the_best_come_first(self) -> None:
        """Whatever order they were given in."""
        with self._make_documents() as documents:
            for given in (documents, documents[::-1]):
                scores = [document.metadata["relevance_score"] for document in self._compress(given)]
                assert scores == sorted(scores, reverse=True), f"the scores come back as {scores}"

    def test_a_score_does_not_depend_on_the_other_documents(self) -> None:
        """Pages of results are cut anywhere."""
        with self._make_documents() as documents:
            together = {document.id: document.metadata["relevance_score"] for document in self._compress(documents)}
            for document in documents:
                [alone] = self._compress([document])
                difference = abs(alone.metadata["relevance_score"] - together[document.id])
                assert difference <= self.tolerance, f"a score differs by {difference} among other documents"

    def test_as_many_as_asked_for_are_returned(self) -> None:
        """The best of them, and all without a limit."""
        with self._make_documents() as documents:
            everything = self._compress(documents)
            assert len(everything) == len(documents), f"{len(documents)} documents, {len(everything)} came back"
            some = self._compress(documents, top_n=2)
            assert [document.id for document in some] == [document.id for document in everything[:2]]

    def test_no_documents_give_none(self) -> None:
        """A first stage finds nothing at times."""
        assert list(self._compress([])) == []

    def test_async_equals_sync(self) -> None:
        """And several at once equal one after the other."""
        with self._make_documents() as documents:
            model = self._make(None)

            async def compress() -> list[Sequence[Document]]:
                return await asyncio.gather(*(model.acompress_documents(documents, self.query) for _ in range(3)))

            expected = self._compress(documents)
            for found in asyncio.run(compress()):
                assert [document.id for document in found] == [document.id for document in expected]
                scores = [[one.metadata["relevance_score"] for one in listed] for listed in (found, expected)]
                assert np.allclose(*scores, atol=self.tolerance), "the scores of acompress_documents differ"

    def test_a_picture_is_judged_by_what_it_shows(self) -> None:
        """Not by its name, nor by its empty text."""
        if not self.sees_pictures:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture.png"
            scores: list[float] = []
            for picture in (draw_disc(), draw_stripes()):
                path.write_bytes(encode_png(picture))
                [found] = self._compress([self.make_picture_document(path)])
                scores.append(found.metadata["relevance_score"])
        assert scores[0] != scores[1], "two pictures under one name have one score"

    @contextmanager
    def _make_documents(self) -> Generator[list[Document], None, None]:
        """Documents with ids, of which one has a stale score and one, where pictures are seen, is a picture."""
        with tempfile.TemporaryDirectory() as folder:
            documents = [
                Document(id="weather", page_content="It rains all day.", metadata={"tags": ["a"], "year": 1999}),
                Document(id="disc", page_content="A red disc on white.", metadata={"relevance_score": 7.0}),
                Document(id="invoice", page_content="Invoice of May: 12 pens."),
            ]
            if self.sees_pictures:
                path = Path(folder) / "disc.png"
                path.write_bytes(encode_png(draw_disc()))
                documents.append(self.make_picture_document(path).model_copy(update={"id": "picture"}))
            yield documents

    def _make(self, top_n: int | None) -> BaseDocumentCompressor:
        return self.reranker_class(**{**self.reranker_params, self.top_n_name: top_n})

    def _compress(self, documents: Sequence[Document], *, top_n: int | None = None) -> Sequence[Document]:
        return self._make(top_n).compress_documents(documents, self.query)
