"""Fakes of an embedder and a reranker, and the tests that every implementation of the port passes.

```python
from qwen3_vl_retrieval.testing import EmbedderTests, FakeEmbedder

vectors = FakeEmbedder().embed_documents(["a text", {"image": image}])


class TestMyEmbedder(EmbedderTests):
    def make_model(self):
        return MyEmbedder()
```

Neither needs torch, nor pytest: any runner that calls methods named `test_…` will do.
"""

# ruff: noqa: S101, PT017 - the asserts are what this module is for

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Unpack, cast, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from qwen3_vl_retrieval.errors import InputError, MediaError, quote
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.items import (
    DocumentPage,
    ImagePart,
    Item,
    OnError,
    TextPart,
    check_instruction,
    check_on_error,
    coerce_input,
    list_items,
)
from qwen3_vl_retrieval.media import MediaPolicy, read_image, render_page
from qwen3_vl_retrieval.media.policy import open_source
from qwen3_vl_retrieval.options import (
    EmbedOptions,
    InputType,
    ScoreOptions,
    VectorOptions,
    list_option_names,
)
from qwen3_vl_retrieval.outputs.scoring import check_output, compute_log_odds, compute_probabilities
from qwen3_vl_retrieval.protocols import Embedder, Reranker, implements

__all__ = ["EmbedderTests", "FakeEmbedder", "FakeReranker", "RerankerTests"]

_INSTRUCTIONS = {"document": "Represent the document.", "query": "Represent the query."}


class FakeEmbedder(Embedder):
    """An embedder without a model: vectors are drawn from hashes of contents, so that equal contents have equal ones.

    Args:
        dimensions: Length of a vector.
        media_policy: What may be opened; `None` is any local file.
        refused: Texts that cannot be embedded.

    Attributes:
        embedded: Contents of the documents that were embedded, in their order.
    """

    def __init__(
        self, *, dimensions: int = 64, media_policy: MediaPolicy | None = None, refused: Collection[str] = ()
    ) -> None:
        self._dimensions = dimensions
        self._media_policy = MediaPolicy() if media_policy is None else media_policy
        self._refused = frozenset(refused)
        self.embedded: list[bytes] = []

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vectors of documents with the default options."""
        return self.compute_fingerprint()

    @property
    def dimensions(self) -> int:
        """Length of a vector unless a call asks for another."""
        return self._dimensions

    @property
    def media_policy(self) -> MediaPolicy:
        """What the embedder may open."""
        return self._media_policy

    def compute_fingerprint(
        self, *, input_type: InputType = "document", **options: Unpack[VectorOptions]
    ) -> Fingerprint:
        """Returns the identity of the vectors that `embed` would return with these options."""
        return Fingerprint(
            model="fake",
            revision="1",
            dimensions=self._check_dimensions(options.get("dimensions")),
            precision=options.get("precision", "float32"),
            instruction=_choose_instruction(options.get("instruction"), input_type),
            pixel_budget="none",
            frame_sampling="none",
            max_length=8192,
            prompt_version="1",
        )

    @implements(Embedder.embed)
    def embed(
        self,
        inputs: Iterable[Item],
        *,
        input_type: InputType = "document",
        on_error: OnError = "raise",
        **options: Unpack[EmbedOptions],
    ) -> Any:
        """Returns one vector per item, `(n, dimensions)`; an instruction changes them, as it does those of a model."""
        check_on_error(on_error)
        _check_names(options, EmbedOptions)
        if options.get("precision", "float32") != "float32":
            raise ValueError(f"precision={quote(options.get('precision'))} is unknown here; allowed is float32")
        dimensions = self._check_dimensions(options.get("dimensions"))
        instruction = _choose_instruction(options.get("instruction"), input_type)
        # Queries and documents of one content are near: the instruction is a tenth of the vector.
        tenth = _draw_vector(instruction.encode(), dimensions) if options.get("instruction") else np.zeros(dimensions)
        vectors: list[npt.NDArray[np.float32] | InputError] = []
        for place, item in enumerate(list_items(inputs)):
            try:
                content = self._read(item)
            except InputError as error:
                if on_error == "raise":
                    raise error.at(place) from error
                vectors.append(error.at(place))
                continue
            if input_type == "document":
                self.embedded.append(content)
            vector = _draw_vector(content, dimensions) + 0.1 * tenth
            vectors.append((vector / np.linalg.norm(vector)).astype(np.float32))
        if on_error == "return":
            return vectors
        return np.stack(cast("list[Any]", vectors)) if vectors else np.empty((0, dimensions), dtype=np.float32)

    @implements(Embedder.aembed)
    async def aembed(
        self,
        inputs: Iterable[Item],
        *,
        input_type: InputType = "document",
        on_error: OnError = "raise",
        **options: Unpack[EmbedOptions],
    ) -> Any:
        """Returns the same as `embed`."""
        return self.embed(inputs, input_type=input_type, on_error=on_error, **options)

    def _check_dimensions(self, dimensions: int | None) -> int:
        if dimensions is None:
            return self._dimensions
        if not 32 <= dimensions <= self._dimensions:
            raise ValueError(f"dimensions={dimensions} must be between 32 and {self._dimensions}")
        return dimensions

    def _read(self, item: Item) -> bytes:
        content = _read_content(item, self._media_policy)
        if content.decode(errors="ignore") in self._refused:
            raise MediaError(f"{quote(content.decode(errors='ignore'))} is refused")
        return content


class FakeReranker(Reranker):
    """A reranker without a model: a document is the more relevant, the more words of the query it has.

    Images and videos have no words; documents of nothing else are ordered by hashes of their contents.

    Args:
        media_policy: What may be opened; `None` is any local file.
        refused: Texts of documents that cannot be judged.

    Attributes:
        asked: Numbers of documents of the calls, in their order.
    """

    def __init__(self, *, media_policy: MediaPolicy | None = None, refused: Collection[str] = ()) -> None:
        self._media_policy = MediaPolicy() if media_policy is None else media_policy
        self._refused = frozenset(refused)
        self.asked: list[int] = []

    @property
    def model_id(self) -> str:
        """Name of the model, for reports."""
        return "fake"

    @implements(Reranker.score)
    def score(
        self, query: Item, documents: Iterable[Item], *, on_error: OnError = "raise", **options: Unpack[ScoreOptions]
    ) -> Any:
        """Returns one relevance score per document, `(n,)`, in input order."""
        check_on_error(on_error)
        _check_names(options, ScoreOptions)
        output = options.get("output", "probability")
        check_output(output)
        items = list_items(documents)
        self.asked.append(len(items))
        try:
            wanted = set(_read_words(query))
            _read_content(query, self._media_policy)
        except InputError as error:
            raise error.at(None, role="query") from error
        scores: list[float | InputError] = []
        for place, item in enumerate(items):
            try:
                scores.append(self._judge(wanted, item))
            except InputError as error:
                if on_error == "raise":
                    raise error.at(place, role="document") from error
                scores.append(error.at(place, role="document"))
        judged = np.array([score for score in scores if not isinstance(score, InputError)], dtype=np.float64)
        values = iter((compute_log_odds(judged) if output == "margin" else judged).astype(np.float32).tolist())
        placed = [score if isinstance(score, InputError) else next(values) for score in scores]
        return placed if on_error == "return" else np.array(placed, dtype=np.float32)

    @implements(Reranker.ascore)
    async def ascore(
        self, query: Item, documents: Iterable[Item], *, on_error: OnError = "raise", **options: Unpack[ScoreOptions]
    ) -> Any:
        """Returns the same as `score`."""
        return self.score(query, documents, on_error=on_error, **options)

    def _judge(self, wanted: set[str], item: Item) -> float:
        content = _read_content(item, self._media_policy)
        if content.decode(errors="ignore") in self._refused:
            raise MediaError(f"{quote(content.decode(errors='ignore'))} is refused")
        shared = len(wanted & set(_read_words(item))) / max(1, len(wanted))
        drawn = int.from_bytes(hashlib.sha256(content).digest()[:4], "little") / 2**32
        return 0.05 + 0.8 * shared + 0.1 * drawn


def _choose_instruction(instruction: str | None, input_type: InputType) -> str:
    check_instruction(instruction)
    if input_type not in get_args(InputType):
        raise ValueError(f'input_type={quote(input_type)} is unknown; allowed are "document" and "query"')
    return instruction if instruction else _INSTRUCTIONS[input_type]


def _check_names(given: Any, options: type) -> None:
    for name in given:
        if name not in list_option_names(options):
            raise TypeError(f"got an unexpected keyword argument {name!r}")


def _read_words(item: Item) -> list[str]:
    texts = [part.text for part in coerce_input(item).parts if isinstance(part, TextPart)]
    return " ".join(texts).lower().split()


def _read_content(item: Item, policy: MediaPolicy) -> bytes:
    """What an item shows, as bytes: equal for equal texts and pixels, however they are given."""
    contents: list[bytes] = []
    for part in coerce_input(item).parts:
        if isinstance(part, TextPart):
            contents.append(part.text.encode("utf-8", "surrogatepass"))
        elif isinstance(part, ImagePart):
            source = part.source
            image = render_page(source, policy) if isinstance(source, DocumentPage) else read_image(source, policy)
            contents.append(repr(image.size).encode() + image.tobytes())
        else:
            opened = open_source(part.source, policy) if isinstance(part.source, (str, Path, bytes)) else None
            frames = repr(part.source).encode() if opened is None else opened
            contents.append(frames.read_bytes() if isinstance(frames, Path) else frames)
            contents.append(repr((part.start, part.end)).encode())
    return b"".join(contents)


def _draw_vector(content: bytes, dimensions: int) -> npt.NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(content).digest()[:8], "little")
    vector = np.random.default_rng(seed).normal(size=dimensions)
    return vector / np.linalg.norm(vector)


class EmbedderTests:
    """Tests of an `Embedder`: derive from this class and override `make_model`.

    Attributes:
        tolerance: How far numbers of equal items may lie apart: rounding in float32. State another for another dtype.
    """

    tolerance = 1e-4

    def make_model(self) -> Embedder:
        """Returns the model under test; each test asks for one, which may be the same."""
        raise NotImplementedError("override make_model")

    def test_it_is_an_embedder(self) -> None:
        """Callers go through the port, and ask for nothing else."""
        assert isinstance(self.make_model(), Embedder)

    def test_there_is_one_vector_an_item_in_their_order(self) -> None:
        """Batching must not show."""
        model = self.make_model()
        items = ["one", {"image": _draw_disc()}, "two", {"text": "three", "image": _draw_stripes()}]
        vectors = model.embed(items)
        assert vectors.shape == (len(items), model.dimensions)
        for place, item in enumerate(items):
            self._compare(vectors[place], model.embed([item])[0])
        assert model.embed([]).shape == (0, model.dimensions)

    def test_vectors_have_unit_length_and_are_told_apart(self) -> None:
        """A dot product is a cosine, and an item that is not read whole has the vector of another."""
        items = ["a disc", {"image": _draw_disc()}, {"text": "a disc", "image": _draw_disc()}]
        vectors = np.asarray(self.make_model().embed(items), dtype=np.float64)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=self.tolerance)
        for place in range(len(items)):
            for other in range(place):
                assert not np.allclose(vectors[place], vectors[other], atol=10 * self.tolerance)

    def test_queries_and_documents_are_named_by_the_input_type(self) -> None:
        """The two methods are `embed` with another instruction."""
        model = self.make_model()
        self._compare(model.embed_documents(["x"]), model.embed(["x"], input_type="document"))
        self._compare(model.embed_queries(["x"]), model.embed(["x"], input_type="query"))

    def test_errors_are_raised_or_returned_in_their_place(self) -> None:
        """One bad item is never the loss of the others, and never has a vector."""
        model = self.make_model()
        items: list[Any] = ["good", {"image": b"no image"}, "better", {"image": Path("missing.png")}]
        found = model.embed(items, on_error="return")
        assert [isinstance(one, InputError) for one in found] == [False, True, False, True]
        self._compare(found[2], model.embed(["better"])[0])
        try:
            model.embed(items)
        except InputError as error:
            assert error.index == 1
        else:
            raise AssertionError("an image that cannot be read was given a vector")

    def test_a_text_is_never_opened_as_a_file(self) -> None:
        """Whoever can write a text could read files otherwise."""
        model = self.make_model()
        self._compare(model.embed(["missing.png"]), model.embed([{"text": "missing.png"}]))

    def test_what_is_no_list_of_items_is_refused(self) -> None:
        """The letters of a text are not items."""
        try:
            self.make_model().embed("a text")
        except InputError:
            return
        raise AssertionError("a single text was taken for a list")

    def test_prepared_documents_have_the_same_vectors(self) -> None:
        """Indexes prepare ahead."""
        model = self.make_model()
        items: list[Any] = ["one", {"image": _draw_disc()}]
        self._compare(model.embed_prepared(model.prepare(items)), model.embed(items))
        kept = model.embed_prepared(model.prepare([*items, {"image": b"no"}], on_error="return"), on_error="return")
        assert [isinstance(one, InputError) for one in kept] == [False, False, True]

    def test_the_fingerprint_is_that_of_documents(self) -> None:
        """Stores carry it, and refuse another."""
        model = self.make_model()
        assert model.fingerprint == model.compute_fingerprint()
        assert model.fingerprint.dimensions == model.dimensions

    def test_async_equals_sync(self) -> None:
        """And many at once equal one after the other."""
        model = self.make_model()

        async def embed() -> list[Any]:
            calls = (model.aembed([item], input_type="query") for item in ("one", "two", "three"))
            return await asyncio.gather(*calls, model.aembed(["x", {"image": b"no"}], on_error="return"))

        *queries, lenient = asyncio.run(embed())
        for item, query in zip(("one", "two", "three"), queries, strict=True):
            self._compare(query, model.embed_queries([item]))
        assert isinstance(lenient[1], InputError)

    def test_counted_vectors_are_the_same(self) -> None:
        """An embedder that cannot count says so, and one that can counts every item."""
        model = self.make_model()
        items: list[Any] = ["one", {"image": _draw_disc()}]
        counted = asyncio.run(model.aembed_counted(items, input_type="query"))
        self._compare(counted.vectors, model.embed_queries(items))
        if counted.token_counts is not None:
            assert len(counted.token_counts) == len(items)
            assert min(counted.token_counts) > 0

    def test_the_items_of_the_caller_are_left_alone(self) -> None:
        """The caller's objects belong to a store, or are asked about again."""
        image = _draw_disc()
        items: list[Any] = [{"image": image, "text": "a disc"}, "x"]
        self.make_model().embed(items)
        assert items == [{"image": image, "text": "a disc"}, "x"]

    def _compare(self, one: Any, other: Any) -> None:
        assert np.allclose(np.asarray(one), np.asarray(other), atol=self.tolerance), "vectors of equal items differ"


class RerankerTests:
    """Tests of a `Reranker`: derive from this class and override `make_model`.

    Attributes:
        tolerance: How far probabilities of equal pairs may lie apart: rounding in float32.
    """

    tolerance = 1e-4

    def make_model(self) -> Reranker:
        """Returns the model under test; each test asks for one, which may be the same."""
        raise NotImplementedError("override make_model")

    def test_it_is_a_reranker(self) -> None:
        """Callers go through the port, and ask for nothing else."""
        model = self.make_model()
        assert isinstance(model, Reranker)
        assert model.model_id

    def test_scores_are_probabilities_and_margins_their_log_odds(self) -> None:
        """Thresholds are set on the one, and orders made of the other."""
        model = self.make_model()
        documents: list[Any] = ["a red disc", {"image": _draw_disc()}, "stripes"]
        scores = model.score("a red disc", documents)
        assert scores.shape == (3,)
        assert np.all((scores >= 0) & (scores <= 1))
        margins = model.score("a red disc", documents, output="margin")
        assert np.allclose(compute_probabilities(np.asarray(margins)), scores, atol=self.tolerance)
        assert model.score("a red disc", []).shape == (0,)

    def test_a_score_does_not_depend_on_the_other_documents(self) -> None:
        """Pages of results are cut anywhere."""
        model = self.make_model()
        documents: list[Any] = ["a red disc", {"image": _draw_stripes()}, "a blue stripe"]
        together = model.score("a red disc", documents)
        for place, document in enumerate(documents):
            assert abs(float(model.score("a red disc", [document])[0]) - float(together[place])) <= self.tolerance

    def test_a_ranking_is_the_order_of_the_scores(self) -> None:
        """Best first, as many as asked for, none below the threshold."""
        model = self.make_model()
        documents = ["a red disc", "stripes", "a disc"]
        ranked = model.rank("a red disc", documents)
        scores = model.score("a red disc", documents)
        assert sorted(place.index for place in ranked) == [0, 1, 2]
        assert [place.score for place in ranked] == sorted((place.score for place in ranked), reverse=True)
        assert all(abs(place.score - float(scores[place.index])) <= self.tolerance for place in ranked)
        assert model.rank("a red disc", documents, top_n=1)[0].index == ranked[0].index
        assert model.rank("a red disc", documents, threshold=1.0, top_n=3) == [p for p in ranked if p.score >= 1.0]

    def test_errors_are_raised_or_returned_in_their_place(self) -> None:
        """One bad document is never the loss of the others; a bad query is always raised."""
        model = self.make_model()
        documents: list[Any] = ["good", {"image": b"no image"}, "better"]
        found = model.score("good", documents, on_error="return")
        assert [isinstance(one, InputError) for one in found] == [False, True, False]
        for query, role, place in (("good", "document", 1), ({"image": b"no image"}, "query", None)):
            try:
                model.score(query, documents)
            except InputError as error:
                assert (error.role, error.index) == (role, place)
            else:
                raise AssertionError(f"a {role} that cannot be read was judged")

    def test_media_that_cannot_be_read_ahead_are_named(self) -> None:
        """A reranker that keeps nothing names nothing."""
        failures = self.make_model().cache_media(["a text", {"image": b"no image"}])
        assert set(failures) <= {1}

    def test_async_equals_sync(self) -> None:
        """And many at once equal one after the other."""
        model = self.make_model()
        documents: list[Any] = ["a red disc", {"image": _draw_disc()}]

        async def score() -> list[Any]:
            return await asyncio.gather(*(model.ascore(query, documents) for query in ("disc", "stripes")))

        for query, scores in zip(("disc", "stripes"), asyncio.run(score()), strict=True):
            assert np.allclose(scores, model.score(query, documents), atol=self.tolerance)


def _draw_disc() -> Image.Image:
    image = Image.new("RGB", (96, 96), "white")
    ImageDraw.Draw(image).ellipse((16, 16, 80, 80), fill="red")
    return image


def _draw_stripes() -> Image.Image:
    image = Image.new("RGB", (96, 96), "black")
    for left in range(0, 96, 24):
        ImageDraw.Draw(image).rectangle((left, 0, left + 11, 96), fill="blue")
    return image
