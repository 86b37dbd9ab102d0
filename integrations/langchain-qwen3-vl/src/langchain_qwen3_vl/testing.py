"""Standard tests of multimodal embeddings and rerankers, for any LangChain package: langchain-tests has none.

Derive a test class, name your class and its parameters, and pytest runs what is here:

```python
from langchain_qwen3_vl.testing import MultimodalEmbeddingsTests


class TestMyEmbeddings(MultimodalEmbeddingsTests):
    @property
    def embeddings_class(self):
        return MyEmbeddings
```

The tests of the core's own models are in `qwen3_vl_retrieval.testing`.
"""

# ruff: noqa: S101 - the asserts are what this module is for

from __future__ import annotations

import asyncio
import base64
import io
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings
from PIL import Image, ImageDraw

__all__ = ["TOLERANCES", "MultimodalEmbeddingsTests", "Precision", "RerankerTests"]

Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]
"""What a model computes in."""

# Half precision: a number has eight bits in bfloat16. With the pocket models, probabilities moved by up to 0.0027 among
# other documents and numbers of a vector by up to 0.0023 among other callers; larger models round more often.
# `benchmarks/rounding.py` measures it.
TOLERANCES: Mapping[Precision, float] = MappingProxyType({"float32": 1e-4, "bfloat16": 2e-2, "float16": 2e-2})
"""Bounds on the difference of a number of a vector, or of a probability."""

_SIDE_PIXELS = 128
_TEXT = "a red disc"


class _RoundedTests:
    """Tests that compare numbers of equal items."""

    @property
    def dtype(self) -> Precision:
        """The precision in which the class under test computes. Where hardware decides that, ask the class."""
        return "float32"

    @property
    def tolerance(self) -> float:
        """Returns how far numbers of equal items may lie apart, by default what rounding in `dtype` leaves room for."""
        return TOLERANCES[self.dtype]


class MultimodalEmbeddingsTests(_RoundedTests):
    """Tests of an `Embeddings` class whose methods take images and mixtures besides texts.

    Override `embeddings_class`, and the other properties where the class differs from the defaults.
    """

    @property
    def embeddings_class(self) -> type[Embeddings]:
        """The class under test."""
        raise NotImplementedError("override embeddings_class with the class under test")

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        """What it is constructed with; each test constructs it anew."""
        return {}

    def make_item(self, *, text: str | None = None, image: Image.Image | None = None) -> Any:
        """Returns an item in the form of the class; by default a dict with `text` and `image`."""
        given = {"image": image, "text": text}
        return {name: value for name, value in given.items() if value is not None}

    def make_blocks(self, *, text: str, image: Image.Image) -> Any:
        """Returns the same item as content blocks of LangChain, the image first."""
        encoded = base64.b64encode(_encode_png(image)).decode("ascii")
        return [{"type": "image", "base64": encoded, "mime_type": "image/png"}, {"type": "text", "text": text}]

    def make_broken_item(self) -> Any:
        """Returns an image that cannot be read, in the form of the class."""
        return {"image": b"no image"}

    def test_vectors_are_lists_of_python_floats(self) -> None:
        """NumPy's floats pass most of LangChain, and fail in JSON and in stores."""
        model: Any = self._make()
        items = [_TEXT, self.make_item(image=_draw_disc())]
        vectors: object = model.embed_documents(items)
        assert isinstance(vectors, list), f"embed_documents returned {type(vectors).__name__}, not a list"
        documents = cast("list[object]", vectors)
        for vector in (*documents, model.embed_query(_TEXT), model.embed_query(items[1])):
            assert isinstance(vector, list), f"a vector is {type(vector).__name__}, not a list"
            types = {type(number) for number in cast("list[object]", vector)}
            assert types == {float}, f"a vector holds {types}, not Python floats"

    def test_text_image_and_mixture_have_vectors_of_one_length(self) -> None:
        """Vectors of all modalities are compared with one another."""
        model: Any = self._make()
        image = _draw_disc()
        items = [_TEXT, self.make_item(image=image), self.make_item(text=_TEXT, image=image)]
        lengths = {len(vector) for vector in [*model.embed_documents(items), model.embed_query(_TEXT)]}
        assert len(lengths) == 1, f"vectors have the lengths {sorted(lengths)}"

    def test_text_image_and_mixture_are_told_apart(self) -> None:
        """A class that reads one part alone has one vector for two of them."""
        image = _draw_disc()
        items = [_TEXT, self.make_item(image=image), self.make_item(text=_TEXT, image=image)]
        vectors = self._embed([*items, self.make_item(image=_draw_stripes())])
        for place, vector in enumerate(vectors):
            for other in vectors[place + 1 :]:
                assert not np.allclose(vector, other, atol=self.tolerance), "two different items have one vector"

    def test_a_text_is_never_opened_as_a_file(self) -> None:
        """Whoever can write a text could read files otherwise, and `report.png` is a text, too."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "disc.png"
            path.write_bytes(_encode_png(_draw_disc()))
            as_text, as_image = self._embed([str(path), self.make_item(image=_draw_disc())])
            as_query: Any = self._make().embed_query(str(path))
        without_file = self._embed([str(path)])[0]
        assert np.allclose(as_text, without_file, atol=self.tolerance), "the vector of a text depends on a file"
        assert not np.allclose(as_text, as_image, atol=self.tolerance), "a text was opened as an image"
        assert np.allclose(as_query, self._make().embed_query(str(path)), atol=self.tolerance)

    def test_there_is_one_vector_an_item_in_their_order(self) -> None:
        """Batching by modality must not show."""
        items = ["one", self.make_item(image=_draw_disc()), "two", self.make_item(image=_draw_stripes()), "three"]
        together = self._embed(items)
        assert len(together) == len(items), f"{len(items)} items have {len(together)} vectors"
        for place, item in enumerate(items):
            alone = self._embed([item])[0]
            assert np.allclose(together[place], alone, atol=self.tolerance), f"vector {place} is not of item {place}"

    def test_no_items_have_no_vectors(self) -> None:
        """Text splitters do give nothing at times."""
        assert self._make().embed_documents([]) == []

    def test_a_query_of_blocks_equals_a_dict(self) -> None:
        """Messages hold blocks, and programs dicts."""
        model: Any = self._make()
        image = _draw_disc()
        as_blocks = model.embed_query(self.make_blocks(text=_TEXT, image=image))
        as_dict = model.embed_query(self.make_item(text=_TEXT, image=image))
        assert np.allclose(as_blocks, as_dict, atol=self.tolerance), "blocks and dict of one item have other vectors"

    def test_async_equals_sync(self) -> None:
        """And many at once equal one after the other."""
        model: Any = self._make()
        items = [_TEXT, self.make_item(image=_draw_disc())]

        async def embed() -> list[Any]:
            queries = (model.aembed_query(item) for item in items)
            return await asyncio.gather(model.aembed_documents(items), *queries)

        documents, *queries = asyncio.run(embed())
        assert np.allclose(documents, self._embed(items), atol=self.tolerance), "aembed_documents differs"
        for item, query in zip(items, queries, strict=True):
            assert np.allclose(query, model.embed_query(item), atol=self.tolerance), "aembed_query differs"

    def test_an_unreadable_image_is_an_error(self) -> None:
        """A vector in its place is found by queries, and nobody knows why."""
        try:
            self._embed([self.make_broken_item()])
        except Exception:  # noqa: BLE001 - whatever the class raises is right; returning is wrong
            return
        raise AssertionError("an image that cannot be read was given a vector")

    def _make(self) -> Embeddings:
        return self.embeddings_class(**self.embedding_model_params)

    def _embed(self, items: Sequence[Any]) -> list[list[float]]:
        model: Any = self._make()
        return model.embed_documents(list(items))


class RerankerTests(_RoundedTests):
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
    def sees_images(self) -> bool:
        """Whether documents are judged by the image that `make_image_document` names."""
        return True

    def make_image_document(self, path: Path) -> Document:
        """Returns the document of an image, in the form of the class."""
        return Document(page_content="", metadata={"media_type": "image", "image": str(path)})

    def test_copies_are_returned_and_the_documents_are_left_alone(self) -> None:
        """The documents belong to a store or to another retriever, and are asked about again."""
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

    def test_an_image_is_judged_by_what_it_shows(self) -> None:
        """Not by its name, nor by its empty text."""
        if not self.sees_images:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "image.png"
            scores: list[float] = []
            for image in (_draw_disc(), _draw_stripes()):
                path.write_bytes(_encode_png(image))
                [found] = self._compress([self.make_image_document(path)])
                scores.append(found.metadata["relevance_score"])
        assert scores[0] != scores[1], "two images under one name have one score"

    @contextmanager
    def _make_documents(self) -> Generator[list[Document], None, None]:
        """Documents with ids, of which one has a stale score and one, where images are seen, is an image."""
        with tempfile.TemporaryDirectory() as folder:
            documents = [
                Document(id="weather", page_content="It rains all day.", metadata={"tags": ["a"], "year": 1999}),
                Document(id="disc", page_content="A red disc on white.", metadata={"relevance_score": 7.0}),
                Document(id="invoice", page_content="Invoice of May: 12 pens."),
            ]
            if self.sees_images:
                path = Path(folder) / "disc.png"
                path.write_bytes(_encode_png(_draw_disc()))
                documents.append(self.make_image_document(path).model_copy(update={"id": "image"}))
            yield documents

    def _make(self, top_n: int | None) -> BaseDocumentCompressor:
        return self.reranker_class(**{**self.reranker_params, self.top_n_name: top_n})

    def _compress(self, documents: Sequence[Document], *, top_n: int | None = None) -> Sequence[Document]:
        return self._make(top_n).compress_documents(documents, self.query)


def _draw_disc() -> Image.Image:
    image = Image.new("RGB", (_SIDE_PIXELS, _SIDE_PIXELS), "white")
    ImageDraw.Draw(image).ellipse((24, 24, 104, 104), fill="red")
    return image


def _draw_stripes() -> Image.Image:
    image = Image.new("RGB", (_SIDE_PIXELS, _SIDE_PIXELS), "black")
    for left in range(0, _SIDE_PIXELS, 32):
        ImageDraw.Draw(image).rectangle((left, 0, left + 15, _SIDE_PIXELS), fill="blue")
    return image


def _encode_png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
