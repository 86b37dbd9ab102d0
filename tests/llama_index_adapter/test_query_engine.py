from __future__ import annotations

import asyncio

import pytest
from llama_index.core import get_response_synthesizer
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, VideoBlock
from llama_index.core.prompts import RichPromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.schema import ImageNode, MediaResource, Node, QueryBundle, TextNode
from PIL import Image

from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle
from llama_index.postprocessor.qwen3_vl_rerank import MediaGuard, Qwen3VLRerank
from llama_index.query_engine.qwen3_vl import MultiModalQueryEngine
from llama_index_adapter.preset_retrievers import PresetRetriever
from llama_index_adapter.scripted_llms import ScriptedLLM, join_text, open_images
from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.index import draw_document

_BEFORE = "The query comes with the following"


def _list_evidence(pictures) -> list[Node]:
    return [
        Node(
            id_=f"picture-{number}",
            text_resource=MediaResource(text=f"caption {number}"),
            image_resource=MediaResource(path=pictures / f"picture-{number}.png"),
        )
        for number in (0, 1)
    ]


def _open(path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def _split_prompt(messages: list[ChatMessage]) -> tuple[list[Image.Image], list[Image.Image]]:
    """The images of the query, and those of the evidence."""
    blocks = messages[-1].blocks
    texts = [place for place, block in enumerate(blocks) if "End of what the query" in getattr(block, "text", "")]
    if not texts:
        return [], open_images(blocks)
    return open_images(blocks[: texts[0]]), open_images(blocks[texts[0] :])


def test_the_image_of_the_query_stands_beside_the_evidence(pictures):
    retriever = PresetRetriever(_list_evidence(pictures))
    llm = ScriptedLLM()
    engine = MultiModalQueryEngine.from_args(retriever, llm=llm)
    query = MultiModalQueryBundle("Which is the same?", images=[pictures / "picture-2.png"])
    response = engine.query(query)
    assert str(response) == "an answer"
    assert [node.node_id for node in response.source_nodes] == ["picture-0", "picture-1"]
    assert retriever.queries == [query]
    (messages,) = llm.requests
    asked, found = _split_prompt(messages)
    assert [picture.size for picture in asked] == [_open(pictures / "picture-2.png").size]
    assert [picture.tobytes() for picture in found] == [
        _open(pictures / f"picture-{number}.png").tobytes() for number in (0, 1)
    ]
    text = join_text(messages[-1].blocks)
    assert "caption 0" in text
    assert "Query: Which is the same?" in text


def test_llama_index_alone_leaves_the_image_of_the_query_out(pictures):
    llm = ScriptedLLM()
    engine = RetrieverQueryEngine.from_args(PresetRetriever(_list_evidence(pictures)), llm=llm, multimodal=True)
    engine.query(MultiModalQueryBundle("Which?", images=[pictures / "picture-2.png"]))
    assert len(open_images(llm.requests[0][-1].blocks)) == 2


def test_a_plain_query_bundle_with_an_image_path_works(pictures):
    llm = ScriptedLLM()
    engine = MultiModalQueryEngine.from_args(PresetRetriever(_list_evidence(pictures)), llm=llm)
    engine.query(QueryBundle("Which?", image_path=str(pictures / "picture-3.png")))
    asked, found = _split_prompt(llm.requests[0])
    assert (len(asked), len(found)) == (1, 2)


def test_words_alone_are_asked_as_llama_index_asks_them(pictures):
    retriever = PresetRetriever(_list_evidence(pictures))
    ours, theirs = ScriptedLLM(), ScriptedLLM()
    MultiModalQueryEngine.from_args(retriever, llm=ours).query("Which?")
    RetrieverQueryEngine.from_args(retriever, llm=theirs, multimodal=True).query("Which?")
    assert ours.requests == theirs.requests


@pytest.mark.parametrize("is_streaming", [False, True])
def test_async_and_streaming_see_the_same(pictures, is_streaming):
    query = MultiModalQueryBundle("Which?", images=[pictures / "picture-2.png"])
    llm = ScriptedLLM()
    engine = MultiModalQueryEngine.from_args(PresetRetriever(_list_evidence(pictures)), llm=llm, streaming=is_streaming)
    response = engine.query(query)
    assert response.get_response().response == "an answer" if is_streaming else str(response) == "an answer"

    async def ask():
        answer = await engine.aquery(query)
        return await answer.get_response() if is_streaming else answer

    answered = asyncio.run(ask())
    assert answered.response == "an answer"
    assert len(answered.source_nodes) == 2
    assert len(llm.requests) == 2
    assert llm.requests[0] == llm.requests[1]
    assert [len(part) for part in _split_prompt(llm.requests[0])] == [1, 2]


@pytest.mark.parametrize(
    "mode",
    [
        ResponseMode.COMPACT,
        ResponseMode.REFINE,
        ResponseMode.SIMPLE_SUMMARIZE,
        ResponseMode.TREE_SUMMARIZE,
        ResponseMode.ACCUMULATE,
        ResponseMode.COMPACT_ACCUMULATE,
        ResponseMode.GENERATION,
    ],
)
def test_every_call_of_every_mode_sees_the_image(pictures, mode):
    llm = ScriptedLLM()
    engine = MultiModalQueryEngine.from_args(PresetRetriever(_list_evidence(pictures)), llm=llm, response_mode=mode)
    engine.query(MultiModalQueryBundle("Which?", images=[pictures / "picture-2.png"]))
    assert llm.requests
    assert all(_BEFORE in join_text(messages[-1].blocks) for messages in llm.requests)
    if mode == ResponseMode.REFINE:
        assert len(llm.requests) == 2


def test_room_for_the_image_of_the_query_is_counted(pictures):
    # Two images of evidence fit, at 2,125 tokens each as LlamaIndex counts them, and a third does not.
    llm = ScriptedLLM(context_window=6_000)
    engine = MultiModalQueryEngine.from_args(PresetRetriever(_list_evidence(pictures)), llm=llm)
    engine.query("Which?")
    assert len(llm.requests) == 1
    engine.query(MultiModalQueryBundle("Which?", images=[pictures / "picture-2.png"]))
    assert [[len(part) for part in _split_prompt(messages)] for messages in llm.requests[1:]] == [[1, 1], [1, 1]]


def test_prompts_of_the_caller_hold_the_image_too(pictures):
    template = RichPromptTemplate(
        "{% chat role='system' %}Be brief.{% endchat %}{% chat role='user' %}Say {{ query_str }}{% endchat %}"
    )
    llm = ScriptedLLM()
    engine = MultiModalQueryEngine.from_args(
        PresetRetriever(_list_evidence(pictures)), llm=llm, chat_content_qa_template=template
    )
    engine.query(MultiModalQueryBundle("which", images=[pictures / "picture-2.png"]))
    (messages,) = llm.requests
    assert messages[0].content == "Be brief."
    assert len(open_images(messages[-1].blocks)) == 1
    assert join_text(messages[-1].blocks).endswith("Say which")
    assert engine.get_prompts()["response_synthesizer:chat_content_qa_template"] == template


def test_queries_side_by_side_do_not_see_each_others_images(pictures):
    llm = ScriptedLLM()
    engine = MultiModalQueryEngine.from_args(PresetRetriever(_list_evidence(pictures)), llm=llm)
    bundles = [
        MultiModalQueryBundle(f"number {count}", images=[pictures / "picture-2.png"] * count) for count in range(4)
    ]

    async def ask():
        await asyncio.gather(*(engine.aquery(bundle) for bundle in bundles))

    asyncio.run(ask())
    for messages in llm.requests:
        number = int(join_text(messages[-1].blocks).split("Query: number ")[1][0])
        assert len(_split_prompt(messages)[0]) == number


def test_videos_of_a_query_are_frames_or_the_video_itself(pictures):
    query = MultiModalQueryBundle("What moves?", videos=[str(pictures / "clip.mp4")])
    retriever = PresetRetriever(_list_evidence(pictures))
    llm = ScriptedLLM()
    MultiModalQueryEngine.from_args(retriever, llm=llm, max_frames=3).query(query)
    assert len(_split_prompt(llm.requests[0])[0]) == 3
    MultiModalQueryEngine.from_args(retriever, llm=llm, video="block").query(query)
    assert any(isinstance(block, VideoBlock) for block in llm.requests[1][-1].blocks)
    MultiModalQueryEngine.from_args(retriever, llm=llm, max_query_images=2).query(query)
    assert len(_split_prompt(llm.requests[2])[0]) == 2


def test_images_of_a_query_are_made_small(pictures):
    llm = ScriptedLLM()
    engine = MultiModalQueryEngine.from_args(
        PresetRetriever(_list_evidence(pictures)), llm=llm, max_image_pixels=900, max_image_bytes=2_000
    )
    engine.query(MultiModalQueryBundle("Which?", images=[_open(pictures / "picture-2.png")]))
    (block,) = [block for block in llm.requests[0][-1].blocks if isinstance(block, ImageBlock)][:1]
    (picture,) = open_images([block])
    assert picture.width * picture.height <= 900
    assert len(block.resolve_image().read()) <= 2_000


def test_an_image_of_a_query_that_cannot_be_opened_is_an_error_that_says_so(pictures, tmp_path):
    engine = MultiModalQueryEngine.from_args(PresetRetriever(_list_evidence(pictures)), llm=ScriptedLLM())
    with pytest.raises(InputError, match=r"query: .*gone\.png"):
        engine.query(QueryBundle("Which?", image_path="gone.png"))
    engine = MultiModalQueryEngine.from_args(
        PresetRetriever([]), llm=ScriptedLLM(), media_policy=MediaPolicy(allow_dirs=(tmp_path,))
    )
    with pytest.raises(InputError, match="query: "):
        engine.query(QueryBundle("Which?", image_path=str(pictures / "picture-0.png")))


def test_a_moved_file_does_not_cost_the_answer_and_pages_are_seen(pictures):
    page = {"media_type": "page", "source": str(pictures / "paper.pdf"), "page": 1}
    nodes = [
        Node(id_="lost", image_resource=MediaResource(path="gone.png")),
        TextNode(id_="page", text="the words", metadata=page),
        ImageNode(id_="image", text="a caption", image_path=str(pictures / "picture-0.png")),
    ]
    llm = ScriptedLLM()
    response = MultiModalQueryEngine.from_args(PresetRetriever(nodes), llm=llm).query("Which?")
    assert [node.node_id for node in response.source_nodes] == ["page", "image"]
    _, found = _split_prompt(llm.requests[0])
    assert [picture.size for picture in found] == [
        draw_document("", page)[0].size,
        _open(pictures / "picture-0.png").size,
    ]
    assert "a caption" in join_text(llm.requests[0][-1].blocks)


def test_a_guard_of_the_caller_stays_the_only_one(pictures, rerank: Qwen3VLRerank):
    guard = MediaGuard(max_images=1)
    llm = ScriptedLLM()
    engine = MultiModalQueryEngine.from_args(
        PresetRetriever(_list_evidence(pictures)), llm=llm, node_postprocessors=[rerank, guard]
    )
    response = engine.query(MultiModalQueryBundle("caption", images=[pictures / "picture-0.png"]))
    assert len(response.source_nodes) == 2
    assert [len(part) for part in _split_prompt(llm.requests[0])] == [1, 1]


def test_another_retriever_keeps_everything_else(pictures):
    llm = ScriptedLLM()
    engine = MultiModalQueryEngine.from_args(PresetRetriever([]), llm=llm, max_image_pixels=900)
    other = engine.with_retriever(PresetRetriever(_list_evidence(pictures)))
    assert isinstance(other, MultiModalQueryEngine)
    other.query(MultiModalQueryBundle("Which?", images=[pictures / "picture-2.png"]))
    asked, found = _split_prompt(llm.requests[0])
    assert asked[0].width * asked[0].height <= 900
    assert len(found) == 2
    assert engine.retriever.nodes == []


def test_what_would_leave_images_out_is_refused(pictures):
    retriever = PresetRetriever(_list_evidence(pictures))
    with pytest.raises(ValueError, match="not multimodal"):
        MultiModalQueryEngine(retriever, get_response_synthesizer(llm=ScriptedLLM()))
    with pytest.raises(ValueError, match="multimodal=False"):
        MultiModalQueryEngine.from_args(retriever, llm=ScriptedLLM(), multimodal=False)
    with pytest.raises(TypeError):
        MultiModalQueryEngine.from_args(retriever, llm=ScriptedLLM(), max_images=1)
