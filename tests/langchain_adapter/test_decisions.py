"""The decision model: yes or no about anything that can be shown."""

from __future__ import annotations

import asyncio
import base64
import importlib
from importlib.util import find_spec
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from qwen3_vl_retrieval import InputError, MediaPolicyError, Reranker
from rounding import bound

HAS_DECISIONS = find_spec("langchain_core.decisions") is not None
needs_decisions = pytest.mark.skipif(not HAS_DECISIONS, reason="langchain-core has decision models from 1.8 on")

if HAS_DECISIONS:
    from langchain_core.decisions import Box, Choice, Noul, NoulCriteria

    from langchain_qwen3_vl.decisions import Qwen3VLDecisionModel

INSTRUCTION = "Judge from the document whether the answer to the question is yes"


class WatchingReranker(Reranker):
    """Notes what it is asked, and says 0."""

    model_id = "watching"

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Any, Any]] = []

    def score(self, query: Any, documents: Any, **options: Any) -> list[float]:
        self.asked.append((query, list(documents), options["instruction"]))
        return [0.0] * len(documents)

    async def ascore(self, query: Any, documents: Any, **options: Any) -> list[float]:
        return self.score(query, documents, **options)


def read(item: Any) -> list[Any]:
    return list(item.parts)


def ask(state: Any, *instructions: Any, **options: Any) -> list[tuple[Any, Any, Any]]:
    watching = WatchingReranker()
    model = Qwen3VLDecisionModel(model=watching, **options)
    questions = {str(place): Noul(instructions=one) for place, one in enumerate(instructions)}
    model.invoke({"state": state, "questions": questions})
    return watching.asked


@pytest.mark.skipif(HAS_DECISIONS, reason="this core has decision models")
def test_an_older_core_is_told_what_it_lacks():
    with pytest.raises(ImportError, match=r"langchain-core>=1\.8"):
        importlib.import_module("langchain_qwen3_vl.decisions")


@needs_decisions
def test_the_answer_is_the_probability_of_the_reranker(images):
    model = Qwen3VLDecisionModel(model="pocket")
    path = images / "picture-0.png"
    block = {"type": "image", "base64": base64.b64encode(path.read_bytes()).decode(), "mime_type": "image/png"}
    questions = {"ball": Noul(instructions="Is there a ball?"), "cat": Noul(instructions="Is there a cat?")}
    response = model.invoke({"state": [block], "questions": questions})
    assert response.model == "pocket"
    assert list(response.nouls) == ["ball", "cat"]
    for name, question in questions.items():
        [score] = model.reranker.score(question.instructions, [{"image": path}], instruction=INSTRUCTION)
        assert response.nouls[name].noul == pytest.approx(float(score), abs=bound(1e-5))
    asynchronous = asyncio.run(model.ainvoke({"state": [block], "questions": questions}))
    assert asynchronous.nouls["cat"].noul == pytest.approx(response.nouls["cat"].noul, abs=bound(1e-5))
    batch = model.batch([{"state": [block], "questions": questions}] * 2)
    assert [answer.nouls.keys() for answer in batch] == [questions.keys()] * 2


@needs_decisions
def test_the_question_is_the_query_and_the_state_the_document():
    [(query, [document], instruction)] = ask("the light is red", "Is it red?")
    assert (read(query), read(document), instruction) == (["Is it red?"], ["the light is red"], INSTRUCTION)
    [(_, _, instruction)] = ask("a", "b?", instruction="Think.")
    assert instruction == "Think."


@needs_decisions
def test_media_is_found_wherever_it_stands():
    image, data = {"type": "image", "base64": "AAAA"}, base64.b64decode("AAAA")
    [(_, [document], _)] = ask({"report": {"photo": image, "year": 1999}, "note": "wet"}, "Is it wet?")
    assert read(document) == ["report: photo: ", {"image": data}, "\nyear: 1999\nnote: wet"]
    [(query, [document], _)] = ask([HumanMessage([{"type": "text", "text": "look"}, image]), AIMessage("yes")], [image])
    assert read(document) == ["human: look", {"image": data}, "\nai: yes"]
    assert read(query) == [{"image": data}]


@needs_decisions
def test_other_json_is_read_as_it_is_written():
    state = {"type": "image", "who": "Zoë", "tags": [1, None]}
    [(_, [document], _)] = ask(state, "Is it?")
    assert read(document) == ['{"type": "image", "who": "Zoë", "tags": [1, null]}']


@needs_decisions
def test_criteria_are_part_of_the_question():
    watching = WatchingReranker()
    question = Noul(instructions="Is it urgent?", criteria=NoulCriteria(true="production is down", false={"or": "not"}))
    Qwen3VLDecisionModel(model=watching).invoke({"state": "a", "questions": {"urgent": question}})
    assert read(watching.asked[0][0]) == ['Is it urgent?\nYes means: production is down\nNo means: {"or": "not"}']


@needs_decisions
@pytest.mark.parametrize("kind", ["Choice", "Box"])
def test_other_questions_are_refused_by_name(kind):
    other = Choice(instructions="Which?", criteria={"a": None}) if kind == "Choice" else Box(instructions="Where?")
    model = Qwen3VLDecisionModel(model=WatchingReranker())
    with pytest.raises(InputError, match=f"the question 'which' is a {kind}.*Noul alone"):
        model.invoke({"state": "a", "questions": {"which": other}})


@needs_decisions
def test_what_cannot_be_judged_is_named():
    with pytest.raises(InputError, match="no questions were given"):
        ask("a")
    for empty in ("", " ", [], {}):
        with pytest.raises(InputError, match="the state is empty"):
            ask(empty, "b?")
    with pytest.raises(InputError, match="the question '0' is empty"):
        ask("a", "")
    with pytest.raises(InputError, match=r"the state: .*audio"):
        ask([{"type": "audio", "base64": "AAAA"}], "b?")
    with pytest.raises(MediaPolicyError, match=r"the state: .*content blocks come from outside"):
        ask([{"type": "image", "url": "/etc/a.png"}], "b?")


@needs_decisions
def test_traces_name_the_model():
    runs = []

    def note(run: Any) -> None:
        runs.append(run.extra["metadata"])

    for model in (Qwen3VLDecisionModel(model=WatchingReranker()), Qwen3VLDecisionModel(model="pocket")):
        traced = model.with_listeners(on_end=note)
        traced.invoke({"state": "a", "questions": {"b": Noul(instructions="b?")}})
    assert [run["ls_model_name"] for run in runs] == ["watching", "pocket"]
    assert {run["ls_provider"] for run in runs} == {"qwen3-vl"}
