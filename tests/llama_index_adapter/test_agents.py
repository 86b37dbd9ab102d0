from __future__ import annotations

import asyncio
import random

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.schema import Document, MediaResource, Node, TextNode
from llama_index.core.tools import FunctionTool
from PIL import Image

from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle
from llama_index.indices.qwen3_vl import UnifiedMultiModalIndex
from llama_index.node_parser.qwen3_vl import MediaNodeParser
from llama_index.retrievers.qwen3_vl import Qwen3VLRetriever
from llama_index.tools.qwen3_vl import multimodal_retriever_tool
from llama_index_adapter.preset_retrievers import PresetRetriever
from llama_index_adapter.scripted_llms import ScriptedLLM, call_tool, join_text, open_images
from qwen3_vl_pocket.world.facts import draw_facts
from qwen3_vl_pocket.world.sentences import ask as ask_facts
from qwen3_vl_retrieval.index import draw_document


def _script(**arguments):
    """Calls the tool once after each message of the user, and then answers."""

    def play(messages: list[ChatMessage]) -> ChatMessage:
        if messages[-1].role == MessageRole.TOOL:
            return ChatMessage(role="assistant", content="it is on page 2")
        return call_tool("search_manuals", **arguments)

    return play


def _build_tool(retriever, **options) -> FunctionTool:
    return multimodal_retriever_tool(retriever, name="search_manuals", description="Searches the manuals.", **options)


def _page(pictures) -> TextNode:
    metadata = {"media_type": "page", "source": str(pictures / "paper.pdf"), "page": 2}
    return TextNode(id_="page-2", text="text layer", metadata=metadata)


def _build_agent(kind: str, tool: FunctionTool, llm: ScriptedLLM):
    agent = FunctionAgent(name="finder", description="Finds things.", tools=[tool], llm=llm)
    return agent if kind == "agent" else AgentWorkflow(agents=[agent], root_agent="finder")


def _attach(text: str, *blocks: ImageBlock) -> ChatMessage:
    return ChatMessage(role="user", blocks=[TextBlock(text=text), *blocks])


def _list_tool_messages(llm: ScriptedLLM) -> list[ChatMessage]:
    return [message for message in llm.requests[-1] if message.role == MessageRole.TOOL]


@pytest.mark.parametrize("kind", ["agent", "workflow"])
def test_the_right_page_reaches_the_model_as_an_image(pictures, kind):
    llm = ScriptedLLM(script=_script(query="the second page"))
    retriever = PresetRetriever([_page(pictures)])
    agent = _build_agent(kind, _build_tool(retriever), llm)

    async def ask():
        return await agent.run(user_msg="Where is it?")

    assert str(asyncio.run(ask())) == "it is on page 2"
    assert [query.query_str for query in retriever.queries] == ["the second page"]
    (message,) = _list_tool_messages(llm)
    assert "page-2" in join_text(message.blocks)
    (shown,) = open_images(message.blocks)
    assert shown.width * shown.height <= 1_003_520
    page = draw_document("", _page(pictures).metadata)[0].resize(shown.size)
    difference = sum(abs(one - other) for one, other in zip(shown.tobytes(), page.tobytes(), strict=True))
    # JPEG, and the page all the same.
    assert difference / len(page.tobytes()) < 4
    other = draw_document("", {**_page(pictures).metadata, "page": 1})[0].resize(shown.size)
    apart = sum(abs(one - two) for one, two in zip(shown.tobytes(), other.tobytes(), strict=True))
    assert apart > 2 * difference
    schema = next(schema for schema in llm.tool_schemas if schema["name"] == "search_manuals")
    assert schema["parameters"]["properties"].keys() == {"query", "use_attached_image"}


@pytest.mark.parametrize("kind", ["agent", "workflow"])
@pytest.mark.parametrize("form", ["path", "data", "data URI"])
def test_the_attached_image_is_the_query_when_asked(pictures, kind, form):
    path = pictures / "picture-1.png"
    block = {
        "path": lambda: ImageBlock(path=path),
        "data": lambda: ImageBlock(image=path.read_bytes()),
        "data URI": lambda: ImageBlock(url=ImageBlock(path=path).inline_url()),
    }[form]()
    llm = ScriptedLLM(script=_script(query="the same in blue", use_attached_image=True))
    retriever = PresetRetriever([_page(pictures)])
    agent = _build_agent(kind, _build_tool(retriever), llm)

    async def ask():
        await agent.run(user_msg=_attach("Do you have this in blue?", block))

    asyncio.run(ask())
    (query,) = retriever.queries
    assert isinstance(query, MultiModalQueryBundle)
    assert query.query_str == "the same in blue"
    with Image.open(path) as picture:
        assert [image.tobytes() for image in query.images] == [picture.convert("RGB").tobytes()]


def test_the_latest_attached_images_are_meant_also_in_later_turns(pictures):
    llm = ScriptedLLM(script=_script(query="", use_attached_image=True))
    retriever = PresetRetriever([_page(pictures)])
    agent = _build_agent("agent", _build_tool(retriever), llm)

    async def ask():
        memory = ChatMemoryBuffer.from_defaults(token_limit=50_000)
        await agent.run(user_msg=_attach("This?", ImageBlock(path=pictures / "picture-0.png")), memory=memory)
        both = [ImageBlock(path=pictures / f"picture-{number}.png") for number in (1, 2)]
        await agent.run(user_msg=_attach("Or these?", *both), memory=memory)
        # The images that the tool has shown are in the memory, too, and none of the user's.
        await agent.run(user_msg="Are you sure?", memory=memory)

    asyncio.run(ask())
    assert [len(query.images) for query in retriever.queries] == [1, 2, 2]


def test_without_being_asked_the_attached_image_is_not_searched_with(pictures):
    llm = ScriptedLLM(script=_script(query="manuals"))
    retriever = PresetRetriever([_page(pictures)])
    agent = _build_agent("agent", _build_tool(retriever), llm)

    async def ask():
        await agent.run(user_msg=_attach("This?", ImageBlock(path=pictures / "picture-0.png")))

    asyncio.run(ask())
    assert not isinstance(retriever.queries[0], MultiModalQueryBundle)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (None, "attached no image"),
        (ImageBlock(image=b"no picture at all, but bytes"), "cannot be opened"),
        (ImageBlock(url="https://example.org/a.png"), "cannot be opened"),
        (ImageBlock(url="file:///etc/hostname"), "cannot be opened"),
    ],
)
def test_what_cannot_be_searched_with_is_said_to_the_model(pictures, block, said):
    llm = ScriptedLLM(script=_script(query="x", use_attached_image=True))
    retriever = PresetRetriever([_page(pictures)])
    agent = _build_agent("agent", _build_tool(retriever), llm)

    async def ask():
        await agent.run(user_msg=_attach("This?", *([] if block is None else [block])))

    asyncio.run(ask())
    (message,) = _list_tool_messages(llm)
    assert said in join_text(message.blocks)
    assert "example.org" not in join_text(message.blocks)
    assert retriever.queries == []


def test_a_path_in_place_of_an_argument_opens_nothing(pictures):
    llm = ScriptedLLM(script=_script(query="x", image_path=str(pictures / "picture-0.png")))
    retriever = PresetRetriever([_page(pictures)])
    agent = _build_agent("agent", _build_tool(retriever), llm)

    async def ask():
        await agent.run(user_msg="Where?")

    asyncio.run(ask())
    (message,) = _list_tool_messages(llm)
    assert open_images(message.blocks) == []
    assert retriever.queries == []


def test_a_missing_image_is_said_and_the_agent_goes_on(tmp_path):
    llm = ScriptedLLM(script=_script(query="x"))
    retriever = PresetRetriever([Node(id_="lost", image_resource=MediaResource(path=tmp_path / "gone.png"))])
    agent = _build_agent("agent", _build_tool(retriever), llm)

    async def ask():
        return await agent.run(user_msg="Where?")

    assert str(asyncio.run(ask())) == "it is on page 2"
    assert "cannot be shown" in join_text(_list_tool_messages(llm)[0].blocks)


@pytest.fixture(scope="module")
def shelf(embedding, pictures) -> Qwen3VLRetriever:
    """Finds the images."""
    nodes = MediaNodeParser()([Document(metadata={"file_path": str(path)}) for path in sorted(pictures.glob("*.png"))])
    index = UnifiedMultiModalIndex.from_nodes(nodes, embed_model=embedding)
    return Qwen3VLRetriever(index, similarity_top_k=2)


def test_the_attached_image_finds_itself(shelf, pictures):
    llm = ScriptedLLM(script=_script(query="", use_attached_image=True))
    agent = _build_agent("agent", _build_tool(shelf), llm)

    async def ask():
        await agent.run(user_msg=_attach("Do you have this?", ImageBlock(path=pictures / "picture-2.png")))

    asyncio.run(ask())
    (message,) = _list_tool_messages(llm)
    assert "picture-2.png" in message.blocks[0].text
    assert len(open_images(message.blocks)) == 2


def test_a_hundred_concurrent_calls_share_forward_passes(shelf, embedding):
    tool = _build_tool(shelf, max_images=0)
    rng = random.Random(11)
    crowd = [ask_facts(draw_facts("pair", rng, split="test"), "en", rng) for _ in range(100)]

    async def ask_all():
        return await asyncio.gather(*(tool.acall(query=question) for question in crowd))

    wanted = [[node.node_id for node in shelf.retrieve(question)] for question in crowd[:3]]
    passes = []
    core = embedding.embedder
    handle = core.model.language_model.embed_tokens.register_forward_pre_hook(lambda *_: passes.append(1))
    try:
        outputs = asyncio.run(ask_all())
    finally:
        handle.remove()
    assert len(outputs) == 100
    for output, ids in zip(outputs, wanted, strict=False):
        assert [block.text.split("id=")[1].split(",")[0] for block in output.blocks] == ids
    assert 0 < len(passes) < 25
