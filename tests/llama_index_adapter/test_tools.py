from __future__ import annotations

import asyncio

import pytest
from llama_index.core.base.llms.types import ImageBlock, TextBlock, VideoBlock
from llama_index.core.schema import MediaResource, Node, NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import RetrieverTool
from PIL import Image

from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
from llama_index.tools.qwen3_vl import multimodal_retriever_tool
from llama_index_adapter.preset_retrievers import PresetRetriever
from llama_index_adapter.scripted_llms import open_images
from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.index import draw_document

_ABOUT = {"name": "search", "description": "Searches the shelf."}


def _picture(pictures, number: int = 0, **fields) -> Node:
    return Node(
        id_=f"picture-{number}",
        text_resource=MediaResource(text=f"caption {number}"),
        image_resource=MediaResource(path=pictures / f"picture-{number}.png"),
        metadata={"media_type": "image", "source": str(pictures / f"picture-{number}.png")},
        **fields,
    )


def _page(pictures, page: int = 1) -> TextNode:
    metadata = {"media_type": "page", "source": str(pictures / "paper.pdf"), "page": page}
    return TextNode(id_=f"page-{page}", text="text layer", metadata=metadata)


def _clip(pictures, **metadata) -> Node:
    return Node(
        id_="clip",
        video_resource=MediaResource(path=pictures / "clip.mp4"),
        metadata={"media_type": "video", "video": str(pictures / "clip.mp4"), **metadata},
    )


def _ask(nodes, query="red", **options):
    tool = multimodal_retriever_tool(PresetRetriever(nodes), **_ABOUT, **options)
    return tool.call(query=query).blocks


def test_the_model_is_told_and_shown_what_was_found(pictures):
    blocks = _ask([_page(pictures, 2), _picture(pictures)], max_image_pixels=10_000_000)
    assert [type(block) for block in blocks] == [TextBlock, ImageBlock, TextBlock, ImageBlock]
    assert blocks[0].text == "[1] id=page-2, page, paper.pdf, page 2, score 1.000\ntext layer"
    assert blocks[2].text == "[2] id=picture-0, image, picture-0.png, score 0.500\ncaption 0"
    page, picture = open_images(blocks)
    assert page.size == draw_document("", _page(pictures, 2).metadata)[0].size
    with Image.open(pictures / "picture-0.png") as file:
        assert picture.size == file.size
    assert all(block.image_mimetype == "image/jpeg" for block in blocks if isinstance(block, ImageBlock))


def test_async_gives_the_same(pictures):
    tool = multimodal_retriever_tool(PresetRetriever([_page(pictures)]), **_ABOUT)
    assert asyncio.run(tool.acall(query="red")).blocks == tool.call(query="red").blocks


def test_the_words_are_asked_as_they_are(pictures):
    retriever = PresetRetriever([_picture(pictures)])
    multimodal_retriever_tool(retriever, **_ABOUT).call(query="find red")
    assert retriever.queries == [QueryBundle("find red")]
    RetrieverTool.from_defaults(PresetRetriever([TextNode(text="a")])).call(input="find red")
    theirs = PresetRetriever([TextNode(text="a")])
    RetrieverTool.from_defaults(theirs).call(input="find red")
    assert theirs.queries[0].query_str != "find red"


def test_the_schema_has_the_words_and_the_switch_and_nothing_else():
    tool = multimodal_retriever_tool(PresetRetriever([]), **_ABOUT)
    schema = tool.metadata.get_parameters_dict()
    assert schema["properties"].keys() == {"query", "use_attached_image"}
    assert schema["required"] == ["query"]
    assert tool.metadata.name == "search"
    assert tool.metadata.description == "Searches the shelf."
    assert tool.requires_context


def test_a_path_or_url_of_the_model_is_words_or_refused(pictures):
    retriever = PresetRetriever([TextNode(text="a")])
    tool = multimodal_retriever_tool(retriever, **_ABOUT)
    path = str(pictures / "picture-0.png")
    tool.call(query=path)
    assert retriever.queries == [QueryBundle(path)]
    for arguments in ({"image": path}, {"image_path": path}, {"url": "https://example.org/a.png"}):
        with pytest.raises(TypeError):
            tool.call(query="red", **arguments)


def test_nothing_to_search_with_is_said():
    tool = multimodal_retriever_tool(PresetRetriever([]), **_ABOUT)
    with pytest.raises(InputError, match="query is empty"):
        tool.call(query="  ")
    with pytest.raises(InputError, match="attached no image"):
        tool.call(query="red", use_attached_image=True)
    assert [block.text for block in tool.call(query="red").blocks] == ["Nothing was found."]


def test_the_reranker_orders_and_cuts(pictures, rerank: Qwen3VLRerank):
    nodes = [_picture(pictures, number) for number in range(4)]
    small = Qwen3VLRerank(model="pocket", top_n=2)
    wanted = small.postprocess_nodes([NodeWithScore(node=node) for node in nodes], query_str="caption 2")
    tool = multimodal_retriever_tool(PresetRetriever(nodes), reranker=small, **_ABOUT)
    for blocks in (tool.call(query="caption 2").blocks, asyncio.run(tool.acall(query="caption 2")).blocks):
        heads = [block.text for block in blocks if isinstance(block, TextBlock)]
        assert [head.split(",")[0] for head in heads] == [
            f"[{rank}] id={node.node_id}" for rank, node in enumerate(wanted, start=1)
        ]


def test_images_are_few_and_small(pictures):
    nodes = [_picture(pictures, number) for number in range(3)]
    blocks = _ask(nodes, max_images=2, max_image_pixels=2_000, max_image_bytes=2_000)
    shown = [block for block in blocks if isinstance(block, ImageBlock)]
    assert len(shown) == 2
    for block, picture in zip(shown, open_images(shown), strict=True):
        assert picture.width * picture.height <= 2_000
        assert len(block.resolve_image().read()) <= 2_000
    assert "at most 2 images" in blocks[-1].text


def test_videos_are_frames_or_blocks_or_nothing(pictures):
    blocks = _ask([_clip(pictures)], max_frames=3)
    assert len(open_images(blocks)) == 3
    assert "3 images of it follow" in blocks[0].text
    (text, block) = _ask([_clip(pictures)], video="block")
    assert isinstance(block, VideoBlock)
    assert block.resolve_video().read() == (pictures / "clip.mp4").read_bytes()
    assert block.path is None
    assert len(open_images(_ask([_clip(pictures)], video="block", max_video_bytes=10))) == 4
    assert len(open_images(_ask([_clip(pictures, start=0.0, end=0.5)], video="block"))) == 4
    (text,) = _ask([_clip(pictures, start=0.0, end=0.5)], video="none")
    assert text.text == "[1] id=clip, video, clip.mp4, seconds 0 to 0.5, score 1.000"


def test_what_cannot_be_read_is_said_without_naming_folders(pictures, tmp_path):
    nodes = [
        Node(id_="lost", image_resource=MediaResource(path=tmp_path / "gone.png")),
        TextNode(id_="odd", text="words", metadata={"media_type": "hologram"}),
    ]
    blocks = _ask(nodes)
    assert blocks[0].text == "[1] id=lost, score 1.000\nIt cannot be shown: the file cannot be read."
    assert "words" in blocks[1].text
    refused = _ask([_picture(pictures)], media_policy=MediaPolicy(allow_dirs=(tmp_path,)))
    assert "cannot be read" in refused[0].text
    assert not open_images(refused)
    assert str(pictures) not in refused[0].text


def test_long_texts_are_cut_and_data_is_left_out(pictures):
    data = "data:image/png;base64," + "A" * 100
    blocks = _ask([TextNode(id_="a", text=f"see {data} " + "word " * 50)], max_text_characters=60)
    assert "base64" not in blocks[0].text
    assert blocks[0].text.endswith("[…]")


def test_an_unknown_form_and_limits_below_their_least_values_are_refused():
    for options in ({"video": "gif"}, {"max_images": -1}, {"max_image_bytes": 10}, {"max_frames": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            multimodal_retriever_tool(PresetRetriever([]), **_ABOUT, **options)
