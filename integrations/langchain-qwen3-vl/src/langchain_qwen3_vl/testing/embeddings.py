"""What multimodal embeddings must do in LangChain, as tests."""

# ruff: noqa: S101 - the asserts are what this module is for

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from langchain_core.embeddings import Embeddings
from PIL import Image

from langchain_qwen3_vl.testing.pictures import draw_disc, draw_stripes, encode_base64, encode_png
from langchain_qwen3_vl.testing.tolerances import TOLERANCES, Precision

__all__ = ["MultimodalEmbeddingsTests"]

_TEXT = "a red disc"


class MultimodalEmbeddingsTests:
    """Tests of an `Embeddings` class whose methods take pictures and mixtures besides texts.

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

    @property
    def dtype(self) -> Precision:
        """The precision in which the class under test computes. Where hardware decides that, ask the class."""
        return "float32"

    @property
    def tolerance(self) -> float:
        """Returns how far numbers of equal items may lie apart, by default what rounding in `dtype` leaves room for."""
        return TOLERANCES[self.dtype]

    def make_item(self, *, text: str | None = None, picture: Image.Image | None = None) -> Any:
        """Returns an item in the form of the class; by default a dict with `text` and `image`."""
        given = {"image": picture, "text": text}
        return {name: value for name, value in given.items() if value is not None}

    def make_blocks(self, *, text: str, picture: Image.Image) -> Any:
        """Returns the same item as content blocks of LangChain, the picture first."""
        image = {"type": "image", "base64": encode_base64(picture), "mime_type": "image/png"}
        return [image, {"type": "text", "text": text}]

    def make_broken_item(self) -> Any:
        """Returns a picture that cannot be read, in the form of the class."""
        return {"image": b"no picture"}

    def test_vectors_are_lists_of_python_floats(self) -> None:
        """NumPy's floats pass most of LangChain, and fail in JSON and in stores."""
        model: Any = self._make()
        items = [_TEXT, self.make_item(picture=draw_disc())]
        vectors: object = model.embed_documents(items)
        assert isinstance(vectors, list), f"embed_documents returned {type(vectors).__name__}, not a list"
        documents = cast("list[object]", vectors)
        for vector in (*documents, model.embed_query(_TEXT), model.embed_query(items[1])):
            assert isinstance(vector, list), f"a vector is {type(vector).__name__}, not a list"
            types = {type(number) for number in cast("list[object]", vector)}
            assert types == {float}, f"a vector holds {types}, not Python floats"

    def test_text_picture_and_mixture_have_vectors_of_one_length(self) -> None:
        """They are compared with one another."""
        model: Any = self._make()
        picture = draw_disc()
        items = [_TEXT, self.make_item(picture=picture), self.make_item(text=_TEXT, picture=picture)]
        lengths = {len(vector) for vector in [*model.embed_documents(items), model.embed_query(_TEXT)]}
        assert len(lengths) == 1, f"vectors have the lengths {sorted(lengths)}"

    def test_text_picture_and_mixture_are_told_apart(self) -> None:
        """A class that reads one part alone has one vector for two of them."""
        picture = draw_disc()
        items = [_TEXT, self.make_item(picture=picture), self.make_item(text=_TEXT, picture=picture)]
        vectors = self._embed([*items, self.make_item(picture=draw_stripes())])
        for place, vector in enumerate(vectors):
            for other in vectors[place + 1 :]:
                assert not np.allclose(vector, other, atol=self.tolerance), "two different items have one vector"

    def test_a_text_is_never_opened_as_a_file(self) -> None:
        """Whoever can write a text could read files otherwise, and `report.png` is a text, too."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "disc.png"
            path.write_bytes(encode_png(draw_disc()))
            as_text, as_picture = self._embed([str(path), self.make_item(picture=draw_disc())])
            as_query: Any = self._make().embed_query(str(path))
        without_file = self._embed([str(path)])[0]
        assert np.allclose(as_text, without_file, atol=self.tolerance), "the vector of a text depends on a file"
        assert not np.allclose(as_text, as_picture, atol=self.tolerance), "a text was opened as a picture"
        assert np.allclose(as_query, self._make().embed_query(str(path)), atol=self.tolerance)

    def test_there_is_one_vector_an_item_in_their_order(self) -> None:
        """Batching by modality must not show."""
        items = ["one", self.make_item(picture=draw_disc()), "two", self.make_item(picture=draw_stripes()), "three"]
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
        picture = draw_disc()
        as_blocks = model.embed_query(self.make_blocks(text=_TEXT, picture=picture))
        as_dict = model.embed_query(self.make_item(text=_TEXT, picture=picture))
        assert np.allclose(as_blocks, as_dict, atol=self.tolerance), "blocks and dict of one item have other vectors"

    def test_async_equals_sync(self) -> None:
        """And many at once equal one after the other."""
        model: Any = self._make()
        items = [_TEXT, self.make_item(picture=draw_disc())]

        async def embed() -> list[Any]:
            queries = (model.aembed_query(item) for item in items)
            return await asyncio.gather(model.aembed_documents(items), *queries)

        documents, *queries = asyncio.run(embed())
        assert np.allclose(documents, self._embed(items), atol=self.tolerance), "aembed_documents differs"
        for item, query in zip(items, queries, strict=True):
            assert np.allclose(query, model.embed_query(item), atol=self.tolerance), "aembed_query differs"

    def test_an_unreadable_picture_is_an_error(self) -> None:
        """A vector in its place is found by queries, and nobody knows why."""
        try:
            self._embed([self.make_broken_item()])
        except Exception:  # noqa: BLE001 - whatever the class raises is right; returning is wrong
            return
        raise AssertionError("a picture that cannot be read was given a vector")

    def _make(self) -> Embeddings:
        return self.embeddings_class(**self.embedding_model_params)

    def _embed(self, items: Sequence[Any]) -> list[list[float]]:
        model: Any = self._make()
        return model.embed_documents(list(items))
