"""What the routes of a server share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.options import InputType
from qwen3_vl_retrieval.protocols import Embedder, Reranker
from qwen3_vl_retrieval.server.admission import Admission
from qwen3_vl_retrieval.server.limits import ServerLimits
from qwen3_vl_retrieval.server.media_of_requests import MediaOfRequests
from qwen3_vl_retrieval.server.metrics import ServerMetrics
from qwen3_vl_retrieval.server.request_errors import RequestError

__all__ = ["ServerContext", "Tokenize"]


class Tokenize(Protocol):
    """Says of which tokens the prompts of items consist."""

    def __call__(self, inputs: Sequence[Item], *, input_type: InputType, instruction: str | None) -> list[list[int]]:
        """Returns the token ids of the prompt of each item, placeholders of images included.

        Raises:
            InputError: An item cannot be embedded; the message begins with its position.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """The models, and what each request needs on its way to them.

    A route answers with `answering.answer_request`, computes with `admission.take_turn`, and reads images with
    `media`; it opens nothing itself.

    Attributes:
        embedder: The embedder; `None` if there is none.
        reranker: The reranker; `None` if there is none.
        index: The index that is searched; `None` if there is none.
        limits: How much is done for one request, and for all.
        admission: Who is let in, and whose turn it is.
        media: Reads images and videos of requests.
        metrics: Counts what was done.
        tokenize: Says of which tokens prompts consist; `None` if nobody can.
    """

    embedder: Embedder | None
    reranker: Reranker | None
    index: MultimodalIndex | None
    limits: ServerLimits
    admission: Admission
    media: MediaOfRequests
    metrics: ServerMetrics
    tokenize: Tokenize | None = None

    def require_embedder(self) -> Embedder:
        """Returns the embedder.

        Raises:
            RequestError: There is none (404).
        """
        if self.embedder is None:
            raise RequestError(404, "this server has no embedder; ask one that was started with --embedder")
        return self.embedder

    def require_reranker(self) -> Reranker:
        """Returns the reranker.

        Raises:
            RequestError: There is none (404).
        """
        if self.reranker is None:
            raise RequestError(404, "this server has no reranker; ask one that was started with --reranker")
        return self.reranker
