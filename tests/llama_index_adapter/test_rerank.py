"""Reranking: nodes of every type, queries of every kind, waited for and awaited."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import os
import pickle
import random

import numpy as np
import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import (
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from PIL import Image

from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle
from llama_index.postprocessor.qwen3_vl_rerank.base import Qwen3VLRerank
from llama_index_adapter.plain_models import PlainReranker
from qwen3_vl_pocket.world.facts import draw_facts
from qwen3_vl_pocket.world.sentences import ask
from qwen3_vl_retrieval import InputError, MediaError
from qwen3_vl_retrieval.index import build_item
from rounding import bound


@pytest.fixture(scope="module")
def core(rerank):
    return rerank.reranker


@pytest.fixture(scope="module")
def everything(rerank):
    """It returns all nodes."""
    return rerank.model_copy(update={"top_n": 20})


@pytest.fixture(scope="module")
def nodes(pictures):
    """A node of every type, with the item that the core is given for it."""
    paths = [str(pictures / f"picture-{number}.png") for number in range(4)]
    page = {"media_type": "page", "source": str(pictures / "paper.pdf"), "page": 1}
    caption = MediaResource(text="sold out")
    given = [
        (TextNode(text="a red circle", id_="text"), "a red circle"),
        (IndexNode(text="blue squares", index_id="i", id_="index"), "blue squares"),
        (Document(text="a green star", id_="document"), "a green star"),
        (ImageNode(image_path=paths[0], id_="image"), {"image": paths[0]}),
        (ImageNode(image_path=paths[1], text="sold out", id_="captioned"), {"image": paths[1], "text": "sold out"}),
        (Node(image_resource=MediaResource(path=paths[2]), id_="node"), {"image": paths[2]}),
        (
            Node(video_resource=MediaResource(path=str(pictures / "clip.mp4")), text_resource=caption, id_="clip"),
            {"video": str(pictures / "clip.mp4"), "text": "sold out"},
        ),
        (ImageDocument(image_path=paths[3], id_="photo"), {"image": paths[3]}),
        (TextNode(text="layer", metadata=page, id_="page"), build_item("layer", page)),
    ]
    return [NodeWithScore(node=node, score=0.5) for node, _ in given], [item for _, item in given]


def list_ids(found):
    return [node.node.node_id for node in found]


def wrap(*texts):
    return [
        NodeWithScore(node=TextNode(text=text, id_=str(place)), score=place / 10) for place, text in enumerate(texts)
    ]


def test_it_is_a_postprocessor_of_llama_index():
    assert BaseNodePostprocessor.__name__ in [base.__name__ for base in Qwen3VLRerank.__mro__]
    assert Qwen3VLRerank.class_name() == "Qwen3VLRerank"
    assert Qwen3VLRerank().top_n == 2


def test_every_type_of_node_has_the_score_of_the_core(everything, core, nodes, questions, pictures):
    given, items = nodes
    picture, clip = pictures / "picture-1.png", pictures / "clip.mp4"
    queries = [
        (QueryBundle(questions[0]), questions[0]),
        (QueryBundle("the same", image_path=str(picture)), {"image": picture, "text": "the same"}),
        (QueryBundle("", image_path=str(picture)), {"image": picture}),
        (MultiModalQueryBundle("like it", videos=[clip]), {"video": clip, "text": "like it"}),
    ]
    for bundle, item in queries:
        scores, margins = core.score(item, items), core.score(item, items, output="margin")
        for found in (
            everything.postprocess_nodes(given, bundle),
            asyncio.run(everything.apostprocess_nodes(given, bundle)),
        ):
            assert list_ids(found) == [given[place].node.node_id for place in np.argsort(-margins, kind="stable")]
            assert [node.score for node in found] == pytest.approx(
                sorted(scores.tolist(), reverse=True), abs=bound(1e-4)
            )


def test_a_page_is_rendered_for_the_first_query_alone_and_for_rerankers_of_others(
    everything, nodes, questions, pictures, monkeypatch
):
    page = nodes[0][-1]
    os.utime(pictures / "paper.pdf", (1_700_000_000, 1_700_000_000))
    everything.postprocess_nodes([page], QueryBundle(questions[0]))
    with monkeypatch.context() as patched:
        patched.delattr("qwen3_vl_retrieval.media.pdf.render_pdf_page")
        everything.postprocess_nodes([page], QueryBundle(questions[1]))
    given = []
    monkeypatch.setattr(PlainReranker, "score", lambda _, query, documents: given.extend(documents) or np.ones(1))
    Qwen3VLRerank(reranker=PlainReranker()).postprocess_nodes([page], QueryBundle(questions[0]))
    assert isinstance(given[0], Image.Image)


def test_the_best_are_returned_with_python_floats(rerank, core):
    found = rerank.postprocess_nodes(wrap("blue square", "red circle", "green star"), query_str="red circle")
    expected = core.rank("red circle", ["blue square", "red circle", "green star"], top_n=2)
    assert list_ids(found) == [str(ranked.index) for ranked in expected]
    assert {type(node.score) for node in found} == {float}
    assert found[0].score == pytest.approx(expected[0].score, abs=bound(1e-5))


def test_what_was_given_is_left_alone(rerank, nodes, questions):
    given, _ = nodes
    before = [(id(node.node), node.score, dict(node.node.metadata)) for node in given]
    query = MultiModalQueryBundle(questions[0])
    found = rerank.postprocess_nodes(given, query)
    assert [(id(node.node), node.score, dict(node.node.metadata)) for node in given] == before
    assert not {id(node) for node in found} & {id(node) for node in given}
    assert found[0].node in [node.node for node in given]
    assert (query.embedding, query.images) == (None, None)


def test_equal_scores_keep_their_order():
    found = Qwen3VLRerank(reranker=PlainReranker(), top_n=3).postprocess_nodes(
        wrap("red", "sky", "green", "sea"), query_str="red circle"
    )
    assert list_ids(found) == ["2", "0", "1"]


def test_a_threshold_leaves_out_what_does_not_answer(everything, core):
    texts = ["blue square", "red circle", "green star"]
    scores = sorted(core.score("red circle", texts).tolist(), reverse=True)
    strict = everything.model_copy(update={"score_threshold": (scores[0] + scores[1]) / 2})
    assert list_ids(strict.postprocess_nodes(wrap(*texts), query_str="red circle")) == ["1"]


def test_the_score_of_retrieval_is_kept_on_a_copy_and_shown_to_no_model(everything):
    keeping = everything.model_copy(update={"keep_retrieval_score": True})
    given = wrap("blue square", "red circle")
    for _ in range(2):
        found = keeping.postprocess_nodes(given, query_str="red circle")
        assert {node.node.node_id: node.node.metadata for node in found} == {
            "0": {"retrieval_score": 0.0},
            "1": {"retrieval_score": 0.1},
        }
        assert [node.node.get_content(mode) for node in found for mode in (MetadataMode.LLM, MetadataMode.EMBED)] == [
            text for node in found for text in [node.node.text] * 2
        ]
    assert [node.node.metadata for node in given] == [{}, {}]
    again = keeping.postprocess_nodes(found, query_str="red circle")
    assert again[0].node.metadata["retrieval_score"] == found[0].score
    assert again[0].node.excluded_llm_metadata_keys == ["retrieval_score"]


def test_instructions_are_those_of_the_core(core, everything):
    texts = ["blue square", "red circle"]
    asked = everything.model_copy(update={"instruction": "Find squares"})
    expected = core.score("red circle", texts, instruction="Find squares")
    found = asked.postprocess_nodes(wrap(*texts), query_str="red circle")
    assert sorted(node.score for node in found) == pytest.approx(sorted(expected.tolist()), abs=bound(1e-5))
    bundle = MultiModalQueryBundle("red circle", instruction="Find stars")
    own = core.score({"text": "red circle", "instruction": "Find stars"}, texts)
    for waited in (
        asked.postprocess_nodes(wrap(*texts), bundle),
        asyncio.run(asked.apostprocess_nodes(wrap(*texts), bundle)),
    ):
        assert sorted(node.score for node in waited) == pytest.approx(sorted(own.tolist()), abs=bound(1e-5))


def test_a_missing_or_empty_query_is_refused(rerank):
    for run in (
        rerank.postprocess_nodes,
        lambda nodes, query=None: asyncio.run(rerank.apostprocess_nodes(nodes, query)),
    ):
        with pytest.raises(ValueError, match="give query_str or query_bundle"):
            run(wrap("red"))
        with pytest.raises(InputError, match=r"^query: the query is empty"):
            run(wrap("red"), QueryBundle(""))
        with pytest.raises(MediaError, match=r"^query: .*gone\.png"):
            run(wrap("red"), QueryBundle("", image_path="gone.png"))


def test_no_nodes_are_no_nodes(rerank):
    assert rerank.postprocess_nodes([], query_str="red") == []
    assert asyncio.run(rerank.apostprocess_nodes([], query_str="red")) == []


@pytest.fixture
def damaged(pictures, tmp_path):
    """A good text, a lost image with a caption, an empty node, a broken image, and a good image."""
    (tmp_path / "broken.png").write_bytes(b"no picture")
    given = [
        TextNode(text="red circle", id_="good"),
        ImageNode(image_path="gone.png", text="red circle", id_="lost"),
        TextNode(text="", id_="empty"),
        ImageNode(image_path=str(tmp_path / "broken.png"), id_="broken"),
        ImageNode(image_path=str(pictures / "picture-0.png"), id_="picture"),
    ]
    return [NodeWithScore(node=node) for node in given]


def run_both(rerank, nodes, query):
    found = rerank.postprocess_nodes(nodes, query_str=query)
    assert list_ids(asyncio.run(rerank.apostprocess_nodes(nodes, query_str=query))) == list_ids(found)
    return found


def test_a_node_that_cannot_be_judged_is_an_error_with_its_position(everything, damaged):
    for run in (everything.postprocess_nodes, lambda *given: asyncio.run(everything.apostprocess_nodes(*given))):
        with pytest.raises(InputError, match=r"^node 2: the TextNode 'empty' has neither text"):
            run(damaged, QueryBundle("red circle"))
        with pytest.raises(MediaError, match=r"^node 1: .*gone\.png"):
            run(damaged[:2], QueryBundle("red circle"))


def test_what_cannot_be_judged_is_dropped_if_asked(everything, damaged, caplog):
    lenient = everything.model_copy(update={"on_error": "drop"})
    with caplog.at_level(logging.WARNING):
        assert sorted(list_ids(lenient.postprocess_nodes(damaged, query_str="red circle"))) == ["good", "picture"]
    assert [record.message.partition(":")[0] for record in caplog.records] == ["a node was left out"] * 3
    assert "node 1: " in caplog.text
    run_both(lenient, damaged, "red circle")
    assert lenient.postprocess_nodes(damaged[1:4], query_str="red circle") == []


def test_captions_are_judged_in_place_of_what_is_lost_if_asked(everything, damaged, caplog):
    lenient = everything.model_copy(update={"on_error": "text"})
    with caplog.at_level(logging.WARNING):
        found = lenient.postprocess_nodes(damaged, query_str="red circle")
    assert "a node was judged by its text alone: node 1: " in caplog.text
    scores = {node.node.node_id: node.score for node in found}
    assert sorted(scores) == ["good", "lost", "picture"]
    assert scores["lost"] == pytest.approx(scores["good"], abs=bound(1e-4))
    run_both(lenient, damaged, "red circle")


class Listener(BaseEventHandler):
    heard: list = []  # noqa: RUF012 - of pydantic, which copies it

    @classmethod
    def class_name(cls):
        return "Listener"

    def handle(self, event, **_options):
        self.heard.append(event)


def test_events_and_callbacks_are_those_of_llama_index():
    root, listener, debug = get_dispatcher("root"), Listener(), LlamaDebugHandler(print_trace_on_end=False)
    rerank = Qwen3VLRerank("pocket", top_n=1, callback_manager=CallbackManager([debug]))
    given, query = wrap("blue square", "red circle"), MultiModalQueryBundle("red circle")
    before = root.event_handlers
    root.event_handlers = [*before, listener]
    try:
        found = rerank.postprocess_nodes(given, query)
        asyncio.run(rerank.apostprocess_nodes(given, query))
    finally:
        root.event_handlers = before
    starts = [event for event in listener.heard if isinstance(event, ReRankStartEvent)]
    ends = [event for event in listener.heard if isinstance(event, ReRankEndEvent)]
    assert [(event.query is query, event.top_n, event.model_name, len(event.nodes)) for event in starts] == [
        (True, 1, "pocket", 2)
    ] * 2
    assert [list_ids(event.nodes) for event in ends] == [list_ids(found)] * 2
    pairs = debug.get_event_pairs(CBEventType.RERANKING)
    assert len(pairs) == 2
    assert pairs[0][0].payload == {
        EventPayload.NODES: given,
        EventPayload.MODEL_NAME: "pocket",
        EventPayload.QUERY_STR: "red circle",
        EventPayload.TOP_K: 1,
    }
    assert pairs[1][1].payload == {EventPayload.NODES: found}


def test_a_hundred_concurrent_callers_share_forward_passes(rerank, core):
    rng = random.Random(11)
    crowd = [ask(draw_facts("pair", rng, split="test"), "en", rng) for _ in range(100)]
    given = wrap("red circle")
    expected = [float(core.score(question, ["red circle"])[0]) for question in crowd[:3]]
    passes = []
    handle = core.model.language_model.embed_tokens.register_forward_pre_hook(lambda *_: passes.append(1))

    async def ask_all():
        return await asyncio.gather(*(rerank.apostprocess_nodes(given, query_str=question) for question in crowd))

    try:
        answers = asyncio.run(ask_all())
    finally:
        handle.remove()
    assert [node.score for [node] in answers[:3]] == pytest.approx(expected, abs=bound(1e-4))
    assert 0 < len(passes) < 25


def test_a_ready_reranker_is_used_as_it_is(core):
    ready = Qwen3VLRerank(reranker=core, top_n=1)
    assert ready.reranker is core
    assert list_ids(ready.postprocess_nodes(wrap("blue square", "red circle"), query_str="red circle")) == ["1"]


def test_the_protocol_of_the_core_is_enough(pictures):
    given = [*wrap("red", "longer"), NodeWithScore(node=ImageNode(image_path=str(pictures / "picture-0.png"), id_="p"))]
    for options, expected in (({"on_error": "drop"}, ["1", "0"]), ({"on_error": "text"}, ["1", "0"])):
        plain = Qwen3VLRerank(reranker=PlainReranker(), top_n=5, **options)
        found = run_both(plain, given, "red")
        assert (list_ids(found), found[0].score) == (expected, pytest.approx(1 - 1 / 7))
    plain = Qwen3VLRerank(reranker=PlainReranker())
    assert plain.model == "PlainReranker"
    with pytest.raises(InputError, match=r"^node 2: only texts"):
        plain.postprocess_nodes(given, query_str="red")


def test_options_that_do_not_fit_are_refused():
    for options in ({"top_n": 0}, {"score_threshold": 2}, {"on_error": "keep"}, {"topn": 1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Qwen3VLRerank("pocket", **options)
    with pytest.raises(ValueError, match=r"device was given beside a ready PlainReranker"):
        Qwen3VLRerank(reranker=PlainReranker(), device="cpu")
    with pytest.raises(ValueError, match=r"model='pocket' was given beside a ready object of 'PlainReranker'"):
        Qwen3VLRerank("pocket", reranker=PlainReranker())
    with pytest.raises(ValueError, match=r"got str; a reranker is an object with score"):
        Qwen3VLRerank(reranker="pocket")


def test_it_survives_dicts_pickles_and_copies_without_secrets(core):
    rerank = Qwen3VLRerank("pocket", token="hf_secret", top_n=3, instruction="Find", score_threshold=0.5)  # noqa: S106
    assert rerank.reranker is core
    assert "hf_secret" not in json.dumps(rerank.to_dict()) + rerank.to_json() + repr(rerank)
    content = pickle.dumps(rerank)
    assert b"hf_secret" not in content
    assert len(content) < 20_000
    for made in (Qwen3VLRerank.from_dict(rerank.to_dict()), pickle.loads(content)):  # noqa: S301 - written above
        assert made.to_dict() == rerank.to_dict()
        assert made.reranker is core
    assert copy.deepcopy(rerank).reranker is core
