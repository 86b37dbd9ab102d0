"""The model of a worker, as another process is told of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qwen3_vl_retrieval.cli.options import DEFAULT_EMBEDDER, LoadingOptions
from qwen3_vl_retrieval.media.images import check_image_reading
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.protocols import Embedder
from qwen3_vl_retrieval.remote.embedder import RemoteEmbedder

__all__ = ["WorkerModel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerModel:
    """Loads the model of a worker, in the worker.

    Attributes:
        name: Name of the model; `None` is that of the engine elsewhere, or the published one.
        loading: How it is loaded.
        policy: What it may open.
        devices: Devices, which workers take in turns; none if each chooses.
        base_urls: Engines elsewhere, which workers take in turns.
        api_key: The key that they ask for.
        threads: Threads that a worker computes with on a CPU; `None` is PyTorch's choice.
    """

    name: str | None
    loading: LoadingOptions
    policy: MediaPolicy
    devices: tuple[str, ...] = ()
    base_urls: tuple[str, ...] = ()
    api_key: str | None = None
    threads: int | None = None

    def __call__(self, number: int) -> Embedder:
        """Returns the model of a worker.

        Raises:
            ModelError: It cannot be loaded, or the engine serves another.
            RemoteError: The engine cannot be reached.
            ValueError: An option is out of range.
        """
        if self.base_urls:
            return self._connect(self.base_urls[number % len(self.base_urls)])
        # Not at the top: whoever asks an engine elsewhere needs neither.
        from qwen3_vl_retrieval.cli.models import load_embedder

        if self.threads is not None:
            import torch

            torch.set_num_threads(self.threads)
        loading = self.loading
        if self.devices:
            loading = replace(loading, device=self.devices[number % len(self.devices)])
        return load_embedder(DEFAULT_EMBEDDER if self.name is None else self.name, loading, self.policy)

    def _connect(self, base_url: str) -> RemoteEmbedder:
        reading = self.loading.image_reading
        return RemoteEmbedder.connect(
            base_url,
            checkpoint=self.name,
            api_key=self.api_key,
            dimensions=self.loading.dimensions,
            media_policy=self.policy,
            image_reading="viewer" if reading is None else check_image_reading(reading),
        )
