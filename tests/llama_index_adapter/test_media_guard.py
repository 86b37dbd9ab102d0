from __future__ import annotations

import asyncio
import base64
import logging
import pickle

import pytest
from llama_index.core.base.llms.types import ImageBlock, TextBlock, VideoBlock
from llama_index.core.schema import ImageNode, MediaResource, MetadataMode, Node, NodeWithScore, TextNode
from PIL import Image
from pydantic import ValidationError

from llama_index.postprocessor.qwen3_vl_rerank import MediaGuard
from llama_index_adapter.scripted_llms import join_text, open_images
from qwen3_vl_retrieval import MediaPolicy
from qwen3_vl_retrieval.index import draw_document


def _score(*nodes) -> list[NodeWithScore]:
    return [NodeWithScore(node=node, score=1 / (rank + 1)) for rank, node in enumerate(nodes)]


def _show(node) -> list:
    return node.node.get_content_blocks(metadata_mode=MetadataMode.LLM)


def _picture(pictures, number: int = 0, **fields) -> Node:
    return Node(image_resource=MediaResource(path=pictures / f"picture-{number}.png"), **fields)


def test_a_moved_image_makes_llama_index_raise_and_the_guard_keeps_the_text(tmp_path, caplog):
    gone = tmp_path / "gone.png"
    lost = Node(id_="lost", text_resource=MediaResource(text="a red mug"), image_resource=MediaResource(path=gone))
    with pytest.raises(ValidationError):
        lost.get_content_blocks()
    with caplog.at_level(logging.WARNING):
        (guarded,) = MediaGuard().postprocess_nodes(_score(lost))
    assert _show(guarded) == [TextBlock(text="a red mug")]
    assert "lost" in caplog.text
    assert "gone.png" in caplog.text


@pytest.mark.parametrize(
    "lost",
    [
        Node(image_resource=MediaResource(path="gone.png")),
        Node(video_resource=MediaResource(path="gone.mp4")),
        # What a store leaves of data.
        Node(image_resource=MediaResource()),
        Node(text_resource=MediaResource(text=""), image_resource=MediaResource(path="gone.png")),
        ImageNode(image_path="gone.png"),
        ImageNode(),
        TextNode(text="", metadata={"media_type": "page", "source": "gone.pdf", "page": 1}),
        Node(audio_resource=MediaResource(path="gone.mp3")),
    ],
)
def test_a_node_of_which_nothing_is_left_is_dropped(lost, pictures):
    kept = _picture(pictures)
    assert [one.node_id for one in MediaGuard().postprocess_nodes(_score(lost, kept))] == [kept.node_id]


def test_a_broken_image_is_left_out(tmp_path, caplog):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    node = Node(text_resource=MediaResource(text="a mug"), image_resource=MediaResource(path=broken))
    (guarded,) = MediaGuard().postprocess_nodes(_score(node))
    assert _show(guarded) == [TextBlock(text="a mug")]
    assert "broken.png" in caplog.text


def test_texts_and_their_scores_pass_as_they_are():
    nodes = _score(TextNode(text="one"), TextNode(text="two", metadata={"source": "notes.md"}))
    guarded = MediaGuard().postprocess_nodes(nodes)
    assert guarded == nodes
    assert guarded[0].node is nodes[0].node
    assert guarded[0] is not nodes[0]


def test_an_image_that_fits_stays_the_file_that_it_is(pictures):
    (guarded,) = MediaGuard().postprocess_nodes(_score(_picture(pictures)))
    (block,) = _show(guarded)
    assert isinstance(block, ImageBlock)
    assert block.path == pictures / "picture-0.png"


def test_the_caption_of_an_image_node_reaches_the_model(pictures):
    node = ImageNode(text="a red mug", image_path=str(pictures / "picture-0.png"), metadata={"shelf": "B"})
    assert "a red mug" not in join_text(node.get_content_blocks(MetadataMode.LLM))
    (guarded,) = MediaGuard().postprocess_nodes(_score(node))
    assert join_text(_show(guarded)) == "shelf: B\na red mug"
    (shown,) = open_images(_show(guarded))
    with Image.open(pictures / "picture-0.png") as picture:
        assert shown.tobytes() == picture.convert("RGB").tobytes()
    assert guarded.node.image_resource.path == pictures / "picture-0.png"


def test_the_data_of_an_image_node_is_shown(pictures):
    content = (pictures / "picture-1.png").read_bytes()
    for image in (base64.b64encode(content).decode(), f"data:image/png;base64,{base64.b64encode(content).decode()}"):
        (guarded,) = MediaGuard().postprocess_nodes(_score(ImageNode(image=image)))
        (shown,) = open_images(_show(guarded))
        with Image.open(pictures / "picture-1.png") as picture:
            assert shown.size == picture.size


def test_a_page_is_rendered_for_the_model(pictures):
    metadata = {"media_type": "page", "source": str(pictures / "paper.pdf"), "page": 2}
    for node in (TextNode(text="the words", metadata=metadata), Node(metadata=metadata)):
        (guarded,) = MediaGuard().postprocess_nodes(_score(node))
        (shown,) = open_images(_show(guarded))
        assert shown.size == draw_document("", metadata)[0].size
        assert guarded.node_id == node.node_id


def test_a_page_whose_image_was_removed_is_rendered_again(pictures):
    metadata = {"media_type": "page", "source": str(pictures / "paper.pdf"), "page": 1}
    node = Node(metadata=metadata, image_resource=MediaResource(path="gone.png"))
    (guarded,) = MediaGuard().postprocess_nodes(_score(node))
    assert len(open_images(_show(guarded))) == 1


def test_a_video_becomes_frames_and_still_names_its_file(pictures):
    node = Node(text_resource=MediaResource(text="moves"), video_resource=MediaResource(path=pictures / "clip.mp4"))
    (guarded,) = MediaGuard(max_frames=3).postprocess_nodes(_score(node))
    blocks = _show(guarded)
    assert len(open_images(blocks)) == 3
    assert not any(isinstance(block, VideoBlock) for block in blocks)
    assert guarded.node.video_resource.path == pictures / "clip.mp4"


def test_frames_are_those_of_the_window(pictures):
    window = {"start": 0.0, "end": 0.5}
    node = Node(video_resource=MediaResource(path=pictures / "clip.mp4"), metadata=window)
    (guarded,) = MediaGuard(max_frames=1, max_image_bytes=1_000_000).postprocess_nodes(_score(node))
    wanted = draw_document("", {"media_type": "video", "video": str(pictures / "clip.mp4"), **window}, max_frames=1)
    (shown,) = open_images(_show(guarded))
    assert shown.size == wanted[0].size


def test_a_video_is_kept_where_models_take_videos(pictures):
    node = Node(video_resource=MediaResource(path=pictures / "clip.mp4"))
    (guarded,) = MediaGuard(video="block").postprocess_nodes(_score(node))
    assert [type(block) for block in _show(guarded)] == [VideoBlock]
    assert MediaGuard(video="none").postprocess_nodes(_score(node)) == []
    window = node.model_copy(update={"metadata": {"start": 0.0, "end": 0.5}})
    (guarded,) = MediaGuard(video="block", max_frames=2).postprocess_nodes(_score(window))
    assert len(open_images(_show(guarded))) == 2


def test_the_best_nodes_share_the_images_and_the_others_are_their_text(pictures):
    clip = Node(video_resource=MediaResource(path=pictures / "clip.mp4"))
    captioned = _picture(pictures, 1, text_resource=MediaResource(text="the second"))
    bare = _picture(pictures, 2)
    guarded = MediaGuard(max_images=2).postprocess_nodes(_score(clip, _picture(pictures), captioned, bare))
    assert [len(open_images(_show(one))) for one in guarded] == [1, 1, 0]
    assert join_text(_show(guarded[2])) == "the second"
    guarded = MediaGuard(max_images=6, max_frames=9).postprocess_nodes(_score(clip, _picture(pictures)))
    assert [len(open_images(_show(one))) for one in guarded] == [5, 1]


def test_missing_files_take_no_image_from_the_others(pictures):
    lost = Node(text_resource=MediaResource(text="a"), image_resource=MediaResource(path="gone.png"))
    guarded = MediaGuard(max_images=1).postprocess_nodes(_score(lost, _picture(pictures)))
    assert [len(open_images(_show(one))) for one in guarded] == [0, 1]


def test_images_are_shrunk_to_their_limits(pictures):
    guard = MediaGuard(max_image_pixels=2_500, max_image_bytes=2_000)
    (guarded,) = guard.postprocess_nodes(_score(_picture(pictures)))
    (block,) = _show(guarded)
    (shown,) = open_images([block])
    assert shown.width * shown.height <= 2_500
    assert len(block.resolve_image().read()) <= 2_000
    assert block.image_mimetype == "image/jpeg"


def test_what_the_policy_refuses_is_not_shown(pictures, tmp_path):
    policy = MediaPolicy(allow_dirs=(tmp_path,))
    node = _picture(pictures, text_resource=MediaResource(text="words"))
    url = Node(
        text_resource=MediaResource(text="linked"), image_resource=MediaResource(url="https://example.org/a.png")
    )
    guarded = MediaGuard(media_policy=policy).postprocess_nodes(_score(node, url))
    assert [_show(one) for one in guarded] == [[TextBlock(text="words")], [TextBlock(text="linked")]]


def test_images_of_types_that_models_refuse_become_jpeg(pictures, tmp_path):
    with Image.open(pictures / "picture-0.png") as picture:
        picture.convert("RGB").save(tmp_path / "picture.bmp")
    node = Node(image_resource=MediaResource(path=tmp_path / "picture.bmp"))
    (guarded,) = MediaGuard().postprocess_nodes(_score(node))
    assert _show(guarded)[0].image_mimetype == "image/jpeg"


def test_metadata_of_others_are_no_reason_to_fail():
    nodes = _score(
        TextNode(text="a", metadata={"media_type": "hologram"}),
        TextNode(text="b", metadata={"media_type": "page", "source": "x.pdf", "page": "cover"}),
    )
    assert [_show(one)[-1].text for one in MediaGuard().postprocess_nodes(nodes)] == ["a", "b"]


def test_nothing_that_was_given_is_changed(pictures):
    lost = Node(text_resource=MediaResource(text="a"), image_resource=MediaResource(path="gone.png"))
    captioned = ImageNode(text="b", image_path=str(pictures / "picture-0.png"), embedding=[0.5], metadata={"shelf": 1})
    nodes = _score(lost, captioned)
    before = [node.model_copy(deep=True) for node in nodes]
    guarded = MediaGuard(max_image_pixels=100).postprocess_nodes(nodes)
    guarded[1].node.metadata["shelf"] = 2
    assert nodes == before
    assert guarded[1].node.embedding == [0.5]
    assert [one.score for one in guarded] == [1.0, 0.5]


def test_it_works_twice_async_and_after_pickling(pictures):
    guard = MediaGuard(max_frames=2, media_policy=MediaPolicy(allow_dirs=(pictures,)))
    again = pickle.loads(pickle.dumps(guard))  # noqa: S301 - our own
    assert again.to_dict() == guard.to_dict()
    assert MediaGuard.from_dict(guard.to_dict()).media_policy == guard.media_policy
    nodes = _score(Node(video_resource=MediaResource(path=pictures / "clip.mp4")))
    once = asyncio.run(again.apostprocess_nodes(nodes, query_str="q"))
    twice = again.postprocess_nodes(once)
    assert len(open_images(_show(twice[0]))) == 2


def test_a_misspelt_option_and_a_limit_below_its_least_value_fail():
    for options in ({"max_image": 1}, {"max_frames": 0}, {"max_images": -1}, {"max_image_bytes": 9}, {"video": "gif"}):
        with pytest.raises(ValidationError):
            MediaGuard(**options)
    assert MediaGuard.class_name() == "MediaGuard"
