"""Yes or no about anything that can be shown, as a probability: the decision models of langchain-core 1.8.

Importing this module needs langchain-core 1.8 or newer; the rest of the package does not.
"""

# The module of langchain-core does not exist in older ones, where types of it are unknown.
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from pydantic import Field

from langchain_qwen3_vl.contents import Item, coerce_item
from langchain_qwen3_vl.models import NamedReranker
from langchain_qwen3_vl.rerank import Qwen3VLRerank
from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.errors import quote

try:
    from langchain_core.decisions import BaseDecisionModel, ClassifierResponse, Noul, NoulAnswer
except ImportError as error:
    raise ImportError(
        "Qwen3VLDecisionModel needs langchain-core>=1.8, which has decision models; "
        'install it: pip install -U "langchain-core>=1.8"'
    ) from error

__all__ = ["Qwen3VLDecisionModel"]

_INSTRUCTION = "Judge from the document whether the answer to the question is yes"

_BLOCK_TYPES = frozenset(
    {"text", "text-plain", "image", "image_url", "video", "video_url", "audio", "input_audio", "file"}
)
_PAYLOAD_KEYS = frozenset({"text", "base64", "url", "data", "file_id", "source", "image_url", "video_url", "image"})


class Qwen3VLDecisionModel(NamedReranker, BaseDecisionModel):
    """Answers `Noul` questions about text, images, videos and mixtures with the probability of yes.

    The reranker is asked whether the state, as its document, meets the question, as its query. It was trained to judge
    relevance: choose thresholds on examples of your own. Other types of questions are refused; for a choice ask one
    `Noul` for each label.

    ```python
    from langchain_core.decisions import Noul
    from langchain_qwen3_vl import Qwen3VLDecisionModel

    model = Qwen3VLDecisionModel(model="Qwen/Qwen3-VL-Reranker-2B")
    state = [{"type": "image", "base64": scan, "mime_type": "image/png"}]
    response = model.invoke({"state": state, "questions": {"signed": Noul(instructions="Is the contract signed?")}})
    response.nouls["signed"].noul
    ```

    Media blocks are looked at wherever they stand in state and instructions, in reading order; messages are named by
    their role, and other JSON is read as it is written.

    Raises:
        ValueError: An option is unknown or does not fit the model that was given.
    """

    instruction: str | None = Field(
        default=_INSTRUCTION, description="What makes a state meet a question; `None` is the model's own."
    )

    @property
    def _provider(self) -> str:
        return "qwen3-vl"

    def _classify(self, state: Any, questions: Mapping[str, Any]) -> ClassifierResponse:
        rerank, document = self._build_rerank(), self._coerce(_list_parts(state), "the state")
        scores = {
            name: rerank.rerank([document], query, top_n=None)[0]["relevance_score"]
            for name, query in self._coerce_questions(questions).items()
        }
        return self._build_response(scores)

    async def _aclassify(self, state: Any, questions: Mapping[str, Any]) -> ClassifierResponse:
        # In a thread: the first use loads the model.
        rerank = await asyncio.to_thread(self._build_rerank)
        document = self._coerce(_list_parts(state), "the state")
        queries = self._coerce_questions(questions)
        judged = await asyncio.gather(*(rerank.arerank([document], query, top_n=None) for query in queries.values()))
        scores = {name: places[0]["relevance_score"] for name, places in zip(queries, judged, strict=True)}
        return self._build_response(scores)

    def _traced_config(self, config: RunnableConfig | None) -> RunnableConfig:
        """A ready object stands where traces expect a name."""
        traced = super()._traced_config(config)
        traced["metadata"] = {**traced.get("metadata", {}), "ls_model_name": self.model_name}
        return traced

    def _build_rerank(self) -> Qwen3VLRerank:
        return Qwen3VLRerank(model=self.reranker, media_policy=self.media_policy, instruction=self.instruction)

    def _coerce_questions(self, questions: Mapping[str, Any]) -> dict[str, Item]:
        if not questions:
            raise InputError("no questions were given; give at least one, {'name': Noul(instructions=…)}")
        return {name: self._coerce_question(name, question) for name, question in questions.items()}

    def _coerce_question(self, name: str, question: Any) -> Item:
        if not isinstance(question, Noul):
            raise InputError(
                f"the question {quote(name)} is a {type(question).__name__}, and this model answers yes or no: "
                "Noul alone. For a Choice or Score ask one Noul for each label or level"
            )
        parts = list(_list_parts(question.instructions))
        if question.criteria is not None:
            for outcome, meaning in (("Yes", question.criteria.true), ("No", question.criteria.false)):
                if meaning is not None:
                    parts += [f"\n{outcome} means: ", *_list_parts(meaning)]
        return self._coerce(parts, f"the question {quote(name)}")

    def _coerce(self, parts: Iterable[str | Mapping[str, Any]], shown: str) -> Item:
        joined: list[str | Mapping[str, Any]] = []
        for part in parts:
            if isinstance(part, str) and joined and isinstance(joined[-1], str):
                joined[-1] += part
            elif part:
                joined.append(part)
        if not any(part.strip() if isinstance(part, str) else part for part in joined):
            raise InputError(f"{shown} is empty; give a text, messages, JSON or media blocks")
        try:
            return coerce_item(joined, media_policy=self.media_policy)
        except InputError as error:
            raise type(error)(f"{shown}: {error.reason}") from error

    def _build_response(self, scores: Mapping[str, float]) -> ClassifierResponse:
        answers: dict[str, Any] = {name: NoulAnswer(type="noul", noul=score) for name, score in scores.items()}
        return ClassifierResponse(model=self.model_name, answers=answers)


def _list_parts(value: Any) -> Iterator[str | Mapping[str, Any]]:
    """The texts and media blocks of a state or of instructions, in reading order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, BaseMessage):
        yield f"{value.type}: "
        # Content is text and blocks; what is between them in other JSON would be punctuation here.
        for part in [value.content] if isinstance(value.content, str) else value.content:
            yield from _list_parts(part)
    elif _is_block(value):
        yield value["text"] if value["type"] == "text" else value
    elif not _holds_media(value):
        yield json.dumps(value, ensure_ascii=False) if value else ""
    else:
        named = value.items() if isinstance(value, Mapping) else (("", inner) for inner in value)
        for place, (name, inner) in enumerate(named):
            yield ("\n" if place else "") + (f"{name}: " if name else "")
            yield from _list_parts(inner)


def _is_block(value: Any) -> bool:
    """Whether this is a content block, and not JSON that has a `type` of its own."""
    return isinstance(value, Mapping) and value.get("type") in _BLOCK_TYPES and not _PAYLOAD_KEYS.isdisjoint(value)


def _holds_media(value: Any) -> bool:
    """Whether blocks or messages stand anywhere in this, so that it cannot be read as JSON."""
    if isinstance(value, BaseMessage) or _is_block(value):
        return True
    if isinstance(value, Mapping):
        return any(_holds_media(inner) for inner in value.values())
    return isinstance(value, (list, tuple)) and any(_holds_media(inner) for inner in value)
