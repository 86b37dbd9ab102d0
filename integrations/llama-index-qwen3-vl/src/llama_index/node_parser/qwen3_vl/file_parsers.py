"""What parsers of files have in common: what becomes of broken files, and of documents that are none of theirs."""

from __future__ import annotations

import asyncio
import itertools
import logging
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from llama_index.core.node_parser import NodeParser
from llama_index.core.node_parser.node_utils import default_id_func
from llama_index.core.schema import BaseNode, Document, Node, NodeRelationship
from llama_index.core.utils import (
    get_tqdm_iterable,  # pyright: ignore[reportUnknownVariableType] - its items are not typed
)
from pydantic import ConfigDict, Field

from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.errors import quote

__all__ = ["FileParser", "name_file"]

_logger = logging.getLogger(__name__)


class FileParser(NodeParser):
    """A parser that makes nodes of some documents, and leaves the others as they are.

    Parsers of this package can follow each other, and precede those of LlamaIndex, in any pipeline. Ids are made of
    content and place, unless an `id_func` is given; content that is met twice in one call is one node.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    media_policy: MediaPolicy | None = Field(
        default=None, description="What may be opened; by default any local file, and no URL."
    )
    on_error: Literal["raise", "skip"] = Field(
        default="raise",
        description="What becomes of a document whose file cannot be read: `raise` names it, `skip` leaves it out with "
        "a warning in the log.",
    )

    @classmethod
    def class_name(cls) -> str:
        """Returns the name of the class, by which it is serialised."""
        return cls.__name__

    @abstractmethod
    def _parse_document(self, document: BaseNode) -> list[Node] | None:
        """The nodes of a document; `None` if it is none of this parser's."""

    @property
    def _policy(self) -> MediaPolicy:
        return MediaPolicy() if self.media_policy is None else self.media_policy

    def _parse_nodes(self, nodes: Sequence[BaseNode], show_progress: bool = False, **kwargs: Any) -> list[BaseNode]:
        del kwargs
        parsed: list[BaseNode] = []
        seen: set[str] = set()
        shown = cast("Sequence[BaseNode]", get_tqdm_iterable(nodes, show_progress, "Reading files"))
        for place, document in enumerate(shown):
            try:
                made = self._parse_document(document)
            except InputError as error:
                if self.on_error == "raise":
                    raise error.at(place, role="document") from error
                _logger.warning("document %s is left out: %s", document.node_id, error.reason)
                continue
            if made is None:
                parsed.append(document)
                continue
            self._name_nodes(made, document)
            for node in made:
                if node.id_ not in seen:
                    seen.add(node.id_)
                    parsed.append(node)
        return parsed

    async def _aparse_nodes(
        self, nodes: Sequence[BaseNode], show_progress: bool = False, **kwargs: Any
    ) -> list[BaseNode]:
        return await asyncio.to_thread(self._parse_nodes, nodes, show_progress, **kwargs)

    def _postprocess_parsed_nodes(self, nodes: list[BaseNode], parent_doc_map: dict[str, Document]) -> list[BaseNode]:
        # What LlamaIndex does here is for texts cut from documents; nodes that were left as they are stay so.
        del parent_doc_map
        return nodes

    def _name_nodes(self, nodes: Sequence[Node], document: BaseNode) -> None:
        """Ids of the caller's function, and who follows whom."""
        if self.id_func is not default_id_func:
            for place, node in enumerate(nodes):
                node.id_ = self.id_func(place, document)
        if not self.include_prev_next_rel:
            return
        for one, other in itertools.pairwise(nodes):
            one.relationships[NodeRelationship.NEXT] = other.as_related_node_info()
            other.relationships[NodeRelationship.PREVIOUS] = one.as_related_node_info()

    def _read_own_metadata(self, document: BaseNode) -> dict[str, Any]:
        return dict(document.metadata) if self.include_metadata else {}


def name_file(error: InputError, path: Path) -> InputError:
    """Returns the error with the name of the file in its message."""
    return error if quote(path) in error.reason else type(error)(f"{quote(path)}: {error.reason}")
