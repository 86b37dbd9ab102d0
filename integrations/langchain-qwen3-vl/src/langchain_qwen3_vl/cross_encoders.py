"""Pairs of query and document to probabilities, for those of LangChain that ask a cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

from langchain_core.cross_encoders import BaseCrossEncoder
from pydantic import Field, SecretStr

from langchain_qwen3_vl.contents import LangChainItem
from langchain_qwen3_vl.models import NamedReranker
from langchain_qwen3_vl.rerank import Qwen3VLRerank
from qwen3_vl_retrieval import InputError, ShareOptions

__all__ = ["Qwen3VLCrossEncoder"]


class Qwen3VLCrossEncoder(NamedReranker, BaseCrossEncoder):
    """Judges pairs, for classes that take a `BaseCrossEncoder`.

    `langchain_classic`'s `CrossEncoderReranker` is one: it passes texts alone, and drops the scores. Where there is a
    choice, `Qwen3VLRerank` sees the images of documents and keeps their scores.

    ```python
    from langchain_qwen3_vl import Qwen3VLCrossEncoder

    encoder = Qwen3VLCrossEncoder(model="Qwen/Qwen3-VL-Reranker-2B")
    scores = encoder.score([("Who signed?", "Signed by Ada."), ("Who signed?", {"image": "contract.png"})])
    ```

    Raises:
        ValueError: An option is unknown or does not fit the model that was given.
    """

    instruction: str | None = Field(
        default=None, description="What makes a document relevant; by default the model's own."
    )
    media_key: str | None = Field(
        default=None, description="Name of a metadatum that holds the image or video of a `Document`."
    )

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            model: Any = ...,
            model_name: Any = ...,
            base_url: str | None = None,
            api_key: SecretStr | None = ...,
            instruction: str | None = None,
            media_key: str | None = None,
            **options: Unpack[ShareOptions],
        ) -> None: ...

    def score(self, text_pairs: Sequence[tuple[LangChainItem, LangChainItem]]) -> list[float]:
        """Returns the probability in [0, 1] that the document answers the query, one a pair, in their order.

        Pairs of one query are judged together, and its images are read and encoded once.

        Args:
            text_pairs: Query and document, each a text or any other item, see `LangChainItem`.

        Raises:
            InputError: A query or document cannot be judged; the message begins with the position of its pair.
        """
        scores = [0.0] * len(text_pairs)
        rerank = self._build_rerank()
        for places in _group_by_query(text_pairs):
            query, documents = text_pairs[places[0]][0], [text_pairs[place][1] for place in places]
            try:
                judged = rerank.rerank(documents, query, top_n=None)
            except InputError as error:
                raise error.at(places[0 if error.index is None else error.index], role="pair") from error
            for entry in judged:
                scores[places[entry["index"]]] = entry["relevance_score"]
        return scores

    def _build_rerank(self) -> Qwen3VLRerank:
        return Qwen3VLRerank(
            model=self.reranker,
            media_policy=self.media_policy,
            instruction=self.instruction,
            media_key=self.media_key,
            top_n=None,
        )


def _group_by_query(pairs: Sequence[tuple[LangChainItem, LangChainItem]]) -> list[list[int]]:
    """The places of the pairs of each query. Texts are told apart by their letters, anything else by identity."""
    groups: dict[object, list[int]] = {}
    for place, (query, _) in enumerate(pairs):
        groups.setdefault(query if isinstance(query, str) else id(query), []).append(place)
    return list(groups.values())
