"""Stores that `qwen3vl load` has filled, opened as the vector stores of LangChain and LlamaIndex."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

METADATA = ["media_type", "source", "page", "start", "end"]


def open_with_langchain(name: str, place: str, embeddings: Any, resources: ExitStack, **options: Any) -> Any:
    """Returns the vector store of LangChain for the table or collection `units`.

    Args:
        name: Which store.
        place: Its URL, folder or file.
        embeddings: Embeds queries.
        resources: What is opened is closed with it.
        options: Options of the vector store.
    """
    match name:
        case "postgres":
            from langchain_postgres import PGEngine, PGVectorStore

            engine = PGEngine.from_connection_string(place.replace("postgresql://", "postgresql+psycopg://"))
            resources.callback(lambda: asyncio.run(engine.close()))
            return PGVectorStore.create_sync(
                engine,
                embedding_service=embeddings,
                table_name="units",
                id_column="id",
                content_column="text",
                embedding_column="vector",
                metadata_json_column="metadata",
                metadata_columns=METADATA,
                **options,
            )
        case "qdrant":
            from langchain_qdrant import QdrantVectorStore

            store = QdrantVectorStore.from_existing_collection("units", embedding=embeddings, path=place, **options)
            resources.callback(store.client.close)
            return store
        case "milvus":
            from langchain_milvus import Milvus

            store = Milvus(
                embeddings,
                collection_name="units",
                connection_args={"uri": place},
                primary_field="id",
                enable_dynamic_field=True,
                search_params={"metric_type": "COSINE", "params": {"ef": 200}},
                **options,
            )
            resources.callback(store.client.close)
            return store
        case _:
            from langchain_chroma import Chroma

            return Chroma("units", embeddings, client=_connect_to_chroma(place, resources), **options)


def open_with_llama_index(name: str, place: str, dimensions: int, resources: ExitStack, **options: Any) -> Any:
    """Returns the vector store of LlamaIndex for the table or collection `units`; see `open_with_langchain`."""
    match name:
        case "postgres":
            from llama_index.vector_stores.postgres import PGVectorStore

            store = PGVectorStore(
                connection_string=place.replace("postgresql://", "postgresql+psycopg2://"),
                async_connection_string=place.replace("postgresql://", "postgresql+asyncpg://"),
                table_name="units",
                schema_name="public",
                embed_dim=dimensions,
                use_jsonb=True,
                perform_setup=False,
                **options,
            )
            resources.callback(lambda: asyncio.run(store.close()))
            return store
        case "qdrant":
            from llama_index.vector_stores.qdrant import QdrantVectorStore
            from qdrant_client import QdrantClient

            client = QdrantClient(path=place)
            resources.callback(client.close)
            return QdrantVectorStore("units", client=client, text_key="page_content", dense_vector_name="", **options)
        case "milvus":
            from llama_index.vector_stores.milvus import MilvusVectorStore

            async def open_store() -> Any:
                # Within a loop, which its asynchronous client asks for even where nothing is awaited (0.9.6).
                return MilvusVectorStore(
                    uri=place,
                    collection_name="units",
                    dim=dimensions,
                    embedding_field="vector",
                    text_key="text",
                    output_fields=["id", *METADATA],
                    similarity_metric="COSINE",
                    **options,
                )

            store = asyncio.run(open_store())
            resources.callback(store.client.close)
            return store
        case "lancedb":
            from llama_index.vector_stores.lancedb import LanceDBVectorStore

            return LanceDBVectorStore(place, table_name="units", doc_id_key="source", **options)
        case _:
            from llama_index.vector_stores.chroma import ChromaVectorStore

            return ChromaVectorStore(
                _connect_to_chroma(place, resources).get_collection("units", embedding_function=None)
            )


def _connect_to_chroma(url: str, resources: ExitStack) -> Any:
    import chromadb
    from chromadb.config import Settings

    from qwen3_vl_retrieval.jobs.chroma_sink import close_client

    host, _, port = url.removeprefix("chroma://").partition(":")
    client = chromadb.HttpClient(host=host, port=int(port), settings=Settings(anonymized_telemetry=False))
    resources.callback(close_client, client)
    return client


def choose_sink(name: str, folder: Path, servers: dict[str, str]) -> tuple[Any, str]:
    """Returns the sink of the table or collection `units` of a store, and the place of the store."""
    from qwen3_vl_retrieval.jobs import ChromaSink, LanceDbSink, MilvusSink, PostgresSink, QdrantSink

    place = servers.get(name, str(folder / ("units.db" if name == "milvus" else name)))
    match name:
        case "postgres":
            return PostgresSink(place, table="units"), place
        case "qdrant":
            return QdrantSink(place, collection="units"), place
        case "milvus":
            return MilvusSink(place, collection="units"), place
        case "lancedb":
            return LanceDbSink(place, table="units"), place
        case _:
            return ChromaSink(place, collection="units"), place
