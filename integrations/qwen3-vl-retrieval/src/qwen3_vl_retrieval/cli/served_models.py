"""The models and the index that a server owns. Importing this module imports torch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from PIL import Image

from qwen3_vl_retrieval._model import ModelInProcess
from qwen3_vl_retrieval.cli.models import load_embedder, load_reranker
from qwen3_vl_retrieval.cli.options import DEFAULT_EMBEDDER, LoadingOptions
from qwen3_vl_retrieval.cli.store_session import load_index
from qwen3_vl_retrieval.embedder import Qwen3VLEmbedder
from qwen3_vl_retrieval.engine.statistics import EngineStatistics
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.media import MediaPolicy
from qwen3_vl_retrieval.reranker import Qwen3VLReranker
from qwen3_vl_retrieval.server import ServerLimits, create_app

__all__ = ["ServedModels", "load_served_models"]

NO_MODEL = "none"


def read_statistics(model: ModelInProcess) -> EngineStatistics:
    """Returns what a model has computed so far."""
    return model.stats


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModels:
    """What a server owns; `None` is what it does without."""

    embedder: Qwen3VLEmbedder | None
    reranker: Qwen3VLReranker | None
    index: MultimodalIndex | None

    def create_app(self, *, api_keys: Sequence[str], limits: ServerLimits, media_policy: MediaPolicy) -> FastAPI:
        """Returns the server; see `server.create_app`."""
        models = {"embedder": self.embedder, "reranker": self.reranker}
        return create_app(
            embedder=self.embedder,
            reranker=self.reranker,
            index=self.index,
            api_keys=api_keys,
            limits=limits,
            media_policy=media_policy,
            tokenize=None if self.embedder is None else self.embedder.tokenize,
            statistics={role: partial(read_statistics, model) for role, model in models.items() if model is not None},
        )

    async def warm_up(self) -> None:
        """Computes a text and an image, so that the first client does not wait for what starts with the first use.

        As requests do, in the threads in which they are computed: another that has computed keeps threads of OpenMP,
        and GNU's waits longer at each step once there are more of them than cores.
        """
        content = io.BytesIO()
        Image.new("RGB", (64, 64)).save(content, "PNG")
        items: list[Item] = ["text", {"image": content.getvalue()}]
        if self.embedder is not None:
            await self.embedder.aembed(items)
        if self.reranker is not None:
            await self.reranker.ascore("text", items)


def load_served_models(
    embedder: str | None, reranker: str | None, folder: Path | None, loading: LoadingOptions, policy: MediaPolicy
) -> ServedModels:
    """Returns the models and the index, ready to compute.

    Args:
        embedder: Name of the embedding model; `"none"` is none, `None` is that of the index, or the published one.
        reranker: Name of the reranker; `None` is none.
        folder: The index; `None` is none.
        loading: How the models are loaded.
        policy: What the models may open: the files of the index.

    Raises:
        ModelError: A model cannot be loaded.
        StoreError: The index is corrupt, or belongs to another embedder.
        ValueError: An index is to be searched without an embedder, or an option is out of range.
    """
    if folder is None:
        name = DEFAULT_EMBEDDER if embedder is None else embedder
        loaded = None if name == NO_MODEL else load_embedder(name, loading, policy)
        judge = None if reranker is None else load_reranker(reranker, loading, policy)
        return ServedModels(embedder=loaded, reranker=judge, index=None)
    if embedder == NO_MODEL:
        raise ValueError("--index needs an embedder for the questions; leave --embedder out to take that of the index")
    index, models = load_index(folder, embedder, reranker, loading, policy)
    return ServedModels(embedder=models.embedder, reranker=models.reranker, index=index)
