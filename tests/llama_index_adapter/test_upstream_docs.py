"""Code as LlamaIndex's own documentation of multimodal retrieval has it, with the embedding of this package.

https://developers.llamaindex.ai/python/framework/module_guides/models/multi_modal and the notebooks beside it: two
stores, and `VectorStoreIndex`. What they lose, ours keeps; what ours does not take, it refuses and says what to do.
"""

from __future__ import annotations

import shutil

import chromadb
import pytest
from llama_index.core import Document, Settings, SimpleDirectoryReader, StorageContext, VectorStoreIndex
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.schema import ImageDocument, ImageNode, MediaResource, Node, QueryBundle, TextNode
from llama_index.vector_stores.chroma import ChromaVectorStore

from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle
from llama_index.indices.qwen3_vl import UnifiedMultiModalIndex
from llama_index.retrievers.qwen3_vl import Qwen3VLRetriever
from llama_index_adapter.scripted_llms import ScriptedLLM, open_images
from qwen3_vl_retrieval import InputError


def ids(nodes):
    return [one.node.node_id for one in nodes]


def make_nodes(pictures):
    """A text, an image with a caption, a bare image, and a `Node`."""
    return [
        TextNode(id_="text", text="The overdue invoice is from March."),
        ImageNode(id_="captioned", image_path=str(pictures / "picture-0.png"), text="a scan"),
        ImageNode(id_="bare", image_path=str(pictures / "picture-1.png")),
        Node(id_="node", image_resource=MediaResource(path=pictures / "picture-2.png")),
    ]


def test_text_code_runs_with_the_embedding_swapped(embedding):
    documents = [Document(text="The overdue invoice is from March."), Document(text="Apples are red.")]
    index = VectorStoreIndex.from_documents(documents, embed_model=embedding)
    found = index.as_retriever(similarity_top_k=1).retrieve("The overdue invoice is from March.")
    assert found[0].text == "The overdue invoice is from March."
    llm = ScriptedLLM()
    assert str(index.as_query_engine(llm=llm).query("Which invoice?")) == "an answer"


def test_a_plain_index_drops_images_and_ours_does_not(embedding, pictures, capsys):
    plain = VectorStoreIndex(make_nodes(pictures), embed_model=embedding)
    assert "Some nodes are missing content" in capsys.readouterr().out
    assert len(plain.index_struct.nodes_dict) == 2
    ours = UnifiedMultiModalIndex(make_nodes(pictures), embed_model=embedding)
    assert set(ids(ours.as_retriever().retrieve("anything"))) == {"text", "captioned", "bare", "node"}
    # With a vector, too.
    preset = embedding(make_nodes(pictures))
    assert len(VectorStoreIndex(preset, embed_model=embedding).index_struct.nodes_dict) == 2
    # The way round in a plain index.
    plain = VectorStoreIndex([], embed_model=embedding)
    plain.insert_nodes(embedding(make_nodes(pictures)))
    query = MultiModalQueryBundle("", images=[pictures / "picture-2.png"])
    assert ids(Qwen3VLRetriever(plain, similarity_top_k=1).retrieve(query)) == ["node"]


def test_a_plain_retriever_ignores_the_image_of_a_query(embedding, pictures):
    collection = chromadb.EphemeralClient().get_or_create_collection("docs-image-only")
    context = StorageContext.from_defaults(vector_store=ChromaVectorStore(chroma_collection=collection))
    index = UnifiedMultiModalIndex(make_nodes(pictures), storage_context=context, embed_model=embedding)
    query = QueryBundle("", image_path=str(pictures / "picture-2.png"))
    plain = VectorStoreIndex.from_vector_store(index.vector_store, embed_model=embedding)
    found = plain.as_retriever(similarity_top_k=4).retrieve(query)
    assert len(found) == 4
    assert {one.score for one in found} == {None}
    ours = Qwen3VLRetriever(plain, similarity_top_k=4).retrieve(query)
    assert ids(ours)[0] == "node"
    assert all(one.score is not None for one in ours)


def test_the_index_of_two_stores_runs_and_loses_what_ours_keeps(embedding, pictures, questions):
    two = MultiModalVectorStoreIndex(make_nodes(pictures), embed_model=embedding, image_embed_model=embedding)
    retriever = two.as_retriever(similarity_top_k=3, image_similarity_top_k=3)
    # The node and the bare image are gone, the image with a caption is there twice.
    assert set(ids(retriever.retrieve(questions[0]))) == {"text", "captioned"}
    assert set(ids(retriever.text_to_image_retrieve(questions[0]))) == {"captioned"}
    assert ids(retriever.image_to_image_retrieve(str(pictures / "picture-0.png"))) == ["captioned"]
    with pytest.raises((TypeError, ValueError)):
        retriever.retrieve(QueryBundle("", image_path=str(pictures / "picture-0.png")))
    ours = UnifiedMultiModalIndex(make_nodes(pictures), embed_model=embedding).as_retriever(similarity_top_k=6)
    found = ids(ours.retrieve(questions[0]))
    assert sorted(found) == ["bare", "captioned", "node", "text"]
    assert set(ids(ours.text_to_image_retrieve(questions[0]))) == {"captioned", "bare", "node"}
    assert ids(ours.image_to_image_retrieve(str(pictures / "picture-1.png")))[0] == "bare"
    assert ids(ours.retrieve(QueryBundle("", image_path=str(pictures / "picture-0.png"))))[0] in ("captioned", "bare")


def test_code_for_two_stores_is_told_the_working_call(embedding, pictures):
    with pytest.raises(TypeError, match="give embed_model=Qwen3VLEmbedding"):
        UnifiedMultiModalIndex.from_documents([], embed_model=embedding, image_embed_model=embedding)
    with pytest.raises(TypeError, match="all media share one space and one store"):
        UnifiedMultiModalIndex([], embed_model=embedding, image_vector_store=None)
    with pytest.raises(TypeError, match="similarity_top_k counts them together"):
        UnifiedMultiModalIndex([], embed_model=embedding).as_query_engine(
            llm=ScriptedLLM(), similarity_top_k=3, image_similarity_top_k=3
        )
    with pytest.raises(ValueError, match=r"embed_model is str: .*give embed_model=Qwen3VLEmbedding"):
        UnifiedMultiModalIndex([], embed_model="clip:ViT-B/32")


def test_image_documents_are_kept_by_ours(embedding, pictures, questions):
    documents = [ImageDocument(image_path=str(pictures / f"picture-{n}.png"), id_=str(n)) for n in range(4)]
    ours = UnifiedMultiModalIndex.from_documents(documents, embed_model=embedding)
    assert sorted(one.node.ref_doc_id for one in ours.as_retriever().retrieve(questions[0])) == ["0", "1", "2", "3"]
    llm = ScriptedLLM()
    ours.as_query_engine(llm=llm, similarity_top_k=2).query(questions[0])
    assert len(open_images([block for message in llm.requests[0] for block in message.blocks])) == 2


def test_files_that_a_reader_has_read_as_text_are_seen(embedding, pictures, tmp_path, questions):
    for name in ("picture-0.png", "clip.mp4"):
        shutil.copy(pictures / name, tmp_path / name)
    (tmp_path / "note.txt").write_text("The overdue invoice is from March.")
    # As `SimpleDirectoryReader` reads them without llama-index-readers-file.
    documents = SimpleDirectoryReader(str(tmp_path), file_extractor={}, filename_as_id=True).load_data()
    read = [
        Document(
            text=(tmp_path / name).read_bytes().decode(errors="ignore"), metadata={"file_path": str(tmp_path / name)}
        )
        for name in ("picture-0.png", "clip.mp4")
    ]
    notes = [document for document in documents if document.metadata["file_path"].endswith("note.txt")]
    index = UnifiedMultiModalIndex.from_documents([*read, *notes], embed_model=embedding)
    kinds = {one.node.metadata.get("media_type", "text") for one in index.as_retriever().retrieve(questions[0])}
    assert kinds == {"image", "video", "text"}
    pdf = Document(text="%PDF-1.7\0", metadata={"file_path": str(pictures / "paper.pdf")})
    with pytest.raises(InputError, match=r"document 1: .*UnifiedMultiModalIndex\.from_files"):
        index.insert_documents([notes[0], pdf])


def test_settings_hold_the_embedding_for_all_indexes(embedding, pictures, monkeypatch):
    monkeypatch.setattr(Settings, "_embed_model", None)
    Settings.embed_model = embedding
    assert len(UnifiedMultiModalIndex(make_nodes(pictures)).as_retriever().retrieve("a")) == 4
