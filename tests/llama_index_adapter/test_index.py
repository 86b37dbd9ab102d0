"""The index: made of files, documents and nodes, changed, asked, and given to engines and agents."""

from __future__ import annotations

import asyncio
import base64
import shutil

import pytest
from llama_index.core import Document, Settings, StorageContext
from llama_index.core.base.llms.types import ChatMessage, CompletionResponse
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import ImageDocument, ImageNode, MediaResource, Node, QueryBundle, TextNode
from PIL import Image

from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.indices.qwen3_vl import UnifiedMultiModalIndex
from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
from llama_index.retrievers.qwen3_vl import MultiModalQueryBundle, Qwen3VLRetriever
from llama_index_adapter.scripted_llms import ScriptedLLM, call_tool, join_text, open_images
from qwen3_vl_retrieval import FingerprintMismatchError, InputError, MediaPolicyError, StoreError
from qwen3_vl_retrieval.index import MultimodalIndex
from rounding import bound


class Condensing(ScriptedLLM):
    """Also completes texts, as LlamaIndex asks chat models to when they condense a conversation."""

    question: str

    def complete(self, prompt, formatted=False, **_):
        return CompletionResponse(text=self.question)

    async def acomplete(self, prompt, formatted=False, **_):
        return CompletionResponse(text=self.question)


def remember():
    """A memory without a database, which LlamaIndex's own leaves open."""
    return ChatMemoryBuffer.from_defaults(token_limit=50_000)


def ids(nodes):
    return [one.node.node_id for one in nodes]


def find_all(index, query="anything"):
    return {one.node.node_id: one.node for one in index.as_retriever(similarity_top_k=99).retrieve(query)}


def make_index(request, embedding, tmp_path, nodes=()):
    persist_dir = tmp_path / "store" if request == "chroma" else None
    return UnifiedMultiModalIndex.from_nodes(
        list(nodes), embed_model=embedding, persist_dir=persist_dir, media_dir=tmp_path / "media"
    )


@pytest.fixture
def folder(pictures, tmp_path):
    """Two images, a PDF of two pages, a video and a note; what is hidden or of no known kind is not read."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("picture-0.png", "picture-1.png", "paper.pdf", "clip.mp4"):
        shutil.copy(pictures / name, folder / name)
    (folder / "note.md").write_text("# Invoices\n\nThe overdue one is from March.")
    (folder / "data.xyz").write_text("nothing")
    (folder / ".hidden").mkdir()
    shutil.copy(pictures / "picture-2.png", folder / ".hidden" / "secret.png")
    return folder


@pytest.mark.parametrize("kind", ["chroma", "simple"])
def test_files_and_folders_become_nodes_with_their_places(kind, folder, embedding, tmp_path, questions):
    index = make_index(kind, embedding, tmp_path)
    assert index.add_files(folder, metadata={"year": 2025}) == []
    nodes = list(find_all(index).values())
    assert sorted((node.metadata["media_type"], node.metadata.get("page", 0)) for node in nodes) == [
        ("image", 0),
        ("image", 0),
        ("page", 1),
        ("page", 2),
        ("text", 0),
        ("video", 0),
    ]
    assert {node.metadata["year"] for node in nodes} == {2025}
    assert {node.ref_doc_id for node in nodes} == {
        str(folder / name) for name in ("picture-0.png", "picture-1.png", "paper.pdf", "clip.mp4", "note.md")
    }
    for number in (0, 1):
        found = index.as_retriever(modalities=["image"]).retrieve(questions[number])[0].node
        assert found.image_resource.path == folder / f"picture-{number}.png"
        with Image.open(found.image_resource.path) as picture:
            assert (found.metadata["width"], found.metadata["height"]) == picture.size


def test_unchanged_files_are_not_embedded_again_and_changed_ones_replaced(
    folder, pictures, embedding, tmp_path, monkeypatch
):
    store = tmp_path / "store"
    before = find_all(UnifiedMultiModalIndex.from_files(folder, embed_model=embedding, persist_dir=store))
    shutil.copy(pictures / "picture-3.png", folder / "picture-0.png")
    embedded = []
    compute = Qwen3VLEmbedding.get_node_embeddings
    monkeypatch.setattr(
        Qwen3VLEmbedding,
        "get_node_embeddings",
        lambda self, nodes, **options: embedded.extend(nodes) or compute(self, nodes, **options),
    )
    index = UnifiedMultiModalIndex.from_files(folder, embed_model=embedding, persist_dir=store)
    assert [node.ref_doc_id for node in embedded] == [str(folder / "picture-0.png")]
    after = find_all(index)
    assert len(after) == len(before) == 6
    assert set(before) - set(after) == {
        name for name, node in before.items() if node.ref_doc_id == str(folder / "picture-0.png")
    }
    assert set(find_all(UnifiedMultiModalIndex.from_persist_dir(store, embed_model=embedding))) == set(after)


def test_ids_of_files_are_the_same_every_time(folder, embedding):
    once = find_all(UnifiedMultiModalIndex.from_files(folder, embed_model=embedding))
    again = find_all(UnifiedMultiModalIndex.from_files(folder, embed_model=embedding))
    assert set(once) == set(again)


@pytest.mark.parametrize("kind", ["chroma", "simple"])
def test_a_broken_file_is_named_and_the_others_are_indexed(kind, folder, embedding, tmp_path):
    (folder / "broken.png").write_bytes(b"no picture")
    content = (folder / "picture-1.png").read_bytes()
    (folder / "torn.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"broken\.png"):
        make_index(kind, embedding, tmp_path / "a").add_files(folder)
    with pytest.raises(InputError, match=r"torn\.png"):
        make_index(kind, embedding, tmp_path / "b").add_files(folder / "torn.png")
    index = make_index(kind, embedding, tmp_path / "c")
    index.add_files([folder], on_error="skip")
    assert [failure.path.name for failure in index.failures] == ["broken.png", "torn.png"]
    assert len(find_all(index)) == 6
    with pytest.raises(InputError, match=r"suffix '.xyz'"):
        index.add_files(folder / "data.xyz")
    with pytest.raises(InputError, match="no such file or folder"):
        index.add_files(folder / "none.png")
    with pytest.raises(ValueError, match="'raise' and 'skip'"):
        index.add_files(folder, on_error="ignore")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no file that is read"):
        index.add_files(empty)


@pytest.mark.parametrize("kind", ["chroma", "simple"])
def test_a_file_is_removed_by_its_path(kind, folder, embedding, tmp_path):
    index = make_index(kind, embedding, tmp_path)
    index.add_files(folder)
    index.delete_ref_doc(str(folder / "paper.pdf"), delete_from_docstore=True)
    assert {node.metadata["media_type"] for node in find_all(index).values()} == {"image", "text", "video"}


@pytest.mark.parametrize("kind", ["chroma", "simple"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_node_replaces_the_one_of_the_same_id(kind, is_async, embedding, pictures, tmp_path):
    index = make_index(kind, embedding, tmp_path, [TextNode(id_="a", text="an apple"), TextNode(id_="b", text="a bee")])
    changed = Node(id_="a", image_resource=MediaResource(path=pictures / "picture-0.png"))
    if is_async:
        asyncio.run(index.ainsert_nodes([changed]))
    else:
        index.insert_nodes([changed])
    nodes = find_all(index)
    assert set(nodes) == {"a", "b"}
    assert nodes["a"].image_resource.path == pictures / "picture-0.png"
    query = QueryBundle("", image_path=str(pictures / "picture-0.png"))
    assert ids(index.as_retriever(similarity_top_k=1).retrieve(query)) == ["a"]
    twice = [TextNode(id_="c", text="the first"), TextNode(id_="c", text="the last")]
    index.insert_nodes(twice)
    assert find_all(index)["c"].text == "the last"


@pytest.mark.parametrize("kind", ["chroma", "simple"])
def test_nodes_without_text_are_kept_and_empty_ones_left_out(kind, embedding, pictures, tmp_path, caplog, capsys):
    picture = pictures / "picture-0.png"
    nodes = [
        ImageNode(id_="image", image_path=str(picture)),
        ImageNode(id_="named", image_path=str(picture), metadata={"file_path": str(picture)}),
        Node(id_="node", image_resource=MediaResource(path=picture)),
        TextNode(id_="empty", text=" "),
        TextNode(id_="preset", text="", embedding=embedding.get_text_embedding("preset")),
    ]
    index = make_index(kind, embedding, tmp_path, nodes)
    assert set(find_all(index)) == {"image", "named", "node", "preset"}
    assert "1 of 5 nodes are left out" in caplog.text
    assert capsys.readouterr().out == ""
    # As an image, not as the text "file_path: …".
    found = index.as_retriever(similarity_top_k=3).retrieve(QueryBundle("", image_path=str(picture)))
    assert [one.score for one in found] == pytest.approx([found[0].score] * 3, abs=bound(1e-4))


def test_a_vector_that_a_node_has_is_kept(embedding, pictures):
    vector = embedding.get_text_embedding("another thing")
    node = Node(id_="a", image_resource=MediaResource(path=pictures / "picture-0.png"), embedding=vector)
    index = UnifiedMultiModalIndex.from_nodes([node, TextNode(id_="b", text="something")], embed_model=embedding)
    found = index.as_retriever(similarity_top_k=1).retrieve(QueryBundle("", embedding=vector))
    assert ids(found) == ["a"]
    assert found[0].score == pytest.approx(1.0, abs=bound(1e-5))


@pytest.mark.parametrize("kind", ["chroma", "simple"])
@pytest.mark.parametrize("is_async", [False, True])
def test_documents_with_media_stay_whole_and_texts_are_split(kind, is_async, embedding, pictures, tmp_path, questions):
    documents = [
        ImageDocument(image_path=str(pictures / "picture-0.png"), id_="image"),
        Document(image_resource=MediaResource(path=pictures / "picture-1.png"), text="a caption", id_="captioned"),
        Document(video_resource=MediaResource(path=pictures / "clip.mp4"), id_="clip"),
        Document(text="One sentence here. " * 40, id_="text"),
    ]
    index = make_index(kind, embedding, tmp_path)
    index._transformations = [TokenTextSplitter(chunk_size=64, chunk_overlap=0)]
    if is_async:
        asyncio.run(index.ainsert_documents(documents))
    else:
        index.insert_documents(documents)
    by_document = {}
    for node in find_all(index).values():
        by_document.setdefault(node.ref_doc_id, []).append(node)
    assert {name: len(nodes) for name, nodes in by_document.items() if name != "text"} == {
        "image": 1,
        "captioned": 1,
        "clip": 1,
    }
    assert len(by_document["text"]) > 2
    captioned = by_document["captioned"][0]
    assert (captioned.get_content(), captioned.metadata["media_type"]) == ("a caption", "mixed")
    assert captioned.image_resource.path == pictures / "picture-1.png"
    found = index.as_retriever(similarity_top_k=1, modalities=["image"]).retrieve(questions[0])
    assert found[0].node.ref_doc_id == "image"
    before = set(find_all(index))
    index.insert_documents(documents)
    assert set(find_all(index)) == before
    index.update_ref_doc(Document(text="short now", id_="text"))
    assert [node.text for node in find_all(index).values() if node.ref_doc_id == "text"] == ["short now"]


@pytest.mark.parametrize("kind", ["chroma", "simple"])
@pytest.mark.parametrize("is_async", [False, True])
def test_refreshing_notices_an_image_that_was_replaced(kind, is_async, embedding, pictures, tmp_path):
    picture = tmp_path / "picture.png"
    shutil.copy(pictures / "picture-0.png", picture)

    def refresh(index, *documents):
        if is_async:
            return asyncio.run(index.arefresh_ref_docs(documents))
        return index.refresh_ref_docs(documents)

    index = make_index(kind, embedding, tmp_path)
    documents = [Document(image_resource=MediaResource(path=picture), id_="a"), Document(text="words", id_="b")]
    assert refresh(index, *documents) == [True, True]
    assert refresh(index, *documents) == [False, False]
    shutil.copy(pictures / "picture-1.png", picture)
    assert refresh(index, *documents) == [True, False]
    assert len(find_all(index)) == 2
    query = QueryBundle("", image_path=str(pictures / "picture-1.png"))
    found = index.as_retriever(similarity_top_k=1).retrieve(query)
    own = embedding.get_image_embedding(str(picture))
    assert found[0].score == pytest.approx(
        index.as_retriever().retrieve(query)[0].score,
    )
    asked = embedding.get_query_bundle_embedding(query)
    assert found[0].score == pytest.approx(embedding.similarity(asked, own), abs=bound(1e-4))
    index.delete_ref_doc("a", delete_from_docstore=True)
    assert len(find_all(index)) == 1
    assert refresh(index, *documents) == [True, False]


def test_ids_of_split_documents_follow_from_the_document(embedding):
    document = Document(text="One sentence here. " * 40, id_="text")
    options = {"embed_model": embedding, "transformations": [TokenTextSplitter(chunk_size=64, chunk_overlap=0)]}
    once = find_all(UnifiedMultiModalIndex.from_documents([document], **options))
    again = find_all(UnifiedMultiModalIndex.from_documents([document], **options))
    assert set(once) == set(again)
    follower = next(node for node in once.values() if node.prev_node is not None)
    assert follower.prev_node.node_id in once


@pytest.mark.parametrize("kind", ["chroma", "simple"])
def test_data_become_files_in_the_media_folder(kind, embedding, pictures, tmp_path):
    content = (pictures / "picture-0.png").read_bytes()
    clip = (pictures / "clip.mp4").read_bytes()
    encoded = base64.b64encode(content).decode()
    nodes = [
        Node(id_="data", image_resource=MediaResource(data=content)),
        Node(id_="uri", image_resource=MediaResource(url=f"data:image/png;base64,{encoded}")),
        ImageNode(id_="base64", image=encoded),
        Node(id_="clip", video_resource=MediaResource(data=clip)),
    ]
    index = make_index(kind, embedding, tmp_path, nodes)
    kept = sorted((tmp_path / "media").iterdir())
    assert sorted(path.read_bytes() for path in kept) == sorted([content, clip])
    found = find_all(index)
    assert {found[name].image_resource.path.read_bytes() for name in ("data", "uri")} == {content}
    assert found["base64"].image is None
    assert found["base64"].image_path == str(found["data"].image_resource.path)
    assert found["clip"].video_resource.path.suffix == ".mp4"
    assert all(encoded[:200] not in node.to_json() for node in found.values())
    assert nodes[0].image_resource.data is not None
    assert "media_type" not in nodes[0].metadata


def test_data_without_a_folder_and_urls_without_permission_are_refused(embedding, pictures, tmp_path):
    index = UnifiedMultiModalIndex.from_nodes([], embed_model=embedding)
    content = (pictures / "picture-0.png").read_bytes()
    with pytest.raises(InputError, match=r"node 1: .*give media_dir"):
        index.insert_nodes([TextNode(text="a"), Node(image_resource=MediaResource(data=content))])
    with pytest.raises(MediaPolicyError, match="allow_urls"):
        index.insert_nodes([ImageNode(image_url="https://example.org/a.png")])
    with pytest.raises(MediaPolicyError, match="allow_urls"):
        index.insert_nodes([Node(video_resource=MediaResource(url="https://example.org/a.mp4"))])
    kept = UnifiedMultiModalIndex.from_nodes([], embed_model=embedding, media_dir=tmp_path)
    with pytest.raises(InputError, match="no image that is understood"):
        kept.insert_nodes([Node(image_resource=MediaResource(data=b"no picture at all"))])
    with pytest.raises(InputError, match="neither data nor path nor url"):
        kept.insert_nodes([Node(image_resource=MediaResource())])


def test_errors_name_the_position_of_the_node(embedding, pictures, tmp_path):
    index = UnifiedMultiModalIndex.from_nodes([], embed_model=embedding)
    nodes = [TextNode(text=""), TextNode(text="a"), Node(image_resource=MediaResource(path=tmp_path / "gone.png"))]
    with pytest.raises(InputError, match="node 2: "):
        index.insert_nodes(nodes)
    with pytest.raises(InputError, match="node 2: "):
        asyncio.run(index.ainsert_nodes(nodes))


def test_the_folder_of_a_persistent_index_keeps_its_media(embedding, pictures, tmp_path):
    node = Node(id_="a", image_resource=MediaResource(data=(pictures / "picture-0.png").read_bytes()))
    UnifiedMultiModalIndex.from_nodes([node], embed_model=embedding, persist_dir=tmp_path)
    opened = UnifiedMultiModalIndex.from_persist_dir(tmp_path, embed_model=embedding)
    assert find_all(opened)["a"].image_resource.path.parent == tmp_path / "media"
    with pytest.raises(StoreError, match="no collection 'other'"):
        UnifiedMultiModalIndex.from_persist_dir(tmp_path, embed_model=embedding, collection_name="other")
    with pytest.raises(StoreError, match="there is no store"):
        UnifiedMultiModalIndex.from_persist_dir(tmp_path / "none", embed_model=embedding)


def test_the_embedding_of_settings_is_the_default(embedding, monkeypatch):
    monkeypatch.setattr(Settings, "_embed_model", embedding)
    index = UnifiedMultiModalIndex.from_nodes([TextNode(id_="a", text="a")])
    assert set(find_all(index)) == {"a"}
    monkeypatch.setattr(Settings, "_embed_model", None)
    with pytest.raises(ValueError, match=r"embed_model is missing.*Qwen3VLEmbedding"):
        UnifiedMultiModalIndex.from_nodes([TextNode(text="a")])


def test_options_that_do_not_fit_are_refused(embedding, tmp_path):
    for options, hint in (
        ({"embed_modle": embedding}, "allowed are"),
        ({"image_vector_store": None}, "one store"),
        ({"image_embed_model": embedding}, "one model embeds all media"),
    ):
        with pytest.raises(TypeError, match=hint):
            UnifiedMultiModalIndex.from_nodes([], **{"embed_model": embedding, **options})
    with pytest.raises(ValueError, match="give one of storage_context"):
        UnifiedMultiModalIndex.from_nodes(
            [], embed_model=embedding, persist_dir=tmp_path, storage_context=StorageContext.from_defaults()
        )
    index = UnifiedMultiModalIndex.from_nodes([], embed_model=embedding)
    with pytest.raises(TypeError, match="similarity_top_k counts them together"):
        index.as_retriever(similarity_top_k=3, image_similarity_top_k=3)
    with pytest.raises(TypeError, match="as_query_engine has no option 'streeming'"):
        index.as_query_engine(llm=MockLLM(), streeming=True)
    with pytest.raises(ValueError, match="keeps vectors alone"):
        UnifiedMultiModalIndex.from_vector_store(index.vector_store, embedding)
    with pytest.raises(TypeError, match="allowed are"):
        index.as_tool(max_picture=3)


def test_a_retriever_has_the_options_of_its_class(embedding, pictures, questions, rerank):
    nodes = [Node(id_=str(n), image_resource=MediaResource(path=pictures / f"picture-{n}.png")) for n in range(4)]
    index = UnifiedMultiModalIndex.from_nodes(nodes, embed_model=embedding)
    retriever = index.as_retriever(similarity_top_k=2, reranker=rerank)
    assert isinstance(retriever, Qwen3VLRetriever)
    assert "1" in ids(retriever.retrieve(questions[1]))


@pytest.fixture(scope="module")
def mixed(embedding, pictures, tmp_path_factory):
    """The drawn things in Chroma."""
    return UnifiedMultiModalIndex.from_files(pictures, embed_model=embedding, persist_dir=tmp_path_factory.mktemp("m"))


@pytest.mark.parametrize("is_async", [False, True])
def test_a_query_engine_shows_images_pages_frames_and_the_image_of_the_query(mixed, pictures, is_async):
    llm = ScriptedLLM()
    engine = mixed.as_query_engine(llm=llm, similarity_top_k=7)
    query = MultiModalQueryBundle("Which is the same?", images=[pictures / "picture-1.png"])
    response = asyncio.run(engine.aquery(query)) if is_async else engine.query(query)
    assert str(response) == "an answer"
    assert len(response.source_nodes) == 7
    blocks = [block for message in llm.requests[0] for block in message.blocks]
    # Four images, two pages, four frames of the video, and the image of the query.
    assert len(open_images(blocks)) == 11
    assert "Which is the same?" in join_text(blocks)


def test_a_query_engine_takes_options_of_both_and_may_be_of_text_alone(mixed, questions, rerank):
    llm = ScriptedLLM()
    engine = mixed.as_query_engine(
        llm=llm, similarity_top_k=2, reranker=rerank, response_mode="tree_summarize", max_query_images=1
    )
    assert len(engine.query(questions[0]).source_nodes) == 2
    plain = mixed.as_query_engine(llm=llm, multimodal=False, similarity_top_k=1, streaming=True)
    assert type(plain) is RetrieverQueryEngine
    assert "".join(plain.query(questions[0]).response_gen) == "an answer"


@pytest.mark.parametrize("mode", ["context", "condense_plus_context", "best", "condense_question"])
@pytest.mark.parametrize("is_async", [False, True])
def test_chat_engines_show_what_was_found(mixed, questions, mode, is_async):
    llm = Condensing(script=lambda _: ChatMessage(role="assistant", content=questions[0]), question=questions[0])
    chat = mixed.as_chat_engine(mode, llm=llm, similarity_top_k=7, memory=remember())
    for _ in range(2):
        response = asyncio.run(chat.achat(questions[0])) if is_async else chat.chat(questions[0])
        assert response.response == questions[0]
    blocks = [block for message in llm.requests[-1] for block in message.blocks]
    assert len(open_images(blocks)) == 10
    assert questions[0] in join_text(blocks)


def test_chat_engines_of_text_alone_and_without_search(mixed, questions):
    llm = ScriptedLLM()
    for mode in ("context", "condense_plus_context", "simple"):
        options = {} if mode == "simple" else {"similarity_top_k": 2}
        chat = mixed.as_chat_engine(mode, llm=llm, multimodal=False, memory=remember(), **options)
        assert chat.chat(questions[0]).response == "an answer"
    chat = mixed.as_chat_engine("context", llm=llm, memory=remember())
    assert "".join(chat.stream_chat(questions[0]).response_gen) == "an answer"


def test_chat_modes_that_llama_index_removed_are_refused(mixed):
    for mode in ("react", "openai"):
        with pytest.raises(ValueError, match="as_tool"):
            mixed.as_chat_engine(mode, llm=ScriptedLLM())
    with pytest.raises(TypeError, match="no option 'simlarity_top_k'"):
        mixed.as_chat_engine("context", llm=ScriptedLLM(), simlarity_top_k=2)
    with pytest.raises(ValueError, match="'nonsense'"):
        mixed.as_chat_engine("nonsense", llm=ScriptedLLM())


def test_it_is_a_tool_of_agents(mixed, questions, pictures):
    from llama_index.core.agent.workflow import FunctionAgent

    tool = mixed.as_tool(name="search", similarity_top_k=1, modalities=["image"], max_images=1)
    steps = iter([call_tool("search", query=questions[2]), ChatMessage(role="assistant", content="found")])
    llm = ScriptedLLM(script=lambda _: next(steps))

    async def run():
        return await FunctionAgent(tools=[tool], llm=llm).run("look it up", memory=remember())

    asyncio.run(run())
    shown = open_images([block for message in llm.requests[-1] for block in message.blocks])
    found = mixed.as_retriever(similarity_top_k=1, modalities=["image"]).retrieve(questions[2])
    assert len(shown) == 1
    with Image.open(found[0].node.image_resource.path) as picture:
        assert shown[0].size == picture.size
    assert mixed.as_tool().metadata.name == "search_media"


def test_a_view_of_an_index_of_the_command_line(tmp_path, embedding, rerank, pictures, questions):
    with MultimodalIndex.open(tmp_path, embedding.embedder) as written:
        written.add(pictures)
    view = UnifiedMultiModalIndex.from_multimodal_index(tmp_path, embed_model=embedding, reranker=rerank)
    retriever = view.as_retriever(similarity_top_k=3)
    with MultimodalIndex.open(tmp_path, embedding.embedder, rerank.reranker) as index:
        hits = index.search(questions[0], k=3)
        assert ids(retriever.retrieve(questions[0])) == [hit.id for hit in hits]
        opened = UnifiedMultiModalIndex.from_multimodal_index(index)
        assert ids(opened.as_retriever(similarity_top_k=3).retrieve(questions[0])) == [hit.id for hit in hits]
        # LlamaIndex's own retriever, by text.
        from llama_index.core.retrievers import VectorIndexRetriever

        plain = VectorIndexRetriever(opened, similarity_top_k=3)
        assert ids(plain.retrieve(questions[0])) == [hit.id for hit in hits]
        with pytest.raises(InputError, match="no text"):
            plain.retrieve(QueryBundle("", image_path="a.png"))
        with pytest.raises(ValueError, match="has its models"):
            UnifiedMultiModalIndex.from_multimodal_index(index, embed_model=embedding)
        for change in (
            lambda: opened.insert_nodes([TextNode(text="a")]),
            lambda: opened.insert(Document(text="a")),
            lambda: opened.add_files(pictures),
            lambda: opened.delete_ref_doc("a"),
            lambda: opened.delete_nodes(["a"]),
        ):
            with pytest.raises(StoreError, match="read-only"):
                change()
        llm = ScriptedLLM()
        opened.as_query_engine(llm=llm, similarity_top_k=7).query(questions[0])
        assert len(open_images([block for message in llm.requests[0] for block in message.blocks])) == 10
    retriever.multimodal_index.close()
    with pytest.raises(ValueError, match="have no effect"):
        UnifiedMultiModalIndex.from_multimodal_index(
            tmp_path, embed_model=embedding, reranker=Qwen3VLRerank(model="pocket", instruction="Find.")
        )
    with pytest.raises(FingerprintMismatchError):
        UnifiedMultiModalIndex.from_multimodal_index(tmp_path, embed_model=Qwen3VLEmbedding("pocket", max_length=512))
